// The control worker's side and the replica's side of replica.h.
#include "ip/replica.h"

#include <algorithm>

#include "base/assert.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

using Kind = TableMessage::Kind;
using Reach = neigh::State;

// What a replica must know of a state: the control worker's probes are its own business.
Reach shown(Reach state) {
  return state == Reach::kDelay || state == Reach::kProbe ? Reach::kReachable : state;
}

}  // namespace

bool NeighbourSet::add(IfIndex interface, const IpAddr& addr) {
  if (members_.find(interface, addr) != 0) return true;
  if (size_ == ring_.size()) return false;
  members_.insert(interface, addr, 1);
  ring_[(first_ + size_++) % ring_.size()] = {interface, addr};
  return true;
}

std::optional<NeighbourSet::Key> NeighbourSet::take() {
  if (size_ == 0) return std::nullopt;
  const Key key = ring_[first_];
  first_ = (first_ + 1) % ring_.size();
  --size_;
  members_.erase(key.interface, key.addr);
  return key;
}

void NeighbourSet::clear() {
  while (take()) {
  }
}

// ---- control worker

// Called for every change of an entry; replicas hear only what concerns them.
void Ip::State::publish(neigh::Entry& entry) {
  if (feeds.empty()) return;
  const Reach state = shown(entry.reach.state());
  if (entry.told == state && entry.told_mac == entry.reach.mac()) return;
  entry.told = state;
  entry.told_mac = entry.reach.mac();
  for (Feed& feed : feeds) feed.changed(entry.interface, entry.addr);
}

void Ip::State::publish_gone(IfIndex interface, const IpAddr& addr) {
  for (Feed& feed : feeds) feed.changed(interface, addr);
}

void Ip::State::publish_tables() {
  for (Feed& feed : feeds) feed.tables = true;
}

void Ip::State::fill_series(Feed& feed) {
  feed.tables = false;
  feed.at = 0;
  feed.series.clear();
  const auto add = [&](Kind kind) -> TableMessage& {
    TableMessage& m = feed.series.emplace_back();
    m.kind = kind;
    return m;
  };
  add(Kind::kBegin);
  for (const Netif& nif : netifs) {
    TableMessage& m = add(Kind::kLink);
    m.interface = nif.index;
    m.up = nif.up;
    m.hop_limit = nif.config.limits.hop_limit;
    m.link_mtu = nif.config.limits.mtu;
    m.mtu = nif.learned_mtu[0];
    m.mtu6 = nif.learned_mtu[1];
  }
  for (const Address& a : addresses.all()) add(Kind::kAddress).address = a;
  for (const route::Tables::Line& line : routes.list()) add(Kind::kRoute).route = line;
  add(Kind::kEnd);
}

TableMessage Ip::State::neighbour_news(IfIndex interface, const IpAddr& addr) const {
  TableMessage m;
  m.kind = Kind::kNeighbour;
  m.interface = interface;
  m.addr = addr;
  const neigh::Entry* entry = neighbours.get(neighbours.find(interface, addr));
  if (entry == nullptr) return m;  // gone: as good as failed, and asked for again when it is used
  m.state = shown(entry->reach.state());
  if (entry->reach.has_mac()) m.mac = entry->reach.mac();
  return m;
}

// A new path MTU, learned here or heard of.
void Ip::State::publish_mtu(const IpAddr& destination) {
  if (following) (void)following->mtus.add(IfIndex::kNone, destination);
  for (Feed& feed : feeds) (void)feed.mtus.add(IfIndex::kNone, destination);
}

size_t Ip::State::tell_mtus(NeighbourSet& set, std::span<TableMessage> out) {
  size_t n = 0;
  while (n < out.size()) {
    const auto key = set.take();
    if (!key) break;
    const Pmtu::Found found = pmtu.find(key->addr);
    if (found.mtu == 0xffff) continue;  // forgotten meanwhile
    TableMessage m;
    m.kind = Kind::kPathMtu;
    m.addr = key->addr;
    m.mtu = found.mtu;
    m.locked = found.locked;
    out[n++] = m;
  }
  return n;
}

void Ip::State::hear_mtu(const TableMessage& m, Instant now) {
  const Pmtu::Found before = pmtu.find(m.addr);
  if (before.mtu <= m.mtu && (before.locked || !m.locked)) return;
  pmtu.learn(m.addr, {m.mtu, m.locked}, now + microseconds(config.settings.pmtu_age_us));
  ++ip.epoch_;  // whoever holds a route looks again
  for (Feed& feed : feeds) (void)feed.mtus.add(IfIndex::kNone, m.addr);
}

size_t Ip::State::tell_replica(Feed& feed, std::span<TableMessage> out) {
  size_t n = 0;
  if (feed.doubt && n < out.size()) {
    feed.doubt = false;
    out[n++].kind = Kind::kDoubt;
  }
  if (feed.tables && !out.empty()) fill_series(feed);
  while (n < out.size() && feed.at < feed.series.size()) out[n++] = feed.series[feed.at++];
  n += tell_mtus(feed.mtus, out.subspan(n));
  while (n < out.size()) {
    const auto key = feed.neighbours.take();
    if (!key) break;
    const TableMessage m = neighbour_news(key->interface, key->addr);
    // Being resolved: the answer will be news.
    if (m.state != Reach::kIncomplete) out[n++] = m;
  }
  return n;
}

void Ip::State::hear_replica(Feed& feed, const TableMessage& m, Instant now) {
  if (find(m.interface) == nullptr) return;
  const bool wanted = m.kind == Kind::kWanted;
  const neigh::EntryId id = wanted ? obtain_neighbour(m.interface, m.addr) : neighbours.find(m.interface, m.addr);
  if (wanted && id.valid()) act(id, neighbours.use(id, now), now);
  if (!wanted && id.valid()) {
    m.kind == Kind::kConfirmed ? neighbours.confirm(id, now) : neighbours.suspect(id, now);
    act(id, {}, now);
  }
  if (wanted) feed.changed(m.interface, m.addr);
}

// Joins for the replica, so that the group is reported and let in.
void Ip::State::hear_member(Feed& feed, const TableMessage& m) {
  if (m.kind == Kind::kSource) {
    if (feed.sources_left == 0) return;
    feed.coming.filter.sources.push_back(m.addr);
    if (--feed.sources_left == 0) adopt_member(feed);
    return;
  }
  feed.coming = {m.interface, m.addr, {m.exclude, {}}};
  feed.sources_left = m.up ? m.sources : uint8_t{0};
  if (m.up) {
    if (feed.sources_left == 0) adopt_member(feed);
    return;
  }
  const auto gone = std::ranges::find_if(
      feed.joined, [&](const GroupWish& w) { return w.interface == m.interface && w.group == m.addr; });
  if (gone == feed.joined.end()) return;
  feed.joined.erase(gone);
  (void)leave(m.interface, m.addr);
}

void Ip::State::adopt_member(Feed& feed) {
  const GroupWish& wish = feed.coming;
  for (GroupWish& w : feed.joined) {
    if (w.interface != wish.interface || w.group != wish.group) continue;
    w.filter = wish.filter;
    for (GroupInfo& g : groups) {
      if (g.interface == wish.interface && g.group == wish.group) combine(g);
    }
    return;
  }
  feed.joined.push_back(wish);
  if (join(wish.interface, wish.group)) return;
  feed.joined.pop_back();
  counters.add(IpCounter::kGroupsRefused);
}

// ---- replica

// Makes the series of one difference between what was told and what is; both are bounded by the groups of a worker.
bool Ip::State::next_member() {
  Following& f = *following;
  const auto tell = [&](const GroupWish& w, bool up) {
    f.at = 0;
    f.series.assign(1, {});
    f.series[0].kind = Kind::kMember;
    f.series[0].interface = w.interface;
    f.series[0].addr = w.group;
    f.series[0].up = up;
    if (!up) return;
    f.series[0].exclude = w.filter.exclude;
    f.series[0].sources = static_cast<uint8_t>(w.filter.sources.size());
    for (const IpAddr& source : w.filter.sources) {
      f.series.emplace_back().kind = Kind::kSource;
      f.series.back().addr = source;
    }
  };
  const auto same = [](const GroupWish& w, const GroupInfo& g) {
    return w.interface == g.interface && w.group == g.group;
  };
  for (auto told = f.members.begin(); told != f.members.end(); ++told) {
    const auto now = std::ranges::find_if(groups, [&](const GroupInfo& g) { return same(*told, g); });
    if (now != groups.end() && now->filter == told->filter) continue;
    if (now != groups.end()) {
      told->filter = now->filter;
      tell(*told, true);
    } else {
      tell(*told, false);
      f.members.erase(told);
    }
    return true;
  }
  for (const GroupInfo& g : groups) {
    if (std::ranges::any_of(f.members, [&](const GroupWish& w) { return same(w, g); })) continue;
    f.members.push_back({g.interface, g.group, g.filter});
    tell(f.members.back(), true);
    return true;
  }
  f.members_version = groups_version;
  return false;
}

size_t Ip::State::tell_members(std::span<TableMessage> out) {
  Following& f = *following;
  size_t n = 0;
  while (n < out.size()) {
    if (f.at < f.series.size()) {
      out[n++] = f.series[f.at++];
    } else if (f.members_version == groups_version || !next_member()) {
      break;
    }
  }
  return n;
}

// A packet is about to be sent to the neighbour.
void Ip::State::want(neigh::EntryId id, Instant now) {
  neigh::Entry& entry = *neighbours.get(id);
  const Reach state = entry.reach.state();
  if (state == Reach::kFailed || state == Reach::kStale) {
    (void)following->wanted.add(entry.interface, entry.addr);
    (void)neighbours.mirror(id, state == Reach::kFailed ? Reach::kIncomplete : Reach::kDelay, entry.reach.mac());
  }
  sync_hop(entry, now);
}

size_t Ip::State::tell_control(std::span<TableMessage> out) {
  size_t n = 0;
  const auto drain = [&](NeighbourSet& set, Kind kind) {
    while (n < out.size()) {
      const auto key = set.take();
      if (!key) break;
      out[n] = TableMessage{};
      out[n].kind = kind;
      out[n].interface = key->interface;
      out[n++].addr = key->addr;
    }
  };
  drain(following->wanted, Kind::kWanted);
  drain(following->confirmed, Kind::kConfirmed);
  drain(following->suspected, Kind::kSuspected);
  n += tell_mtus(following->mtus, out.subspan(n));
  return n + tell_members(out.subspan(n));
}

void Ip::State::hear_control(const TableMessage& m, Instant now) {
  switch (m.kind) {
    case Kind::kBegin:
      following->in_series = true;
      following->coming.clear();
      return;
    case Kind::kLink:
    case Kind::kAddress:
    case Kind::kRoute:
      if (following->in_series) following->coming.push_back(m);
      return;
    case Kind::kEnd:
      if (following->in_series) adopt_tables(now);
      following->in_series = false;
      return;
    case Kind::kNeighbour: return adopt_neighbour(m, now);
    case Kind::kDoubt: return doubt_neighbours(now);
    case Kind::kPathMtu: return hear_mtu(m, now);
    default: return;
  }
}

// The new tables replace the old ones whole; nothing is seen half-way.
void Ip::State::adopt_tables(Instant) {
  Addresses new_addresses;
  route::Tables new_routes(config.max_routes);
  for (const TableMessage& m : following->coming) {
    if (m.kind == Kind::kLink) {
      Netif* nif = find(m.interface);
      if (nif == nullptr) continue;
      if (nif->up != m.up) switch_link(*nif, m.up);
      set_hop_limit(*nif, m.hop_limit);
      use_mtu(*nif, m.link_mtu);
      nif->learned_mtu = {m.mtu, m.mtu6};
    } else if (m.kind == Kind::kAddress) {
      new_addresses.add(m.address.interface, m.address.prefix);
      new_addresses.mark(m.address.prefix.addr, m.address.deprecated, m.address.optimistic);
    } else {
      (void)new_routes.add(m.route.prefix, m.route.hop, m.route.table);
    }
  }
  addresses = std::move(new_addresses);
  routes = std::move(new_routes);
  following->coming.clear();
  refresh_topology();
}

void Ip::State::adopt_neighbour(const TableMessage& m, Instant now) {
  const neigh::EntryId id = neighbours.find(m.interface, m.addr);
  if (!id.valid()) return;  // nobody here talks to it
  const neigh::Step step = neighbours.mirror(id, m.state, m.mac);
  act(id, step, now);
}

void Ip::State::doubt_neighbours(Instant now) {
  neighbours.for_each([&](neigh::EntryId id, neigh::Entry& entry) {
    if (entry.reach.state() == Reach::kFailed) return;
    if (entry.reach.state() == Reach::kIncomplete) {
      (void)following->wanted.add(entry.interface, entry.addr);
      return;
    }
    (void)neighbours.mirror(id, Reach::kStale, entry.reach.mac());
    sync_hop(entry, now);
  });
}

// ---- the doors

size_t Ip::tell(uint32_t worker, std::span<TableMessage> out) {
  State& s = *state_;
  if (s.following) return worker == 0 ? s.tell_control(out) : 0;
  return worker >= 1 && worker <= s.feeds.size() ? s.tell_replica(s.feeds[worker - 1], out) : 0;
}

bool Ip::has_news(uint32_t worker) const {
  const State& s = *state_;
  if (s.following) {
    const Following& f = *s.following;
    return worker == 0 && (!f.empty() || f.at < f.series.size() || f.members_version != s.groups_version);
  }
  return worker >= 1 && worker <= s.feeds.size() && !s.feeds[worker - 1].empty();
}

void Ip::hear(uint32_t worker, std::span<const TableMessage> news, Instant now) {
  State& s = *state_;
  for (const TableMessage& m : news) {
    if (s.following) {
      if (worker == 0) s.hear_control(m, now);
    } else if (m.kind == Kind::kPathMtu) {
      s.hear_mtu(m, now);
    } else if (worker >= 1 && worker <= s.feeds.size() && (m.kind == Kind::kMember || m.kind == Kind::kSource)) {
      s.hear_member(s.feeds[worker - 1], m);
    } else if (worker >= 1 && worker <= s.feeds.size() &&
               (m.kind == Kind::kWanted || m.kind == Kind::kConfirmed || m.kind == Kind::kSuspected)) {
      s.hear_replica(s.feeds[worker - 1], m, now);
    }
  }
}

}  // namespace millrace::ip
