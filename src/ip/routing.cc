// Which way a datagram goes and from which of our addresses (RFC 1122 3.3.1, RFC 4861 5.2); next hops by number.
#include <algorithm>

#include "base/assert.h"
#include "ip/state.h"

namespace millrace::ip {

void Ip::State::refresh_topology() {
  up_mask = 0;
  loopback = IfIndex::kNone;
  for (const Netif& nif : netifs) {
    if (!nif.up) continue;
    if (!nif.is_loopback()) {
      up_mask |= route::interface_bit(nif.index);
    } else if (loopback == IfIndex::kNone) {
      loopback = nif.index;
    }
  }
  bump_epoch();
}

void Ip::State::invalidate_hops(IfIndex interface) {
  for (size_t i = 1; i < hops.size(); ++i) {
    if (hops[i].interface == interface) ip.hops_[i].usable_until = Instant{INT64_MIN};
  }
}

Ip::State::Way Ip::State::way_to(const IpAddr& destination, const IpAddr& source, uint32_t table) const {
  if (destination.is_unspecified() || destination.is_multicast() || destination.is_limited_broadcast() ||
      destination.is_loopback() || addresses.is_broadcast(destination)) {
    return {};
  }
  if (destination.is_v6() && destination.is_link_local()) return {link_local_interface(source), destination};
  const route::NextHop* hop = routes.lookup(destination, table, up_mask);
  if (hop == nullptr) return {};
  return {find(hop->interface), hop->gateway.is_unspecified() ? destination : hop->gateway};
}

void Ip::State::sort_destinations(std::span<IpAddr> destinations, uint32_t table) const {
  std::vector<Candidate> candidates;
  for (const IpAddr& destination : destinations) {
    Candidate c{destination, {}, true};
    if (addresses.contains(destination)) {
      c.source = destination;
    } else if (const auto [nif, next] = way_to(destination, {}, table); nif != nullptr) {
      if (const Address* own = addresses.select_source(nif->index, next, destination)) {
        c.source = own->prefix.addr;
        c.preferred = !own->deprecated;
      }
    }
    candidates.push_back(c);
  }
  sort_candidates(candidates);
  for (size_t i = 0; i < destinations.size(); ++i) destinations[i] = candidates[i].destination;
}

Result<Route> Ip::State::route(const IpAddr& destination, const IpAddr& source, uint32_t table) {
  const bool given = !source.is_unspecified();
  if (given && (source.is_v4() != destination.is_v4() || !addresses.contains(source))) {
    return fail(Error::kAddressNotHere);
  }
  if (addresses.contains(destination)) return route_to_self(destination, source);
  const auto [nif, next] = way_to(destination, source, table);
  if (nif == nullptr) return fail(Error::kNetUnreachable);
  Route out{HopId::kNone, nif->index, source, std::min(nif->mtu(destination.is_v4()), pmtu.find(destination).mtu)};
  if (given) {
    if (source.is_loopback()) return fail(Error::kAddressNotHere);
  } else {
    const Address* chosen = addresses.select_source(nif->index, next, destination);
    if (chosen == nullptr) return fail(Error::kAddressNotHere);
    out.source = chosen->prefix.addr;
  }
  out.hop = hop_for(*nif, next);
  if (out.hop == HopId::kNone) return fail(Error::kTooMany);
  return out;
}

// What accepts() found out need not be found out again: the source is ours, the destination another host's. Most
// answers go through the gateway that the last one went through.
Result<Route> Ip::State::route_back(const IpAddr& destination, const IpAddr& source, IfIndex interface) {
  const bool v4 = destination.is_v4();
  const route::NextHop* way = routes.lookup(destination, 0, up_mask);
  if (way == nullptr || (!v4 && destination.is_link_local())) return route(destination, source, 0);
  if (way != last_back.way || interface != last_back.from || last_back.epoch != ip.epoch_) {
    const bool direct = way->gateway.is_unspecified();
    if (direct || find(interface) == nullptr || find(interface)->is_loopback()) return route(destination, source, 0);
    const Netif* nif = find(way->interface);
    const HopId hop = hop_for(*nif, way->gateway);
    if (hop == HopId::kNone) return fail(Error::kTooMany);
    last_back = {way, nif, interface, ip.epoch_, hop};
  }
  const Netif& nif = *last_back.nif;
  return Route{last_back.hop, nif.index, source, std::min(nif.mtu(v4), pmtu.find(destination).mtu)};
}

// Packets to our own addresses never leave the worker.
Result<Route> Ip::State::route_to_self(const IpAddr& destination, const IpAddr& source) {
  const Netif* nif = find(loopback);
  if (nif == nullptr) return fail(Error::kNetUnreachable);
  Route out{HopId::kNone, loopback, source.is_unspecified() ? destination : source, nif->config.limits.mtu};
  out.hop = hop_for(*nif, destination.is_v4() ? IpAddr::any_v4() : IpAddr());
  if (out.hop == HopId::kNone) return fail(Error::kTooMany);
  return out;
}

// A link-local destination names no interface: that of the source, if one is given, else the first that is up.
const Netif* Ip::State::link_local_interface(const IpAddr& source) const {
  const Address* owner = source.is_unspecified() ? nullptr : addresses.find(source);
  for (const Netif& nif : netifs) {
    if (!nif.up || nif.is_loopback()) continue;
    if (owner == nullptr || owner->interface == nif.index) return &nif;
  }
  return nullptr;
}

HopId Ip::State::hop_for(const Netif& nif, const IpAddr& next) {
  // The same gateway again, most likely.
  if (last_hop < hops.size() && hops[last_hop].interface == nif.index && hops[last_hop].addr == next) {
    return static_cast<HopId>(last_hop);
  }
  if (const uint32_t known = hop_index.find(nif.index, next); known != 0) {
    last_hop = known;
    return static_cast<HopId>(known);
  }
  uint32_t index;
  if (free_hops.empty() && ip.hops_.size() == ip.hops_.capacity() && !recycle_hops()) return HopId::kNone;
  if (!free_hops.empty()) {
    index = free_hops.back();
    free_hops.pop_back();
  } else {
    index = static_cast<uint32_t>(hops.size());
    hops.emplace_back();
    ip.hops_.emplace_back();
  }
  hops[index] = {nif.index, next, {}};
  HopCache& cache = ip.hops_[index];
  cache = HopCache{};
  cache.interface = nif.index;
  cache.confirm_after = kNever;
  fill_frame_header(cache.header, nif, next, MacAddr{});
  hop_index.insert(nif.index, next, index);
  return static_cast<HopId>(index);
}

// Gives up the hops whose neighbour is gone or does not answer. Routes that hold their numbers are of an older epoch
// from now on.
bool Ip::State::recycle_hops() {
  const size_t before = free_hops.size();
  for (uint32_t i = 1; i < hops.size(); ++i) {
    Hop& hop = hops[i];
    const Netif* nif = find(hop.interface);
    if (nif == nullptr || nif->is_loopback()) continue;
    if (neigh::Entry* e = neighbours.get(hop.neighbour)) {
      if (e->reach.state() != neigh::State::kFailed || e->pending != 0) continue;
      e->tag = 0;
    }
    hop_index.erase(hop.interface, hop.addr);
    hop = Hop{};
    ip.hops_[i] = HopCache{};
    free_hops.push_back(i);
  }
  counters.add(IpCounter::kHopsRecycled, free_hops.size() - before);
  if (free_hops.size() == before) return false;
  ++ip.epoch_;
  return true;
}

}  // namespace millrace::ip
