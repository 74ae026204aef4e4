// From Ip's datagram to a message on a socket (RFC 768, RFC 1122 4.1, RFC 8200 8.1).
#include <cstring>

#include "ip/segments.h"
#include "udp/udp.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"
#include "wire/udp.h"

namespace millrace::udp {

Udp::Udp(const UdpConfig& c)
    : ip_(*c.ip),
      packets_(*c.packets),
      frames_(*c.frames),
      blocks_(*c.blocks),
      settings_(c.settings),
      workers_(c.workers),
      worker_(c.worker),
      share_(c.share),
      share_context_(c.share_context),
      rng_(c.seed),
      transmit_limit_(c.transmit_queue),
      dgrams_(*c.memory, c.max_sockets),
      queue_(*c.memory, c.max_messages),
      table_(*c.memory, dgrams_, c.seed),
      errors_(*c.memory, kMostErrors) {}

bool Udp::parse(Incoming& in, pkt::PacketCache& packets) {
  pkt::Packet* p = in.packet;
  if (p->len < wire::kUdpSize) return false;
  const std::byte* header = p->data();
  const uint32_t length = wire::load_be16(header + 4);
  if (length < wire::kUdpSize || length > p->total) return false;
  in.source_port = wire::load_be16(header);
  in.destination_port = wire::load_be16(header + 2);
  if (length != p->total) ip::trim(packets, *p, length);
  in.segment = (p->flags & pkt::kRxMerged) != 0 ? static_cast<uint16_t>(p->seg_size()) : uint16_t{0};
  p->pull(wire::kUdpSize);
  return true;
}

// The header lies in front of data().
bool Udp::checksum_ok(const Incoming& in) {
  const pkt::Packet& p = *in.packet;
  const uint64_t verdict = p.flags & pkt::kRxL4ChecksumMask;
  if (verdict == pkt::kRxL4ChecksumGood || verdict == pkt::kRxL4ChecksumNone) return true;
  const std::byte* header = p.data() - wire::kUdpSize;
  const uint32_t length = p.total + wire::kUdpSize;
  if (wire::load_be16(header + 6) == 0) return true;  // RFC 768: none; IPv6 has been asked before
  const uint64_t pseudo = wire::pseudo_sum(in.source, in.destination, wire::kProtocolUdp, length);
  const uint64_t sum = wire::add_sums(pseudo, wire::sum_bytes(header, wire::kUdpSize));
  return wire::is_valid(wire::add_sums(sum, ip::sum_chain(p, 0)));
}

// Over IPv6 the field is 0, and not because a link without a wire left it to us.
bool Udp::lacks_checksum_v6(const Incoming& in) {
  return in.source.is_v6() && wire::load_be16(in.packet->data() - 2) == 0 &&
         (in.packet->flags & pkt::kRxL4ChecksumMask) != pkt::kRxL4ChecksumNone;
}

void Udp::input(Incoming& in, Instant now) {
  counters_.add(Counter::kIn);
  if (__builtin_expect(in.to_group, 0)) return input_group(in, now);
  const uint32_t index = table_.find(in.destination, in.destination_port, in.source, in.source_port);
  if (__builtin_expect(index == 0, 0)) return no_port(in, now);
  if (__builtin_expect(!checksum_ok(in), 0)) {
    counters_.add(Counter::kDropChecksum);
    return packets_.free(in.packet);
  }
  // RFC 8200 8.1: without a checksum only where the socket was told to take it (RFC 6935 5).
  if (__builtin_expect(lacks_checksum_v6(in), 0) && (dgrams_[index].flags & kZeroChecksum6) == 0) {
    counters_.add(Counter::kDropNoChecksum);
    return packets_.free(in.packet);
  }
  deliver(index, in, now);
}

void Udp::input(ip::Datagram& d, Instant now) {
  Incoming in;
  in.packet = d.packet;
  in.source = d.source;
  in.destination = d.destination;
  in.interface = d.interface;
  in.ip_header = d.header;
  in.ttl = d.ttl;
  in.traffic_class = d.traffic_class;
  in.to_group = d.to_group;
  if (!ip::gather(packets_, *d.packet, wire::kUdpSize) || !parse(in, packets_)) {
    counters_.add(Counter::kDropHeader);
    return packets_.free(d.packet);
  }
  input(in, now);
}

// A datagram to a group or a broadcast address goes to every socket that it fits, one copy of the reference each.
void Udp::input_group(Incoming& in, Instant now) {
  const bool none = lacks_checksum_v6(in);
  if (!checksum_ok(in) || none) {
    counters_.add(none ? Counter::kDropNoChecksum : Counter::kDropChecksum);
    return packets_.free(in.packet);
  }
  bool any = false;
  table_.each_match(in.destination, in.destination_port, in.source, in.source_port, [&](uint32_t index) {
    if (in.destination.is_multicast() && !wants_group(index, in)) return;
    any = true;
    for (pkt::Packet* p = in.packet; p != nullptr; p = p->next) ++p->refs;
    deliver(index, in, now);
  });
  if (!any) counters_.add(Counter::kDropGroupNoSocket);
  packets_.free(in.packet);
}

void Udp::no_port(Incoming& in, Instant now) {
  counters_.add(Counter::kDropNoPort);
  if (checksum_ok(in)) {
    (void)in.packet->push(wire::kUdpSize);
    ip_.port_unreachable({in.packet, in.source, in.destination, wire::kProtocolUdp, in.ttl, in.traffic_class,
                          in.interface, in.ip_header, in.to_group},
                         now);
  }
  packets_.free(in.packet);
}

// Appends to the newest message if both are of one flow and every datagram but this one has its segment size.
bool Udp::merge(Dgram& d, const Incoming& in) {
  if (d.tail == 0) return false;
  Queued& q = queue_[d.tail];
  pkt::Packet* head = q.packet;
  const uint32_t bytes = in.packet->total;
  const uint32_t size = q.segment != 0 ? q.segment : head->total;
  const bool same = q.source == in.source && q.source_port == in.source_port && q.destination == in.destination &&
                    q.ttl == in.ttl && q.traffic_class == in.traffic_class &&
                    q.interface == static_cast<uint8_t>(in.interface);
  constexpr uint32_t kMostSegments = 64;
  const bool fits = bytes != 0 && bytes <= size && size <= pkt::kFrameRoom && in.segment == 0 &&
                    head->total % size == 0 && head->total / size < kMostSegments &&
                    head->total + bytes <= pkt::BlockPool::max_payload();
  if (!same || !fits || head->refs != 1 || in.packet->refs != 1 || in.packet->segs + head->segs > UINT16_MAX) {
    return false;
  }
  q.segment = static_cast<uint16_t>(size);
  counters_.add(Counter::kMerged);
  pkt::Packet* last = head;
  while (last->next != nullptr) last = last->next;
  const bool own = last->refs == 1 && (last->flags & pkt::kExternal) == 0;
  if (own && in.packet->next == nullptr && last->tailroom() >= bytes) {
    // Small datagrams share a buffer.
    std::memcpy(last->data() + last->len, in.packet->data(), bytes);
    last->len = static_cast<uint16_t>(last->len + bytes);
    head->total += bytes;
    packets_.free(in.packet);
    return true;
  }
  d.charge += charge_of(in.packet) - static_cast<uint32_t>(sizeof(Queued));
  pkt::chain(*last, in.packet);
  if (last != head) {
    head->segs = static_cast<uint16_t>(head->segs + in.packet->segs);
    head->total += bytes;
  }
  return true;
}

void Udp::deliver(uint32_t index, const Incoming& in, Instant now) {
  Dgram& d = dgrams_[index];
  if (__builtin_expect(d.charge >= d.receive_limit, 0)) {
    ++d.drops;
    counters_.add(Counter::kDropBuffer);
    return packets_.free(in.packet);
  }
  if (__builtin_expect(starved_, 0)) {
    ++d.drops;
    counters_.add(Counter::kDropNoBuffers);
    return packets_.free(in.packet);
  }
  if ((d.flags & kMerge) != 0 && merge(d, in)) return touch(index, kReadable);
  const uint32_t at = queue_.allocate();
  if (__builtin_expect(at == 0, 0)) {
    ++d.drops;
    counters_.add(Counter::kDropMessages);
    return packets_.free(in.packet);
  }
  Queued& q = queue_[at];
  q.link = 0;
  q.packet = in.packet;
  q.received = now;
  q.source = in.source;
  q.destination = in.destination;
  q.source_port = in.source_port;
  q.interface = static_cast<uint8_t>(in.interface);
  q.to_group = in.to_group;
  q.ttl = in.ttl;
  q.traffic_class = in.traffic_class;
  q.segment = in.segment;
  (d.tail == 0 ? d.head : queue_[d.tail].link) = at;
  d.tail = at;
  ++d.queued;
  d.charge += charge_of(in.packet);
  if (d.fresh == 0) d.fresh = at;
  if ((d.flags & kFresh) == 0) {
    d.flags |= kFresh;
    fresh_.push_back(index);
  }
  touch(index, kReadable);
}

}  // namespace millrace::udp
