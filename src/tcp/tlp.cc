// Tail loss probes (RFC 8985 7): when the acknowledgments of a flight stay out, one segment more is sent, so that what
// the peer says of it tells RACK of losses at the end before a timeout has to.
//
// The probe's timer is the connection's one timer. A segment alone in flight is probed when its retransmission timeout
// is due, which grants the peer 200 ms and more for a delayed acknowledgment (RFC 8985 7.2, TLP.max_ack_delay) and
// keeps the usual exchange of requests and responses as it is. The timeout follows.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint32_t kLeastProbeUs = 5'000;  // two round trips within a rack are within the jitter of timers

}  // namespace

// RFC 8985 7.2 and 7.3: SACK is on, nothing is odd, and the round trip was measured since the last probe (until then
// the connection stays in disorder).
bool Tcp::may_probe(const Conn& c) const {
  return c.recovery == Recovery::kOpen && c.srtt_us != 0 && c.backoff == 0 && uses_rack(c);
}

// Nothing to tell its loss by but its own acknowledgment, which may be delayed.
bool Tcp::flies_alone(const Conn& c) { return c.record_count <= 1 && flight(c) <= c.mss; }

uint32_t Tcp::probe_timeout_us(const Conn& c) { return std::max(2 * c.srtt_us, kLeastProbeUs); }

// After an acknowledgment that left something in flight: RFC 8985 7.2, RFC 6298 5.3.
void Tcp::set_data_timer(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  if (flies_alone(c) || !may_probe(c) || probe_timeout_us(c) >= c.rto_us) return set_rto(index, now);
  set_timer(index, TimerKind::kProbe, now + microseconds(probe_timeout_us(c)));
}

// After new data was sent: again in full, but not beyond the timeout.
void Tcp::restart_probe(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  if (flies_alone(c) || c.record_head == 0 || !may_probe(c)) return;
  int64_t limit = c.rto_deadline;
  if (c.timer_kind == TimerKind::kProbe) {
    const int64_t rto_ns = int64_t{c.rto_us} * 1'000;
    limit = std::max(limit, now.ns() + rto_ns - age_ns(records_[c.record_head].sent, now));
  }
  set_timer(index, TimerKind::kProbe, Instant(std::min(limit, now.ns() + int64_t{probe_timeout_us(c)} * 1'000)));
}

// RFC 8985 7.3: whatever comes of the probe, the retransmission timer runs from here on.
void Tcp::tail_probe(uint32_t index, Instant now) {
  LossState& l = disorder(index, now);
  l.probe = Probe::kDue;
  l.measured = false;
  counters_.add(Counter::kTailProbes);
  set_rto(index, now);
  mark_dirty(index);
}

// The last segment once more, because there was no new one to send.
bool Tcp::retransmit_tail(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  if (c.record_head == 0) {
    l.probe = Probe::kNone;
    return true;
  }
  const TxRecord& last = records_[c.record_tail];
  const auto length = static_cast<uint32_t>(last.end - last.start);
  if (length > c.mss && split_record(index, c.record_tail, last.end - c.mss) == 0) {
    l.probe = Probe::kNone;
    return true;
  }
  if (!retransmit(index, c.record_tail, false, out, n, now)) return false;
  l.probe = Probe::kAgain;
  l.probe_end = c.snd_nxt;
  any = true;
  return true;
}

// RFC 8985 7.4: whether the probe mended a loss that nobody else would hear of. Then congestion control must.
void Tcp::judge_probe(uint32_t index, LossState& l, const AckNews& news) {
  const Conn& c = conns_[index];
  if (l.probe == Probe::kDue && news.advanced > 0) l.probe = Probe::kNone;
  if (l.probe == Probe::kNone || l.probe == Probe::kDue || c.snd_una < l.probe_end) return;
  const bool both_came = news.dsack && news.dsack_block.right == l.probe_end;
  const bool repetition = news.advanced == 0 && news.bare && !news.blocks;
  if (l.probe == Probe::kNew || both_came || repetition) {
    l.probe = Probe::kNone;
  } else if (c.snd_una > l.probe_end) {
    l.probe = Probe::kNone;
    counters_.add(Counter::kProbesMended);
    controller(index).loss(control(index), {news.now, flight(c)});
    controller(index).recovered(control(index), {news.now, flight(c)});
  }
}

}  // namespace millrace::tcp
