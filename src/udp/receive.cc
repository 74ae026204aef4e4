// From a socket's queue to the program: copied, or borrowed and given back.
#include <algorithm>
#include <cstring>

#include "udp/udp.h"

namespace millrace::udp {
namespace {

/// Payload that is worth copying out of a 2 KiB buffer: it fits the smallest block.
constexpr uint32_t kSmallBytes = pkt::BlockPool::kClassBytes[0] - sizeof(pkt::Block);

}  // namespace

uint32_t Udp::take_first(Dgram& d) {
  const uint32_t index = d.head;
  d.head = queue_[index].link;
  if (d.head == 0) d.tail = 0;
  if (d.fresh == index) d.fresh = d.head;
  --d.queued;
  return index;
}

void Udp::fill(const Queued& q, Message& m) const {
  m.remote = {q.source, q.source_port};
  m.local = q.destination;
  m.interface = static_cast<IfIndex>(q.interface);
  m.to_group = q.to_group;
  m.hop_limit = q.ttl;
  m.traffic_class = q.traffic_class;
  m.segment = q.segment;
  m.received = q.received;
  m.length = q.packet->total;
}

void Udp::free_message(Dgram& d, uint32_t index) {
  Queued& q = queue_[index];
  d.charge -= charge_of(q.packet);
  packets_.free(q.packet);
  q.packet = nullptr;
  queue_.release(index);
}

// A borrowed message is in one piece. False if there is no buffer for it.
bool Udp::linearise(Queued& q, uint32_t& charge) {
  pkt::Packet* old = q.packet;
  pkt::Block* block = blocks_.allocate(old->total);
  if (block == nullptr) return false;
  if (block->capacity < old->total) {
    pkt::BlockPool::unref(block);
    return false;
  }
  (void)pkt::copy_out(*old, 0, {block->data, old->total});
  block->len = old->total;
  pkt::Packet* one = packets_.reference(block->data, block->iova, static_cast<uint16_t>(old->total), block->ext);
  pkt::BlockPool::unref(block);
  if (one == nullptr) return false;
  charge += charge_of(one) - charge_of(old);
  packets_.free(old);
  q.packet = one;
  return true;
}

bool Udp::borrow(uint32_t owner, Message& m) {
  Dgram& d = dgrams_[owner];
  Queued& q = queue_[d.head];
  if (q.packet->next != nullptr && !linearise(q, d.charge)) return false;
  const uint32_t index = take_first(d);
  q.link = owner;
  ++d.lent;
  fill(q, m);
  m.data = {q.packet->data(), q.packet->len};
  m.token = token_of(index);
  return true;
}

Result<size_t> Udp::receive(uint32_t index, std::span<Message> messages, bool peek, bool copy) {
  Dgram& d = dgrams_[index];
  if (d.error != 0) {
    if (auto pending = pending_error(d); !pending) return fail(pending.error());
  }
  size_t n = 0;
  for (uint32_t at = d.head; n < messages.size() && at != 0;) {
    Message& m = messages[n];
    const Queued& q = queue_[at];
    const uint32_t next = q.link;
    if (m.into.empty() && !peek && !copy && q.packet->total != 0) {
      if (!borrow(index, m)) break;
    } else {
      fill(q, m);
      m.token = 0;
      m.data = m.into.first(pkt::copy_out(*q.packet, 0, m.into.first(std::min<size_t>(m.into.size(), m.length))));
      if (!peek) free_message(d, take_first(d));
    }
    at = next;
    ++n;
  }
  if (n != 0) return n;
  if (d.head == 0 || messages.empty()) return fail(Error::kWouldBlock);
  // Too large to be lent in one piece, or no memory for that.
  return fail(queue_[d.head].packet->total > pkt::BlockPool::max_payload() ? Error::kTooBig : Error::kNoBuffers);
}

uint32_t Udp::borrowed_of(uint64_t token) {
  const auto index = static_cast<uint32_t>(token);
  const auto gen = static_cast<uint32_t>(token >> 32) & 0x7fffffffU;
  if (!is_token(token) || !queue_.in_use(index) || (queue_[index].gen & 0x7fffffffU) != gen) return 0;
  return index;
}

// The record and the loan end; the packet is free already or has gone another way.
void Udp::give_back(uint32_t index) {
  const uint32_t owner = queue_[index].link;
  queue_.release(index);
  Dgram& d = dgrams_[owner];
  if (--d.lent == 0 && (d.flags & kClosed) != 0) dgrams_.release(owner);
}

bool Udp::release(uint64_t token) {
  const uint32_t index = borrowed_of(token);
  if (index == 0) return false;
  Queued& q = queue_[index];
  dgrams_[q.link].charge -= charge_of(q.packet);
  packets_.free(q.packet);
  q.packet = nullptr;
  give_back(index);
  return true;
}

void Udp::compact() {
  if (fresh_.empty() && !starved_) return;
  const uint32_t left = static_cast<uint32_t>(packets_.frames_available());
  const bool scarce = left < frames_.capacity() / 4;
  starved_ = left < frames_.capacity() / 8;
  for (const uint32_t index : fresh_) {
    Dgram& d = dgrams_[index];
    if (!dgrams_.in_use(index)) continue;
    d.flags &= static_cast<uint16_t>(~kFresh);
    uint32_t at = d.fresh;
    d.fresh = 0;
    for (; at != 0; at = queue_[at].link) {
      Queued& q = queue_[at];
      // A chain of many datagrams is as wasteful as one small datagram.
      const bool small = q.packet->total <= kSmallBytes || (q.segment != 0 && q.packet->next != nullptr) || scarce;
      if (!small || q.packet->total == 0 || (q.packet->flags & pkt::kExternal) != 0) continue;
      if (linearise(q, d.charge)) counters_.add(Counter::kCompacted);
    }
  }
  fresh_.clear();
}

}  // namespace millrace::udp
