// What ICMP and ICMPv6 share: echo turned around in place, quotes for errors, errors for upper layers.
#include <algorithm>

#include "ip/header.h"
#include "ip/state.h"

namespace millrace::ip {
namespace {

// Receive flags say nothing about a packet that goes out again.
void forget_receive_flags(pkt::Packet& packet) {
  packet.flags &= pkt::kExternal;
  packet.tx_offload = 0;
}

}  // namespace

wire::Bytes Ip::State::message_of(const Arrival& a, wire::MutableBytes room) {
  const uint32_t length = a.length - a.header;
  if (a.packet->len >= a.length) return {a.packet->data() + a.header, length};
  return room.first(pkt::copy_out(*a.packet, a.header, room.first(std::min<size_t>(room.size(), length))));
}

bool Ip::State::tell_icmp_listener(const Arrival& a) const {
  if (icmp_listener == nullptr) return false;
  return icmp_listener(icmp_context,
                       {a.packet, a.source, a.destination, a.protocol, a.ttl, a.traffic_class, a.nif.index,
                        static_cast<uint16_t>(a.header), a.to == FrameTo::kGroup},
                       a.now);
}

void Ip::State::report(Arrival& a, PathError error) {
  error.reporter = a.source;
  if (ip.errors_.size() >= kMaxErrors) return drop(a.packet, IpCounter::kIcmpErrorQueue);
  ip.errors_.push_back(error);
  counters.add(IpCounter::kIcmpErrorsIn);
  consume(a.packet);
}

void Ip::State::accept_error(Arrival& a, PathError::Kind kind, uint16_t mtu, const wire::Quoted& quoted) {
  const bool ports = quoted.protocol == wire::kProtocolTcp || quoted.protocol == wire::kProtocolUdp;
  if (ports) {
    return report(a, {kind, mtu, quoted.protocol, quoted.source, quoted.destination, quoted.source_port(),
                      quoted.destination_port(), quoted.sequence()});
  }
  const uint64_t head = wire::load_native<uint64_t>(quoted.transport.data());
  const bool sent = std::ranges::any_of(sent_large, [&](const SentLarge& s) {
    return s.head == head && s.destination == quoted.destination;
  });
  const bool icmp = quoted.protocol == wire::kProtocolIcmp || quoted.protocol == wire::kProtocolIcmpv6;
  if (!sent && icmp && icmp_listener != nullptr) {
    return report(a, {kind, mtu, quoted.protocol, quoted.source, quoted.destination, 0, 0, quoted.sequence()});
  }
  if (!sent || kind != PathError::Kind::kPacketTooBig) return drop(a.packet, IpCounter::kIcmpNotOurs);
  (void)learn_mtu(quoted.destination, mtu, a.now);
  consume(a.packet);
}

// The request becomes the reply: its payload stays where it is, its type changes and the checksum with it.
void Ip::State::answer_echo(Arrival& a, std::byte reply_type, uint8_t protocol, const IpAddr& from) {
  if (!echo_limit.take(a.now)) return drop(a.packet, IpCounter::kIcmpEchoLimited);
  const auto way = route(a.source, from, 0);
  if (!way) {
    counters.add(IpCounter::kOutNoRoute);
    return consume(a.packet);
  }
  pkt::Packet* packet = a.packet;
  packet->pull(static_cast<uint16_t>(a.header));
  std::byte* message = packet->data();
  const uint16_t before = wire::load_be16(message);
  message[0] = reply_type;
  uint16_t sum = wire::update_checksum(wire::load_be16(message + 2), before, wire::load_be16(message));
  if (way->source != a.destination && protocol == wire::kProtocolIcmpv6) {
    // The request went to a group: the pseudo-header has another address now.
    const uint64_t group = wire::pseudo_sum(a.destination, {}, 0, 0);
    const uint64_t own = wire::pseudo_sum(way->source, {}, 0, 0);
    sum = wire::update_checksum(sum, wire::fold(group), wire::fold(own));
  }
  wire::store_be16(message + 2, sum);
  forget_receive_flags(*packet);
  counters.add(IpCounter::kIcmpEchoOut);
  counters.add(IpCounter::kConsumed);
  (void)send({way->source, a.source, protocol, 0, a.traffic_class, *way, true}, packet, a.now);
}

pkt::Packet* Ip::State::quote(const Arrival& about, uint32_t limit) {
  pkt::Packet* packet = new_packet();
  if (packet == nullptr) return nullptr;
  const uint32_t room = limit - ip_header_size(about.source) - wire::kIcmpv4Size;
  const auto quoted = static_cast<uint16_t>(std::min(about.packet->total, room));
  std::byte* message = packet->append(static_cast<uint16_t>(wire::kIcmpv4Size + quoted));
  (void)pkt::copy_out(*about.packet, 0, {message + wire::kIcmpv4Size, quoted});
  return packet;
}

void Ip::State::send_from(const IpAddr& source, const Arrival& about, uint8_t protocol, pkt::Packet* packet) {
  const auto way = route(about.source, source, 0);
  if (!way) return drop_out(packet, IpCounter::kOutNoRoute);
  counters.add(IpCounter::kIcmpErrorsOut);
  (void)send({source, about.source, protocol, 0, 0, *way}, packet, about.now);
}

}  // namespace millrace::ip
