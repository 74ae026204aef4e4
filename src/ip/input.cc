// The way in that every frame takes: interface, Ethernet header, then the protocol. RFC 894, RFC 2464, RFC 1122 2.3.
#include "ip/state.h"

namespace millrace::ip {

void Ip::State::drop(pkt::Packet* packet, IpCounter why) {
  counters.add(why);
  packets.free(packet);
}

void Ip::State::consume(pkt::Packet* packet) {
  counters.add(IpCounter::kConsumed);
  packets.free(packet);
}

bool Ip::State::pass_hook(HookPoint point, IfIndex interface, pkt::Packet& packet) {
  const HookSlot& slot = hooks[static_cast<size_t>(point)];
  return slot.hook == nullptr || slot.hook(slot.context, interface, packet) == HookVerdict::kAccept;
}

// Our own address, everybody, all IPv6 nodes (RFC 2464 7), the solicited-node group of an address of ours, or a group
// that somebody joined.
bool Ip::State::accepts_station(const Netif& nif, const MacAddr& destination) const {
  if (destination == nif.config.mac || destination == kBroadcastMac) return true;
  if (!destination.is_group()) return false;
  const auto& m = destination.bytes;
  if (m[0] == 0x33 && m[1] == 0x33) {
    if (m[2] == 0xff && hears_solicited(nif, uint32_t{m[3]} << 16 | uint32_t{m[4]} << 8 | m[5])) return true;
    if (m[2] == 0 && m[3] == 0 && m[4] == 0 && m[5] == 1) return true;
  }
  return accepts_group(nif, destination);
}

std::optional<Datagram> Ip::State::input(IfIndex interface, pkt::Packet* frame, Instant now) {
  counters.add(IpCounter::kInFrames);
  const auto refuse = [&](IpCounter why) {
    drop(frame, why);
    return std::nullopt;
  };
  Netif* nif = find(interface);
  if (nif == nullptr) return refuse(IpCounter::kEthNoInterface);
  if (!nif->up) return refuse(IpCounter::kEthLinkDown);
  if (!gather(packets, *frame, wire::kEthernetSize)) return refuse(IpCounter::kEthRunt);
  const auto ethernet = *wire::EthernetView::check(frame->bytes());
  const MacAddr destination = ethernet.destination();
  if (!nif->is_loopback()) {
    if (!accepts_station(*nif, destination)) return refuse(IpCounter::kEthNotOurs);
    if (ethernet.source().is_group()) return refuse(IpCounter::kEthBadSource);
  }
  const wire::EtherType type = ethernet.type();
  frame->pull(wire::kEthernetSize);
  const FrameTo to = destination.is_group() ? FrameTo::kGroup : FrameTo::kUs;
  switch (type) {
    case wire::EtherType::kIpv4: return input_v4({*nif, frame, to, now});
    case wire::EtherType::kIpv6: return input_v6({*nif, frame, to, now});
    case wire::EtherType::kArp: input_arp(*nif, frame, now); return std::nullopt;
    case wire::EtherType::kVlan:
    case wire::EtherType::kServiceVlan: return refuse(IpCounter::kEthVlan);
    default: return refuse(IpCounter::kEthUnknownType);
  }
}

std::optional<Datagram> Ip::State::deliver(Arrival& a) {
  pkt::Packet* packet = a.packet;
  packet->pull(static_cast<uint16_t>(a.header));
  // A transport header lies in one piece, options included, if the chain has that much.
  constexpr uint32_t kTransportHeader = 60;
  const uint32_t wanted = packet->total < kTransportHeader ? packet->total : kTransportHeader;
  if (!gather(packets, *packet, wanted)) {
    drop(packet, IpCounter::kIpScattered);
    return std::nullopt;
  }
  counters.add(IpCounter::kDelivered);
  const bool to_group = a.to == FrameTo::kGroup || a.destination.is_multicast();
  return Datagram{packet,  a.source,        a.destination, a.protocol,
                  a.ttl,   a.traffic_class, a.nif.index,   static_cast<uint16_t>(a.header),
                  to_group};
}

void Ip::State::port_unreachable(const Datagram& d, Instant now) {
  pkt::Packet* packet = d.packet;
  const auto pulled = static_cast<uint16_t>(packet->headroom());
  if (d.header == 0 || d.header > pulled) return;
  // Back to the IP header, which still lies in front.
  (void)packet->push(d.header);
  const Arrival about{*find(d.interface),
                      packet,
                      d.to_group ? FrameTo::kGroup : FrameTo::kUs,
                      now,
                      d.source,
                      d.destination,
                      d.protocol,
                      d.ttl,
                      d.traffic_class,
                      d.header,
                      packet->total};
  if (d.source.is_v4()) {
    send_error_v4(about, wire::Icmpv4Header::unreachable(wire::Icmpv4Unreachable::kPort));
  } else {
    send_error_v6(about, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::kPort));
  }
  packet->pull(d.header);
}

}  // namespace millrace::ip
