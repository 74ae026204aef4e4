#include "steer/steer.h"

#include <array>
#include <optional>

#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/quoted.h"

namespace millrace::steer {
namespace {

using wire::Bytes;

enum class Rule : uint8_t { kWorkers, kSiblings };

// What the owner of the tables is to hear: worker 0, or each of several siblings.
constexpr uint32_t for_tables(Rule rule) { return rule == Rule::kWorkers ? kControl : kEverybody; }
// What one who owns tables is to answer.
constexpr uint32_t one_answers(Rule rule) { return rule == Rule::kWorkers ? kControl : kHere; }

// Enough for every header that steering reads: Ethernet, IPv6 with extension headers, ICMPv6, the same again quoted.
constexpr size_t kLook = 512;

constexpr uint16_t kDhcpClient = 68;
constexpr uint16_t kDhcpv6Client = 546;

constexpr bool has_ports(uint8_t protocol) {
  return protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp;
}

uint32_t of_ports(const ShardMap& map, uint8_t protocol, const Flow& flow) {
  return protocol == wire::kProtocolUdp ? map.of_datagram(flow) : map.of_flow(flow);
}

// A broadcast to a subnet is known by its frame: the prefixes are not.
bool is_to_group(const IpAddr& destination, bool group_frame) {
  return group_frame || destination.is_multicast() || destination.is_limited_broadcast();
}

// An error about a datagram that we sent belongs to whoever receives the answers to it; of siblings each looks for
// itself, since a connection may live elsewhere than the map says.
uint32_t of_quoted(const ShardMap& map, const std::optional<wire::Quoted>& quoted, Rule rule) {
  if (!quoted) return kHere;
  if (rule == Rule::kSiblings) return kEverybody;
  const bool echo = quoted->protocol == wire::kProtocolIcmp || quoted->protocol == wire::kProtocolIcmpv6;
  if (echo && quoted->has_sequence()) return map.of_echo(wire::load_be16(quoted->transport.data() + 4));
  if (!has_ports(quoted->protocol) || !quoted->has_ports()) return kControl;
  return of_ports(map, quoted->protocol,
                  {quoted->destination, quoted->source, quoted->destination_port(), quoted->source_port()});
}

uint32_t of_icmp_v4(const ShardMap& map, Bytes message, Rule rule) {
  const auto view = wire::Icmpv4View::check(message);
  if (!view) return kHere;
  switch (view->type()) {
    case wire::Icmpv4Type::kEchoReply: return rule == Rule::kSiblings ? kEverybody : map.of_echo(view->id());
    case wire::Icmpv4Type::kRedirect: return for_tables(rule);
    case wire::Icmpv4Type::kUnreachable:
    case wire::Icmpv4Type::kTimeExceeded:
    case wire::Icmpv4Type::kParameterProblem:
      return of_quoted(map, wire::parse_quoted_v4(message.subspan(wire::kIcmpv4Size)), rule);
    default: return kHere;
  }
}

uint32_t of_icmp_v6(const ShardMap& map, Bytes message, Rule rule) {
  if (message.size() < 8) return kHere;
  switch (static_cast<wire::Icmpv6Type>(wire::load_u8(message.data()))) {
    case wire::Icmpv6Type::kUnreachable:
    case wire::Icmpv6Type::kPacketTooBig:
    case wire::Icmpv6Type::kTimeExceeded:
    case wire::Icmpv6Type::kParameterProblem: return of_quoted(map, wire::parse_quoted_v6(message.subspan(8)), rule);
    case wire::Icmpv6Type::kEchoReply:
      return rule == Rule::kSiblings ? kEverybody : map.of_echo(wire::load_be16(message.data() + 4));
    case wire::Icmpv6Type::kMldQuery:
    case wire::Icmpv6Type::kMldReport:
    case wire::Icmpv6Type::kMldDone:
    case wire::Icmpv6Type::kMldv2Report:
    case wire::Icmpv6Type::kRouterSolicitation:
    case wire::Icmpv6Type::kRouterAdvertisement:
    case wire::Icmpv6Type::kNeighbourAdvertisement:
    case wire::Icmpv6Type::kRedirect: return for_tables(rule);
    case wire::Icmpv6Type::kNeighbourSolicitation: return one_answers(rule);
    default: return kHere;
  }
}

uint32_t of_v4(const ShardMap& map, Bytes packet, bool group_frame, Rule rule) {
  const auto view = wire::Ipv4View::check_quoted(packet);
  if (!view) return kHere;
  if (view->is_fragment()) {
    if (is_to_group(view->destination(), group_frame)) return for_tables(rule);
    return map.of_fragment(view->source(), view->destination(), view->id());
  }
  const Bytes rest = view->quoted_payload(packet);
  switch (view->protocol()) {
    case wire::kProtocolTcp:
    case wire::kProtocolUdp:
      return steer_transport(map, view->source(), view->destination(), view->protocol(), rest, group_frame);
    case wire::kProtocolIcmp: return of_icmp_v4(map, rest, rule);
    case wire::kProtocolIgmp: return for_tables(rule);
    default: return kHere;
  }
}

uint32_t of_v6(const ShardMap& map, Bytes packet, bool group_frame, Rule rule) {
  const auto view = wire::Ipv6View::check_quoted(packet);
  if (!view) return kHere;
  const wire::Ipv6Upper upper = wire::find_quoted_upper(*view, packet);
  if (upper.status == wire::Ipv6Upper::Status::kFragment) {
    if (is_to_group(view->destination(), group_frame)) return for_tables(rule);
    return map.of_fragment(view->source(), view->destination(), upper.fragment.id);
  }
  if (upper.status != wire::Ipv6Upper::Status::kUpper) return kHere;
  const Bytes rest = view->quoted_payload(packet).subspan(upper.offset - wire::kIpv6Size);
  if (has_ports(upper.protocol)) {
    return steer_transport(map, view->source(), view->destination(), upper.protocol, rest, group_frame);
  }
  return upper.protocol == wire::kProtocolIcmpv6 ? of_icmp_v6(map, rest, rule) : kHere;
}

// A request, but an announcement, is for the one that answers (RFC 826; RFC 5227 3).
uint32_t of_arp(Bytes packet, Rule rule) {
  const auto view = wire::ArpView::check(packet);
  if (!view) return one_answers(rule);
  const auto message = wire::ArpMessage::parse(*view);
  const bool asks = message.operation == wire::ArpOperation::kRequest && !(message.sender == message.target);
  return asks ? one_answers(rule) : for_tables(rule);
}

uint32_t owner_of(const pkt::Packet& frame, const ShardMap& map, Rule rule) {
  Bytes bytes = frame.bytes();
  std::array<std::byte, kLook> room;
  if (bytes.size() < kLook && bytes.size() < frame.total) {  // headers may lie in several segments
    bytes = Bytes(room).first(pkt::copy_out(frame, 0, room));
  }
  const auto ethernet = wire::EthernetView::check(bytes);
  if (!ethernet) return kHere;
  const Bytes packet = bytes.subspan(wire::kEthernetSize);
  const bool group_frame = ethernet->destination().is_group();
  switch (ethernet->type()) {
    case wire::EtherType::kIpv4: return of_v4(map, packet, group_frame, rule);
    case wire::EtherType::kIpv6: return of_v6(map, packet, group_frame, rule);
    case wire::EtherType::kArp: return rule == Rule::kWorkers ? kControl : of_arp(packet, rule);
    default: return kHere;
  }
}

}  // namespace

uint32_t steer_transport(const ShardMap& map, const IpAddr& source, const IpAddr& destination, uint8_t protocol,
                         Bytes transport, bool to_group) {
  if (!has_ports(protocol) || transport.size() < 4) return kHere;
  const uint16_t to = wire::load_be16(transport.data() + 2);
  if (protocol == wire::kProtocolUdp && (to == kDhcpClient || to == kDhcpv6Client)) return kControl;
  if (protocol == wire::kProtocolUdp && map.workers() > 1 && is_to_group(destination, to_group)) return kEverybody;
  return of_ports(map, protocol, {source, destination, wire::load_be16(transport.data()), to});
}

uint32_t steer(const pkt::Packet& frame, const ShardMap& map) { return owner_of(frame, map, Rule::kWorkers); }

uint32_t steer_to_sibling(const pkt::Packet& frame, const ShardMap& map) {
  return owner_of(frame, map, Rule::kSiblings);
}

}  // namespace millrace::steer
