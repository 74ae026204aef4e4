// The public face of Ip: interfaces, addresses, routes and neighbours as operators see them. The rest is forwarded to
// State, which lives in the files of its concepts.
#include "ip/ip.h"

#include <algorithm>

#include "base/assert.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

uint32_t max_hops(const Config& config) { return 2 * config.max_neighbours + 2; }

base::SipKey key_of(uint64_t seed, uint64_t purpose) {
  base::Rng rng(seed ^ purpose);
  return {rng.next(), rng.next()};
}

// RFC 4291 appendix A: fe80::/64 and the modified EUI-64 of the MAC address, unless the interface has an identifier of
// its own.
IpAddr link_local_of(const link::NetifConfig& config) {
  if (config.interface_id != 0) {
    std::array<uint8_t, 16> bytes{0xfe, 0x80};
    for (size_t i = 0; i < 8; ++i) bytes[8 + i] = static_cast<uint8_t>(config.interface_id >> (56 - 8 * i));
    return IpAddr(bytes);
  }
  const auto& m = config.mac.bytes;
  const auto first = static_cast<uint8_t>(m[0] ^ 2);
  return IpAddr({0xfe, 0x80, 0, 0, 0, 0, 0, 0, first, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]});
}

}  // namespace

Ip::State::State(Ip& owner, const Config& c)
    : ip(owner),
      config(c),
      packets(*c.packets),
      book(c.seed ^ 0x626f6f6b),
      routes(c.max_routes),
      neighbours({c.max_neighbours, c.pending_per_neighbour, c.pending_total}, {}, c.seed),
      hops(1),
      hop_index(max_hops(c), key_of(c.seed, 0x686f7073)),
      error_limit(c.icmp_errors_per_second, std::max(1U, c.icmp_errors_per_second / 10)),
      echo_limit(c.icmp_echo_per_second, std::max(1U, c.icmp_echo_per_second / 10)),
      reassembly(config.settings, packets, counters, key_of(c.seed, 0x66726167)),
      ids(c.seed ^ 0x69647300, c.workers, c.worker),
      pmtu(static_cast<uint32_t>(c.settings.pmtu_entries), key_of(c.seed, 0x706d7475)) {
  netifs.reserve(kMaxInterfaces);
  MR_ASSERT(c.worker < c.workers);
  if (c.siblings) return;
  const uint32_t changes = 2 * c.max_neighbours;
  if (c.worker != 0) following.emplace(changes, key_of(c.seed + 1, 0x686f7073));
  for (uint32_t i = 1; c.worker == 0 && i < c.workers; ++i) feeds.emplace_back(changes, key_of(c.seed + i, 0x686f7073));
}

// The caller refreshes what depends on the set of links.
void Ip::State::switch_link(Netif& nif, bool up) {
  nif.up = up;
  if (up) return;
  forget_neighbours(nif.index, false);
  pkt::Packet* frame = nullptr;
  for (link::TxQueue& queue : nif.queues) {
    while (queue.pop({&frame, 1}) == 1) drop_out(frame, IpCounter::kOutLinkDown);
  }
}

void Ip::State::use_mtu(Netif& nif, uint16_t mtu) {
  nif.config.limits.mtu = mtu;
  ip.limits_[static_cast<size_t>(nif.index)].mtu = mtu;
}

Result<void> Ip::set_mtu(IfIndex interface, uint16_t mtu) {
  Netif* nif = state_->find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  if (mtu < wire::kIpv6MinMtu || mtu > nif->device_mtu) return fail(Error::kInvalid);
  state_->use_mtu(*nif, mtu);
  state_->bump_epoch();
  return {};
}

Netif* Ip::State::find(IfIndex interface) {
  const size_t i = static_cast<size_t>(interface) - 1;
  return i < netifs.size() ? &netifs[i] : nullptr;
}
const Netif* Ip::State::find(IfIndex interface) const { return const_cast<State*>(this)->find(interface); }

Ip::Ip(const Config& config) {
  MR_ASSERT(config.packets != nullptr && config.max_neighbours > 0);
  hops_.reserve(size_t{max_hops(config)} + 1);
  hops_.emplace_back();
  limits_.emplace_back();
  state_ = std::make_unique<State>(*this, config);
}

Ip::~Ip() { clear(); }

void Ip::clear() {
  State& s = *state_;
  s.neighbours.for_each([&](neigh::EntryId id, neigh::Entry&) {
    while (pkt::Packet* packet = s.neighbours.dequeue(id)) s.packets.free(packet);
  });
  for (Netif& nif : s.netifs) {
    pkt::Packet* frame = nullptr;
    for (link::TxQueue& queue : nif.queues) {
      while (queue.pop({&frame, 1}) == 1) s.packets.free(frame);
    }
  }
  s.reassembly.clear();
  errors_.clear();
}

Result<IfIndex> Ip::add_interface(const link::NetifConfig& config) {
  State& s = *state_;
  if (s.netifs.size() >= kMaxInterfaces) return fail(Error::kTooMany);
  if (std::ranges::any_of(s.netifs, [&](const Netif& n) { return n.config.name == config.name; })) {
    return fail(Error::kAlreadyExists);
  }
  const bool ethernet = config.kind == link::LinkKind::kEthernet;
  if (ethernet && config.mac.is_group()) return fail(Error::kInvalid);
  const auto index = static_cast<IfIndex>(s.netifs.size() + 1);
  s.netifs.push_back(
      {config, index, true, {link::TxQueue(s.config.transmit_queue), link::TxQueue(s.config.transmit_queue)}});
  s.netifs.back().device_mtu = config.limits.mtu;
  limits_.push_back(config.limits);
  s.refresh_topology();
  if (ethernet && !s.following) {
    // RFC 4862 5.3. Several interfaces may share a MAC address; the first keeps the link-local address.
    const Prefix prefix{link_local_of(config), 64};
    if (s.addresses.find(prefix.addr) == nullptr) {
      (void)s.add_address(s.netifs.back(), {index, prefix, autoconf::Origin::kLinkLocal}, Instant{});
    }
  }
  return index;
}

Result<void> Ip::add_route(const Prefix& prefix, IfIndex interface, const IpAddr& gateway, uint32_t table,
                           uint32_t metric) {
  State& s = *state_;
  const Netif* nif = s.find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  if (nif->is_loopback() || prefix.addr.is_multicast()) return fail(Error::kInvalid);
  if (gateway.is_multicast() || (!gateway.is_unspecified() && s.addresses.contains(gateway))) {
    return fail(Error::kInvalid);
  }
  const auto added = s.routes.add(prefix, {interface, gateway, metric}, table);
  if (added) s.bump_epoch();
  return added;
}

Result<void> Ip::remove_route(const Prefix& prefix, IfIndex interface, uint32_t table) {
  const auto removed = state_->routes.remove(prefix, interface, table);
  if (removed) state_->bump_epoch();
  return removed;
}

Result<void> Ip::add_neighbour(IfIndex interface, const IpAddr& addr, const MacAddr& mac) {
  State& s = *state_;
  const Netif* nif = s.find(interface);
  if (nif == nullptr) return fail(Error::kNotFound);
  if (nif->is_loopback() || mac.is_group() || addr.is_unspecified() || addr.is_multicast() ||
      s.addresses.contains(addr)) {
    return fail(Error::kInvalid);
  }
  const neigh::EntryId id = s.obtain_neighbour(interface, addr);
  if (!id.valid()) return fail(Error::kTooMany);
  s.act(id, s.neighbours.set_static(id, mac), Instant{});
  return {};
}

Result<void> Ip::remove_neighbour(IfIndex interface, const IpAddr& addr) {
  State& s = *state_;
  const neigh::EntryId id = s.neighbours.find(interface, addr);
  if (!id.valid()) return fail(Error::kNotFound);
  s.drop_pending(id, IpCounter::kOutUnresolved);
  const uint32_t hop = s.neighbours.get(id)->tag;
  s.neighbours.remove(id);
  s.publish_gone(interface, addr);
  if (hop != 0) hops_[hop].usable_until = Instant{INT64_MIN};
  return {};
}

void Ip::set_hook(HookPoint point, Hook hook, void* context) {
  state_->hooks[static_cast<size_t>(point)] = {hook, context};
  // Every hop goes the slow way once, and from there on if the output hook is set.
  for (HopCache& cache : hops_) cache.usable_until = Instant{INT64_MIN};
}
bool Ip::has_hook(HookPoint point) const { return state_->hooks[static_cast<size_t>(point)].hook != nullptr; }

Result<void> Ip::set(uint16_t row, int64_t value) {
  if (row >= std::size(kSettingRows)) return fail(Error::kNotFound);
  const SettingRow& r = kSettingRows[row];
  const auto changed = base::with_row(state_->config.settings, r, value);
  if (!changed) return fail(Error::kInvalid);
  if (r.field == &Settings::reassembly_datagrams || r.field == &Settings::pmtu_entries) {
    return fail(Error::kNotSupported);
  }
  if (changed->reassembly_source_bytes > changed->reassembly_bytes) return fail(Error::kInvalid);
  state_->config.settings = *changed;
  return {};
}
const Settings& Ip::settings() const { return state_->config.settings; }

std::optional<Datagram> Ip::input(IfIndex interface, pkt::Packet* frame, Instant now) {
  return state_->input(interface, frame, now);
}
Result<Route> Ip::route(const IpAddr& destination, const IpAddr& source, uint32_t table) {
  return state_->route(destination, source, table);
}
Result<Route> Ip::route_back(const IpAddr& destination, const IpAddr& source, IfIndex interface) {
  return state_->route_back(destination, source, interface);
}
bool Ip::accepts(const IpAddr& source, const IpAddr& destination, IfIndex interface) const {
  return state_->accepts(source, destination, interface);
}
void Ip::sort_destinations(std::span<IpAddr> destinations, uint32_t table) const {
  state_->sort_destinations(destinations, table);
}
bool Ip::is_local(const IpAddr& addr) const { return state_->addresses.contains(addr); }
const link::NetifConfig& Ip::interface(IfIndex interface) const {
  const Netif* nif = state_->find(interface);
  MR_ASSERT(nif != nullptr);
  return nif->config;
}
size_t Ip::interface_count() const { return state_->netifs.size(); }
bool Ip::frame_slow(HopId hop, pkt::Packet* packet, Instant now) {
  return state_->frame_slow(static_cast<uint32_t>(hop), packet, now);
}
void Ip::suspect(HopId hop, Instant now) { state_->suspect(static_cast<uint32_t>(hop), now); }
void Ip::confirm_slow(HopId hop, Instant now) { state_->confirm_slow(static_cast<uint32_t>(hop), now); }
Result<void> Ip::send(const SendArgs& args, pkt::Packet* packet, Instant now) {
  return state_->send(args, packet, now);
}
uint16_t Ip::learn_mtu(const IpAddr& destination, uint16_t mtu, Instant now) {
  return state_->learn_mtu(destination, mtu, now);
}
void Ip::transmit(IfIndex interface, pkt::Packet* frame, Lane lane) { state_->transmit(interface, frame, lane); }
size_t Ip::drain(IfIndex interface, Lane lane, std::span<pkt::Packet*> out) {
  Netif* nif = state_->find(interface);
  return nif == nullptr ? 0 : nif->queues[static_cast<size_t>(lane)].pop(out);
}
uint32_t Ip::transmit_room(IfIndex interface, Lane lane) const {
  const Netif* nif = state_->find(interface);
  return nif == nullptr ? 0 : nif->queues[static_cast<size_t>(lane)].room();
}
Result<void> Ip::join(IfIndex interface, const IpAddr& group) { return state_->join(interface, group); }
Result<void> Ip::leave(IfIndex interface, const IpAddr& group) { return state_->leave(interface, group); }
void Ip::set_sources(IfIndex interface, const IpAddr& group, mcast::Filter filter) {
  state_->set_sources(interface, group, std::move(filter));
}
bool Ip::is_member(IfIndex interface, const IpAddr& group) const { return state_->is_member(interface, group); }
std::vector<Ip::GroupInfo> Ip::groups() const { return state_->groups; }
uint32_t Ip::groups_version() const { return state_->groups_version; }
Result<Route> Ip::group_route(const IpAddr& destination, const IpAddr& source, IfIndex interface) {
  return state_->group_route(destination, source, interface);
}
bool Ip::is_broadcast(const IpAddr& addr) const {
  return addr.is_limited_broadcast() || state_->addresses.is_broadcast(addr);
}
void Ip::set_icmp_listener(IcmpListener listener, void* context) {
  state_->icmp_listener = listener;
  state_->icmp_context = context;
}
void Ip::port_unreachable(const Datagram& datagram, Instant now) { state_->port_unreachable(datagram, now); }
bool Ip::has_output(IfIndex interface, Lane lane) const {
  const Netif* nif = state_->find(interface);
  return nif != nullptr && !nif->queues[static_cast<size_t>(lane)].empty();
}
size_t Ip::drain(IfIndex interface, std::span<pkt::Packet*> out) {
  const size_t n = drain(interface, Lane::kFirst, out);
  return n + drain(interface, Lane::kDatagrams, out.subspan(n));
}
bool Ip::has_output(IfIndex interface) const {
  return has_output(interface, Lane::kFirst) || has_output(interface, Lane::kDatagrams);
}
void Ip::advance(Instant now) {
  State& s = *state_;
  s.neighbours.advance(now, [&](neigh::EntryId id, const neigh::Step& step) { s.act(id, step, now); });
  s.reassembly.advance(now, [&](pkt::Packet& first, IfIndex interface, bool to_group) {
    s.reassembly_timed_out(first, interface, to_group, now);
  });
  if (s.pmtu.advance(now)) s.bump_epoch();  // RFC 1191 6.3: whoever holds a route may try larger datagrams again
  s.advance_groups(now);  // in front of the first probe (RFC 4862 5.4.2)
  s.book.advance(now, [&](const autoconf::BookEntry& entry, const autoconf::BookStep& step) {
    s.act_on_book(entry, step, now);
  });
  s.advance_autoconf(now);
}
Instant Ip::next_deadline() const {
  const State& s = *state_;
  return std::min({state_->neighbours.next_deadline(), s.reassembly.next_deadline(), s.pmtu.next_deadline(),
                   s.book.next_deadline(), s.autoconf_deadline(), s.groups_deadline()});
}

std::vector<Ip::NeighbourInfo> Ip::neighbours() const {
  std::vector<NeighbourInfo> out;
  state_->neighbours.for_each([&](neigh::EntryId, const neigh::Entry& e) {
    out.push_back({e.interface, e.addr, e.reach.has_mac() ? e.reach.mac() : MacAddr{}, name_of(e.reach.state())});
  });
  return out;
}

std::vector<Ip::RouteInfo> Ip::routes() const {
  std::vector<RouteInfo> out;
  for (const auto& l : state_->routes.list()) {
    out.push_back({l.prefix, l.hop.interface, l.hop.gateway, l.table, l.hop.metric});
  }
  return out;
}

std::optional<Ip::RouteInfo> Ip::find_route(const IpAddr& destination, uint32_t table) const {
  const route::NextHop* hop = state_->routes.lookup(destination, table, state_->up_mask);
  if (hop == nullptr || is_local(destination)) return std::nullopt;
  std::optional<RouteInfo> best;
  for (const RouteInfo& r : routes()) {
    if (r.table != table || !r.prefix.contains(destination) || r.prefix.addr.is_v4() != destination.is_v4()) continue;
    if (r.interface != hop->interface || r.gateway != hop->gateway || r.metric != hop->metric) continue;
    if (!best || r.prefix.length > best->prefix.length) best = r;
  }
  return best;
}

bool Ip::is_up(IfIndex interface) const {
  const Netif* nif = state_->find(interface);
  return nif != nullptr && nif->up;
}

uint32_t Ip::addresses_version() const { return state_->addresses.version() + state_->book.version(); }

// A replica knows only those that may be used.
std::vector<Ip::AddressInfo> Ip::addresses() const {
  std::vector<AddressInfo> out;
  if (state_->following) {
    for (const Address& a : state_->addresses.all()) out.push_back({a.interface, a.prefix, "", ""});
    return out;
  }
  for (const autoconf::BookEntry& e : state_->book.all()) {
    out.push_back({e.interface, e.prefix, autoconf::name_of(e.state), autoconf::name_of(e.origin),
                   e.lifetimes.preferred_until, e.lifetimes.valid_until});
  }
  return out;
}

std::vector<Ip::CounterLine> Ip::counters() const {
  std::vector<CounterLine> out;
  for (size_t i = 0; i < base::Counters<IpCounter>::size(); ++i) {
    out.push_back({kIpCounterInfo[i], state_->counters.get(static_cast<IpCounter>(i))});
  }
  for (size_t i = 0; i < base::Counters<neigh::Counter>::size(); ++i) {
    out.push_back({neigh::kCounterInfo[i], state_->neighbours.counters().get(static_cast<neigh::Counter>(i))});
  }
  return out;
}

Ip::Ledger Ip::ledger() const {
  const auto& c = state_->counters;
  Ledger out{c.get(IpCounter::kInFrames), c.get(IpCounter::kDelivered), c.get(IpCounter::kConsumed), 0};
  for (size_t i = 0; i < static_cast<size_t>(kInputDropsEnd); ++i) out.dropped += c.get(static_cast<IpCounter>(i));
  return out;
}

size_t Ip::packets_held() const {
  size_t held = state_->neighbours.pending_total() + state_->reassembly.segments();
  for (const Netif& nif : state_->netifs) held += nif.queues[0].size() + nif.queues[1].size();
  return held;
}

}  // namespace millrace::ip
