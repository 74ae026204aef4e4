#include "autoconf/address_book.h"

#include <algorithm>

#include "base/assert.h"

namespace millrace::autoconf {
namespace {

const GuardTiming& timing_of(const IpAddr& addr) { return addr.is_v4() ? kAcdTiming : kDadTiming; }

}  // namespace

const char* name_of(Origin origin) {
  switch (origin) {
    case Origin::kOperator: return "static";
    case Origin::kLinkLocal: return "link-local";
    case Origin::kRouter: return "slaac";
    case Origin::kDhcp: return "dhcp";
  }
  return "?";
}

const char* name_of(AddressState state) {
  switch (state) {
    case AddressState::kTentative: return "tentative";
    case AddressState::kOptimistic: return "optimistic";
    case AddressState::kPreferred: return "preferred";
    case AddressState::kDeprecated: return "deprecated";
    case AddressState::kDuplicated: return "duplicated";
  }
  return "?";
}

Instant AddressBook::due(const BookEntry& e) {
  Instant first = std::min(e.guard.deadline(), e.lifetimes.valid_until);
  if (e.state == AddressState::kPreferred) first = std::min(first, e.lifetimes.preferred_until);
  return first;
}

void AddressBook::find_deadline() {
  deadline_ = kNever;
  for (const BookEntry& e : list_) deadline_ = std::min(deadline_, due(e));
}

BookEntry* AddressBook::find_entry(const IpAddr& addr) {
  const auto found = std::ranges::find_if(list_, [&](const BookEntry& e) { return e.prefix.addr == addr; });
  return found == list_.end() ? nullptr : &*found;
}
const BookEntry* AddressBook::find(const IpAddr& addr) const {
  return const_cast<AddressBook*>(this)->find_entry(addr);
}

// Preferred or deprecated, by the clock.
void AddressBook::settle_state(BookEntry& e, Instant now) {
  e.state = e.lifetimes.preferred_until > now ? AddressState::kPreferred : AddressState::kDeprecated;
}

void AddressBook::begin(BookEntry& e, Testing test, Instant now) {
  if (test == Testing::kNone) {
    e.guard.settle(timing_of(e.prefix.addr));
    settle_state(e, now);
    return;
  }
  e.guard.start(timing_of(e.prefix.addr), test == Testing::kOptimistic, now, rng_);
  e.state = test == Testing::kOptimistic ? AddressState::kOptimistic : AddressState::kTentative;
}

Result<const BookEntry*> AddressBook::add(const BookEntry& entry, Testing test, Instant now) {
  if (find(entry.prefix.addr) != nullptr) return fail(Error::kAlreadyExists);
  if (list_.size() >= kMaxAddresses) return fail(Error::kTooMany);
  list_.push_back(entry);
  ++version_;
  begin(list_.back(), test, now);
  deadline_ = std::min(deadline_, due(list_.back()));
  return &list_.back();
}

bool AddressBook::remove(IfIndex interface, const IpAddr& addr) {
  const auto gone = std::erase_if(
      list_, [&](const BookEntry& e) { return e.interface == interface && e.prefix.addr == addr; });
  find_deadline();
  ++version_;
  return gone != 0;
}

void AddressBook::restart(const IpAddr& addr, Testing test, Instant now) {
  BookEntry* e = find_entry(addr);
  MR_ASSERT(e != nullptr);
  begin(*e, test, now);
  find_deadline();
}

BookStep AddressBook::set_lifetimes(const IpAddr& addr, const Lifetimes& lifetimes, Instant now) {
  BookStep out;
  BookEntry* e = find_entry(addr);
  if (e == nullptr) return out;
  out.was_usable = e->usable();
  e->lifetimes = lifetimes;
  const AddressState before = e->state;
  if (before == AddressState::kPreferred || before == AddressState::kDeprecated) settle_state(*e, now);
  out.changed = e->state != before;
  find_deadline();
  return out;
}

void AddressBook::set_retransmit(IfIndex interface, Duration retransmit) {
  std::erase_if(retransmit_, [&](const auto& known) { return known.first == interface; });
  if (retransmit != seconds(1)) retransmit_.emplace_back(interface, retransmit);
}

Duration AddressBook::retransmit_of(IfIndex interface) const {
  const auto known = std::ranges::find(retransmit_, interface, &std::pair<IfIndex, Duration>::first);
  return known == retransmit_.end() ? seconds(1) : known->second;
}

BookStep AddressBook::tick(BookEntry& e, Instant now) {
  BookStep out;
  out.was_usable = e.usable();
  const AddressState before = e.state;
  if (e.lifetimes.valid_until <= now) {
    out.expired = true;
    out.changed = true;
    return out;
  }
  if (e.guard.deadline() <= now) {
    const GuardStep step = e.guard.tick(now, rng_, retransmit_of(e.interface));
    out.send = step.send;
    if (step.send == GuardSend::kProbe) e.nonce = rng_.next() >> 16;
    if (step.passed) settle_state(e, now);
  }
  if (e.state == AddressState::kPreferred && e.lifetimes.preferred_until <= now) e.state = AddressState::kDeprecated;
  out.changed = e.state != before;
  return out;
}

BookStep AddressBook::conflict(const IpAddr& addr, Defence defence, Instant now) {
  BookStep out;
  BookEntry* e = find_entry(addr);
  if (e == nullptr) return out;
  out.was_usable = e->usable();
  const GuardStep step = e->guard.conflict(defence, now);
  out.send = step.send;
  if (step.lost) {
    e->state = AddressState::kDuplicated;
    ++version_;
    out.lost = true;
    out.changed = true;
  }
  find_deadline();
  return out;
}

}  // namespace millrace::autoconf
