// Retransmissions that were not needed, and what is taken back then: the marks of loss and, through the congestion
// controller, the windows. Three witnesses: the peer reports everything that was sent again as duplicate (RFC 2883, as
// in RFC 3708), it echoes a timestamp from before the first retransmission (RFC 3522), or after a timeout it
// acknowledges what was not sent again (RFC 5682).
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

// Before the first reduction of an episode.
void Tcp::remember_windows(const Conn& c, LossState& l) {
  l.undo_open = true;
  l.undo_sent = false;
  l.undo_bytes = 0;
  l.undo_from = c.snd_una;
  l.undo_cwnd = c.cwnd;
  l.undo_ssthresh = c.ssthresh;
}

void Tcp::note_retransmission(const Conn& c, LossState& l, uint32_t bytes, Instant now) {
  if (c.recovery == Recovery::kFast) l.prr_out += bytes;
  if (c.recovery < Recovery::kFast || !l.undo_open) return;
  if (!l.undo_sent) {
    l.undo_ts = milliseconds_of(now) + c.ts_offset;
    l.undo_stamp = stamp(now);
  }
  l.undo_sent = true;
  l.undo_bytes += bytes;
}

// Looks for the three witnesses in an acknowledgment during recovery, or in a report of duplicates soon after.
void Tcp::judge_recovery(uint32_t index, LossState& l, const AckNews& news) {
  const Conn& c = conns_[index];
  const bool recovering = c.recovery >= Recovery::kFast;
  if (!l.undo_open || !l.undo_sent || (!recovering && c.snd_una > l.undo_until)) return;
  if (news.dsack && news.dsack_block.left >= l.undo_from && news.dsack_block.right <= c.recover) {
    const auto bytes = static_cast<uint32_t>(news.dsack_block.right - news.dsack_block.left);
    l.undo_bytes -= std::min(l.undo_bytes, bytes);
    if (l.undo_bytes == 0) return undo(index, l, news.now);
  }
  if (!recovering) return;
  // RFC 3522 3.2 steps 4 to 6: the original of what was sent again has arrived.
  if (news.sent_again && news.has_ecr && static_cast<int32_t>(news.ts_ecr - l.undo_ts) < 0) {
    return undo(index, l, news.now);
  }
  if (c.recovery == Recovery::kLoss && l.timeout != Timeout::kReal) judge_timeout(index, l, news);
}

// RFC 5682 3.1, the variant with SACK.
void Tcp::judge_timeout(uint32_t index, LossState& l, const AckNews& news) {
  const Conn& c = conns_[index];
  if (l.timeout == Timeout::kNewData && news.original) {  // step 3b
    counters_.add(Counter::kSpuriousTimeouts);
    return undo(index, l, news.now);
  }
  const bool unsent = flight(c) < c.snd_queued && c.snd_wnd > flight(c);
  if (l.timeout == Timeout::kSuspected && news.advanced > 0 && c.snd_una < c.recover && unsent) {
    l.timeout = Timeout::kNewData;  // step 2b: new segments next, and then what the peer says of them
  } else {
    l.timeout = Timeout::kReal;  // steps 2a and 3a
  }
}

// RFC 4015 3, RFC 5682 3.1 step 3b. One walk over the records, once an episode.
void Tcp::undo(uint32_t index, LossState& l, Instant now) {
  Conn& c = conns_[index];
  l.undo_open = false;
  l.timeout = Timeout::kReal;
  counters_.add(Counter::kRecoveriesUndone);
  controller(index).undo(control(index), {now, l.undo_cwnd, l.undo_ssthresh});
  if (c.recovery == Recovery::kOpen) return;
  l.fresh = l.lost = {};
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    TxRecord& r = records_[at];
    const bool lost = (r.flags & kRecLost) != 0;
    r.flags &= static_cast<uint8_t>(~kRecLost);
    if ((r.flags & kRecSacked) != 0) continue;
    if (r.times == 1) {
      append(l.fresh, at);
    } else if (lost) {
      prepend(l.again, at);
    }
  }
  c.lost_bytes = 0;
  c.send_credit = 0;
  c.dup_acks = 0;
  if ((c.options & kOptSack) == 0) c.sacked_bytes = 0;
  l.delivered = false;  // RACK may have taken an original for its repetition
  l.settled = c.snd_nxt;
  c.recovery = Recovery::kDisorder;
  mark_dirty(index);
}

}  // namespace millrace::tcp
