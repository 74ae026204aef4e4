// Building segments: a fresh header for every transmission, the payload copied when it is small and referred to when it
// is large, checksums and segmentation left to the device as far as it goes.
#include <algorithm>
#include <cstring>

#include "base/planted.h"
#include "ip/header.h"
#include "tcp/bare.h"
#include "tcp/tcp.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"
#include "wire/tcp.h"

namespace millrace::tcp {
namespace {

uint64_t chain_sum(const pkt::Packet* head, uint32_t skip) {
  wire::Checksum sum;
  for (const pkt::Packet* p = head; p != nullptr; p = p->next) {
    const uint32_t from = std::min<uint32_t>(skip, p->len);
    const wire::Bytes bytes{p->data() + from, static_cast<size_t>(p->len - from)};
    if (MR_PLANTED(odd_checksum_wrong)) {
      sum = wire::Checksum(wire::add_sums(sum.sum(), wire::sum_bytes(bytes)));
    } else {
      sum.add(bytes);
    }
    skip -= from;
  }
  return sum.sum();
}

}  // namespace

// How many of `length` bytes one frame can carry: all, or what the device's segment limit lets it refer to.
uint32_t Tcp::reachable(const pkt::Block* block, uint32_t offset, uint32_t length, uint32_t mss,
                        const link::DeviceLimits& limits) {
  if (length <= kCopyBytes) return length;
  uint32_t bytes = 0;
  for (uint32_t refs = 1; refs < limits.max_segments && block != nullptr && bytes < length; ++refs) {
    bytes += block->len - offset;
    offset = 0;
    block = block->next;
  }
  if (bytes >= length) return length;
  // Small pieces: one full segment, copied. Otherwise whole segments of what is in reach.
  if (bytes < mss) return std::min(mss, kCopyBytes);
  return bytes - bytes % mss;
}

// Puts the payload behind the empty frame `head`. Nullptr (and nothing held) if buffers ran out.
pkt::Packet* Tcp::attach_payload(pkt::Packet* head, pkt::Block* block, uint32_t offset, uint32_t length) {
  if (length <= kCopyBytes && length <= head->tailroom()) {
    std::byte* to = head->append(static_cast<uint16_t>(length));
    while (length > 0) {
      const uint32_t piece = std::min(length, block->len - offset);
      std::memcpy(to, block->data + offset, piece);
      to += piece;
      length -= piece;
      offset = 0;
      block = block->next;
    }
    return head;
  }
  pkt::Packet* last = head;
  while (length > 0) {
    const uint32_t piece = std::min(length, block->len - offset);
    pkt::Packet* ref = packets_.reference(block->data + offset, block->iova + offset, static_cast<uint16_t>(piece),
                                          block->ext);
    if (ref == nullptr) {
      packets_.free(head);
      return nullptr;
    }
    last->next = ref;
    last = ref;
    ++head->segs;
    head->total += piece;
    length -= piece;
    offset = 0;
    block = block->next;
  }
  return head;
}

uint16_t Tcp::offered_mss(const Conn& c, const ConnCold& cold_state) const {
  const auto& interface = ip_.interface(ip_.hop_interface(c.hop));
  const uint32_t headers = (c.options & kOptV4) != 0 ? 40 : 60;
  uint32_t mss = interface.limits.mtu > headers + kMinMss ? interface.limits.mtu - headers : kMinMss;
  if (cold_state.user_mss != 0) mss = std::min<uint32_t>(mss, cold_state.user_mss);
  if (settings_.mss != 0) mss = std::min(mss, static_cast<uint32_t>(settings_.mss));
  return static_cast<uint16_t>(std::min(mss, 65'495u));
}

// Options of a segment with `payload` bytes at `at`; returns their length. SACK blocks go only into segments without
// payload, so that a full segment stays within the MSS (RFC 6691 2).
uint32_t Tcp::write_options(uint32_t index, std::byte* at, uint8_t flags, uint32_t payload, Instant now) {
  Conn& c = conns_[index];
  const uint32_t ts_now = milliseconds_of(now) + c.ts_offset;
  const bool ts = (c.options & kOptTimestamps) != 0;
  const bool sack = (c.options & kOptSack) != 0;
  if (__builtin_expect((flags & kSyn) == 0, 1)) {
    uint32_t length = 0;
    if (ts) {
      wire::emit_timestamps(at, ts_now, c.ts_recent);
      length = wire::kTcpTimestampsSize;
    }
    if (sack && payload == 0 && (c.reasm != 0 || (c.rx_flags & kRxDsack) != 0)) {
      const ConnCold& cold_state = cold(index);
      SackBlock blocks[5];
      size_t n = 0;
      if ((c.rx_flags & kRxDsack) != 0) blocks[n++] = cold_state.dsack;
      for (uint8_t i = 0; i < cold_state.sack_recent && c.reasm != 0; ++i) {
        if (cold_state.recent[i].left > c.rcv_nxt) blocks[n++] = cold_state.recent[i];
      }
      c.rx_flags &= static_cast<uint8_t>(~kRxDsack);
      n = std::min<size_t>(n, ts ? 3 : 4);
      if (n > 0) length += static_cast<uint32_t>(wire::emit_sack(at + length, {blocks, n}));
    }
    return length;
  }
  wire::TcpOptions o;
  o.has_mss = true;
  o.mss = offered_mss(c, cold(index));
  o.sack_permitted = sack;
  if (ts) {
    o.has_timestamps = true;
    o.ts_val = ts_now;
    o.ts_ecr = (flags & kAck) != 0 ? c.ts_recent : 0;
  }
  if ((c.options & kOptWindowScale) != 0) {
    o.has_wscale = true;
    o.wscale = c.rcv_wscale;
  }
  if (opened_early(index)) {
    const RareOptions own = rare(index);
    offer_cookie(listeners_[own.fast_listener - 1], tuple_of(Ref(Place::kConn, index)), own.fast_flags, o, now);
  }
  if (c.state == State::kSynSent) offer_fast_open(index, o);
  return static_cast<uint32_t>(o.emit_syn({at, wire::kTcpMaxOptions}));
}

// The window field of a segment without SYN; the edge that it promises is remembered.
uint32_t Tcp::advertise_window(Conn& c) {
  const uint32_t window = receive_window(c);
  c.rcv_adv = MR_PLANTED(window_edge_shrinks) ? c.rcv_nxt + window : base::max(c.rcv_adv, c.rcv_nxt + window);
  return window >> c.rcv_wscale;
}

void Tcp::note_ack_sent(Conn& c) {
  c.last_ack_sent = c.rcv_nxt;
  c.ack_pending = 0;
  c.rx_flags &= static_cast<uint8_t>(~(kRxAckNow | kRxWindowUpdate));
  c.delack_deadline = INT64_MAX;
}

// One segment of the connection, at its IP header, ready for commit(). Acknowledges everything received so far.
// Nullptr if buffers ran out.
pkt::Packet* Tcp::build(uint32_t index, Seq32 seq, uint32_t length, uint32_t segment, uint8_t flags, pkt::Block* block,
                        uint32_t offset, Instant now) {
  Conn& c = conns_[index];
  pkt::Packet* p = packets_.frame();
  if (p == nullptr) {
    counters_.add(Counter::kNoBuffers);
    return nullptr;
  }
  if (length > 0 && attach_payload(p, block, offset, length) == nullptr) {
    counters_.add(Counter::kNoBuffers);
    return nullptr;
  }
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 0;
  uint16_t more_flags = 0;
  if (__builtin_expect((c.rx_flags & kRxEcn) != 0, 0)) more_flags = ecn_flags(index, seq, length, flags, traffic_class);
  if (c.marked != 0) [[unlikely]] {
    const RareOptions own = rare(index);
    traffic_class |= own.traffic_class;
    hop_limit = own.hop_limit;
  }
  const bool ts = (c.options & kOptTimestamps) != 0;
  const bool sack_due = (c.options & kOptSack) != 0 && (c.reasm != 0 || (c.rx_flags & kRxDsack) != 0);
  std::byte* tcp;
  uint32_t header;
  if (__builtin_expect((flags & kSyn) == 0 && !sack_due, 1)) {
    header = wire::kTcpMinSize + (ts ? wire::kTcpTimestampsSize : 0);
    tcp = p->push(static_cast<uint16_t>(header));
    if (ts) wire::emit_timestamps(tcp + wire::kTcpMinSize, milliseconds_of(now) + c.ts_offset, c.ts_recent);
  } else {
    std::byte options[wire::kTcpMaxOptions];
    const uint32_t option_bytes = write_options(index, options, flags, length, now);
    header = wire::kTcpMinSize + option_bytes;
    tcp = p->push(static_cast<uint16_t>(header));
    std::memcpy(tcp + wire::kTcpMinSize, options, option_bytes);
  }
  uint32_t window = 0;
  if ((flags & kSyn) != 0) {
    window = std::min(window_space(c), 65'535u);
    if ((flags & kAck) != 0) c.rcv_adv = base::max(c.rcv_adv, c.rcv_nxt + window);
  } else {
    window = advertise_window(c);
    if (window == 0) trace_.put(index, base::TraceEvent::kZeroWindow, c.rcv_nxt.raw());
  }
  wire::store_be16(tcp, c.local_port);
  wire::store_be16(tcp + 2, c.remote_port);
  wire::store_be32(tcp + 4, seq.raw());
  wire::store_be32(tcp + 8, (flags & kAck) != 0 ? c.rcv_nxt.raw() : 0);
  wire::store_be16(tcp + 12, static_cast<uint16_t>(header / 4 << 12 | flags | more_flags));
  wire::store_be16(tcp + 14, static_cast<uint16_t>(window));
  wire::store_be32(tcp + 16, 0);
  if (__builtin_expect((c.options & kOptUrgent) != 0 && (flags & kSyn) == 0, 0)) {
    if (const uint16_t pointer = urgent_pointer(c, seq); pointer != 0) {
      wire::store_be16(tcp + 12, static_cast<uint16_t>(header / 4 << 12 | flags | more_flags | kUrg));
      wire::store_be16(tcp + 18, pointer);
    }
  }
  if ((flags & kAck) != 0) note_ack_sent(c);
  finish(p, c.local, c.remote, header, length, segment, traffic_class, hop_limit, ip_.limits(ip_.hop_interface(c.hop)));
  counters_.add(Counter::kSegmentsOut);
  if (c.counted != 0) [[unlikely]] {
    count_out(index, length, segment, now);
  }
  return p;
}

// An acknowledgment that does not wait for the next output. The route is valid.
void Tcp::ack_at_once(uint32_t index, Seq32 seq, Instant now) {
  const Conn& c = conns_[index];
  pkt::Packet* p = build(index, seq, kAck, now);
  if (p != nullptr && ip_.frame(c.hop, p, now)) ip_.transmit(ip_.hop_interface(c.hop), p, ip::Lane::kFirst);
}

// Checksum and segmentation, then the IP header.
void Tcp::finish(pkt::Packet* p, const IpAddr& local, const IpAddr& remote, uint32_t header, uint32_t length,
                 uint32_t mss, uint8_t traffic_class, uint8_t hop_limit, const link::DeviceLimits& limits) {
  const bool v4 = local.is_v4();
  const bool segmented = length > mss;
  const bool by_device = v4 ? limits.tx_checksum_v4 : limits.tx_checksum_v6;
  const uint16_t ip_bytes = ip::ip_header_size(local);
  std::byte* field = p->data() + wire::kTcpChecksumAt;
  if (by_device) {
    // The device wants the pseudo-header's sum in the field, without the length if it is to cut the frame.
    const uint64_t pseudo = wire::pseudo_sum(local, remote, wire::kProtocolTcp, segmented ? 0 : header + length);
    wire::store_be16(field, wire::fold(pseudo));
    p->flags |= pkt::kTxTcpChecksum | (v4 ? pkt::kTxIpv4 : pkt::kTxIpv6);
    if (segmented) p->flags |= pkt::kTxTcpSeg;
    p->set_tx_lengths(14, ip_bytes, header, segmented ? mss : 0);
  } else {
    const uint64_t pseudo = wire::pseudo_sum(local, remote, wire::kProtocolTcp, header + length);
    wire::store_be16(field, wire::finish(wire::add_sums(pseudo, chain_sum(p, 0))));
  }
  const bool ip_by_device = v4 && by_device && limits.tx_ip_checksum;
  if (ip_by_device) p->flags |= pkt::kTxIpChecksum;
  std::byte* at = p->push(ip_bytes);
  if (hop_limit == 0) hop_limit = v4 ? kHopLimit : limits.hop_limit;
  ip::write_ip_header(at, local, remote, wire::kProtocolTcp, header + length, hop_limit, traffic_class, !ip_by_device);
}

// Hands a segment to the next hop; it becomes a frame now, or when the neighbour answers.
void Tcp::commit(uint32_t index, pkt::Packet* p, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  if (ip_.frame(conns_[index].hop, p, now)) out[n++] = p;
}

// The MSS that a SYN-ACK without a connection offers; `user_mss` is an upper limit, 0 = none.
uint16_t Tcp::own_mss(uint32_t mtu, bool v4, uint16_t user_mss) const {
  uint32_t mss = mtu - (v4 ? 40u : 60u);
  if (user_mss != 0) mss = std::min<uint32_t>(mss, user_mss);
  if (settings_.mss != 0) mss = std::min(mss, static_cast<uint32_t>(settings_.mss));
  return static_cast<uint16_t>(mss);
}

void Tcp::send_bare(Bare& b, Instant now) {
  const auto route = b.accepted_at == IfIndex::kNone ? ip_.route(b.tuple.remote, b.tuple.local, 0)
                                                     : ip_.route_back(b.tuple.remote, b.tuple.local, b.accepted_at);
  if (!route) return;
  pkt::Packet* p = packets_.frame();
  if (p == nullptr) {
    counters_.add(Counter::kNoBuffers);
    return;
  }
  std::byte* tcp = p->append(wire::kTcpMinSize + wire::kTcpMaxOptions);
  const std::span<std::byte> options{tcp + wire::kTcpMinSize, wire::kTcpMaxOptions};
  size_t option_bytes = 0;
  if (b.syn) {
    b.options.mss = own_mss(ip_.limits(route->interface).mtu, b.tuple.local.is_v4(), b.user_mss);
    option_bytes = b.options.emit_syn(options);
  } else {
    option_bytes = b.options.emit(options);
  }
  const uint32_t header = wire::kTcpMinSize + static_cast<uint32_t>(option_bytes);
  p->len = static_cast<uint16_t>(header);
  p->total = header;
  wire::TcpHeader h;
  h.source_port = b.tuple.local_port;
  h.destination_port = b.tuple.remote_port;
  h.seq = b.seq;
  h.ack = (b.flags & kAck) != 0 ? b.ack : Seq32();
  h.header_length = static_cast<uint8_t>(header);
  h.flags = wire::TcpFlags(static_cast<uint8_t>(b.flags | ace_flags(b.ace & kClassicSyn)));
  h.ae = (b.ace & 4) != 0;
  h.window = b.window;
  h.emit({tcp, header});
  finish(p, b.tuple.local, b.tuple.remote, header, 0, 1, b.traffic_class, b.hop_limit, ip_.limits(route->interface));
  counters_.add(Counter::kSegmentsOut);
  if (ip_.frame(route->hop, p, now)) ip_.transmit(route->interface, p, ip::Lane::kFirst);
}

}  // namespace millrace::tcp
