// Default address selection (RFC 6724): which of our addresses a datagram is from, and in which order the addresses of
// a peer are to be tried. Pure functions; the candidates come from Addresses.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ip/addresses.h"
#include "millrace/address.h"

namespace millrace::ip {

/// RFC 4291 2.7 scopes, RFC 6724 3.2 for IPv4.
[[nodiscard]] uint8_t scope_of(const IpAddr& addr);

/// The default policy table, RFC 6724 2.1.
struct Policy {
  uint8_t precedence = 0;
  uint8_t label = 0;
};
[[nodiscard]] Policy policy_of(const IpAddr& addr);

/// Leading bits that two addresses of one family share.
[[nodiscard]] uint32_t common_prefix(const IpAddr& a, const IpAddr& b);

/// What sources are compared for.
struct SourceQuestion {
  IpAddr destination;
  IpAddr next;                         ///< next hop on the way there
  IfIndex interface = IfIndex::kNone;  ///< that it leaves by
};
/// Whether source `a` is better than `b` (RFC 6724 5, rules 1, 2, 3, 5, 5.5, 6, 8).
[[nodiscard]] bool better_source(const Address& a, const Address& b, const SourceQuestion& q);

/// A destination with the source that would be used for it; an unspecified source: there is no way there.
struct Candidate {
  IpAddr destination;
  IpAddr source;
  bool preferred = true;  ///< the source is not deprecated
};
/// Sorts by RFC 6724 6, rules 1, 2, 3, 5, 6, 8, 9, 10.
void sort_candidates(std::span<Candidate> candidates);

}  // namespace millrace::ip
