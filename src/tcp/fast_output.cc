// The common case of output: an established connection on which nothing is lost or closing has less than a segment to
// send, all of it in one block, and every window is open. The whole frame is written in one go. Anything else is left
// untouched for output.cc, whose rules (RFC 9293 3.8.6.2.1, RFC 5681 2) these conditions are a case of.
#include <algorithm>
#include <cstring>

#include "ip/header.h"
#include "tcp/tcp.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"
#include "wire/tcp.h"

namespace millrace::tcp {

bool Tcp::fast_output(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  Conn& c = conns_[index];
  constexpr uint8_t kNotNow = kTxFinQueued | kTxFinSent | kTxMore | kTxSynQueued;
  const uint32_t flying = flight(c);
  const uint32_t length = c.snd_queued - flying;
  const bool usual = c.state == State::kEstablished && (c.tx_flags & kNotNow) == 0 &&
                     (c.options & (kOptNoDelay | kOptUrgent)) == kOptNoDelay && c.recovery == Recovery::kOpen &&
                     c.rated == 0 && c.marked == 0 && c.reasm == 0 && (c.rx_flags & (kRxDsack | kRxHold | kRxEcn)) == 0;
  if (!usual || length - 1 >= std::min<uint32_t>(c.mss, kCopyBytes)) return false;
  if (flying + length > std::min(c.snd_wnd, c.cwnd) || n == out.size() || c.record_count == UINT16_MAX) return false;
  // Where the bytes lie.
  pkt::Block* block = c.cursor;
  uint32_t offset = c.cursor_offset;
  const std::byte* from = nullptr;
  if ((c.tx_flags & kTxHeadless) != 0) {
    block = c.queue_head;
    offset = flying;
    from = pkt::BlockPool::data_behind(block) + flying;
  } else {
    if (block == nullptr) {
      if (flying != 0) return false;
      block = c.queue_head;
      offset = c.head_offset;
    } else if (offset == block->len) {
      block = block->next;
      offset = 0;
    }
    if (block == nullptr || block->len - offset < length) return false;
    from = block->data + offset;
  }
  const std::byte* frame_header = ip_.frame_header(c.hop, now);
  if (frame_header == nullptr) return false;
  uint32_t record = 0;
  if (c.record_count == 0) {
    if (!has_record_room() || restart_due(c, now)) return false;
  } else {
    write_record(c);
    record = take_record();
    if (record == 0) return false;
  }
  pkt::Packet* p = packets_.frame();
  if (p == nullptr) {
    if (record != 0) records_.release(record);
    return false;
  }
  const bool ts = (c.options & kOptTimestamps) != 0;
  const uint32_t tcp_bytes = wire::kTcpMinSize + (ts ? wire::kTcpTimestampsSize : 0);
  const uint32_t ip_bytes = (c.options & kOptV4) != 0 ? wire::kIpv4MinSize : wire::kIpv6Size;
  std::byte* at = p->append(static_cast<uint16_t>(ip::Ip::kFrameHeader + ip_bytes + tcp_bytes + length));
  std::memcpy(at, frame_header, ip::Ip::kFrameHeader);
  at += ip::Ip::kFrameHeader;
  pkt::copy_bytes(at + ip_bytes + tcp_bytes, from, length);
  write_headers(c, p, at, ip_bytes, tcp_bytes, length, now);

  if (c.counted != 0) [[unlikely]] {
    count_out(index, length, length, now);
  }
  trace_.put(index, base::TraceEvent::kTxSegment, c.snd_nxt.raw());
  c.snd_nxt += length;
  if (record == 0) {
    c.record_tail = stamp(now);
    c.record_count = 1;
    ++lone_;
  } else {
    TxRecord& r = records_[record];
    r.start = c.snd_nxt - length;
    r.end = c.snd_nxt;
    r.sent = stamp(now);
    r.times = 1;
    r.flags = kRecPush;
    records_[c.record_tail].link = record;
    c.record_tail = record;
    ++c.record_count;
    restart_probe(index, now);
  }
  c.cursor = block;
  c.cursor_offset = offset + length;
  c.tx_flags &= static_cast<uint8_t>(~kTxCwndLimited);
  counters_.add(Counter::kBytesOut, length);
  counters_.add(Counter::kSegmentsOut);
  if (!data_timer(c)) set_rto(index, now);  // RFC 6298 5.1
  out[n++] = p;
  return true;
}

// IP and TCP headers at `at`, before `length` bytes of payload that are in place: everything queued, so with PSH.
void Tcp::write_headers(Conn& c, pkt::Packet* p, std::byte* at, uint32_t ip_bytes, uint32_t tcp_bytes, uint32_t length,
                        Instant now) {
  const bool v4 = ip_bytes == wire::kIpv4MinSize;
  const link::DeviceLimits& limits = ip_.limits(ip_.hop_interface(c.hop));
  const bool by_device = v4 ? limits.tx_checksum_v4 : limits.tx_checksum_v6;
  const bool ip_by_device = by_device && v4 && limits.tx_ip_checksum;
  ip::write_ip_header(at, c.local, c.remote, wire::kProtocolTcp, tcp_bytes + length, v4 ? kHopLimit : limits.hop_limit,
                      0, !ip_by_device);
  std::byte* tcp = at + ip_bytes;
  wire::store_be16(tcp, c.local_port);
  wire::store_be16(tcp + 2, c.remote_port);
  wire::store_be32(tcp + 4, c.snd_nxt.raw());
  wire::store_be32(tcp + 8, c.rcv_nxt.raw());
  wire::store_be16(tcp + 12, static_cast<uint16_t>(tcp_bytes / 4 << 12 | kAck | kPsh));
  wire::store_be16(tcp + 14, static_cast<uint16_t>(advertise_window(c)));
  wire::store_be32(tcp + 16, 0);
  if (tcp_bytes > wire::kTcpMinSize) {
    wire::emit_timestamps(tcp + wire::kTcpMinSize, milliseconds_of(now) + c.ts_offset, c.ts_recent);
  }
  note_ack_sent(c);
  const uint64_t pseudo = wire::pseudo_sum(c.local, c.remote, wire::kProtocolTcp, tcp_bytes + length);
  std::byte* field = tcp + wire::kTcpChecksumAt;
  if (by_device) {
    wire::store_be16(field, wire::fold(pseudo));
    p->flags = pkt::kTxTcpChecksum | (v4 ? pkt::kTxIpv4 : pkt::kTxIpv6) | (ip_by_device ? pkt::kTxIpChecksum : 0);
    p->set_tx_lengths(ip::Ip::kFrameHeader, ip_bytes, tcp_bytes, 0);
  } else {
    wire::store_be16(field, wire::finish(wire::add_sums(pseudo, wire::sum_bytes(tcp, tcp_bytes + length))));
  }
}

}  // namespace millrace::tcp
