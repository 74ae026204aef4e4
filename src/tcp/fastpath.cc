// The common case: an established connection, nothing lost, nothing odd; data in order, or an ACK, or both. Anything
// else is left untouched for input.cc. Every branch here is a step of RFC 9293 3.10.7.4 whose outcome is known.
#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

// ack_advance() for the usual answer to a request: the one segment in flight, sent once, is acknowledged as a whole.
bool Tcp::ack_all(uint32_t index, Seq32 ack, Instant now) {
  Conn& c = conns_[index];
  if (!is_lone(c) || ack != c.snd_nxt || MR_PLANTED(retransmit_timer_lost)) return false;
  const int64_t rtt_ns = age_ns(c.record_tail, now);
  c.record_count = 0;
  --lone_;
  const uint32_t acked = flight(c);
  c.snd_una = ack;
  c.retries = 0;
  pkt::Block* block = c.queue_head;
  const bool headless = (c.tx_flags & kTxHeadless) != 0;
  // Whether the block goes with it: all of it was sent, and it is the only one.
  if (headless ? acked == c.snd_queued : block->next == nullptr && c.head_offset + acked == block->len) {
    c.queue_head = c.queue_tail = c.cursor = nullptr;
    c.head_offset = c.cursor_offset = 0;
    c.snd_queued = 0;
    c.tx_flags &= static_cast<uint8_t>(~kTxHeadless);
    if (headless) {
      blocks_.free_headless(block);
    } else {
      pkt::BlockPool::unref(block);
    }
  } else {
    free_acked(c, acked);
  }
  take_rtt_sample(c, rtt_ns);
  grow_window(index, acked, acked, false, rtt_ns, now);
  stop_timer(c);  // RFC 6298 5.2
  tell_space(index);
  ip_.confirm(c.hop, now);
  return true;
}

bool Tcp::fast_path(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  const bool ts = (c.options & kOptTimestamps) != 0;
  const bool usual = c.state == State::kEstablished && (s.flags & ~kPsh) == kAck && s.seq == c.rcv_nxt && s.plain &&
                     s.has_ts == ts && c.reasm == 0 && c.recovery == Recovery::kOpen &&
                     (c.options & (kOptOrphan | kOptUrgent)) == 0 && (c.rx_flags & kRxEcn) == 0 && !scarce_;
  if (!usual) return false;
  if (ts && static_cast<int32_t>(s.ts_val - c.ts_recent) < 0) return false;
  if (s.length > static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt)) return false;
  if (s.ack < c.snd_una || s.ack > c.snd_nxt) return false;
  const uint32_t window = static_cast<uint32_t>(s.window) << c.snd_wscale;
  const bool advances = s.ack != c.snd_una;  // then its window is the newest, whatever its sequence number
  // A possible duplicate ACK, or a zero window: the slow path counts and arms.
  if (!advances && s.length == 0) return false;
  if (window == 0) return false;

  counters_.add(Counter::kFastPath);
  if (ts && s.seq <= c.last_ack_sent) c.ts_recent = s.ts_val;  // RFC 7323 4.3 (2)
  c.last_rx_ms = milliseconds_of(now);
  trace_.put(index, base::TraceEvent::kRxSegment, s.seq.raw());
  if (advances && !ack_all(index, s.ack, now)) {
    write_record(c);
    AckNews news{.now = now};
    ack_advance(index, s.ack, news);
    if (c.rated != 0) rate_sample(index, news);
  }
  if (advances || c.snd_wl1 < s.seq || (c.snd_wl1 == s.seq && c.snd_wl2 <= s.ack)) {
    c.snd_wnd = window;
    c.snd_wl1 = s.seq;
    c.snd_wl2 = s.ack;
    if (window > c.max_snd_wnd) c.max_snd_wnd = window;
    if (c.timer_kind == TimerKind::kPersist) {
      stop_timer(c);
      c.retries = 0;
    }
  }
  pkt::Packet* packet = s.packet;
  s.packet = nullptr;
  if (s.length > 0) {
    const uint32_t segment = segment_size(*packet, s.length);
    deliver(index, packet, s.length);
    schedule_ack(index, segment, s, now);
  } else {
    packets_.free(packet);
  }
  if (static_cast<uint32_t>(c.snd_nxt - c.snd_una) < c.snd_queued || (c.tx_flags & kTxFinQueued) != 0) {
    mark_dirty(index);
  }
  return true;
}

}  // namespace millrace::tcp
