// ICMPv6 (RFC 4443, RFC 8201). Neighbour discovery is in nd.cc.
#include "wire/icmpv6.h"

#include "ip/state.h"
#include "wire/ipv6.h"
#include "wire/quoted.h"

namespace millrace::ip {
namespace {

using Kind = PathError::Kind;

std::optional<Kind> unreachable_kind(uint8_t code) {
  switch (static_cast<wire::Icmpv6Unreachable>(code)) {
    case wire::Icmpv6Unreachable::kNoRoute:
    case wire::Icmpv6Unreachable::kBeyondScope: return Kind::kNetUnreachable;
    case wire::Icmpv6Unreachable::kAddress: return Kind::kHostUnreachable;
    case wire::Icmpv6Unreachable::kPort: return Kind::kPortUnreachable;
    case wire::Icmpv6Unreachable::kAdminProhibited:
    case wire::Icmpv6Unreachable::kSourcePolicy:
    case wire::Icmpv6Unreachable::kRejectRoute: return Kind::kAdminProhibited;
  }
  return std::nullopt;
}

std::optional<Kind> kind_of(const wire::Icmpv6View& message) {
  switch (message.type()) {
    case wire::Icmpv6Type::kUnreachable: return unreachable_kind(message.code());
    case wire::Icmpv6Type::kPacketTooBig: return Kind::kPacketTooBig;
    case wire::Icmpv6Type::kTimeExceeded: return Kind::kTimeExceeded;
    case wire::Icmpv6Type::kParameterProblem:
      // RFC 4443 3.4: "unrecognized next header" is what IPv4 calls protocol unreachable.
      return message.code() == wire::kIcmpv6UnrecognizedNextHeader ? Kind::kProtocolUnreachable
                                                                   : Kind::kParameterProblem;
    default: return std::nullopt;
  }
}

// Whether a datagram is an ICMPv6 error or redirect, behind whatever extension headers: their options do not count
// here, because a refused option may stand in front of it.
bool is_icmp_error(wire::Bytes datagram) {
  uint8_t protocol = wire::load_u8(&datagram[6]);
  size_t at = wire::kIpv6Size;
  for (unsigned i = 0; i < wire::kIpv6MaxExtensionHeaders && at + 8 <= datagram.size(); ++i) {
    const bool options = protocol == wire::kProtocolHopByHop || protocol == wire::kProtocolDestinationOptions;
    if (!options && protocol != wire::kProtocolRouting && protocol != wire::kProtocolFragment) break;
    const size_t units = protocol == wire::kProtocolFragment ? 0 : wire::load_u8(&datagram[at + 1]);
    protocol = wire::load_u8(&datagram[at]);
    at += (units + 1) * 8;
  }
  if (protocol != wire::kProtocolIcmpv6 || at >= datagram.size()) return false;
  const uint8_t type = wire::load_u8(&datagram[at]);
  return type < 128 || type == static_cast<uint8_t>(wire::Icmpv6Type::kRedirect);
}

}  // namespace

void Ip::State::input_icmp_v6(Arrival& a) {
  const uint32_t length = a.length - a.header;
  if (length < wire::kIcmpv6Size) return drop(a.packet, IpCounter::kIcmpTruncated);
  if (!gather(packets, *a.packet, a.header + wire::kIcmpv6Size)) return drop(a.packet, IpCounter::kIpScattered);
  const uint64_t pseudo = wire::pseudo_sum(a.source, a.destination, wire::kProtocolIcmpv6, length);
  const bool verified = (a.packet->flags & pkt::kRxL4ChecksumMask) == pkt::kRxL4ChecksumNone;
  if (!verified && !wire::is_valid(wire::add_sums(pseudo, sum_chain(*a.packet, a.header)))) {
    return drop(a.packet, IpCounter::kIcmpBadChecksum);
  }
  const bool awaited = tell_icmp_listener(a);
  std::array<std::byte, 2048> room;
  const auto message = *wire::Icmpv6View::check(message_of(a, room));
  const auto type = message.type();
  if (type >= wire::Icmpv6Type::kRouterSolicitation && type <= wire::Icmpv6Type::kRedirect) {
    // RFC 6980 5 MUST: what came in fragments, even a single one, is ignored.
    if (message.message().size() != length || a.fragmented) return drop(a.packet, IpCounter::kNdInvalid);
    return input_nd(a, message.message());
  }
  if (type == wire::Icmpv6Type::kMldQuery || type == wire::Icmpv6Type::kMldReport) {
    return input_mld(a, message.message());
  }
  if (a.source.is_unspecified()) return drop(a.packet, IpCounter::kIpMartianSource);
  switch (type) {
    case wire::Icmpv6Type::kEchoRequest: return echo_v6(a);
    case wire::Icmpv6Type::kEchoReply: return awaited ? consume(a.packet) : drop(a.packet, IpCounter::kIcmpEchoReply);
    case wire::Icmpv6Type::kUnreachable:
    case wire::Icmpv6Type::kPacketTooBig:
    case wire::Icmpv6Type::kTimeExceeded:
    case wire::Icmpv6Type::kParameterProblem: return error_in_v6(a, message);
    default: return drop(a.packet, IpCounter::kIcmpUnknownType);
  }
}

void Ip::State::echo_v6(Arrival& a) {
  counters.add(IpCounter::kIcmpEchoIn);
  IpAddr from = a.destination;
  if (from.is_multicast()) {
    // RFC 4443 4.2: a request to a group is answered from an address of the interface that it came to.
    const Address* own = addresses.select_source(a.nif.index, a.source, a.source);
    if (own == nullptr) return drop(a.packet, IpCounter::kIpMulticast);
    from = own->prefix.addr;
  }
  answer_echo(a, std::byte{static_cast<uint8_t>(wire::Icmpv6Type::kEchoReply)}, wire::kProtocolIcmpv6, from);
}

void Ip::State::error_in_v6(Arrival& a, const wire::Icmpv6View& message) {
  const auto kind = kind_of(message);
  if (!kind) return drop(a.packet, IpCounter::kIcmpUnknownType);
  const auto quoted = wire::parse_quoted_v6(message.payload());
  if (!quoted || !quoted->has_sequence()) return drop(a.packet, IpCounter::kIcmpBadQuote);
  if (quoted->source != a.destination) return drop(a.packet, IpCounter::kIcmpNotOurs);
  uint16_t mtu = 0;
  if (*kind == Kind::kPacketTooBig) {
    // RFC 8201 4: a report below the minimum link MTU is discarded.
    // What fits already cannot have been too big.
    const uint32_t length = wire::Ipv6View::check_quoted(message.payload())->total_length();
    if (message.mtu() < wire::kIpv6MinMtu || message.mtu() >= length) return drop(a.packet, IpCounter::kIcmpBadMtu);
    mtu = static_cast<uint16_t>(message.mtu());
  }
  accept_error(a, *kind, mtu, *quoted);
}

// The packet stays the caller's.
void Ip::State::send_error_v6(const Arrival& about, const wire::Icmpv6Header& error) {
  // RFC 4443 2.4 (e): groups, on the link or above, get no error but for an unrecognized option that asks for one.
  const bool to_group = about.destination.is_multicast() || about.to == FrameTo::kGroup;
  const bool group_may = error.type == wire::Icmpv6Type::kParameterProblem &&
                         error.code == wire::kIcmpv6UnrecognizedOption && about.packet->next == nullptr;
  bool allowed = (!to_group || group_may) && !about.source.is_unspecified();
  allowed = allowed && !is_icmp_error(about.packet->bytes());  // RFC 4443 2.4 (e.1), (e.2)
  const Address* own = nullptr;
  if (allowed && about.destination.is_multicast()) {
    own = addresses.select_source(about.nif.index, about.source, about.source);
    allowed = own != nullptr;
  }
  if (!allowed) return counters.add(IpCounter::kIcmpErrorsForbidden);
  if (!error_limit.take(about.now)) return counters.add(IpCounter::kIcmpErrorsLimited);
  pkt::Packet* packet = quote(about, wire::kIpv6MinMtu);  // RFC 4443 2.4 (c)
  if (packet == nullptr) return;
  const IpAddr source = own != nullptr ? own->prefix.addr : about.destination;
  error.emit(packet->bytes(), source, about.source);
  send_from(source, about, wire::kProtocolIcmpv6, packet);
}

}  // namespace millrace::ip
