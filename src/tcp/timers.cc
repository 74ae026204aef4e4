// Timers. A connection has one node on the wheel; its deadlines lie in the Conn, and the node stands at or before the
// earliest of them. A deadline that moves later touches nothing: the node fires, finds nothing due, and is armed again.
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr Duration kStopped = seconds(10);  // a loop that comes so late did not run for a while

}  // namespace

base::TimerNode& Tcp::timer_node(uint32_t id) {
  const Ref ref(id);
  switch (ref.place()) {
    case Place::kConn: return conns_[ref.index()].timer;
    case Place::kHalf4: return half4_[ref.index()].timer;
    case Place::kHalf6: return half6_[ref.index()].timer;
    case Place::kWait4: return wait4_[ref.index()].timer;
    case Place::kWait6: return wait6_[ref.index()].timer;
    case Place::kNone: break;
  }
  MR_UNREACHABLE();
}

void Tcp::advance(Instant now) {
  wheel_.advance(now, [this, now](uint32_t id) { fire(id, now); });
  if (now.ns() >= look_ns_) [[unlikely]] {
    watch_frames(now);
  }
}

// What programs leave unread must not take the frames that everything else needs. Counting them costs a device's pool
// some hundred cycles, hence not with every segment.
void Tcp::watch_frames(Instant now) {
  look_ns_ = (now + kFramesLook).ns();
  scarce_ = packets_.frames_available() < frames_.capacity() / 8;
}

void Tcp::fire(uint32_t id, Instant now) {
  const Ref ref(id);
  switch (ref.place()) {
    case Place::kConn: conn_timer(ref.index(), now); return;
    case Place::kWait4:
    case Place::kWait6: drop_time_wait(ref); return;
    case Place::kHalf4:
    case Place::kHalf6: break;
    case Place::kNone: MR_UNREACHABLE();
  }
  HalfOpen& h = half(ref);
  const uint32_t deferred = (h.flags & kMiniDeferred) != 0 ? deferred_timeouts(listeners_[h.listener]) : 0;
  if (h.retries >= std::max<int64_t>(settings_.synack_retries, deferred)) {
    if (MR_PLANTED(half_open_leak)) return;
    counters_.add(Counter::kHalfOpenTimedOut);
    drop_half_open(ref);
    return;
  }
  ++h.retries;
  if (h.retries >= deferred) send_syn_ack(ref, now);
  wheel_.arm(id, now + microseconds(settings_.rto_initial_us << h.retries));
}

void Tcp::arm(uint32_t index, int64_t deadline_ns) {
  const base::TimerNode& node = conns_[index].timer;
  if (wheel_.armed(node) && node.deadline_ns <= deadline_ns) return;
  wheel_.arm(Ref(Place::kConn, index).raw, Instant(deadline_ns));
}

void Tcp::set_timer(uint32_t index, TimerKind kind, Instant deadline) {
  Conn& c = conns_[index];
  c.timer_kind = kind;
  c.rto_deadline = deadline.ns();
  arm(index, c.rto_deadline);
}

void Tcp::stop_timer(Conn& c) {
  c.timer_kind = TimerKind::kNone;
  c.rto_deadline = INT64_MAX;
}

// RFC 6298 5.5: doubles with each timeout.
uint32_t Tcp::backed_off(const Conn& c, uint32_t doublings) const {
  const uint32_t shift = MR_PLANTED(rto_not_doubled) ? 0 : std::min<uint32_t>(doublings, 16);
  return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{c.rto_us} << shift,
                                                  static_cast<uint64_t>(settings_.rto_max_us)));
}

// How long the timeouts of this attempt have taken, when one has just expired.
uint64_t Tcp::trying_us(const Conn& c) const {
  uint64_t waited_us = 0;
  const uint32_t doublings = c.timer_kind == TimerKind::kPersist ? c.retries : std::max(c.backoff, c.retries);
  for (uint32_t i = 0; i <= c.retries && i <= settings_.retries; ++i) {
    const uint32_t shift = std::min<uint32_t>(doublings - i, 16);
    waited_us += std::min<uint64_t>(uint64_t{c.rto_us} << shift, static_cast<uint64_t>(settings_.rto_max_us));
  }
  return waited_us;
}

// Whether the peer has been silent since before the last settings_.retries transmissions. One that answers lives,
// however long its window stays shut (RFC 9293 3.8.6.1 MUST-37).
bool Tcp::unanswered(const Conn& c, Instant now) const {
  const uint64_t probing_us = trying_us(c);
  return uint64_t{milliseconds_of(now) - c.last_rx_ms} * 1'000 >= probing_us;
}

void Tcp::set_rto(uint32_t index, Instant now) {
  set_timer(index, TimerKind::kRetransmit, now + microseconds(backed_off(conns_[index], conns_[index].backoff)));
}

void Tcp::conn_timer(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  const uint32_t gen = c.gen;
  if (c.record_head != 0) refresh_times(index, now);
  if (c.delack_deadline <= now.ns()) {
    c.delack_deadline = INT64_MAX;
    if (c.ack_pending != 0) {
      c.rx_flags |= kRxAckNow;
      counters_.add(Counter::kDelayedAcks);
      mark_dirty(index);
    }
  }
  if (c.timer_kind != TimerKind::kNone && c.rto_deadline <= now.ns()) {
    switch (c.timer_kind) {
      case TimerKind::kProbe:
      case TimerKind::kRetransmit:
        // After a stop of the whole process the timeout is over as well.
        if (now.ns() - c.rto_deadline < kStopped.ns() && may_probe(c) && c.snd_wnd > 0 &&
            c.state != State::kSynReceived) {
          tail_probe(index, now);
        } else {
          retransmission_timeout(index, now);
        }
        break;
      case TimerKind::kReorder: reordering_timeout(index, now); break;
      case TimerKind::kPersist: persist_timeout(index, now); break;
      case TimerKind::kFinWait2: destroy(index); break;
      case TimerKind::kNone: break;
    }
    if (c.gen != gen) return;
  }
  if ((c.tx_flags & kTxWantSpace) != 0 && c.snd_limit == 0 && low_water_reached(index)) {
    c.tx_flags &= static_cast<uint8_t>(~kTxWantSpace);
    notify(c, kWritable);
  }
  int64_t next = std::min(c.rto_deadline, c.delack_deadline);
  if (c.rated != 0) next = std::min(next, pace_timer(index, now));
  if ((c.options & kOptKeepalive) != 0) {
    // Data that came by the fast path answers a probe too.
    if (milliseconds_of(now) - c.last_rx_ms < cold(index).keepalive_idle_ms) cold(index).keepalive_sent = 0;
    if (keepalive_deadline(index, now) <= now.ns() && !keepalive_timeout(index, now)) return;
    next = std::min(next, std::max(keepalive_deadline(index, now), now.ns() + 1'000'000));
  }
  if (next != INT64_MAX) arm(index, next);
}

void Tcp::retransmission_timeout(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  const bool opening = c.state == State::kSynSent || c.state == State::kSynReceived;
  trace_.put(index, base::TraceEvent::kRto, backed_off(c, c.backoff));
  trace_.keep(index);
  counters_.add(Counter::kRtos);
  // A peer that shut its window on data in flight, and says so each time, is probed by these retransmissions (RFC 9293
  // 3.8.6 SHLD-17, MUST-35).
  const bool shut = !opening && c.snd_wnd == 0 && !unanswered(c, now) && !out_of_patience(c);
  const RareOptions own = rare(index);
  int64_t most = settings_.retries;
  if (opened_early(index)) {
    most = settings_.synack_retries;
  } else if (opening) {
    most = own.syn_retries != 0 ? own.syn_retries : settings_.syn_retries;
  }
  bool hopeless = c.retries >= most && !shut;                                                      // RFC 9293 3.8.3 R2
  if (own.user_timeout_ms != 0) hopeless = trying_us(c) >= uint64_t{own.user_timeout_ms} * 1'000;  // RFC 5482
  if (hopeless) {
    counters_.add(Counter::kTimedOut);
    const uint8_t soft = cold(index).soft_error;
    fail_conn(index, soft != 0 ? static_cast<Error>(soft - 1) : Error::kTimedOut);
    return;
  }
  if (c.retries < UINT8_MAX) ++c.retries;
  if (c.backoff < UINT8_MAX) ++c.backoff;
  suspect_fast_open(index, now);
  if (c.retries == settings_.retries1 && !shut) {  // RFC 9293 3.8.3 R1, MUST-20, SHLD-9
    counters_.add(Counter::kUnanswered);
    ip_.suspect(c.hop, now);
    if (!opening) notify(c, kUnanswered);
  }
  if (opening) {
    c.tx_flags |= kTxSynQueued;
    set_rto(index, now);
    mark_dirty(index);
    return;
  }
  if (c.retries >= kBlackHoleTimeouts && settings_.mtu_probing != 0) judge_black_hole(index, now);
  // RFC 5682 3.1 step 1: only the first timeout of a series may be a mistake.
  const bool suspect = c.recovery != Recovery::kLoss && (c.options & kOptSack) != 0;
  if (c.recovery < Recovery::kFast) remember_windows(c, loss(index));
  loss(index).timeout = suspect ? Timeout::kSuspected : Timeout::kReal;
  if (c.recovery != Recovery::kLoss) {
    controller(index).timeout(control(index), {now, flight(c)});
  } else if (c.retries == 1) {  // another segment than the last timeout's; what is marked lost has left the network
    controller(index).timeout(control(index), {now, pipe(c)});
  } else {
    c.cwnd = c.mss;  // RFC 5681 3.1: ssthresh stays when the same segment times out again
  }
  mark_timed_out(index, now);
  if ((c.rx_flags & kRxEcn) != 0) ecn(index).held = false;
  c.recover = c.snd_nxt;
  c.send_credit = 1;  // RFC 6298 5.4: the earliest segment goes out now
  set_rto(index, now);
  mark_dirty(index);
}

// RFC 6429 3: a shut window may hold what it holds for as long as somebody waits for it and there is enough for others.
bool Tcp::out_of_patience(const Conn& c) const {
  if (c.retries < kPatientProbes || trying_us(c) < static_cast<uint64_t>(kPatience.us())) return false;
  return (c.options & kOptOrphan) != 0 || blocks_.in_use_bytes() > blocks_.limit_bytes() / 4 * 3;
}

// RFC 9293 3.8.6.1: a shut window is probed for as long as the peer answers. The probe is a segment just below the
// window, which obliges the peer to acknowledge and so to state its window.
void Tcp::persist_timeout(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  if ((c.rx_flags & kRxEcn) != 0 && ecn(index).held) {
    ecn(index).held = false;
    stop_timer(c);
    mark_dirty(index);
    return;
  }
  if (c.snd_queued == 0 || c.snd_nxt != c.snd_una) {
    stop_timer(c);
    return;
  }
  if ((c.rx_flags & kRxHold) != 0) {  // held back for long enough, corked or not
    c.rx_flags &= static_cast<uint8_t>(~kRxHold);
    c.tx_flags &= static_cast<uint8_t>(~kTxMore);
    stop_timer(c);
    mark_dirty(index);
    return;
  }
  const uint64_t own_us = uint64_t{rare(index).user_timeout_ms} * 1'000;
  const bool hopeless = own_us != 0 ? trying_us(c) >= own_us : c.retries >= settings_.retries && unanswered(c, now);
  if (hopeless || out_of_patience(c)) {
    counters_.add(Counter::kTimedOut);
    fail_conn(index, Error::kTimedOut);
    return;
  }
  if (c.retries < UINT8_MAX) ++c.retries;  // RFC 9293 3.8.6.1 SHLD-30: probes back off
  set_timer(index, TimerKind::kPersist, now + microseconds(backed_off(c, c.retries)));
  if (c.snd_wnd > 0) {
    // The window is open but silly, and has been for long enough (RFC 9293 3.8.6.2.1 override timeout): use it.
    c.max_snd_wnd = c.snd_wnd;
    mark_dirty(index);
    return;
  }
  counters_.add(Counter::kPersistProbes);
  trace_.put(index, base::TraceEvent::kWindowProbe, c.snd_una.raw());
  send_probe(index, now);
}

void Tcp::send_probe(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  if (c.route_epoch != ip_.epoch() && !refresh_route(index, now)) return;
  ack_at_once(index, c.snd_una - 1, now);
}

// last_rx_ms is a 32-bit clock: only differences mean anything.
int64_t Tcp::keepalive_deadline(uint32_t index, Instant now) const {
  const ConnCold& k = cold(index);
  const int64_t after_ms = k.keepalive_idle_ms + int64_t{k.keepalive_sent} * k.keepalive_interval_ms;
  const int64_t elapsed_ms = milliseconds_of(now) - conns_[index].last_rx_ms;
  return now.ns() + (after_ms - elapsed_ms) * 1'000'000;
}

// RFC 9293 3.8.4. False if the connection was given up.
bool Tcp::keepalive_timeout(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  ConnCold& k = cold(index);
  const uint32_t idle_ms = milliseconds_of(now) - c.last_rx_ms;
  if (idle_ms < k.keepalive_idle_ms || c.snd_nxt != c.snd_una) {
    k.keepalive_sent = 0;
    return true;
  }
  if (k.keepalive_sent >= k.keepalive_probes) {
    counters_.add(Counter::kTimedOut);
    fail_conn(index, Error::kTimedOut);
    return false;
  }
  ++k.keepalive_sent;
  counters_.add(Counter::kKeepaliveProbes);
  trace_.put(index, base::TraceEvent::kKeepalive, k.keepalive_sent);
  send_probe(index, now);
  return true;
}

}  // namespace millrace::tcp
