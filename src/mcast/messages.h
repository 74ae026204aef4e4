// IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810) messages as values: both families say the same things in
// different bytes. Parsers take a message whose checksum has been seen to; writers fill it in.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "millrace/address.h"
#include "millrace/time.h"
#include "wire/bytes.h"

namespace millrace::mcast {

/// Sources of one query or record that we look at; a query with more counts as one about the whole group.
inline constexpr size_t kMaxSources = 64;

/// The three generations: IGMPv1; IGMPv2 and MLDv1; IGMPv3 and MLDv2.
enum class Version : uint8_t { k1 = 1, k2 = 2, k3 = 3 };

struct Query {
  Version version = Version::k3;
  IpAddr group{};                  ///< unspecified: all groups
  Duration max_response{};
  Duration interval{};             ///< the querier's; 0 = not said
  uint8_t robustness = 0;          ///< 0 = not said
  std::vector<IpAddr> sources{};   ///< empty: all sources
};

enum class RecordType : uint8_t {
  kIsInclude = 1,
  kIsExclude = 2,
  kToInclude = 3,
  kToExclude = 4,
  kAllow = 5,
  kBlock = 6,
};
struct Record {
  RecordType type = RecordType::kIsExclude;
  IpAddr group{};
  std::vector<IpAddr> sources{};
  bool operator==(const Record&) const = default;
};

/// What to send: records (third version), or one group.
struct Report {
  enum class Kind : uint8_t { kRecords, kReport1, kReport2, kLeave };
  Kind kind = Kind::kRecords;
  IpAddr group{};
  std::vector<Record> records{};
};

/// Nothing if it is no well-formed query.
[[nodiscard]] std::optional<Query> parse_igmp_query(wire::Bytes message);
[[nodiscard]] std::optional<Query> parse_mld_query(wire::Bytes message);
/// The group of another host's report of the first or second generation; nothing for anything else.
[[nodiscard]] std::optional<IpAddr> parse_igmp_report(wire::Bytes message);
[[nodiscard]] std::optional<IpAddr> parse_mld_report(wire::Bytes message);

/// Writes a report into the front of `out`, as many of its records from `first` on as fit, and moves `first` behind
/// them; returns the size. The MLD checksum is the caller's (wire::seal_icmpv6).
size_t emit_igmp(const Report& report, size_t& first, wire::MutableBytes out);
size_t emit_mld(const Report& report, size_t& first, wire::MutableBytes out);
/// Where it goes to.
[[nodiscard]] IpAddr destination_of(const Report& report, bool v4);

}  // namespace millrace::mcast
