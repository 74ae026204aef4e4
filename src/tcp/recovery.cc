// Loss detection and recovery: RFC 6675 with SACK, RFC 6582 (NewReno) without. One idea serves both: bytes are sacked,
// lost, or in the pipe; output sends what is lost while pipe < cwnd. Without SACK every duplicate ACK counts as one
// sacked segment.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint32_t kMostJudged = 1'024;

}  // namespace

// RFC 6675 4 IsLost(): three sacked segments, or more than two segments' worth of bytes, lie above. Where RACK is off.
// Of very many records only the first are looked at; the others' turn comes as those are acknowledged.
void Tcp::mark_sack_losses(uint32_t index, LossState& l, Instant now) {
  const Conn& c = conns_[index];
  uint32_t records_above = l.sacked_records;
  uint32_t bytes_above = c.sacked_bytes;
  uint32_t steps = kMostJudged;
  for (uint32_t at = c.record_head; at != 0 && records_above > 0 && steps > 0; at = records_[at].link, --steps) {
    const TxRecord& r = records_[at];
    if ((r.flags & kRecSacked) != 0) {
      bytes_above -= static_cast<uint32_t>(r.end - r.start);
      --records_above;
      continue;
    }
    if ((r.flags & kRecLost) != 0 || r.times > 1) continue;
    if (records_above >= kDupThresh || bytes_above > (kDupThresh - 1u) * c.mss) mark_lost(index, l, at, now);
  }
}

void Tcp::detect_loss(uint32_t index, const AckNews& news) {
  Conn& c = conns_[index];
  if ((c.options & kOptSack) != 0) {
    if (c.recovery == Recovery::kOpen) return;
    if (uses_rack(c)) {
      rack_detect(index, news.now);
    } else if (c.recovery != Recovery::kLoss && (news.sacked || (news.advanced > 0 && c.sacked_bytes > 0))) {
      mark_sack_losses(index, loss(index), news.now);
    }
    if (c.recovery == Recovery::kDisorder && c.lost_bytes > 0 && !only_mtu_probe_lost(index)) {
      enter_fast_recovery(index, news.now);
    }
    return;
  }
  if (c.recovery == Recovery::kLoss) return;  // everything is marked already
  if (news.advanced > 0 && c.recovery <= Recovery::kDisorder) {
    c.dup_acks = 0;
    c.sacked_bytes = 0;
  } else if (news.duplicate) {
    count_duplicate(index, news.now);
  }
}

// RFC 5681 3.2: without SACK every duplicate stands for a segment that has left the network.
void Tcp::count_duplicate(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState& l = disorder(index, now);
  if (c.dup_acks < 255) ++c.dup_acks;
  const uint32_t most = flight(c) - std::min<uint32_t>(flight(c), c.lost_bytes + 1);
  c.sacked_bytes = std::min(c.sacked_bytes + c.mss, most);
  if (c.recovery == Recovery::kDisorder && c.dup_acks >= kDupThresh && c.record_head != 0) {
    // RFC 6582 3.2 step 2: duplicates of what the last recovery sent again say nothing new.
    if (records_[c.record_head].times > 1) return;
    mark_first_lost(index, l, now);
    enter_fast_recovery(index, now);
  } else if (c.recovery == Recovery::kFast) {
    mark_dirty(index);
  }
}

// The first segment that is not acknowledged is lost.
void Tcp::mark_first_lost(uint32_t index, LossState& l, Instant now) {
  Conn& c = conns_[index];
  const TxRecord& r = records_[c.record_head];
  if (static_cast<uint32_t>(r.end - r.start) > c.mss) (void)split_record(index, c.record_head, r.start + c.mss);
  mark_lost(index, l, c.record_head, now);
  if ((c.options & kOptSack) == 0) c.sacked_bytes = std::min(c.sacked_bytes, flight(c) - c.lost_bytes);
}

void Tcp::enter_fast_recovery(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  remember_windows(c, l);
  // RFC 3168 6.1.2: a mark in the same window has reduced it already.
  if (!reduced_already(index)) controller(index).loss(control(index), {now, flight(c)});
  c.recovery = Recovery::kFast;
  l.probe = Probe::kNone;
  l.prr_delivered = l.prr_out = 0;
  l.recover_fs = std::max(flight(c) - c.sacked_bytes, 1u);
  if (owns_window(index)) {
    c.send_credit = 1;
  } else {
    c.cwnd = pipe(c) + c.mss;  // RFC 9937 6.2: the first lost segment goes out whatever the pipe
  }
  c.recover = c.snd_nxt;
  counters_.add(Counter::kFastRetransmits);
  trace_.put(index, base::TraceEvent::kFastRetransmit, c.snd_una.raw());
  trace_.keep(index);
  mark_dirty(index);
}

// RFC 9937 6: what is sent follows what is delivered, so that the pipe comes down to ssthresh over the round trip, or
// up to it where losses took it below. `safe`: snd_una advanced and nothing more was found lost.
void Tcp::reduce_rate(Conn& c, LossState& l, uint32_t delivered, bool safe) {
  if (delivered == 0) return;
  l.prr_delivered += delivered;
  const uint32_t in_pipe = pipe(c);
  int64_t count = 0;
  if (in_pipe > c.ssthresh) {
    const uint64_t share = (uint64_t{l.prr_delivered} * c.ssthresh + l.recover_fs - 1) / l.recover_fs;
    count = static_cast<int64_t>(share) - l.prr_out;
  } else {
    count = std::max<int64_t>(int64_t{l.prr_delivered} - l.prr_out, delivered);
    if (safe) count += c.mss;
    count = std::min<int64_t>(count, c.ssthresh - in_pipe);
  }
  if (l.prr_out == 0) count = std::max<int64_t>(count, c.mss);
  c.cwnd = std::max<uint32_t>(in_pipe + static_cast<uint32_t>(std::max<int64_t>(count, 0)), c.mss);
}

void Tcp::on_ack_in_recovery(uint32_t index, uint32_t acked, Instant now) {
  Conn& c = conns_[index];
  const bool sack = (c.options & kOptSack) != 0;
  if (c.snd_una >= c.recover) {
    if (c.recovery == Recovery::kFast || owns_window(index)) {
      controller(index).recovered(control(index), {now, flight(c)});
    }
    c.recovery = Recovery::kDisorder;  // until settle()
    rack_recovered(loss(index));
    loss(index).undo_until = c.snd_nxt;
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
  // The segment behind a partial ACK is lost too (RFC 6582 3.2 step 3; with SACK, if anything above it arrived). RACK
  // knows by time.
  const TxRecord& r = records_[c.record_head];
  if ((r.flags & (kRecSacked | kRecLost)) != 0 || r.times > 1) return;
  if (sack && (uses_rack(c) || c.sacked_bytes == 0)) return;
  mark_first_lost(index, loss(index), now);
  c.send_credit = 1;
}

// RFC 8985 6.3: the first segment is lost, and so is what has been on its way for longer than a round trip; without a
// round trip to go by, everything. What SACK said is forgotten where the peer seems to have thrown it away: it had the
// first segment and does not acknowledge it. RFC 2018 8 asks for that after every timeout; on a path with losses that
// would send again a window that has arrived already, and a peer that threw data away is found out by the next timeout.
void Tcp::mark_timed_out(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState& l = disorder(index, now);
  c.recovery = Recovery::kLoss;
  l.probe = Probe::kNone;
  const int64_t rtt_ns = l.delivered ? ns_of(l.rtt) : int64_t{c.srtt_us} * 1'000;
  const int64_t patience = uses_rack(c) ? rtt_ns + int64_t{reordering_window(c, l)} * 1'000 : 0;
  c.dup_acks = 0;
  c.lost_bytes = 0;
  const bool forget = (c.options & kOptSack) == 0 || (records_[c.record_head].flags & kRecSacked) != 0;
  if (forget) {
    c.sacked_bytes = 0;
    l.forget_blocks();
  }
  l.empty_lists();
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    TxRecord& r = records_[at];
    if ((r.flags & kRecSacked) != 0 && !forget) continue;
    if ((r.flags & kRecSacked) != 0) r.flags = static_cast<uint8_t>((r.flags & ~kRecSacked) | kRecWasSacked);
    const bool known = (r.flags & kRecLost) != 0;
    if (at == c.record_head || age_ns(r.sent, now) >= patience) r.flags |= kRecLost;
    if ((r.flags & kRecLost) != 0) c.lost_bytes += static_cast<uint32_t>(r.end - r.start);
    append(list_of(l, r), at);
    if (c.rated != 0 && (r.flags & kRecLost) != 0 && !known) rate_lost(index, at, now);
  }
}

}  // namespace millrace::tcp
