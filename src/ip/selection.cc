#include "ip/selection.h"

#include <algorithm>
#include <bit>

#include "wire/bytes.h"

namespace millrace::ip {
namespace {

constexpr uint8_t kInterfaceLocal = 1;
constexpr uint8_t kLinkLocal = 2;
constexpr uint8_t kSiteLocal = 5;
constexpr uint8_t kGlobal = 14;

struct PolicyRow {
  Prefix prefix;
  Policy policy;
};

// ::ffff:0:0/96 is how IpAddr holds IPv4.
const PolicyRow kPolicies[] = {
    {{IpAddr({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}), 128}, {50, 0}},
    {{IpAddr({0x20, 0x01}), 32}, {5, 5}},
    {{IpAddr({0x20, 0x02}), 16}, {30, 2}},
    {{IpAddr({0xfc}), 7}, {3, 13}},
    {{IpAddr({0xfe, 0xc0}), 10}, {1, 11}},
    {{IpAddr({0x3f, 0xfe}), 16}, {1, 12}},
};

uint32_t shared_with(const Candidate& c) {
  return c.destination.is_v4() == c.source.is_v4() ? common_prefix(c.destination, c.source) : 0;
}

// Whether `a` is to be tried before `b`.
bool goes_first(const Candidate& a, const Candidate& b) {
  const bool usable = !a.source.is_unspecified();
  if (usable != !b.source.is_unspecified()) return usable;  // rule 1
  const bool scope = scope_of(a.destination) == scope_of(a.source);
  if (scope != (scope_of(b.destination) == scope_of(b.source))) return scope;  // rule 2
  if (a.preferred != b.preferred) return a.preferred;                          // rule 3
  const Policy pa = policy_of(a.destination);
  const Policy pb = policy_of(b.destination);
  const bool label = pa.label == policy_of(a.source).label;
  if (label != (pb.label == policy_of(b.source).label)) return label;        // rule 5
  if (pa.precedence != pb.precedence) return pa.precedence > pb.precedence;  // rule 6
  if (scope_of(a.destination) != scope_of(b.destination)) {
    return scope_of(a.destination) < scope_of(b.destination);  // rule 8
  }
  if (a.destination.is_v4() || b.destination.is_v4()) return false;
  return shared_with(a) > shared_with(b);  // rule 9; rule 10: else as they came
}

}  // namespace

uint8_t scope_of(const IpAddr& addr) {
  const auto& b = addr.bytes();
  if (addr.is_multicast()) return addr.is_v6() ? b[1] & 0x0f : kGlobal;
  if (addr.is_loopback() || addr.is_link_local()) return kLinkLocal;
  if (addr.is_v6() && b[0] == 0xfe && (b[1] & 0xc0) == 0xc0) return kSiteLocal;
  return addr.is_unspecified() ? kInterfaceLocal : kGlobal;
}

Policy policy_of(const IpAddr& addr) {
  if (addr.is_v4()) return {35, 4};
  for (const PolicyRow& row : kPolicies) {
    if (row.prefix.contains(addr)) return row.policy;
  }
  const auto& b = addr.bytes();
  if (std::all_of(b.begin(), b.begin() + 12, [](uint8_t byte) { return byte == 0; })) return {1, 3};  // ::/96
  return {40, 1};
}

uint32_t common_prefix(const IpAddr& a, const IpAddr& b) {
  uint32_t bits = a.is_v4() ? 96 : 0;
  const uint32_t skipped = bits;
  for (size_t at = bits / 8; at < 16; ++at, bits += 8) {
    const auto differ = static_cast<uint8_t>(a.bytes()[at] ^ b.bytes()[at]);
    if (differ != 0) return bits + static_cast<uint32_t>(std::countl_zero(differ)) - skipped;
  }
  return bits - skipped;
}

bool better_source(const Address& a, const Address& b, const SourceQuestion& q) {
  const IpAddr& sa = a.prefix.addr;
  const IpAddr& sb = b.prefix.addr;
  if ((sa == q.destination) != (sb == q.destination)) return sa == q.destination;  // rule 1
  const uint8_t scope_a = scope_of(sa);
  const uint8_t scope_b = scope_of(sb);
  const uint8_t scope_d = scope_of(q.destination);
  if (scope_a != scope_b) return scope_a < scope_b ? scope_a >= scope_d : scope_b < scope_d;  // rule 2
  const bool fresh_a = !a.deprecated && !a.optimistic;  // RFC 4429 3.1: an optimistic one counts as deprecated
  if (fresh_a != (!b.deprecated && !b.optimistic)) return fresh_a;  // rule 3
  const bool here_a = a.interface == q.interface;
  if (here_a != (b.interface == q.interface)) return here_a;  // rule 5
  // Rule 5.5, as near as we can tell: an address of the next hop's prefix.
  const uint32_t next_a = a.prefix.contains(q.next) ? a.prefix.length + 1U : 0;
  const uint32_t next_b = b.prefix.contains(q.next) ? b.prefix.length + 1U : 0;
  if (next_a != next_b) return next_a > next_b;
  const uint8_t label = policy_of(q.destination).label;
  const bool label_a = policy_of(sa).label == label;
  if (label_a != (policy_of(sb).label == label)) return label_a;  // rule 6
  // Rule 8: no more bits count than the source's prefix has.
  const uint32_t shared_a = std::min<uint32_t>(common_prefix(sa, q.destination), a.prefix.length);
  const uint32_t shared_b = std::min<uint32_t>(common_prefix(sb, q.destination), b.prefix.length);
  return shared_a > shared_b;
}

void sort_candidates(std::span<Candidate> candidates) { std::ranges::stable_sort(candidates, goes_first); }

}  // namespace millrace::ip
