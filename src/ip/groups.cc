// Groups and broadcasts: which the interfaces are members of, how frames to them are addressed, where datagrams to them
// go. RFC 1112 6, RFC 2464 7, RFC 919. Memberships are those of this worker's sockets, on the control worker those of
// all.
#include <algorithm>

#include "ip/state.h"
#include "wire/nd.h"

namespace millrace::ip {
namespace {

const IpAddr kAllHostsV4 = IpAddr::v4(224, 0, 0, 1);
const IpAddr kAllNodes({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

}  // namespace

MacAddr Ip::State::group_mac(const IpAddr& group) {
  if (group.is_v6()) return wire::multicast_mac_v6(group);
  if (!group.is_multicast()) return kBroadcastMac;
  // RFC 1112 6.4: the low 23 bits.
  const auto& b = group.bytes();
  return {{0x01, 0x00, 0x5e, static_cast<uint8_t>(b[13] & 0x7f), b[14], b[15]}};
}

Result<void> Ip::State::join(IfIndex interface, const IpAddr& group) {
  const Netif* nif = find(interface);
  if (nif == nullptr || nif->is_loopback() || !group.is_multicast()) return fail(Error::kInvalid);
  for (GroupInfo& g : groups) {
    if (g.interface != interface || g.group != group) continue;
    ++g.count;
    combine(g);
    return {};
  }
  if (groups.size() >= kMaxGroups) return fail(Error::kTooMany);
  groups.push_back({interface, group, 1});
  combine(groups.back());
  ++groups_version;
  return {};
}

Result<void> Ip::State::leave(IfIndex interface, const IpAddr& group) {
  const auto found =
      std::ranges::find_if(groups, [&](const GroupInfo& g) { return g.interface == interface && g.group == group; });
  if (found == groups.end()) return fail(Error::kNotFound);
  if (--found->count != 0) {
    combine(*found);
    return {};
  }
  groups.erase(found);
  ++groups_version;
  return {};
}

// RFC 3376 3.2, RFC 3810 4.2: the interface wants what the sockets of all workers want.
void Ip::State::combine(GroupInfo& g) {
  std::vector<mcast::Filter> wanted;
  for (const Feed& feed : feeds) {
    for (const GroupWish& w : feed.joined) {
      if (w.interface == g.interface && w.group == g.group) wanted.push_back(w.filter);
    }
  }
  if (g.count > wanted.size()) {
    wanted.push_back(g.own);
  } else {
    g.own = {true, {}};  // as the next socket's wish begins
  }
  mcast::Filter all = mcast::merge(wanted);
  if (all.sources.size() > mcast::kMaxSources) all = {true, {}};  // more than routers are told: then all
  if (g.filter == all) return;
  g.filter = std::move(all);
  ++groups_version;
}

void Ip::State::set_sources(IfIndex interface, const IpAddr& group, mcast::Filter filter) {
  for (GroupInfo& g : groups) {
    if (g.interface != interface || g.group != group) continue;
    g.own = std::move(filter);
    return combine(g);
  }
}

bool Ip::State::is_member(IfIndex interface, const IpAddr& group) const {
  if (group == kAllHostsV4 || group == kAllNodes) return true;  // RFC 1112 4, RFC 4291 2.8: every host is
  return std::ranges::any_of(groups, [&](const GroupInfo& g) { return g.interface == interface && g.group == group; });
}

bool Ip::State::accepts_group(const Netif& nif, const MacAddr& destination) const {
  if (destination == group_mac(kAllHostsV4)) return true;
  return std::ranges::any_of(
      groups, [&](const GroupInfo& g) { return g.interface == nif.index && group_mac(g.group) == destination; });
}

Result<Route> Ip::State::group_route(const IpAddr& destination, const IpAddr& source, IfIndex interface) {
  const bool given = !source.is_unspecified();
  const Address* owner = given ? addresses.find(source) : nullptr;
  if (given && (owner == nullptr || source.is_v4() != destination.is_v4())) return fail(Error::kAddressNotHere);
  const Netif* nif = find(interface);
  if (nif == nullptr && interface != IfIndex::kNone) return fail(Error::kInvalid);
  if (nif == nullptr && owner != nullptr) nif = find(owner->interface);
  if (nif == nullptr) {
    for (const Address& a : addresses.all()) {
      if (is_directed_broadcast(a.prefix, destination)) nif = find(a.interface);
    }
  }
  for (const Netif& n : netifs) {
    if (nif == nullptr && n.up && !n.is_loopback()) nif = &n;
  }
  if (nif == nullptr || !nif->up || nif->is_loopback()) return fail(Error::kNetUnreachable);
  Route out{HopId::kNone, nif->index, source, nif->config.limits.mtu};
  if (!given) {
    // A group is as near as the link: a source of the link's scope would do, a wider one reaches further.
    const IpAddr like = destination.is_v6() && destination.bytes()[1] % 16 > 2 ? IpAddr({0x20, 0x01}) : destination;
    const Address* chosen = addresses.select_source(nif->index, like, like);
    if (chosen == nullptr) return fail(Error::kAddressNotHere);
    out.source = chosen->prefix.addr;
  }
  // Broadcasts of every prefix leave in the same frames.
  out.hop = hop_for(*nif, destination.is_multicast() ? destination : IpAddr::v4(0xffffffffU));
  if (out.hop == HopId::kNone) return fail(Error::kTooMany);
  return out;
}

}  // namespace millrace::ip
