// ICMP for IPv4 (RFC 792, RFC 1122 3.2.2, RFC 1191).
#include "wire/icmpv4.h"

#include "ip/state.h"
#include "wire/ipv4.h"
#include "wire/quoted.h"

namespace millrace::ip {
namespace {

using Kind = PathError::Kind;

// RFC 1122 4.2.3.9 sorts the codes; those that say "prohibited" are RFC 1812 5.2.7.1.
std::optional<Kind> unreachable_kind(uint8_t code) {
  switch (static_cast<wire::Icmpv4Unreachable>(code)) {
    case wire::Icmpv4Unreachable::kNet:
    case wire::Icmpv4Unreachable::kNetUnknown:
    case wire::Icmpv4Unreachable::kNetTos: return Kind::kNetUnreachable;
    case wire::Icmpv4Unreachable::kHost:
    case wire::Icmpv4Unreachable::kSourceRouteFailed:
    case wire::Icmpv4Unreachable::kHostUnknown:
    case wire::Icmpv4Unreachable::kHostTos: return Kind::kHostUnreachable;
    case wire::Icmpv4Unreachable::kProtocol: return Kind::kProtocolUnreachable;
    case wire::Icmpv4Unreachable::kPort: return Kind::kPortUnreachable;
    case wire::Icmpv4Unreachable::kFragmentationNeeded: return Kind::kPacketTooBig;
    case wire::Icmpv4Unreachable::kNetProhibited:
    case wire::Icmpv4Unreachable::kHostProhibited:
    case wire::Icmpv4Unreachable::kAdminProhibited: return Kind::kAdminProhibited;
  }
  return std::nullopt;
}

std::optional<Kind> kind_of(const wire::Icmpv4View& message) {
  switch (message.type()) {
    case wire::Icmpv4Type::kUnreachable: return unreachable_kind(message.code());
    case wire::Icmpv4Type::kTimeExceeded: return Kind::kTimeExceeded;
    case wire::Icmpv4Type::kParameterProblem: return Kind::kParameterProblem;
    default: return std::nullopt;
  }
}

// RFC 1191 7.1: for a router that does not say, the next common MTU below the datagram's length.
uint16_t plateau_below(uint16_t length) {
  constexpr uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
  for (const uint16_t mtu : plateaus) {
    if (mtu < length) return mtu;
  }
  return 68;
}

constexpr uint16_t kMinMtu = 68;  // RFC 791 3.2

}  // namespace

void Ip::State::input_icmp_v4(Arrival& a) {
  if (a.length - a.header < wire::kIcmpv4Size) return drop(a.packet, IpCounter::kIcmpTruncated);
  if (!gather(packets, *a.packet, a.header + wire::kIcmpv4Size)) return drop(a.packet, IpCounter::kIpScattered);
  const bool verified = (a.packet->flags & pkt::kRxL4ChecksumMask) == pkt::kRxL4ChecksumNone;
  if (!verified && !wire::is_valid(sum_chain(*a.packet, a.header))) {
    return drop(a.packet, IpCounter::kIcmpBadChecksum);
  }
  const bool awaited = tell_icmp_listener(a);
  std::array<std::byte, 2048> room;
  const auto message = *wire::Icmpv4View::check(message_of(a, room));
  switch (message.type()) {
    case wire::Icmpv4Type::kEchoRequest:
      counters.add(IpCounter::kIcmpEchoIn);
      return answer_echo(a, std::byte{0}, wire::kProtocolIcmp, a.destination);  // RFC 1122 3.2.2.6 MUST
    case wire::Icmpv4Type::kEchoReply: return awaited ? consume(a.packet) : drop(a.packet, IpCounter::kIcmpEchoReply);
    case wire::Icmpv4Type::kUnreachable:
    case wire::Icmpv4Type::kTimeExceeded:
    case wire::Icmpv4Type::kParameterProblem: return error_in_v4(a, message);
    case wire::Icmpv4Type::kRedirect: return input_redirect_v4(a, message);
    default: return drop(a.packet, IpCounter::kIcmpUnknownType);  // RFC 1122 3.2.2 MUST, RFC 9293 MUST-55
  }
}

// Only errors about datagrams that we may have sent go up; TCP checks ports and sequence number (RFC 5927 4.1), UDP its
// ports.
void Ip::State::error_in_v4(Arrival& a, const wire::Icmpv4View& message) {
  const auto kind = kind_of(message);
  if (!kind) return drop(a.packet, IpCounter::kIcmpUnknownType);
  const auto quoted = wire::parse_quoted_v4(message.payload());
  if (!quoted || !quoted->has_sequence()) return drop(a.packet, IpCounter::kIcmpBadQuote);
  if (quoted->source != a.destination) return drop(a.packet, IpCounter::kIcmpNotOurs);
  uint16_t mtu = 0;
  if (*kind == Kind::kPacketTooBig) {
    const uint16_t length = wire::Ipv4View::check_quoted(message.payload())->total_length();
    mtu = message.next_hop_mtu() != 0 ? message.next_hop_mtu() : plateau_below(length);
    // What fits already cannot have been too big.
    if (mtu < kMinMtu || mtu >= length) return drop(a.packet, IpCounter::kIcmpBadMtu);
  }
  accept_error(a, *kind, mtu, *quoted);
}

// The packet stays the caller's. Callers have refused broadcasts, multicasts and impossible sources.
void Ip::State::send_error_v4(const Arrival& about, const wire::Icmpv4Header& error) {
  // RFC 1122 3.2.2: never about a group, on the link or above, a later fragment, or an ICMP error.
  bool allowed = about.to == FrameTo::kUs && !about.destination.is_multicast() && !about.later_fragment;
  if (about.protocol == wire::kProtocolIcmp) {
    std::array<std::byte, wire::kIcmpv4Size> head{};
    const size_t n = pkt::copy_out(*about.packet, about.header, head);
    const auto inner = wire::Icmpv4View::check({head.data(), n});
    allowed = allowed && inner && !inner->is_error();
  }
  if (!allowed) return counters.add(IpCounter::kIcmpErrorsForbidden);
  if (!error_limit.take(about.now)) return counters.add(IpCounter::kIcmpErrorsLimited);
  constexpr uint32_t kLimit = 576;  // RFC 1812 4.3.2.3
  pkt::Packet* packet = quote(about, kLimit);
  if (packet == nullptr) return;
  error.emit(packet->bytes());
  send_from(about.destination, about, wire::kProtocolIcmp, packet);
}

}  // namespace millrace::ip
