// Acknowledgments: what they free, what they measure (RFC 6298), what they open.
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

// A record's age is its round trip unless it arrived before, or was sent so long ago that its stamp may have wrapped.
bool Tcp::measures(const Conn& c, const TxRecord& r) {
  if ((r.flags & (kRecSacked | kRecWasSacked)) != 0) return false;
  return (r.flags & kRecLost) == 0 || c.backoff <= 2;
}

// Takes what is acknowledged of a record out of the lists, and tells RACK.
void Tcp::release_from(const Conn& c, LossState& l, uint32_t record, Seq32 ack, AckNews& news) {
  const TxRecord& r = records_[record];
  const bool whole = r.end <= ack;
  if (whole && (r.flags & kRecSplit) != 0) --l.splits;
  if ((r.flags & kRecSacked) != 0) {
    if (whole) --l.sacked_records;
    return;
  }
  // What an earlier recovery sent again says nothing of this one's repetitions.
  if (r.times > 1 && static_cast<int32_t>(r.sent - l.undo_stamp) >= 0) news.sent_again = true;
  TxRecord part = r;
  part.end = base::min(r.end, ack);
  delivered(c, l, part, news);
  if (whole) unlink(list_of(l, r), record);
}

void Tcp::ack_advance(uint32_t index, Seq32 ack, AckNews& news) {
  Conn& c = conns_[index];
  const Instant now = news.now;
  LossState* const l = c.recovery != Recovery::kOpen ? &loss(index) : nullptr;
  const uint32_t acked = static_cast<uint32_t>(ack - c.snd_una);
  const uint32_t flight_before = flight(c);
  MR_ASSERT(acked > 0 && acked <= flight_before);
  const bool sack = (c.options & kOptSack) != 0;
  uint32_t control = 0;  // SYN and FIN
  int64_t rtt_ns = -1;
  bool sent_again = false;
  uint32_t last_sent = 0;
  while (c.record_head != 0) {
    TxRecord& r = records_[c.record_head];
    const uint32_t covered = static_cast<uint32_t>(base::min(r.end, ack) - r.start);
    if (r.start >= ack) break;
    if (c.rated != 0) rate_delivered(index, c.record_head, covered, news);
    if (l != nullptr) release_from(c, *l, c.record_head, ack, news);
    if ((r.flags & kRecSacked) != 0 && sack) c.sacked_bytes -= covered;
    if ((r.flags & kRecLost) != 0) c.lost_bytes -= covered;
    // Karn's algorithm (RFC 6298 3): a segment sent twice measures nothing, and neither does one that had to wait for
    // it.
    if (r.times > 1) sent_again = true;
    if (r.times == 1 && measures(c, r)) rtt_ns = age_ns(r.sent, now);
    if (r.end > ack) {
      r.start = ack;
      break;
    }
    if ((r.flags & (kRecSyn | kRecFin)) != 0) ++control;
    if ((r.flags & kRecSyn) != 0 && c.retries > 0) {
      c.rto_us = kRtoAfterLostSyn;
      c.backoff = 0;
      c.cwnd = c.mss;  // RFC 5681 3.1: one segment after a lost SYN or SYN-ACK
    }
    last_sent = r.sent;
    const uint32_t next = r.link;
    records_.release(c.record_head);
    c.record_head = next;
    --c.record_count;
  }
  if (c.record_head == 0) c.record_tail = last_sent;
  c.snd_una = ack;
  c.retries = 0;
  free_acked(c, acked - control);
  if (rtt_ns >= 0 && !sent_again) {
    take_rtt_sample(c, rtt_ns);
    news.measured = true;
    if (l != nullptr) l->measured = true;
  }
  if (c.recovery != Recovery::kFast && acked > control && (c.rated == 0 || !owns_window(index))) {
    grow_window(index, acked - control, flight_before, news.marked, sent_again ? -1 : rtt_ns, now);
  }
  if (c.snd_una == c.snd_nxt) {
    if (!sack) c.sacked_bytes = 0;  // duplicates stood for segments that are all acknowledged now
    stop_timer(c);  // RFC 6298 5.2
  } else if (!MR_PLANTED(retransmit_timer_lost)) {
    set_data_timer(index, now);  // RFC 6298 5.3
  } else {
    stop_timer(c);
  }
  tell_space(index);
  ip_.confirm(c.hop, now);
}

// RFC 5681 3.1, for a sender that the window really held back (RFC 7661 3), unless the controller wants to know all.
// `flying` was in flight before the ACK, which measured `rtt_ns` (-1: nothing) and told of congestion that `marked`
// met.
void Tcp::grow_window(uint32_t index, uint32_t acked, uint32_t flying, uint32_t marked, int64_t rtt_ns, Instant now) {
  Conn& c = conns_[index];
  const bool limited = (c.tx_flags & kTxCwndLimited) != 0 || flying >= c.cwnd ||
                       (c.cwnd < c.ssthresh && flying * 2 >= c.cwnd);
  if (!limited) {
    if ((c.rx_flags & kRxEcn) == 0 || (controller(index).wants & cc::kWantsEveryAck) == 0) return;
  }
  // RFC 3168 6.1.2: not for an echo, whose share a controller that counts them works out by itself.
  if (marked != 0 && (controller(index).wants & cc::kWantsExactEcho) == 0) return;
  const uint32_t rtt_us = rtt_ns < 0 ? 0 : static_cast<uint32_t>(std::clamp<int64_t>(rtt_ns / 1'000, 1, UINT32_MAX));
  // Whoever has a model owns the window and does not come here.
  controller(index).ack({c.cwnd, c.ssthresh, c.ack_bytes, cold(index).cc_state, c.mss, nullptr},
                        {.now = now,
                         .acked = acked,
                         .marked = std::min(acked, marked),
                         .flight = flying,
                         .rtt_us = rtt_us,
                         .srtt_us = c.srtt_us,
                         .snd_una = c.snd_una,
                         .snd_nxt = c.snd_nxt,
                         .limited = limited});
}

void Tcp::tell_space(uint32_t index) {
  Conn& c = conns_[index];
  if (((c.tx_flags & kTxWantSpace) | (c.rx_flags & kRxHold)) == 0) return;
  // What waits for more to follow waits no longer than for an acknowledgment, except under a cork.
  if ((c.rx_flags & kRxCorked) == 0) c.rx_flags &= static_cast<uint8_t>(~kRxHold);
  if ((c.tx_flags & kTxWantSpace) == 0) return;
  grow_send_buffer(index);
  if (c.snd_queued > c.snd_limit / 2 && !low_water_reached(index)) return;
  c.tx_flags &= static_cast<uint8_t>(~kTxWantSpace);
  notify(c, kWritable);
}

// Gives back the queue's blocks that lie wholly below snd_una.
void Tcp::free_acked(Conn& c, uint32_t bytes) {
  MR_ASSERT(bytes <= c.snd_queued);
  write_block_header(c);
  c.snd_queued -= bytes;
  c.head_offset += bytes;
  while (c.queue_head != nullptr && c.head_offset >= c.queue_head->len) {
    pkt::Block* block = c.queue_head;
    c.head_offset -= block->len;
    c.queue_head = block->next;
    if (c.cursor == block) {
      MR_ASSERT(c.cursor_offset == block->len);
      c.cursor = block->next;
      c.cursor_offset = 0;
    }
    if (c.queue_head == nullptr) c.queue_tail = nullptr;
    pkt::BlockPool::unref(block);
  }
  MR_ASSERT(c.queue_head != nullptr || c.head_offset == 0);
}

// RFC 7323 4: an echoed timestamp measures the round trip even of a segment that was sent again, and so ends a
// backed-off timeout (RFC 6298 3 and 5.7). The clock of timestamps ticks in milliseconds.
void Tcp::take_echo_sample(uint32_t index, uint32_t ts_ecr, Instant now) {
  Conn& c = conns_[index];
  const auto elapsed_ms = static_cast<int32_t>(milliseconds_of(now) + c.ts_offset - ts_ecr);
  if (elapsed_ms < 0 || elapsed_ms > 60'000) return;
  take_rtt_sample(c, std::max<int64_t>(elapsed_ms, 1) * 1'000'000);
  if (c.timer_kind == TimerKind::kRetransmit) set_rto(index, now);
}

// RFC 6298 2.2 and 2.3, in whole microseconds. 2.4 asks for one second in all, so that a delayed acknowledgment is no
// timeout; here the least timeout stands for the variance's part alone (G in 2.3), which grants the same delay over and
// above the round trip, however long and steady that is.
void Tcp::take_rtt_sample(Conn& c, int64_t rtt_ns) {
  const auto r = static_cast<uint32_t>(std::clamp<int64_t>(rtt_ns / 1'000, 1, 60'000'000));
  if (c.srtt_us == 0) {
    c.srtt_us = r;
    c.rttvar_us = r / 2;
  } else {
    const uint32_t delta = c.srtt_us > r ? c.srtt_us - r : r - c.srtt_us;
    c.rttvar_us = c.rttvar_us - c.rttvar_us / 4 + delta / 4;
    c.srtt_us = std::max(1u, c.srtt_us - c.srtt_us / 8 + r / 8);
  }
  const uint64_t rto = c.srtt_us + std::max<uint64_t>(4 * c.rttvar_us, static_cast<uint64_t>(settings_.rto_min_us));
  c.rto_us = static_cast<uint32_t>(std::min(rto, static_cast<uint64_t>(settings_.rto_max_us)));
  c.backoff = 0;
}

// RFC 9293 3.10.7.4: the window is taken from the newest segment only. An acknowledgment that advances is newer than
// all before it, even on a segment whose sequence number fills a gap: without its window, the old one would be counted
// from the new snd_una and reach too far.
void Tcp::update_send_window(uint32_t index, const Segment& s) {
  Conn& c = conns_[index];
  if (s.ack < c.snd_una) return;
  if (!(s.ack > c.snd_una || c.snd_wl1 < s.seq || (c.snd_wl1 == s.seq && c.snd_wl2 <= s.ack))) return;
  const uint32_t window = static_cast<uint32_t>(s.window) << c.snd_wscale;
  const bool opened = window > c.snd_wnd;
  c.snd_wnd = window;
  c.snd_wl1 = s.seq;
  c.snd_wl2 = s.ack;
  c.max_snd_wnd = std::max(c.max_snd_wnd, window);
  if (c.timer_kind == TimerKind::kPersist && window > 0 && !((c.rx_flags & kRxEcn) != 0 && ecn(index).held)) {
    stop_timer(c);
    c.retries = 0;
  }
  if (opened && c.snd_queued > 0) mark_dirty(index);
}

}  // namespace millrace::tcp
