// Neighbour discovery of a host (RFC 4861 7), and what duplicate address detection (RFC 4862 5.4, 4429, 7527) hears and
// sends.
#include "wire/nd.h"

#include "ip/header.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

const IpAddr kAllNodes({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
constexpr MacAddr kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};

}  // namespace

void Ip::State::input_nd(Arrival& a, wire::Bytes message) {
  if (following) return drop(a.packet, IpCounter::kIpNotControl);
  const auto view = wire::NdView::check(message);
  // RFC 4861 7.1.1, 7.1.2: a hop limit of 255 proves that no router passed the message on.
  if (!view || a.ttl != wire::kNdHopLimit || a.nif.is_loopback() || !view->acceptable(a.source, a.destination)) {
    return drop(a.packet, IpCounter::kNdInvalid);
  }
  switch (view->type()) {
    case wire::Icmpv6Type::kNeighbourSolicitation: return input_solicitation(a, message);
    case wire::Icmpv6Type::kNeighbourAdvertisement: return input_advertisement(a, message);
    case wire::Icmpv6Type::kRouterAdvertisement: return input_router_advertisement(a, *view);
    case wire::Icmpv6Type::kRedirect: return input_redirect_v6(a, *view);
    default: return drop(a.packet, IpCounter::kNdRouter);
  }
}

// RFC 4861 7.2.3, 7.2.4
void Ip::State::input_solicitation(Arrival& a, wire::Bytes message) {
  counters.add(IpCounter::kNdSolicitsIn);
  const auto ns = wire::NeighbourSolicitation::parse(*wire::NdView::check(message));
  if (const autoconf::BookEntry* own = testing(a.nif, ns.target); own != nullptr && a.source.is_unspecified()) {
    // RFC 4862 5.4.3: somebody else tests the address too, unless it is our own question that came back.
    if (ns.nonce != 0 && ns.nonce == own->nonce) return drop(a.packet, IpCounter::kNdLooped);  // RFC 7527 4.2
    (void)address_conflict(a.nif, ns.target, a.now);
    return drop(a.packet, IpCounter::kNdConflict);
  }
  if (!addresses.on_interface(a.nif.index, ns.target)) return drop(a.packet, IpCounter::kNdNotOurs);
  if (a.source.is_unspecified()) {
    // Somebody tests whether the address is free: everybody may hear that it is not.
    send_advertisement(a.nif, ns.target, kAllNodes, kAllNodesMac, false);
    return consume(a.packet);
  }
  if (ns.source_link && !ns.source_link->is_group()) {
    const neigh::EntryId id = obtain_neighbour(a.nif.index, a.source);
    if (id.valid()) act(id, neighbours.hear_source(id, *ns.source_link), a.now);
    send_advertisement(a.nif, ns.target, a.source, *ns.source_link, true);
    return consume(a.packet);
  }
  // A unicast probe may leave its address out: answer through the neighbour table.
  pkt::Packet* packet = new_packet();
  const auto way = route(a.source, ns.target, 0);
  if (packet != nullptr && way) {
    std::byte* out = packet->append(wire::NeighbourAdvertisement::kMaxSize);
    const bool replace = !addresses.find(ns.target)->optimistic;  // RFC 4429 3.3 MUST
    const wire::NeighbourAdvertisement na{ns.target, false, true, replace, a.nif.config.mac};
    (void)na.emit({out, wire::NeighbourAdvertisement::kMaxSize}, ns.target, a.source);
    counters.add(IpCounter::kNdAdvertsOut);
    send({ns.target, a.source, wire::kProtocolIcmpv6, wire::kNdHopLimit, 0, *way}, packet, a.now);
  } else if (packet != nullptr) {
    drop_out(packet, IpCounter::kOutNoRoute);
  }
  consume(a.packet);
}

// RFC 4861 7.2.5
void Ip::State::input_advertisement(Arrival& a, wire::Bytes message) {
  counters.add(IpCounter::kNdAdvertsIn);
  const auto na = wire::NeighbourAdvertisement::parse(*wire::NdView::check(message));
  if (address_conflict(a.nif, na.target, a.now) || addresses.contains(na.target)) {  // RFC 4862 5.4.4
    return drop(a.packet, IpCounter::kNdConflict);
  }
  if (na.target_link && na.target_link->is_group()) return drop(a.packet, IpCounter::kNdInvalid);
  const neigh::EntryId id = neighbours.find(a.nif.index, na.target);
  if (!id.valid()) return drop(a.packet, IpCounter::kNdUnknownNeighbour);
  act(id, neighbours.hear_advert(id, {na.target_link, na.solicited, na.override_cache, na.router}, a.now), a.now);
  consume(a.packet);
}

// RFC 4861 7.2.2
void Ip::State::send_solicitation(Netif& nif, const IpAddr& target, const MacAddr* unicast) {
  const Address* source = addresses.select_source(nif.index, target, target);
  if (source == nullptr) return counters.add(IpCounter::kOutNoRoute);
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  const IpAddr to = unicast != nullptr ? target : wire::solicited_node(target);
  wire::NeighbourSolicitation ns{target, nif.config.mac};
  if (source->optimistic) ns.source_link.reset();  // RFC 4429 3.2 MUST NOT
  const auto size = static_cast<uint16_t>(ns.size());
  (void)ns.emit({packet->append(size), size}, source->prefix.addr, to);
  counters.add(IpCounter::kNdSolicitsOut);
  send_nd(nif, packet, source->prefix.addr, to, unicast != nullptr ? *unicast : wire::multicast_mac_v6(to));
}

void Ip::State::send_advertisement(Netif& nif, const IpAddr& target, const IpAddr& to, const MacAddr& to_mac,
                                   bool solicited) {
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return;
  std::byte* out = packet->append(wire::NeighbourAdvertisement::kMaxSize);
  const Address* own = addresses.find(target);
  const bool replace = own == nullptr || !own->optimistic;  // RFC 4429 3.3 MUST
  const wire::NeighbourAdvertisement na{target, false, solicited, replace, nif.config.mac};
  (void)na.emit({out, wire::NeighbourAdvertisement::kMaxSize}, target, to);
  counters.add(IpCounter::kNdAdvertsOut);
  send_nd(nif, packet, target, to, to_mac);
}

void Ip::State::send_nd(Netif& nif, pkt::Packet* packet, const IpAddr& source, const IpAddr& to,
                        const MacAddr& to_mac) {
  const uint32_t length = packet->total;
  std::byte* header = packet->push(wire::kIpv6Size);
  write_ip_header(header, source, to, wire::kProtocolIcmpv6, length, wire::kNdHopLimit, 0, false);
  fill_frame_header(packet->push(wire::kEthernetSize), nif, to, to_mac);
  transmit(nif.index, packet);
}

}  // namespace millrace::ip
