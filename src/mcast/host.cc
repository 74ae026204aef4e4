#include "mcast/host.h"

#include <algorithm>

namespace millrace::mcast {
namespace {

using Kind = Report::Kind;

// RFC 3376 8.11, RFC 3810 9.11; RFC 2236 8.10 for the older versions.
constexpr Duration kUnsolicited3 = seconds(1);
constexpr Duration kUnsolicited2 = seconds(10);

std::vector<IpAddr> sorted(std::vector<IpAddr> list) {
  std::ranges::sort(list, {}, &IpAddr::bytes);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}
std::vector<IpAddr> without(const std::vector<IpAddr>& a, const std::vector<IpAddr>& b) {
  std::vector<IpAddr> out;
  std::ranges::set_difference(a, b, std::back_inserter(out), {}, &IpAddr::bytes, &IpAddr::bytes);
  return out;
}
std::vector<IpAddr> both(const std::vector<IpAddr>& a, const std::vector<IpAddr>& b) {
  std::vector<IpAddr> out;
  std::ranges::set_intersection(a, b, std::back_inserter(out), {}, &IpAddr::bytes, &IpAddr::bytes);
  return out;
}
std::vector<IpAddr> either(const std::vector<IpAddr>& a, const std::vector<IpAddr>& b) {
  std::vector<IpAddr> out;
  std::ranges::set_union(a, b, std::back_inserter(out), {}, &IpAddr::bytes, &IpAddr::bytes);
  return out;
}

}  // namespace

Filter merge(std::span<const Filter> sockets) {
  Filter out;
  std::vector<IpAddr> included;
  for (const Filter& f : sockets) {
    const std::vector<IpAddr> sources = sorted(f.sources);
    if (!f.exclude) {
      included = either(included, sources);
    } else if (!out.exclude) {
      out.exclude = true;
      out.sources = sources;
    } else {
      out.sources = both(out.sources, sources);
    }
  }
  out.sources = out.exclude ? without(out.sources, included) : included;
  return out;
}

// RFC 3376 5, RFC 3810 6: the all-hosts group and what stays on the node are nobody's business.
bool GroupHost::reported(const IpAddr& group) const {
  if (v4_) return group != IpAddr::v4(224, 0, 0, 1);
  const auto& b = group.bytes();
  if ((b[1] & 0x0f) < 2) return false;
  return group != IpAddr({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

GroupHost::Group* GroupHost::find(const IpAddr& group) {
  const auto at = std::ranges::find(groups_, group, &Group::addr);
  return at == groups_.end() ? nullptr : &*at;
}

bool GroupHost::is_member(const IpAddr& group) const {
  const Group* g = const_cast<GroupHost*>(this)->find(group);
  return g != nullptr && g->filter.member();
}

Version GroupHost::version(Instant now) const {
  if (older1_until_ > now) return Version::k1;
  return older2_until_ > now ? Version::k2 : Version::k3;
}

Instant GroupHost::within(Duration range, Instant now) {
  return now + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(range.ns()) + 1)));
}

Result<void> GroupHost::set_filter(const IpAddr& group, const Filter& wanted, Instant now) {
  if (!group.is_multicast() || group.is_v4() != v4_) return fail(Error::kInvalid);
  if (wanted.sources.size() > kMaxSources) return fail(Error::kTooMany);
  Filter filter = wanted;
  filter.sources = sorted(filter.sources);
  Group* g = find(group);
  if (g == nullptr) {
    if (!filter.member()) return {};
    if (groups_.size() >= kMaxGroups) return fail(Error::kTooMany);
    g = &groups_.emplace_back();
    g->addr = group;
  }
  if (g->filter == filter) return {};
  // A change on top of one that is still being reported is reported together with it (RFC 3376 5.1).
  if (g->changes_left == 0) {
    g->told = g->filter;
    g->mode_changed = false;
  }
  g->mode_changed = g->mode_changed || g->filter.exclude != filter.exclude;
  g->filter = filter;
  change(*g, now);
  return {};
}

void GroupHost::change(Group& g, Instant now) {
  if (!reported(g.addr)) {
    g.changes_left = 0;
    if (!g.filter.member()) groups_.erase(groups_.begin() + (&g - groups_.data()));
    return;
  }
  g.changes_left = robustness_;
  g.change_at = now;
}

void GroupHost::restart(Instant now) {
  general_at_ = kNever;
  std::erase_if(groups_, [](const Group& g) { return !g.filter.member(); });
  for (Group& g : groups_) {
    g.answer_at = kNever;
    g.told = {};
    g.mode_changed = g.filter.exclude;
    if (reported(g.addr)) change(g, now);
  }
}

// RFC 3376 7.2.1, 8.12; RFC 3810 8.2.1, 9.12: an older querier is obeyed until it has been silent for long.
void GroupHost::note_querier(const Query& query, Instant now) {
  const Version before = version(now);
  const Instant until = now + query_interval_ * robustness_ + std::max(query.max_response, seconds(10));
  if (query.version == Version::k1) older1_until_ = until;
  if (query.version == Version::k2) older2_until_ = until;
  if (query.version == Version::k3) {
    if (query.robustness != 0) robustness_ = query.robustness;
    if (query.interval > Duration()) query_interval_ = query.interval;
  }
  if (version(now) == before) return;
  general_at_ = kNever;
  for (Group& g : groups_) {
    g.answer_at = kNever;
    g.changes_left = 0;
    g.change_at = kNever;
  }
  std::erase_if(groups_, [](const Group& g) { return !g.filter.member(); });
}

// RFC 3376 5.2, RFC 3810 6.2; RFC 2236 3, RFC 2710 4.
void GroupHost::hear_query(const Query& query, Instant now) {
  note_querier(query, now);
  const bool general = query.group.is_unspecified();
  const Instant at = within(query.max_response, now);
  if (version(now) != Version::k3) {
    for (Group& g : groups_) {
      if (!reported(g.addr) || (!general && g.addr != query.group) || g.answer_at <= at) continue;
      g.answer_at = at;
      g.asked.clear();
    }
    return;
  }
  if (general_at_ <= at) return;
  if (general) {
    general_at_ = at;
    return;
  }
  Group* g = find(query.group);
  if (g == nullptr || !reported(g->addr)) return;
  const bool pending = g->answer_at != kNever;
  const bool all = query.sources.empty() || (pending && g->asked.empty());
  std::vector<IpAddr> asked = all ? std::vector<IpAddr>() : either(g->asked, sorted(query.sources));
  if (asked.size() > kMaxSources) asked.clear();  // too many to remember: the whole state says it too
  g->asked = std::move(asked);
  g->answer_at = std::min(g->answer_at, at);
}

void GroupHost::hear_report(const IpAddr& group) {
  Group* g = find(group);
  if (g == nullptr) return;
  g->answer_at = kNever;
  g->last_reporter = false;
}

Record GroupHost::state_of(const Group& g) {
  return {g.filter.exclude ? RecordType::kIsExclude : RecordType::kIsInclude, g.addr, g.filter.sources};
}

void GroupHost::report_change(Group& g, Instant now, std::vector<Record>& records, std::vector<Report>& out) {
  const Version v = version(now);
  if (v != Version::k3) {
    if (g.filter.member()) {
      out.push_back({v == Version::k1 ? Kind::kReport1 : Kind::kReport2, g.addr, {}});
      g.last_reporter = true;
    } else if (v == Version::k2) {  // RFC 2236 6: a leave is said once
      out.push_back({Kind::kLeave, g.addr, {}});
      g.changes_left = 1;
    } else {
      g.changes_left = 1;
    }
  } else if (g.mode_changed) {
    records.push_back({g.filter.exclude ? RecordType::kToExclude : RecordType::kToInclude, g.addr, g.filter.sources});
  } else {
    const auto more = without(g.filter.sources, g.told.sources);
    const auto fewer = without(g.told.sources, g.filter.sources);
    const auto& allowed = g.filter.exclude ? fewer : more;
    const auto& blocked = g.filter.exclude ? more : fewer;
    if (!allowed.empty()) records.push_back({RecordType::kAllow, g.addr, allowed});
    if (!blocked.empty()) records.push_back({RecordType::kBlock, g.addr, blocked});
  }
  --g.changes_left;
  g.change_at = g.changes_left == 0 ? kNever : within(v == Version::k3 ? kUnsolicited3 : kUnsolicited2, now);
}

// RFC 3376 5.2, at the end: the answer to a query about a group, or about sources of it.
void GroupHost::answer(Group& g, std::vector<Record>& records, Version v, std::vector<Report>& out) const {
  if (!g.filter.member()) return;
  if (v != Version::k3) {
    out.push_back({v == Version::k1 ? Kind::kReport1 : Kind::kReport2, g.addr, {}});
    g.last_reporter = true;
    return;
  }
  if (g.asked.empty()) return records.push_back(state_of(g));
  const auto wanted = g.filter.exclude ? without(g.asked, g.filter.sources) : both(g.asked, g.filter.sources);
  if (!wanted.empty()) records.push_back({RecordType::kIsInclude, g.addr, wanted});
}

void GroupHost::tick(Instant now, std::vector<Report>& out) {
  std::vector<Record> changes;
  std::vector<Record> answers;
  if (general_at_ <= now) {
    general_at_ = kNever;
    for (Group& g : groups_) {
      if (g.filter.member() && reported(g.addr)) answers.push_back(state_of(g));
      g.answer_at = kNever;
      g.asked.clear();
    }
  }
  for (Group& g : groups_) {
    if (g.answer_at <= now) {
      g.answer_at = kNever;
      answer(g, answers, version(now), out);
      g.asked.clear();
    }
    if (g.changes_left != 0 && g.change_at <= now) report_change(g, now, changes, out);
  }
  std::erase_if(groups_, [](const Group& g) { return g.changes_left == 0 && !g.filter.member(); });
  if (!answers.empty()) out.push_back({Kind::kRecords, {}, std::move(answers)});
  if (!changes.empty()) out.push_back({Kind::kRecords, {}, std::move(changes)});
}

Instant GroupHost::next_deadline() const {
  Instant first = general_at_;
  for (const Group& g : groups_) first = std::min({first, g.answer_at, g.changes_left != 0 ? g.change_at : kNever});
  return first;
}

}  // namespace millrace::mcast
