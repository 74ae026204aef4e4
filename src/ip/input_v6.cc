// IPv6 input (RFC 8200, RFC 4291 for addresses). We are a host: nothing is forwarded.
#include "ip/state.h"
#include "wire/icmpv6.h"
#include "wire/ipv6.h"
#include "wire/nd.h"

namespace millrace::ip {
namespace {

const IpAddr kAllNodes({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

// Extension headers are looked at in the head segment only; longer chains of headers are not for us.
constexpr uint32_t kHeadersInOnePiece = 256;

bool is_solicited_node(const IpAddr& group) {
  constexpr uint8_t prefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return std::memcmp(group.bytes().data(), prefix, sizeof prefix) == 0;
}

}  // namespace

std::optional<Datagram> Ip::State::input_v6(Arrival a) {
  counters.add(IpCounter::kInV6);
  pkt::Packet& packet = *a.packet;
  const auto refuse = [&](IpCounter why) {
    drop(a.packet, why);
    return std::nullopt;
  };
  if (packet.total < wire::kIpv6Size) return refuse(IpCounter::kIpTruncated);
  if (!gather(packets, packet, wire::kIpv6Size)) return refuse(IpCounter::kIpScattered);
  const auto view = wire::Ipv6View::check_quoted(packet.bytes());
  if (!view) return refuse(IpCounter::kIpBadHeader);
  if (view->total_length() > packet.total) return refuse(IpCounter::kIpTruncated);
  trim(packets, packet, view->total_length());
  a.source = view->source();
  a.destination = view->destination();
  a.ttl = view->hop_limit();
  a.traffic_class = view->traffic_class();
  a.length = view->total_length();
  if (!accept_addresses_v6(a)) return std::nullopt;
  if (!pass_hook(HookPoint::kInput, a.nif.index, packet)) return refuse(IpCounter::kIpHookIn);
  if (!find_upper_v6(a)) return std::nullopt;
  return upper_v6(a);
}

// False: the packet is dropped and counted.
bool Ip::State::accept_addresses_v6(Arrival& a) {
  const auto refuse = [&](IpCounter why) {
    drop(a.packet, why);
    return false;
  };
  const bool from_here = a.nif.is_loopback() || (a.packet->flags & pkt::kRxLooped) != 0;
  if (a.destination.is_multicast()) {
    const auto& b = a.destination.bytes();
    const uint32_t low24 = uint32_t{b[13]} << 16 | uint32_t{b[14]} << 8 | b[15];
    const bool joined = a.destination == kAllNodes || is_member(a.nif.index, a.destination) ||
                        (is_solicited_node(a.destination) && hears_solicited(a.nif, low24));
    const bool astray = a.destination.is_node_local_group() && !from_here;
    if (!joined || astray) return refuse(IpCounter::kIpMulticast);
  } else {
    const bool ours = addresses.find(a.destination) != nullptr;
    if (!ours || !is_reached_through(a.destination, a.nif)) return refuse(IpCounter::kIpNotForUs);
  }
  if (from_here) return true;
  if (a.destination.is_loopback()) return refuse(IpCounter::kIpNotForUs);  // RFC 4291 2.5.3 MUST
  // The unspecified source is for duplicate address detection, which input_nd looks at (RFC 4861 7.1.1).
  const bool probe = a.source.is_unspecified() && a.destination.is_multicast();
  const bool known = probe || is_claim(a);
  if (!known && is_martian(a.source)) return refuse(IpCounter::kIpMartianSource);
  if (!known && !is_reverse_path(a.source, a.nif)) return refuse(IpCounter::kIpReversePath);
  if (a.to == FrameTo::kGroup && !a.destination.is_multicast()) return refuse(IpCounter::kIpLinkBroadcast);
  return true;
}

// Whether somebody says that an address which we test is his: an advertisement to all nodes from that very address (RFC
// 4862 5.4.4). It is the one packet from an address of ours that is no forgery.
bool Ip::State::is_claim(const Arrival& a) {
  constexpr uint32_t kNextHeaderAt = 6;
  constexpr uint32_t kTypeAt = wire::kIpv6Size;
  if (a.destination != kAllNodes || a.ttl != 255 || testing(a.nif, a.source) == nullptr) return false;
  if (a.packet->total <= kTypeAt || !gather(packets, *a.packet, kTypeAt + 1)) return false;
  const std::byte* at = a.packet->data();
  return wire::load_u8(at + kNextHeaderAt) == wire::kProtocolIcmpv6 &&
         wire::load_u8(at + kTypeAt) == static_cast<uint8_t>(wire::Icmpv6Type::kNeighbourAdvertisement);
}

// Walks the extension headers. False: the packet is dropped and counted.
bool Ip::State::find_upper_v6(Arrival& a) {
  using Status = wire::Ipv6Upper::Status;
  if (a.packet->next != nullptr) {
    (void)gather(packets, *a.packet, std::min(a.packet->total, kHeadersInOnePiece));
  }
  const wire::Bytes head = a.packet->bytes();
  const auto view = *wire::Ipv6View::check_quoted(head);
  const bool whole = a.packet->next == nullptr;
  const wire::Ipv6Upper upper = wire::find_upper(view, head);
  const auto refuse = [&](IpCounter why) {
    drop(a.packet, why);
    return false;
  };
  switch (upper.status) {
    case Status::kUpper: break;
    case Status::kFragment:
      if (a.fragmented) return refuse(IpCounter::kFragBad);
      return reassemble_v6(a, upper) && find_upper_v6(a);
    case Status::kTruncated: return refuse(whole ? IpCounter::kIpTruncated : IpCounter::kIpScattered);
    case Status::kDiscard: return refuse(IpCounter::kIpBadOptions);
    case Status::kParameterProblem:
      if (upper.reply) send_error_v6(a, wire::Icmpv6Header::parameter_problem(upper.code, upper.pointer));
      return refuse(IpCounter::kIpBadOptions);
  }
  a.protocol = upper.protocol;
  a.header = upper.offset;
  a.fragmented = a.fragmented || upper.after_fragment;
  if (a.protocol == wire::kProtocolTcp || a.protocol == wire::kProtocolUdp || a.protocol == wire::kProtocolIcmpv6) {
    return true;
  }
  if (a.protocol != wire::kProtocolNoNext) {
    // RFC 8200 4: unrecognized next header, at the byte that names it.
    send_error_v6(a, wire::Icmpv6Header::parameter_problem(wire::kIcmpv6UnrecognizedNextHeader, upper.next_header_at));
  }
  return refuse(IpCounter::kIpUnknownProtocol);
}

std::optional<Datagram> Ip::State::upper_v6(Arrival& a) {
  if (a.protocol == wire::kProtocolIcmpv6) {
    input_icmp_v6(a);
    return std::nullopt;
  }
  if ((a.destination.is_multicast() && a.protocol == wire::kProtocolTcp) || a.source.is_unspecified()) {
    drop(a.packet, IpCounter::kIpMulticast);  // RFC 9293 3.9.2.3 MUST-57
    return std::nullopt;
  }
  return deliver(a);
}

}  // namespace millrace::ip
