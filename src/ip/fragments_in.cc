// Fragments that arrive: their headers are checked here, Reassembly keeps them, and the whole datagram gets one header
// again. RFC 791 3.2, RFC 1122 3.3.2, RFC 8200 4.5, RFC 7112.
#include "ip/state.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::ip {
namespace {

constexpr uint32_t kMaxDatagram = 65'535;  // IPv4 with its header, IPv6 behind the fixed header
constexpr uint8_t kEcnMask = 3;

uint32_t upper_header_size(uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolTcp: return 20;
    case wire::kProtocolUdp:
    case wire::kProtocolIcmpv6: return 8;
    default: return 0;
  }
}

// RFC 7112 5: a first fragment has every header up to and including that of the upper layer.
bool has_header_chain(wire::Bytes head, const wire::Ipv6Upper& at) {
  const wire::Ipv6Upper upper = wire::find_upper_behind(head, at);
  if (upper.status == wire::Ipv6Upper::Status::kTruncated) return false;
  if (upper.status != wire::Ipv6Upper::Status::kUpper) return true;  // told when the datagram is whole
  return head.size() - upper.offset >= upper_header_size(upper.protocol);
}

}  // namespace

bool Ip::State::reassemble_v4(Arrival& a) {
  counters.add(IpCounter::kFragsIn);
  const auto view = *wire::Ipv4View::check_quoted(a.packet->bytes());
  const uint32_t length = a.length - a.header;
  const uint32_t start = view.fragment_offset();
  const bool more = view.more_fragments();
  if (length == 0 || (more && length % 8 != 0)) {
    drop(a.packet, IpCounter::kFragBad);
    return false;
  }
  if (a.header + start + length > kMaxDatagram) {
    drop(a.packet, IpCounter::kFragTooLong);
    return false;
  }
  const FragmentKey key{a.source, a.destination, view.id(), IfIndex::kNone, a.protocol};
  Reassembly::Verdict verdict;
  return add_fragment(a,
                      {key, a.packet, a.header, start, length, more, static_cast<uint8_t>(a.traffic_class & kEcnMask),
                       a.nif.index, a.to == FrameTo::kGroup},
                      verdict) &&
         join_v4(a, verdict);
}

bool Ip::State::reassemble_v6(Arrival& a, const wire::Ipv6Upper& at) {
  counters.add(IpCounter::kFragsIn);
  const uint32_t length = a.length - at.offset;
  const uint32_t start = at.fragment.offset;
  const auto refuse = [&](IpCounter why, uint8_t code, uint32_t pointer) {
    send_error_v6(a, wire::Icmpv6Header::parameter_problem(code, pointer));
    drop(a.packet, why);
    return false;
  };
  if (at.fragment.more && length % 8 != 0) {
    return refuse(IpCounter::kFragBad, wire::kIcmpv6ErroneousField, 4);  // the payload length
  }
  if (at.fragment_at - wire::kIpv6Size + start + length > kMaxDatagram) {
    return refuse(IpCounter::kFragTooLong, wire::kIcmpv6ErroneousField, at.fragment_at + 2U);  // the fragment offset
  }
  if (start == 0 && !has_header_chain(a.packet->bytes(), at)) {
    if (a.packet->next == nullptr) {
      return refuse(IpCounter::kFragHeaderChain, wire::kIcmpv6IncompleteHeaderChain, 0);
    }
    drop(a.packet, IpCounter::kIpScattered);
    return false;
  }
  if (length == 0) {
    drop(a.packet, IpCounter::kFragBad);
    return false;
  }
  const IfIndex link = a.source.is_link_local() ? a.nif.index : IfIndex::kNone;
  const FragmentKey key{a.source, a.destination, at.fragment.id, link, 0};
  Reassembly::Verdict verdict;
  return add_fragment(a,
                      {key, a.packet, at.offset, start, length, at.fragment.more,
                       static_cast<uint8_t>(a.traffic_class & kEcnMask), a.nif.index, a.to == FrameTo::kGroup},
                      verdict) &&
         join_v6(a, verdict);
}

bool Ip::State::add_fragment(Arrival& a, const Fragment& fragment, Reassembly::Verdict& verdict) {
  verdict = reassembly.add(fragment, a.now);
  switch (verdict.outcome) {
    case Reassembly::Outcome::kComplete: break;
    case Reassembly::Outcome::kHeld: counters.add(IpCounter::kConsumed); return false;
    case Reassembly::Outcome::kRefused: drop(a.packet, verdict.why); return false;
  }
  a.packet = verdict.datagram;
  a.later_fragment = false;
  a.fragmented = true;
  return true;
}

bool Ip::State::join_v4(Arrival& a, const Reassembly::Verdict& whole) {
  if (a.packet->total > kMaxDatagram) {
    drop(a.packet, IpCounter::kFragTooLong);
    return false;
  }
  std::byte* header = a.packet->data();
  if (whole.congestion) header[1] |= std::byte{kEcnMask};
  wire::store_be16(header + 2, static_cast<uint16_t>(a.packet->total));
  wire::store_be16(header + 6, 0);
  wire::store_be16(header + 10, 0);
  wire::store_be16(header + 10, wire::finish(wire::sum_bytes(header, whole.header)));
  const auto view = *wire::Ipv4View::check_quoted(a.packet->bytes());
  a.ttl = view.ttl();
  a.traffic_class = view.traffic_class();
  a.header = whole.header;
  a.length = a.packet->total;
  return true;
}

// The fragment header goes out, what stands in front of it moves up.
bool Ip::State::join_v6(Arrival& a, const Reassembly::Verdict& whole) {
  pkt::Packet& packet = *a.packet;
  const uint32_t payload = packet.total - wire::kIpv6Size - wire::kIpv6FragmentSize;
  const wire::Ipv6Upper at = wire::find_upper(*wire::Ipv6View::check_quoted(packet.bytes()), packet.bytes());
  MR_ASSERT(at.status == wire::Ipv6Upper::Status::kFragment && at.offset == whole.header);
  if (payload > kMaxDatagram) {
    drop(a.packet, IpCounter::kFragTooLong);
    return false;
  }
  std::byte* from = packet.data();
  std::memmove(from + wire::kIpv6FragmentSize, from, at.fragment_at);
  packet.pull(wire::kIpv6FragmentSize);
  std::byte* header = packet.data();
  wire::store_u8(header + at.next_header_at, at.fragment.next_header);
  wire::store_be16(header + 4, static_cast<uint16_t>(payload));
  if (whole.congestion) header[1] |= std::byte{kEcnMask << 4};
  const auto view = *wire::Ipv6View::check_quoted(packet.bytes());
  a.ttl = view.hop_limit();
  a.traffic_class = view.traffic_class();
  a.length = packet.total;
  return true;
}

// RFC 1122 3.3.2, RFC 8200 4.5: told only where the first fragment, which the message quotes, has arrived.
void Ip::State::reassembly_timed_out(pkt::Packet& first, IfIndex interface, bool to_group, Instant now) {
  Arrival about{*find(interface), &first, to_group ? FrameTo::kGroup : FrameTo::kUs, now};
  if (const auto v4 = wire::Ipv4View::check_quoted(first.bytes())) {
    about.source = v4->source();
    about.destination = v4->destination();
    about.protocol = v4->protocol();
    about.header = v4->header_length();
    about.length = first.total;
    return send_error_v4(about, wire::Icmpv4Header::time_exceeded(wire::kIcmpv4ReassemblyTimeout));
  }
  const auto v6 = *wire::Ipv6View::check_quoted(first.bytes());
  about.source = v6.source();
  about.destination = v6.destination();
  about.length = first.total;
  send_error_v6(about, wire::Icmpv6Header::time_exceeded(wire::kIcmpv6ReassemblyTimeout));
}

}  // namespace millrace::ip
