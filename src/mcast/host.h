// The host side of IGMP and MLD on one interface, one family (RFC 3376 5, RFC 3810 6, older queriers: RFC 3376 7, RFC
// 3810 8, RFC 2236, RFC 2710). Pure state: memberships, queries and time go in, reports come out.
//
// Limit: kMaxGroups; beyond it set_filter() says kTooMany. 224.0.0.1, ff02::1 and groups of the node or below are never
// reported.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "mcast/messages.h"
#include "millrace/result.h"

namespace millrace::mcast {

inline constexpr size_t kMaxGroups = 256;

/// What an interface wants of a group: everything but some sources, or only some. Only none = not a member.
struct Filter {
  bool exclude = false;
  std::vector<IpAddr> sources{};  ///< sorted, at most kMaxSources
  [[nodiscard]] bool member() const { return exclude || !sources.empty(); }
  bool operator==(const Filter&) const = default;
};
/// RFC 3376 3.2: what the interface must want for all of its sockets to get what they want.
[[nodiscard]] Filter merge(std::span<const Filter> sockets);

class GroupHost {
 public:
  GroupHost(bool v4, uint64_t seed) : v4_(v4), rng_(seed) {}

  /// kTooMany (groups, sources), kInvalid (no group of this family).
  Result<void> set_filter(const IpAddr& group, const Filter& filter, Instant now);
  /// The link came up: everything is reported anew.
  void restart(Instant now);
  void hear_query(const Query& query, Instant now);
  /// Another host reported the group: in the older versions one report is enough.
  void hear_report(const IpAddr& group);
  void tick(Instant now, std::vector<Report>& out);

  [[nodiscard]] Instant next_deadline() const;
  [[nodiscard]] Version version(Instant now) const;
  [[nodiscard]] bool is_member(const IpAddr& group) const;

 private:
  struct Group {
    IpAddr addr;
    Filter filter{};
    Filter told{};                     // what the last change was a change from
    uint8_t changes_left = 0;          // reports of the last change still to send
    bool mode_changed = false;
    Instant change_at = kNever;
    Instant answer_at = kNever;        // a query about the group, or (older versions) any query
    std::vector<IpAddr> asked{};       // of these sources only; empty = all
    bool last_reporter = false;
  };

  [[nodiscard]] bool reported(const IpAddr& group) const;
  Group* find(const IpAddr& group);
  Instant within(Duration range, Instant now);
  void change(Group& g, Instant now);
  void note_querier(const Query& query, Instant now);
  void report_change(Group& g, Instant now, std::vector<Record>& records, std::vector<Report>& out);
  void answer(Group& g, std::vector<Record>& records, Version version, std::vector<Report>& out) const;
  static Record state_of(const Group& g);

  bool v4_;
  base::Rng rng_;
  std::vector<Group> groups_;
  Instant general_at_ = kNever;
  Instant older1_until_{INT64_MIN};
  Instant older2_until_{INT64_MIN};
  uint8_t robustness_ = 2;
  Duration query_interval_ = seconds(125);
};

}  // namespace millrace::mcast
