#include "ip/pmtu.h"

namespace millrace::ip {

Pmtu::Pmtu(uint32_t limit, const base::SipKey& key) : limit_(limit), index_(limit, key), entries_(1) {
  entries_.reserve(size_t{limit} + 1);
}

Pmtu::Found Pmtu::look_up(const IpAddr& destination) const {
  return entries_[index_.find(IfIndex::kNone, destination)].mtu;  // [0] limits nothing
}

void Pmtu::learn(const IpAddr& destination, Found mtu, Instant end) {
  uint32_t at = index_.find(IfIndex::kNone, destination);
  if (at != 0) {
    if (mtu.mtu > entries_[at].mtu.mtu || (mtu.mtu == entries_[at].mtu.mtu && !mtu.locked)) return;
    unlink(at);
  } else {
    if (index_.size() == limit_) {
      ++evicted_;
      remove(first_);
    }
    at = free_;
    if (at != 0) {
      free_ = entries_[at].next;
    } else {
      at = static_cast<uint32_t>(entries_.size());
      entries_.emplace_back();
    }
    index_.insert(IfIndex::kNone, destination, at);
  }
  entries_[at] = {destination, end, mtu, 0, 0};
  link_last(at);
}

bool Pmtu::advance(Instant now) {
  bool any = false;
  for (; first_ != 0 && entries_[first_].end <= now; any = true) remove(first_);
  return any;
}

void Pmtu::link_last(uint32_t at) {
  entries_[at].prev = last_;
  entries_[at].next = 0;
  (last_ != 0 ? entries_[last_].next : first_) = at;
  last_ = at;
}

void Pmtu::unlink(uint32_t at) {
  const Entry& e = entries_[at];
  (e.prev != 0 ? entries_[e.prev].next : first_) = e.next;
  (e.next != 0 ? entries_[e.next].prev : last_) = e.prev;
}

void Pmtu::remove(uint32_t at) {
  unlink(at);
  index_.erase(IfIndex::kNone, entries_[at].destination);
  entries_[at].next = free_;
  free_ = at;
}

}  // namespace millrace::ip
