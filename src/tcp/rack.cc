// RACK (RFC 8985 6): a segment is lost if one sent after it was delivered and its own time is up. Time is that of
// Tcp::stamp(), units of 256 ns.
//
// Work: the lists are sorted by the time of sending, so each acknowledgment looks at what it finds lost and at one
// record more in each list. What is found lost was paid for by its transmission.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint8_t kPersist = 16;                    // RFC 8985 6.2 step 4: recoveries without D-SACK
constexpr uint32_t kMinRttWindowMs = 5 * 60'000;    // RFC 8985 6.2 step 1: the minimum of recent round trips

}  // namespace

bool Tcp::uses_rack(const Conn& c) const { return (c.options & kOptSack) != 0 && settings_.rack != 0; }

// Before trouble began nobody watched the least round trip; the smoothed one stands in for it.
void Tcp::begin_min_rtt(const Conn& c, LossState& l, Instant now) {
  if (l.min_rtt_us != 0 && milliseconds_of(now) - l.min_rtt_ms < kMinRttWindowMs) return;
  l.min_rtt_us = c.srtt_us;
  l.min_rtt_ms = milliseconds_of(now);
}

// RFC 8985 6.2 steps 1 to 3, for a record that this acknowledgment delivers, whether cumulatively or selectively.
void Tcp::delivered(const Conn& c, LossState& l, const TxRecord& r, AckNews& news) {
  if ((r.flags & kRecWasSacked) != 0) return;  // delivered long ago
  if (r.times == 1 && c.recovery >= Recovery::kFast && r.end <= c.recover) news.original = true;
  if (!uses_rack(c)) return;
  const uint32_t rtt = stamp(news.now) - r.sent;
  const auto rtt_us = static_cast<uint32_t>(ns_of(rtt) / 1'000);
  if (r.times == 1) {
    if (l.min_rtt_us == 0 || rtt_us < l.min_rtt_us) l.min_rtt_us = std::max(rtt_us, 1u);
    if (r.end < l.fack) l.reordering = true;
  } else {
    // Step 2: which of the transmissions was delivered is in doubt; these two say that it was not the last. (Half of
    // the least round trip, since the smoothed one may stand for it.)
    const uint32_t sent_ms = milliseconds_of(news.now) - rtt_us / 1'000 + c.ts_offset;
    if (news.has_ecr && static_cast<int32_t>(news.ts_ecr - sent_ms) < 0) return;
    if (rtt_us < l.min_rtt_us / 2) return;
  }
  l.fack = base::max(l.fack, r.end);
  const auto later = static_cast<int32_t>(r.sent - l.xmit);
  if (l.delivered && (later < 0 || (later == 0 && r.end <= l.end_seq))) return;
  l.delivered = true;
  l.xmit = r.sent;
  l.end_seq = r.end;
  l.rtt = rtt;
}

// RFC 8985 6.2 step 4, its D-SACK part: the window grows by a quarter of the least round trip in each round in which
// the peer reports duplicates, and shrinks after sixteen recoveries without one.
void Tcp::adapt_reordering(const Conn& c, LossState& l) {
  if (l.in_dsack_round && c.snd_una < l.dsack_round) return;
  l.in_dsack_round = true;
  l.dsack_round = c.snd_nxt;
  l.reo_wnd_persist = kPersist;
  if (l.reo_wnd_mult < UINT8_MAX) ++l.reo_wnd_mult;
}

void Tcp::rack_recovered(LossState& l) {
  if (l.reo_wnd_persist > 0) --l.reo_wnd_persist;
  if (l.reo_wnd_persist == 0) l.reo_wnd_mult = 1;
}

// RFC 8985 6.2 step 4: RACK.reo_wnd, microseconds.
uint32_t Tcp::reordering_window(const Conn& c, const LossState& l) const {
  if (!l.reordering) {
    const bool recovering = c.recovery == Recovery::kFast || c.recovery == Recovery::kLoss;
    if (recovering || l.sacked_records >= kDupThresh || c.sacked_bytes > (kDupThresh - 1u) * c.mss) return 0;
  }
  const uint64_t bound = c.srtt_us != 0 ? c.srtt_us : static_cast<uint64_t>(ns_of(l.rtt)) / 1'000;
  return static_cast<uint32_t>(std::min(uint64_t{l.min_rtt_us} * l.reo_wnd_mult / 4, bound));
}

// RFC 8985 6.2 step 5. Marks what is lost, and arms the reordering timer (6.3) for what will be unless it is delivered.
void Tcp::rack_detect(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  int64_t wake = INT64_MAX;
  if (l.delivered) {
    const int64_t patience = ns_of(l.rtt) + int64_t{reordering_window(c, l)} * 1'000;
    for (RecordList* list : {&l.fresh, &l.again}) {
      while (list->first != 0) {
        const TxRecord& r = records_[list->first];
        const auto later = static_cast<int32_t>(l.xmit - r.sent);
        if (later < 0 || (later == 0 && r.end >= l.end_seq)) break;  // sent after what was delivered
        const int64_t left = patience - age_ns(r.sent, now);
        if (left >= ns_of(1)) {  // less is only what a stamp leaves out
          wake = std::min(wake, now.ns() + left);
          break;
        }
        counters_.add(Counter::kRackMarks);
        mark_lost(index, l, list->first, now);
      }
    }
  }
  if (wake != INT64_MAX && (c.timer_kind == TimerKind::kReorder || wake < c.rto_deadline)) {
    set_timer(index, TimerKind::kReorder, Instant(wake));
  } else if (c.timer_kind == TimerKind::kReorder) {
    restore_rto(index, now);
  }
}

void Tcp::reordering_timeout(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  restore_rto(index, now);
  rack_detect(index, now);
  if (c.lost_bytes == 0) return;
  if (c.recovery == Recovery::kDisorder && !only_mtu_probe_lost(index)) enter_fast_recovery(index, now);
  mark_dirty(index);
}

// The retransmission timer again, after another kind stood in its place: as if it had run since the oldest segment was
// sent.
void Tcp::restore_rto(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  if (c.record_head == 0) return stop_timer(c);
  const int64_t rto_ns = int64_t{backed_off(c, c.backoff)} * 1'000;
  const int64_t left = rto_ns - age_ns(records_[c.record_head].sent, now);
  set_timer(index, TimerKind::kRetransmit, Instant(now.ns() + std::max<int64_t>(left, 1'000'000)));
}

}  // namespace millrace::tcp
