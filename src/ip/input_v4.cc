// IPv4 input (RFC 791, RFC 1122 3.2.1, 3.2.1.3 for addresses). We are a host: nothing is forwarded.
#include "ip/state.h"
#include "wire/ipv4.h"

namespace millrace::ip {
namespace {

bool checksum_bad(const pkt::Packet& packet, const wire::Ipv4View& view) {
  const uint64_t flags = packet.flags & (pkt::kRxIpChecksumGood | pkt::kRxIpChecksumBad);
  // Both bits: the header was not summed by its sender but never left the machine.
  if ((flags & pkt::kRxIpChecksumGood) != 0) return false;
  return flags != 0 || !view.checksum_ok();
}

// A source route all of whose addresses were visited: the pointer is behind the option (RFC 791 3.1).
bool is_exhausted(const wire::Ipv4Option& route) {
  return !route.data.empty() && wire::load_u8(route.data.data()) > route.data.size() + 2;
}

}  // namespace

std::optional<Datagram> Ip::State::input_v4(Arrival a) {
  counters.add(IpCounter::kInV4);
  pkt::Packet& packet = *a.packet;
  const auto refuse = [&](IpCounter why) {
    drop(a.packet, why);
    return std::nullopt;
  };
  if (packet.total < wire::kIpv4MinSize) return refuse(IpCounter::kIpTruncated);
  if (!gather(packets, packet, wire::kIpv4MinSize)) return refuse(IpCounter::kIpScattered);
  const uint32_t header = (wire::load_u8(packet.data()) & 0x0fU) * 4;
  if (header > packet.total) return refuse(IpCounter::kIpBadHeader);
  if (!gather(packets, packet, header)) return refuse(IpCounter::kIpScattered);
  const auto view = wire::Ipv4View::check_quoted(packet.bytes());
  if (!view) return refuse(IpCounter::kIpBadHeader);
  if (checksum_bad(packet, *view)) return refuse(IpCounter::kIpBadChecksum);  // RFC 1122 3.2.1.2 MUST
  if (view->total_length() > packet.total) return refuse(IpCounter::kIpTruncated);
  trim(packets, packet, view->total_length());
  a.source = view->source();
  a.destination = view->destination();
  a.protocol = view->protocol();
  a.ttl = view->ttl();
  a.traffic_class = view->traffic_class();
  a.header = header;
  a.length = view->total_length();
  if (a.nif.dhcp != nullptr && input_dhcp(a)) return std::nullopt;
  if (a.protocol == wire::kProtocolIgmp && a.destination.is_multicast() && a.nif.reports_groups) {
    input_igmp(a);
    return std::nullopt;
  }
  if (!accept_addresses_v4(a)) return std::nullopt;
  if (!pass_hook(HookPoint::kInput, a.nif.index, packet)) return refuse(IpCounter::kIpHookIn);
  a.later_fragment = view->fragment_offset() != 0;
  if (header > wire::kIpv4MinSize && !accept_options_v4(a)) return std::nullopt;
  if (view->is_fragment()) {
    if (!reassemble_v4(a)) return std::nullopt;
    if (a.nif.dhcp != nullptr && input_dhcp(a)) return std::nullopt;
  }
  return upper_v4(a);
}

// False: the packet is dropped and counted.
bool Ip::State::accept_addresses_v4(Arrival& a) {
  const auto refuse = [&](IpCounter why) {
    drop(a.packet, why);
    return false;
  };
  const bool ours = addresses.contains(a.destination);
  bool broadcast = false;
  if (!ours) {
    const bool group = a.destination.is_multicast();
    if (group && (a.protocol != wire::kProtocolUdp || !is_member(a.nif.index, a.destination))) {
      return refuse(IpCounter::kIpMulticast);
    }
    broadcast = group || a.destination.is_limited_broadcast() || addresses.is_broadcast(a.destination);
    if (broadcast && a.protocol != wire::kProtocolUdp) return refuse(IpCounter::kIpBroadcast);
    if (!broadcast) return refuse(IpCounter::kIpNotForUs);
    a.to = FrameTo::kGroup;
  }
  if (a.nif.is_loopback() || (a.packet->flags & pkt::kRxLooped) != 0) return true;
  if (a.destination.is_loopback()) return refuse(IpCounter::kIpNotForUs);  // RFC 1122 3.2.1.3 (g)
  if (is_martian(a.source)) return refuse(IpCounter::kIpMartianSource);
  if (ours && !is_reached_through(a.destination, a.nif)) return refuse(IpCounter::kIpNotForUs);
  if (!is_reverse_path(a.source, a.nif)) return refuse(IpCounter::kIpReversePath);
  if (a.to == FrameTo::kGroup && !broadcast) return refuse(IpCounter::kIpLinkBroadcast);  // RFC 1122 3.3.6 SHOULD
  return true;
}

// Options are skipped (RFC 1122 3.2.1.8): nothing is ever recorded. Source routes are refused (RFC 7126 4.3), malformed
// options reported.
bool Ip::State::accept_options_v4(Arrival& a) {
  const auto view = *wire::Ipv4View::check_quoted(a.packet->bytes());
  wire::Ipv4OptionWalker walker(view);
  while (const auto option = walker.next()) {
    if (option->kind != wire::kIpv4OptionLooseRoute && option->kind != wire::kIpv4OptionStrictRoute) continue;
    if (config.settings.source_route != 0 && is_exhausted(*option)) continue;
    drop(a.packet, IpCounter::kIpSourceRoute);
    return false;
  }
  if (!walker.malformed()) return true;
  send_error_v4(a, wire::Icmpv4Header::parameter_problem(0, walker.position()));
  drop(a.packet, IpCounter::kIpBadOptions);
  return false;
}

std::optional<Datagram> Ip::State::upper_v4(Arrival& a) {
  switch (a.protocol) {
    case wire::kProtocolTcp:
    case wire::kProtocolUdp: return deliver(a);
    case wire::kProtocolIcmp: input_icmp_v4(a); return std::nullopt;
    default:
      send_error_v4(a, wire::Icmpv4Header::unreachable(wire::Icmpv4Unreachable::kProtocol));
      drop(a.packet, IpCounter::kIpUnknownProtocol);
      return std::nullopt;
  }
}

}  // namespace millrace::ip
