// The records of transmissions that are not acknowledged: in sequence order always, and while something is odd also by
// what is known of them (LossState): sent once, sent again, lost. An acknowledgment then finds what is due at the front
// of a list and looks at nothing behind it.
//
// The lists are built when trouble begins, in one walk, and kept until everything that was in flight then is
// acknowledged; so a record is in at most one such walk, however often a peer makes trouble begin.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

void Tcp::write_lone_record(Conn& c) {
  const uint32_t record = records_.allocate();
  MR_ASSERT(record != 0);
  TxRecord& r = records_[record];
  r.start = c.snd_una;
  r.end = c.snd_nxt;
  r.sent = c.record_tail;
  r.times = 1;
  r.flags = kRecPush;  // fast_output
  c.record_head = c.record_tail = record;
  --lone_;
}

// Stamps can be compared if they lie less than nine minutes apart. So what is in flight never looks older than kStale:
// two looks are at most the longest timeout and the delay of a timer apart, in all less than eight minutes. Its order
// is kept. To wait so long takes a window that is shut or opens by single bytes.
void Tcp::refresh_times(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState* const l = c.recovery != Recovery::kOpen ? &loss(index) : nullptr;
  // While nothing is odd, what was sent first is the oldest.
  if (age_ns(l == nullptr ? records_[c.record_head].sent : l->refreshed, now) < kStale.ns()) return;
  const uint32_t then = stamp(now - kStale);
  const auto refresh = [now, then](uint32_t& when) {
    const bool stale = age_ns(when, now) > kStale.ns();
    if (stale) when = then;
    return stale;
  };
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    if (refresh(records_[at].sent) && c.rated != 0) rate_records_[at].gen = 0;
  }
  if (l == nullptr) return;
  refresh(l->xmit);
  refresh(l->undo_stamp);
  l->refreshed = stamp(now);
}

// The loop did not run for minutes, with data in flight.
void Tcp::forget_times(Instant now) {
  if (records_.used() + lone_ == 0) return;
  const uint32_t then = stamp(now - kStale);
  for (uint32_t i = 1; i < records_.end_index(); ++i) {  // the free ones too, which are written when they are taken
    records_[i].sent = then;
    if (rate_records_[i].gen != 0) rate_records_[i].gen = 0;
  }
  for (uint32_t i = 1; i < conns_.end_index(); ++i) {
    if ((conns_[i].gen & 1) == 0) continue;
    if (is_lone(conns_[i])) conns_[i].record_tail = then;
    if (conns_[i].recovery == Recovery::kOpen) continue;
    LossState& l = loss(i);
    l.xmit = l.undo_stamp = then;
    l.refreshed = stamp(now);
  }
}

void Tcp::append(RecordList& list, uint32_t record) {
  TxRecord& r = records_[record];
  r.older = list.last;
  r.newer = 0;
  (list.last == 0 ? list.first : records_[list.last].newer) = record;
  list.last = record;
}

void Tcp::prepend(RecordList& list, uint32_t record) {
  TxRecord& r = records_[record];
  r.older = 0;
  r.newer = list.first;
  (list.first == 0 ? list.last : records_[list.first].older) = record;
  list.first = record;
}

void Tcp::unlink(RecordList& list, uint32_t record) {
  const TxRecord& r = records_[record];
  (r.older == 0 ? list.first : records_[r.older].newer) = r.newer;
  (r.newer == 0 ? list.last : records_[r.newer].older) = r.older;
}

RecordList& Tcp::list_of(LossState& l, const TxRecord& r) {
  if ((r.flags & kRecLost) != 0) return l.lost;
  return r.times > 1 ? l.again : l.fresh;
}

// Something odd: from here on the connection's records are in lists, and its segments take the slow path.
LossState& Tcp::disorder(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  if (c.recovery != Recovery::kOpen) return l;
  if (c.timer_kind == TimerKind::kProbe) restore_rto(index, now);
  write_record(c);
  c.recovery = Recovery::kDisorder;
  l.settled = c.snd_nxt;
  l.fack = c.snd_una;
  l.delivered = false;
  l.probe = Probe::kNone;
  l.measured = true;
  l.refreshed = c.record_head != 0 ? records_[c.record_head].sent : stamp(now);
  l.empty_lists();
  l.forget_blocks();
  l.splits = 0;
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    append(list_of(l, records_[at]), at);
    if ((records_[at].flags & kRecSplit) != 0) ++l.splits;
  }
  begin_min_rtt(c, l, now);
  return l;
}

// Back to the usual way once nothing is odd any more.
void Tcp::settle(uint32_t index) {
  Conn& c = conns_[index];
  if (c.recovery != Recovery::kDisorder || (c.sacked_bytes | c.lost_bytes | c.dup_acks) != 0) return;
  const LossState& l = loss(index);
  if (c.snd_una < l.settled || l.probe != Probe::kNone || !l.measured) return;
  c.recovery = Recovery::kOpen;
}

void Tcp::mark_lost(uint32_t index, LossState& l, uint32_t record, Instant now) {
  Conn& c = conns_[index];
  TxRecord& r = records_[record];
  MR_ASSERT((r.flags & (kRecSacked | kRecLost)) == 0);
  unlink(list_of(l, r), record);
  r.flags |= kRecLost;
  c.lost_bytes += static_cast<uint32_t>(r.end - r.start);
  // What blocks the peer goes first; otherwise losses are found in order.
  if (l.lost.first != 0 && r.start < records_[l.lost.first].start) {
    prepend(l.lost, record);
  } else {
    append(l.lost, record);
  }
  if (c.rated != 0) rate_lost(index, record, now);
}

// Cuts a record in two at `at` (start < at < end) and returns the second part, or 0 if there is no room for it.
uint32_t Tcp::split_record(uint32_t index, uint32_t record, Seq32 at) {
  Conn& c = conns_[index];
  const uint32_t second = take_record();
  if (second == 0) return 0;
  TxRecord& a = records_[record];
  TxRecord& b = records_[second];
  MR_ASSERT(a.start < at && at < a.end);
  b.start = at;
  b.end = a.end;
  b.sent = a.sent;
  b.times = a.times;
  b.flags = a.flags & static_cast<uint8_t>(~(kRecSyn | kRecSplit));
  b.ends_piece = a.ends_piece;
  a.end = at;
  a.flags &= static_cast<uint8_t>(~(kRecFin | kRecPush));
  a.ends_piece = false;
  b.link = a.link;
  a.link = second;
  if (c.record_tail == record) c.record_tail = second;
  ++c.record_count;
  if (c.rated != 0) rate_split(record, second);
  if (c.recovery == Recovery::kOpen) return second;
  LossState& l = loss(index);
  if ((a.flags & kRecSacked) != 0) {
    ++l.sacked_records;
    return second;
  }
  RecordList& list = list_of(l, a);
  b.older = record;
  b.newer = a.newer;
  (a.newer == 0 ? list.last : records_[a.newer].older) = second;
  a.newer = second;
  return second;
}

}  // namespace millrace::tcp
