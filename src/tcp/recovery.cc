// Loss detection and recovery: RFC 6675 with SACK, RFC 6582 (NewReno) without. One idea serves both: bytes are sacked,
// lost, or in the pipe; output sends what is lost while pipe < cwnd. Without SACK every duplicate ACK counts as one
// sacked segment.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint8_t kDupThresh = 3;  // RFC 5681 3.2

}  // namespace

void Tcp::mark_lost(Conn& c, TxRecord& r) {
  MR_ASSERT((r.flags & (kRecSacked | kRecLost)) == 0);
  r.flags |= kRecLost;
  c.lost_bytes += static_cast<uint32_t>(r.end - r.start);
}

// RFC 6675 4 IsLost(): three sacked segments, or more than two segments' worth of bytes, lie above.
void Tcp::mark_sack_losses(Conn& c) {
  uint32_t runs_above = 0;
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    if ((records_[at].flags & kRecSacked) != 0) ++runs_above;
  }
  uint32_t bytes_above = c.sacked_bytes;
  for (uint32_t at = c.record_head; at != 0 && runs_above > 0; at = records_[at].link) {
    TxRecord& r = records_[at];
    if ((r.flags & kRecSacked) != 0) {
      bytes_above -= static_cast<uint32_t>(r.end - r.start);
      --runs_above;
      continue;
    }
    if ((r.flags & (kRecLost | kRecRetransmitted)) != 0) continue;
    if (runs_above >= kDupThresh || bytes_above > (kDupThresh - 1u) * c.mss) mark_lost(c, r);
  }
}

void Tcp::detect_loss(uint32_t index, bool new_sack, bool duplicate, bool advanced, Instant now) {
  Conn& c = conns_[index];
  if (c.recovery == Recovery::kLoss) return;  // everything is marked already
  if ((c.options & kOptSack) != 0) {
    if (new_sack || (advanced && c.sacked_bytes > 0)) mark_sack_losses(c);
    if (c.recovery == Recovery::kOpen && c.lost_bytes > 0) enter_fast_recovery(index, now);
    return;
  }
  if (advanced && c.recovery == Recovery::kOpen) {
    c.dup_acks = 0;
    c.sacked_bytes = 0;
    return;
  }
  if (!duplicate) return;
  if (c.dup_acks < 255) ++c.dup_acks;
  const uint32_t most = flight(c) - std::min<uint32_t>(flight(c), c.lost_bytes + 1);
  c.sacked_bytes = std::min(c.sacked_bytes + c.mss, most);
  if (c.recovery == Recovery::kOpen && c.dup_acks >= kDupThresh && c.record_head != 0) {
    // RFC 6582 3.2 step 2: duplicates of what the last recovery sent again say nothing new.
    if ((records_[c.record_head].flags & kRecRetransmitted) != 0) return;
    TxRecord& r = records_[c.record_head];
    if (r.end - r.start > c.mss) (void)split_record(c, c.record_head, r.start + c.mss);
    mark_lost(c, records_[c.record_head]);
    c.sacked_bytes = std::min(c.sacked_bytes, flight(c) - c.lost_bytes);
    enter_fast_recovery(index, now);
  } else if (c.recovery == Recovery::kFast) {
    mark_dirty(index);
  }
}

void Tcp::enter_fast_recovery(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  controller(index).loss(control(index), {now, flight(c)});
  c.recovery = Recovery::kFast;
  c.recover = c.snd_nxt;
  c.send_credit = 1;  // RFC 6675 5 (4.3): the first lost segment goes out whatever the pipe
  counters_.add(Counter::kFastRetransmits);
  trace_.put(index, base::TraceEvent::kFastRetransmit, c.snd_una.raw());
  trace_.keep(index);
  mark_dirty(index);
}

void Tcp::on_ack_in_recovery(uint32_t index, uint32_t acked, Instant now) {
  Conn& c = conns_[index];
  const bool sack = (c.options & kOptSack) != 0;
  if (c.snd_una >= c.recover) {
    if (c.recovery == Recovery::kFast) controller(index).recovered(control(index), {now, flight(c)});
    c.recovery = Recovery::kOpen;
    c.dup_acks = 0;
    c.send_credit = 0;
    if (!sack) c.sacked_bytes = 0;
    trace_.put(index, base::TraceEvent::kRecovered, c.snd_una.raw());
    return;
  }
  mark_dirty(index);
  if (c.recovery != Recovery::kFast || c.record_head == 0) return;
  if (!sack) {  // a partial ACK took some of the segments that duplicates stood for
    c.sacked_bytes -= std::min(c.sacked_bytes, acked > c.mss ? acked - c.mss : 0);
    c.sacked_bytes = std::min(c.sacked_bytes, flight(c) - std::min(flight(c), c.lost_bytes));
  }
  // The segment behind a partial ACK is lost too (RFC 6582 3.2 step 3; with SACK, if anything above it arrived).
  TxRecord& r = records_[c.record_head];
  if ((r.flags & (kRecSacked | kRecLost | kRecRetransmitted)) != 0 || (sack && c.sacked_bytes == 0)) return;
  if (r.end - r.start > c.mss) (void)split_record(c, c.record_head, r.start + c.mss);
  mark_lost(c, records_[c.record_head]);
  if (!sack) c.sacked_bytes = std::min(c.sacked_bytes, flight(c) - c.lost_bytes);
  c.send_credit = 1;
}

}  // namespace millrace::tcp
