// From a program's messages to frames. A datagram that fits a frame is built here, in place where the message lies in a
// received buffer; larger ones go through Ip::send.
#include <algorithm>
#include <cstring>

#include "ip/header.h"
#include "ip/segments.h"
#include "udp/udp.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/udp.h"

namespace millrace::udp {
namespace {

constexpr uint32_t kMostSegments = 64;   // one call of segmented sending
constexpr uint32_t kMostBytes = 65'535;  // of one call
constexpr uint16_t kFrameHeaders = wire::kEthernetSize + wire::kIpv6Size + wire::kUdpSize;

}  // namespace

Result<Udp::Way> Udp::find_way(Dgram& d, const IpAddr& destination, const IpAddr& wanted) {
  const uint16_t epoch = ip_.epoch();
  CachedWay& c = cached_way(destination);
  if (c.epoch == epoch && c.destination == destination && c.wanted == wanted && c.table == d.table) return c.way;
  const auto route = ip_.route(destination, wanted, d.table);
  if (!route) return fail(route.error());
  c = {destination, wanted, {route->hop, route->interface, route->mtu, route->source}, d.table, ip_.epoch()};
  return c.way;
}

// Who sends what to whom, and which way.
Result<void> Udp::prepare(Dgram& d, const Message& m, Outgoing& out) {
  out.ttl = m.hop_limit != 0 ? m.hop_limit : d.hop_limit;
  out.traffic_class = m.traffic_class != 0 ? m.traffic_class : d.traffic_class;
  if (m.remote.port == 0) {
    if (d.remote_port == 0) return fail(m.remote.addr.is_unspecified() ? Error::kNotConnected : Error::kInvalid);
    out.destination = d.remote;
    out.port = d.remote_port;
    if (__builtin_expect((d.flags & kGroupPeer) != 0, 0)) return prepare_group(d, m, out);
    if (d.epoch != ip_.epoch()) {
      const auto route = ip_.route(d.remote, source_of(d.local), d.table);
      if (!route) return fail(route.error());
      d.hop = route->hop;
      d.interface = route->interface;
      d.mtu = route->mtu;
      d.route_source = route->source;
      d.epoch = ip_.epoch();
    }
    out.way = {d.hop, d.interface, d.mtu, d.route_source};
    if (out.ttl == 0) out.ttl = ip_.default_hop_limit(d.interface, d.remote.is_v4());
    return {};
  }
  if (m.remote.addr.is_unspecified()) return fail(Error::kInvalid);
  out.destination = m.remote.addr;
  out.port = m.remote.port;
  const bool v4 = out.destination.is_v4();
  if (v4 ? d.local.is_v6() && (d.flags & kDual) == 0 : d.local.is_v4()) {
    return fail(v4 ? Error::kNetUnreachable : Error::kInvalid);
  }
  if (__builtin_expect(out.destination.is_multicast(), 0)) return prepare_group(d, m, out);
  const IpAddr wanted = !m.local.is_unspecified() ? m.local : source_of(d.local);
  const auto way = find_way(d, out.destination, wanted);
  if (!way) {
    if (ip_.is_broadcast(out.destination)) return prepare_group(d, m, out);
    return fail(way.error());
  }
  out.way = *way;
  if (out.ttl == 0) out.ttl = ip_.default_hop_limit(way->interface, v4);
  return {};
}

// The buffer that a borrowed message came in, if its payload may be sent from there: nobody else refers to it and the
// headers fit in front.
pkt::Packet* Udp::payload_of(const Message& m) {
  const uint32_t index = m.token == 0 ? 0 : borrowed_of(m.token);
  if (index == 0) return copied(m.data);
  pkt::Packet* p = queue_[index].packet;
  const std::byte* from = p->data();
  const bool inside = m.data.data() >= from && m.data.data() + m.data.size() <= from + p->len;
  const auto skip = static_cast<uint16_t>(inside ? m.data.data() - from : 0);
  if (!inside || p->refs != 1 || (p->flags & pkt::kExternal) != 0 || p->off + skip < kFrameHeaders) {
    return copied(m.data);
  }
  dgrams_[queue_[index].link].charge -= charge_of(p);
  queue_[index].packet = nullptr;
  give_back(index);
  p->off = static_cast<uint16_t>(p->off + skip);
  p->len = static_cast<uint16_t>(m.data.size());
  p->total = p->len;
  p->flags = 0;
  p->tx_offload = 0;
  return p;
}

pkt::Packet* Udp::copied(std::span<const std::byte> data) {
  pkt::Packet* head = packets_.frame();
  if (head == nullptr) return nullptr;
  if (data.size() <= head->tailroom()) {
    if (!data.empty()) std::memcpy(head->append(static_cast<uint16_t>(data.size())), data.data(), data.size());
    return head;
  }
  while (!data.empty()) {
    pkt::Block* block = blocks_.allocate(static_cast<uint32_t>(data.size()));
    pkt::Packet* ref = nullptr;
    if (block != nullptr) {
      const auto piece = static_cast<uint16_t>(std::min<size_t>(data.size(), block->capacity));
      std::memcpy(block->data, data.data(), piece);
      block->len = piece;
      ref = packets_.reference(block->data, block->iova, piece, block->ext);
      pkt::BlockPool::unref(block);
      data = data.subspan(piece);
    }
    if (ref == nullptr) {
      packets_.free(head);
      return nullptr;
    }
    pkt::chain(*head, ref);
  }
  return head;
}

pkt::Packet* Udp::copy_of(const pkt::Packet& packet, uint32_t offset, uint32_t bytes) {
  pkt::Packet* head = packets_.frame();
  if (head != nullptr && bytes <= head->tailroom()) {
    (void)pkt::copy_out(packet, offset, {head->append(static_cast<uint16_t>(bytes)), bytes});
    return head;
  }
  packets_.free(head);
  std::vector<std::byte> whole(bytes);  // rare: a reassembled message
  (void)pkt::copy_out(packet, offset, whole);
  return head == nullptr ? nullptr : copied(whole);
}

// Writes the headers in front of the payload and hands the frame over (takes `p`).
void Udp::emit(Dgram& d, const Way& way, const IpAddr& destination, uint16_t port, uint8_t ttl, uint8_t traffic_class,
               const link::DeviceLimits& limits, pkt::Packet* p, Instant now) {
  const bool v4 = destination.is_v4();
  const uint32_t length = p->total + wire::kUdpSize;
  const uint16_t ip_bytes = ip::ip_header_size(destination);
  std::byte* header = p->push(wire::kUdpSize);
  wire::store_be16(header, d.local_port);
  wire::store_be16(header + 2, port);
  wire::store_be16(header + 4, static_cast<uint16_t>(length));
  uint16_t field = 0;
  const bool by_device = v4 ? limits.tx_checksum_v4 : limits.tx_checksum_v6;
  if (__builtin_expect((d.flags & kNoChecksum) == 0, 1)) {
    const uint64_t pseudo = wire::pseudo_sum(way.source, destination, wire::kProtocolUdp, length);
    if (by_device) {
      field = wire::fold(pseudo);
      p->flags |= pkt::kTxUdpChecksum | (v4 ? pkt::kTxIpv4 : pkt::kTxIpv6);
      p->set_tx_lengths(wire::kEthernetSize, ip_bytes, wire::kUdpSize, 0);
    } else {
      wire::store_be16(header + 6, 0);
      field = wire::finish_nonzero(wire::add_sums(pseudo, ip::sum_chain(*p, 0)));
    }
  }
  wire::store_be16(header + 6, field);
  const bool ip_by_device = v4 && limits.tx_ip_checksum;
  if (ip_by_device) {
    p->flags |= pkt::kTxIpChecksum | pkt::kTxIpv4;
    p->set_tx_lengths(wire::kEthernetSize, ip_bytes, wire::kUdpSize, 0);
  }
  std::byte* at = p->push(ip_bytes);
  ip::write_ip_header(at, way.source, destination, wire::kProtocolUdp, length, ttl, traffic_class, !ip_by_device);
  counters_.add(Counter::kOut);
  if (ip_.frame(way.hop, p, now)) ip_.transmit(way.interface, p, ip::Lane::kDatagrams);
}

// Back-pressure: the interface has room for so many datagrams, and a socket has its own limit.
Result<void> Udp::room_for(uint32_t index, const Outgoing& out, uint32_t frames, uint32_t bytes) {
  Dgram& d = dgrams_[index];
  if (d.turn != turn_) {
    d.turn = turn_;
    d.sent = 0;
  }
  const uint32_t room = ip_.transmit_room(out.way.interface, ip::Lane::kDatagrams);
  if (__builtin_expect(room < frames || (d.sent != 0 && d.sent + bytes > d.send_limit), 0)) {
    counters_.add(Counter::kBlocked);
    wants_drain_ = true;
    if ((d.flags & kBlocked) == 0) {
      d.flags |= kBlocked;
      blocked_.push_back(index);
    }
    return fail(Error::kWouldBlock);
  }
  d.sent += bytes;
  wants_drain_ = true;
  return {};
}

// A device that takes frames of one buffer only carries no more than the buffer holds, whatever its MTU.
bool Udp::fits_device(const Outgoing& out, const pkt::Packet& p) const {
  return p.next == nullptr || p.segs <= ip_.limits(out.way.interface).max_segments;
}

Result<void> Udp::send_segments(Dgram& d, const Message& m, const Outgoing& out, Instant now) {
  std::span<const std::byte> left = m.data;
  while (!left.empty()) {
    const auto piece = left.first(std::min<size_t>(left.size(), m.segment));
    pkt::Packet* p = copied(piece);
    if (p == nullptr) {
      counters_.add(Counter::kDropNoBuffers);
      return fail(Error::kNoBuffers);
    }
    if (!fits_device(out, *p)) {
      packets_.free(p);
      return fail(Error::kTooBig);
    }
    emit(d, out, p, now);
    left = left.subspan(piece.size());
  }
  if (m.token != 0) (void)release(m.token);
  return {};
}

// A datagram that goes out in fragments: with its checksum, and by way of Ip.
Result<void> Udp::send_large(uint32_t index, const Message& m, const Outgoing& out, Instant now) {
  Dgram& d = dgrams_[index];
  const auto bytes = static_cast<uint32_t>(m.data.size());
  const uint32_t ip_header = ip::ip_header_size(out.destination);
  const uint32_t length = bytes + wire::kUdpSize;
  // RFC 791 3.1 counts its header, RFC 8200 3 does not.
  const uint32_t most = out.destination.is_v4() ? kMostBytes - ip_header : kMostBytes;
  const bool refused = d.path_mtu != PathMtu::kFragment;
  if (length > most || refused) return fail(Error::kTooBig);
  const uint32_t each = ip::fragment_room(out.destination.is_v4(), out.way.mtu, ip_.limits(out.way.interface));
  if (each == 0) return fail(Error::kTooBig);
  if (auto room = room_for(index, out, (length + each - 1) / each, bytes); !room) return room;
  pkt::Packet* p = copied(m.data);
  if (p == nullptr) {
    counters_.add(Counter::kDropNoBuffers);
    return fail(Error::kNoBuffers);
  }
  std::byte* header = p->push(wire::kUdpSize);
  wire::UdpHeader{d.local_port, out.port, static_cast<uint16_t>(length), 0}.emit({header, wire::kUdpSize});
  if ((d.flags & kNoChecksum) == 0) {
    const uint64_t pseudo = wire::pseudo_sum(out.way.source, out.destination, wire::kProtocolUdp, length);
    wire::store_be16(header + 6, wire::finish_nonzero(wire::add_sums(pseudo, ip::sum_chain(*p, 0))));
  }
  if (out.looped) loop_back(d, m, out, now);
  ip::Ip::SendArgs args{out.way.source, out.destination, wire::kProtocolUdp, out.ttl, out.traffic_class, {}, true};
  args.route = {out.way.hop, out.way.interface, out.way.source, out.way.mtu};
  if (auto sent = ip_.send(args, p, now); !sent) return sent;
  counters_.add(Counter::kOut);
  if (m.token != 0) (void)release(m.token);
  return {};
}

Result<void> Udp::send_one(uint32_t index, const Message& m, Instant now) {
  Dgram& d = dgrams_[index];
  Outgoing out;
  if (auto done = prepare(d, m, out); __builtin_expect(!done, 0)) return done;
  const auto bytes = static_cast<uint32_t>(m.data.size());
  const uint32_t headers = ip::ip_header_size(out.destination) + wire::kUdpSize;
  const bool segmented = m.segment != 0 && bytes > m.segment;
  const uint32_t frames = segmented ? (bytes + m.segment - 1) / m.segment : 1;
  const uint32_t largest = segmented ? m.segment : bytes;
  if (__builtin_expect(frames > kMostSegments || bytes > kMostBytes, 0)) return fail(Error::kTooBig);
  if (__builtin_expect(out.stays, 0)) return send_here(d, m, out, now);
  if (__builtin_expect(largest + headers > out.way.mtu, 0) &&
      (d.path_mtu != PathMtu::kProbe || largest + headers > ip_.limits(out.way.interface).mtu)) {
    return segmented ? fail(Error::kInvalid) : send_large(index, m, out, now);
  }
  if (auto room = room_for(index, out, frames, bytes); __builtin_expect(!room, 0)) return room;
  if (__builtin_expect(out.looped, 0)) loop_back(d, m, out, now);
  if (segmented) return send_segments(d, m, out, now);
  const bool borrowed = m.token != 0;
  pkt::Packet* p = payload_of(m);
  if (__builtin_expect(p == nullptr, 0)) {
    counters_.add(Counter::kDropNoBuffers);
    return fail(Error::kNoBuffers);
  }
  if (__builtin_expect(!fits_device(out, *p), 0)) {
    packets_.free(p);
    return fail(Error::kTooBig);
  }
  // A borrowed message whose payload was copied after all.
  if (borrowed) (void)release(m.token);
  emit(d, out, p, now);
  return {};
}

// The usual case of an echo: a lent message goes out in the buffer it came in, by a way that is known. False: anything
// else; nothing has happened.
bool Udp::send_in_place(Dgram& d, const Message& m, Batch& batch, Instant now) {
  const uint32_t index = m.token == 0 ? 0 : borrowed_of(m.token);
  if (index == 0 || m.segment != 0 || m.remote.port == 0) return false;
  Queued& q = queue_[index];
  pkt::Packet* p = q.packet;
  const IpAddr& to = m.remote.addr;
  const CachedWay& c = cached_way(to);
  // A source of the other family has no way.
  const IpAddr& wanted = m.local.is_unspecified() ? d.local : m.local;
  if (c.epoch != batch.epoch || !(c.destination == to) || !(c.wanted == wanted) || c.table != d.table) return false;
  if (!(d.local == wanted) && !d.local.is_unspecified()) return false;
  if ((d.local.is_v4() != to.is_v4()) && (d.flags & kDual) == 0) return false;
  const std::byte* from = p->data();
  const auto bytes = static_cast<uint32_t>(m.data.size());
  if (m.data.data() != from || bytes > p->len || p->next != nullptr || p->refs != 1 ||
      (p->flags & pkt::kExternal) != 0 || p->off < kFrameHeaders) {
    return false;
  }
  if (c.way.interface != batch.interface) {
    batch.interface = c.way.interface;
    batch.limits = &ip_.limits(c.way.interface);
    batch.room = ip_.transmit_room(c.way.interface, ip::Lane::kDatagrams);
  }
  if (d.turn != turn_) {
    d.turn = turn_;
    d.sent = 0;
  }
  if (bytes + kFrameHeaders > c.way.mtu || batch.room == 0 || d.sent + bytes > d.send_limit) {
    return false;
  }
  --batch.room;
  d.sent += bytes;
  wants_drain_ = true;
  dgrams_[q.link].charge -= charge_of(p);
  q.packet = nullptr;
  give_back(index);
  p->len = static_cast<uint16_t>(bytes);
  p->total = bytes;
  p->flags = 0;
  uint8_t ttl = m.hop_limit != 0 ? m.hop_limit : d.hop_limit;
  if (ttl == 0) ttl = ip_.default_hop_limit(c.way.interface, to.is_v4());
  emit(d, c.way, to, m.remote.port, ttl, m.traffic_class != 0 ? m.traffic_class : d.traffic_class, *batch.limits, p,
       now);
  return true;
}

Result<size_t> Udp::send(uint32_t index, std::span<const Message> messages, Instant now) {
  Dgram& d = dgrams_[index];
  if (__builtin_expect(d.error != 0, 0)) {
    if (auto pending = pending_error(d); !pending) return fail(pending.error());
  }
  size_t n = 0;
  Batch batch;
  batch.epoch = ip_.epoch();
  for (const Message& m : messages) {
    if (send_in_place(d, m, batch, now)) {
      ++n;
      continue;
    }
    const auto done = send_one(index, m, now);
    batch.interface = IfIndex::kNone;  // its room is another now
    if (!done) {
      if (n == 0) return fail(done.error());
      break;
    }
    ++n;
  }
  return n;
}

void Udp::on_output(IfIndex interface) {
  bool empty = true;
  for (size_t i = 1; i <= ip_.interface_count(); ++i)
    empty = empty && !ip_.has_output(static_cast<IfIndex>(i), ip::Lane::kDatagrams);
  if (empty) ++turn_;
  if (!blocked_.empty() && ip_.transmit_room(interface, ip::Lane::kDatagrams) >= transmit_limit_ / 2) {
    for (const uint32_t index : blocked_) {
      dgrams_[index].flags &= static_cast<uint16_t>(~kBlocked);
      touch(index, kWritable);
    }
    blocked_.clear();
  }
  wants_drain_ = !empty || !blocked_.empty();
}

}  // namespace millrace::udp
