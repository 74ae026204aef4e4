#include "posix/ports.h"

namespace millrace::posix {
namespace {

constexpr uint32_t kFirstChosen = 32'768;
constexpr uint32_t kLastChosen = 60'999;
constexpr size_t kMostPast = 4'096;  // ports; of one beyond nothing is known

// Whether one datagram's destination could be either's.
bool overlap(const Transport::Claim& a, const Transport::Claim& b) {
  const IpAddr& x = a.local.addr;
  const IpAddr& y = b.local.addr;
  const bool x_both = x.is_v6() && x.is_unspecified() && !a.v6_only;
  const bool y_both = y.is_v6() && y.is_unspecified() && !b.v6_only;
  if (x.is_v4() != y.is_v4()) return x_both || y_both;
  return x == y || x.is_unspecified() || y.is_unspecified();
}

}  // namespace

bool Ports::conflicts(const Transport::Claim& claim) const {
  const auto [begin, end] = by_port_.equal_range(claim.local.port);
  for (auto it = begin; it != end; ++it) {
    const Transport::Claim& other = claims_.at(it->second).claim;
    if (!overlap(claim, other)) continue;
    const bool share = claim.reuse_address && other.reuse_address && !claim.listening && !other.listening;
    if (!share && !(claim.reuse_port && other.reuse_port)) return true;
  }
  return false;
}

bool Ports::conflicts_with_past(const Transport::Claim& claim) {
  const auto found = past_.find(claim.local.port);
  if (found == past_.end()) return false;
  const Past past = found->second;
  if ((claim.reuse_address && past.reuse_address) || (claim.reuse_port && past.reuse_port)) return false;
  if (remains_(claim.local)) return true;
  if (claim.local.addr.is_unspecified()) past_.erase(found);
  return false;
}

void Ports::remember(const Transport::Claim& claim) {
  if (!remains_) return;
  if (past_.size() == kMostPast && !past_.contains(claim.local.port)) past_.erase(past_.begin());
  Past& past = past_[claim.local.port];
  past.reuse_address = past.reuse_address && claim.reuse_address;
  past.reuse_port = past.reuse_port && claim.reuse_port;
}

Result<Transport::Reserved> Ports::reserve(const Transport::Claim& wanted) {
  Transport::Claim claim = wanted;
  if (claim.local.port == 0) {
    constexpr uint32_t kCount = kLastChosen - kFirstChosen + 1;
    const auto start = static_cast<uint32_t>(rng_.below(kCount));
    for (uint32_t i = 0; i < kCount && claim.local.port == 0; ++i) {
      const auto port = static_cast<uint16_t>(kFirstChosen + (start + i) % kCount);
      if (by_port_.count(port) == 0 && !past_.contains(port)) claim.local.port = port;
    }
    if (claim.local.port == 0) return fail(Error::kAddressInUse);
  } else if (conflicts(claim) || conflicts_with_past(claim)) {
    return fail(Error::kAddressInUse);
  }
  const uint64_t id = next_++;
  claims_.emplace(id, Held{claim});
  by_port_.emplace(claim.local.port, id);
  return Transport::Reserved{id, claim.local};
}

Result<void> Ports::listen(uint64_t id) {
  const auto found = claims_.find(id);
  if (found == claims_.end()) return fail(Error::kInvalid);
  Transport::Claim& own = found->second.claim;
  const auto [begin, end] = by_port_.equal_range(own.local.port);
  for (auto it = begin; it != end; ++it) {
    const Transport::Claim& other = claims_.at(it->second).claim;
    const bool share = own.reuse_port && other.reuse_port;
    if (it->second != id && other.listening && !share && overlap(own, other)) return fail(Error::kAddressInUse);
  }
  own.listening = true;
  return {};
}

void Ports::unlisten(uint64_t id) {
  const auto found = claims_.find(id);
  if (found != claims_.end()) found->second.claim.listening = false;
}

void Ports::hold(uint64_t id) {
  const auto found = claims_.find(id);
  if (found != claims_.end()) ++found->second.holders;
}

void Ports::release(uint64_t id) {
  const auto found = claims_.find(id);
  if (found == claims_.end() || --found->second.holders != 0) return;
  remember(found->second.claim);
  const auto [begin, end] = by_port_.equal_range(found->second.claim.local.port);
  for (auto it = begin; it != end; ++it) {
    if (it->second != id) continue;
    by_port_.erase(it);
    break;
  }
  claims_.erase(found);
}

}  // namespace millrace::posix
