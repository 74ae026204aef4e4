#include "raw/icmp.h"

#include <algorithm>
#include <cstring>

#include "ip/segments.h"
#include "wire/checksum.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/ip_protocol.h"

namespace millrace::raw {
namespace {

constexpr size_t kHeader = 8;

uint8_t echo_request(bool v4) {
  return v4 ? static_cast<uint8_t>(wire::Icmpv4Type::kEchoRequest)
            : static_cast<uint8_t>(wire::Icmpv6Type::kEchoRequest);
}
uint8_t echo_reply(bool v4) {
  return v4 ? static_cast<uint8_t>(wire::Icmpv4Type::kEchoReply) : static_cast<uint8_t>(wire::Icmpv6Type::kEchoReply);
}

bool may_hear(const udp::Dgram& d, const IpAddr& destination) {
  return d.local.is_unspecified() ? d.local.is_v4() == destination.is_v4() : d.local == destination;
}

}  // namespace

void Icmp::listen() { ip_.set_icmp_listener(hear, this); }

bool Icmp::hear(void* self, const ip::Datagram& datagram, Instant now) {
  return static_cast<Icmp*>(self)->take(datagram, now);
}

bool Icmp::take(const ip::Datagram& datagram, Instant now) {
  const uint32_t length = datagram.packet->total - datagram.header;
  std::byte head[kHeader];
  if (pkt::copy_out(*datagram.packet, datagram.header, head) < kHeader) return false;
  const bool v4 = datagram.source.is_v4();
  const bool reply = wire::load_u8(head) == echo_reply(v4);
  const uint16_t id = wire::load_be16(head + 4);
  bool awaited = false;
  udp_.each([&](uint32_t index, const udp::Dgram& d) {
    if (d.kind == DatagramKind::kUdp || !may_hear(d, datagram.destination)) return;
    if (d.kind == DatagramKind::kPing) {
      if (!reply || d.local_port != id) return;
      const bool open = d.remote.is_unspecified() || d.remote.is_multicast();  // a group's members answer as themselves
      if (!open && d.remote != datagram.source) return;
      awaited = true;
    }
    // A copy: Ip goes on with the message.
    udp::Incoming in;
    in.packet = udp_.copy_of(*datagram.packet, datagram.header, length);
    if (in.packet == nullptr) return udp_.count(udp::Counter::kDropNoBuffers);
    in.source = datagram.source;
    in.destination = datagram.destination;
    in.interface = datagram.interface;
    in.ttl = datagram.ttl;
    in.traffic_class = datagram.traffic_class;
    udp_.deliver(index, in, now);
  });
  return awaited;
}

Result<void> Icmp::send_one(udp::Dgram& d, const Message& m, Instant now) {
  const IpAddr& to = m.remote.addr.is_unspecified() ? d.remote : m.remote.addr;
  if (to.is_unspecified()) return fail(Error::kNotConnected);
  const bool v4 = to.is_v4();
  if (v4 != d.local.is_v4()) return fail(Error::kInvalid);
  if (m.data.size() < kHeader || wire::load_u8(m.data.data()) != echo_request(v4) ||
      wire::load_u8(m.data.data() + 1) != 0) {
    return fail(Error::kInvalid);
  }
  if (m.data.size() > 65'535U - 20) return fail(Error::kTooBig);
  const IpAddr source = !m.local.is_unspecified() ? m.local : d.local.is_unspecified() ? IpAddr() : d.local;
  const auto route = to.is_multicast() || ip_.is_broadcast(to) ? ip_.group_route(to, source, m.interface)
                                                               : ip_.route(to, source, d.table);
  if (!route) return fail(route.error());
  pkt::Packet* p = udp_.copied(m.data);
  if (p == nullptr) return fail(Error::kNoBuffers);
  std::byte* message = p->len >= kHeader ? p->data() : p->next->data();
  wire::store_be16(message + 2, 0);
  wire::store_be16(message + 4, d.local_port);
  const uint64_t pseudo = v4 ? 0 : wire::pseudo_sum(route->source, to, wire::kProtocolIcmpv6, p->total);
  wire::store_be16(message + 2, wire::finish(wire::add_sums(pseudo, ip::sum_chain(*p, 0))));
  ip::Ip::SendArgs args{route->source,
                        to,
                        v4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6,
                        m.hop_limit != 0 ? m.hop_limit : d.hop_limit,
                        m.traffic_class != 0 ? m.traffic_class : d.traffic_class,
                        *route,
                        d.path_mtu == PathMtu::kFragment};
  return ip_.send(args, p, now);
}

Result<size_t> Icmp::send(uint32_t index, std::span<const Message> messages, Instant now) {
  udp::Dgram& d = udp_.at(index);
  if (d.kind != DatagramKind::kPing) return fail(Error::kNotSupported);
  if (auto pending = udp_.pending_error(d); !pending) return fail(pending.error());
  size_t n = 0;
  for (const Message& m : messages) {
    const auto done = send_one(d, m, now);
    if (!done) {
      if (n == 0) return fail(done.error());
      break;
    }
    if (m.token != 0) (void)udp_.release(m.token);
    ++n;
  }
  return n;
}

void Icmp::on_error(const ip::PathError& error) {
  const auto id = static_cast<uint16_t>(error.sequence >> 16);
  udp_.each([&](uint32_t index, const udp::Dgram& d) {
    if (d.kind == DatagramKind::kPing && d.local_port == id && d.local.is_v4() == error.source.is_v4()) {
      udp_.report(index, error);
    }
  });
}

}  // namespace millrace::raw
