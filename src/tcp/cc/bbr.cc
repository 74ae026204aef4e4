// BBR version 3: Startup doubles the rate each round until bandwidth or losses say that the pipe is full, Drain empties
// the queue that this built; then ProbeBW cruises, leaves others room, and every few seconds or 63 rounds refills the
// pipe and probes for more; ProbeRTT looks for the path's round trip without a queue where nothing else did within five
// seconds. Read first: draft-ietf-ccwg-bbr 5; section numbers are its.
//
// The draft gives no response to ECN but that marks are congestion (2.15): here a round with an echo counts as one with
// losses, and ends a probe.
#include <algorithm>

#include "tcp/cc/bbr.h"

namespace millrace::tcp::cc {

// 5.2.1
void Bbr::start(const StartEvent& e) {
  s_ = {};
  s_.chance = e.seed | 1;
  s_.min_rtt_us = s_.probe_rtt_min_us = e.srtt_us != 0 ? e.srtt_us : UINT32_MAX;
  s_.min_rtt_at_ns = s_.probe_rtt_min_at_ns = s_.extra_from_ns = now_.ns();
  s_.inflight_long = s_.up_acked_per_inc = kNoBound;
  s_.round_end = s_.loss_round_end = m_.delivered;
  reset_short_term();
  enter_startup();
}

void Bbr::enter_startup() { s_.mode = Mode::kStartup; }

// 5.2.3
void Bbr::sample(const RateSample& e) {
  s_.quantum = e.quantum;
  s_.initial_window = e.initial_window;
  update_latest(e);
  update_congestion(e);
  update_aggregation(e);
  check_full_bw(e);
  check_startup_done(e);
  if (s_.mode == Mode::kDrain && (e.flight <= inflight(s_.bw, 100) || s_.round_count > s_.drain_round + kFullRounds)) {
    start_down();  // 5.3.2
  }
  update_cycle(e);
  update_min_rtt(e);
  check_probe_rtt(e);
  if (s_.loss_round_start) {
    s_.loss_in_round = false;
    s_.bw_latest = e.rate;
    s_.inflight_latest = static_cast<uint32_t>(std::min<uint64_t>(e.delivered, kNoBound));
  }
  s_.bw = std::min(max_bw(), s_.bw_short);
  if (m_.rate == 0) {  // 5.6.2: the pace so far
    const uint64_t rtt_us = e.srtt_us != 0 ? e.srtt_us : 1'000;
    m_.rate = uint64_t{e.initial_window} * 10'000 * kStartupPacing / rtt_us;
  }
  set_pace(pacing_gain());
  set_window(e);
}

// 5.3.1.2: three rounds without a quarter more.
void Bbr::check_full_bw(const RateSample& e) {
  if (s_.full_bw_now || !s_.round_start || e.app_limited) return;
  if (e.rate >= s_.full_bw + s_.full_bw / 4) {
    reset_full_bw();
    s_.full_bw = e.rate;
    return;
  }
  s_.full_bw_now = ++s_.full_count >= kFullRounds;
  if (s_.full_bw_now) s_.full_bw_reached = true;
}

// 5.3.1.2, 5.3.1.3
void Bbr::check_startup_done(const RateSample& e) {
  if (s_.mode != Mode::kStartup) return;
  const bool losses = s_.loss_round_start && e.recovering && s_.loss_in_round &&
                      (s_.losses_in_round >= kStartupFullLosses || !e.selective) &&
                      is_too_high(e.lost, e.sent_flight, e.selective);
  if (!s_.full_bw_reached && (losses || s_.marked_rounds >= kStartupMarkedRounds)) {
    s_.undo = Undo::kStartup;
    s_.full_bw_reached = true;
    s_.inflight_long = std::max(bdp(max_bw(), 100), s_.inflight_latest);
  }
  if (s_.full_bw_reached) enter_drain();
}

void Bbr::enter_drain() {
  s_.mode = Mode::kDrain;
  s_.drain_round = s_.round_count;
}

// 5.3.3.6. A probe is due after two to three seconds, or as many rounds as Reno would need (5.3.3.5.3).
void Bbr::start_down() {
  reset_congestion();
  s_.up_acked_per_inc = kNoBound;
  s_.rounds_since_probe = random_below(2);
  s_.wait_ns = kProbeWaitNs + int64_t{random_below(1'000)} * 1'000'000;
  s_.cycle_ns = now_.ns();
  s_.phase = Phase::kProbeStopping;
  start_round();
  s_.mode = Mode::kDown;
}

void Bbr::start_refill() {
  reset_short_term();
  s_.up_rounds = 0;
  s_.up_acked = 0;
  s_.precautionary = false;
  s_.phase = Phase::kRefilling;
  start_round();
  s_.mode = Mode::kRefill;
}

void Bbr::start_up(uint64_t rate) {
  s_.phase = Phase::kProbeStarting;
  start_round();
  reset_full_bw();
  s_.full_bw = rate;
  s_.mode = Mode::kUp;
  raise_slope();
}

void Bbr::update_cycle(const RateSample& e) {
  if (!s_.full_bw_reached || adapt_long_term(e)) return;
  switch (s_.mode) {
    case Mode::kDown:
      if (time_to_probe()) return;
      if (e.flight <= with_headroom() && e.flight <= inflight(max_bw(), 100)) s_.mode = Mode::kCruise;
      return;
    case Mode::kCruise: (void)time_to_probe(); return;
    case Mode::kRefill:
      if (!s_.round_start) return;
      s_.probe_sample = true;
      start_up(e.rate);
      return;
    case Mode::kUp:
      if (!time_to_go_down(e)) return;
      s_.too_high = false;
      start_down();
      return;
    default: return;
  }
}

bool Bbr::time_to_probe() {
  const uint32_t reno_rounds = std::min(target_inflight() / c_.mss, kRenoRounds);
  if (now_.ns() <= s_.cycle_ns + s_.wait_ns && s_.rounds_since_probe < reno_rounds) return false;
  start_refill();
  return true;
}

bool Bbr::time_to_go_down(const RateSample& e) {
  if (s_.too_high && e.flight >= s_.inflight_long) {  // 5.3.3.4.2
    s_.precautionary = true;
    return true;
  }
  if (e.window_limited && c_.cwnd >= s_.inflight_long) {
    reset_full_bw();  // the bound, not the path, limits the rate
    s_.full_bw = e.rate;
    return false;
  }
  return s_.full_bw_now;
}

// What the phase of the probe and its losses say about inflight_long. True if that decided the next state.
bool Bbr::adapt_long_term(const RateSample& e) {
  if (s_.phase == Phase::kProbeStarting && s_.round_start) s_.phase = Phase::kProbeFeedback;
  if (s_.phase == Phase::kProbeStopping && s_.round_start) {
    s_.probe_sample = false;
    s_.phase = Phase::kInit;
    if (probing_bw_mode() && !e.app_limited) advance_max_bw();
    if (probing_bw_mode() && s_.precautionary && !s_.too_high) {
      start_refill();
      return true;
    }
  }
  if (is_too_high(e.lost, e.sent_flight, e.selective) || s_.inflight_long == kNoBound) return false;
  s_.inflight_long = std::max(s_.inflight_long, e.sent_flight);
  if (s_.mode == Mode::kUp) probe_upward(e);
  return false;
}

// The bound rises by one segment for each share of the window acknowledged, shares that halve with each round.
void Bbr::raise_slope() {
  const uint32_t growth = 1u << s_.up_rounds;
  s_.up_rounds = std::min(s_.up_rounds + 1, 30u);
  s_.up_acked_per_inc = std::max(c_.cwnd / growth, c_.mss);
}

void Bbr::probe_upward(const RateSample& e) {
  if (!e.window_limited || c_.cwnd < s_.inflight_long) return;
  s_.up_acked += e.acked;
  const uint32_t times = s_.up_acked / s_.up_acked_per_inc;
  s_.up_acked -= times * s_.up_acked_per_inc;
  s_.inflight_long = std::min(s_.inflight_long + times * c_.mss, kLargestWindow);
  if (s_.round_start) raise_slope();
}

// 5.3.4.3
void Bbr::check_probe_rtt(const RateSample& e) {
  if (s_.mode != Mode::kProbeRtt && s_.probe_rtt_expired && !s_.idle_restart) {
    save_window();
    s_.mode = Mode::kProbeRtt;
    s_.probe_rtt_done_ns = 0;
    s_.phase = Phase::kProbeStopping;
    start_round();
  }
  if (s_.mode == Mode::kProbeRtt) handle_probe_rtt(e);
  if (e.delivered > 0) s_.idle_restart = false;
}

void Bbr::handle_probe_rtt(const RateSample& e) {
  m_.app_limited = std::max<uint64_t>(m_.delivered + e.flight, 1);  // its low rates are no measure
  if (s_.probe_rtt_done_ns == 0) {
    if (e.flight > std::max(bdp(s_.bw, kProbeRttWindowGain), least_window())) return;
    s_.probe_rtt_done_ns = now_.ns() + kProbeRttNs;
    s_.probe_rtt_round_done = false;
    start_round();
    return;
  }
  if (s_.round_start) s_.probe_rtt_round_done = true;
  if (s_.probe_rtt_round_done) check_probe_rtt_done();
}

// 5.3.4.4
void Bbr::check_probe_rtt_done() {
  if (s_.probe_rtt_done_ns == 0 || now_.ns() <= s_.probe_rtt_done_ns) return;
  s_.probe_rtt_min_at_ns = now_.ns();
  restore_window();
  reset_short_term();
  if (!s_.full_bw_reached) return enter_startup();
  start_down();
  s_.mode = Mode::kCruise;
}

// 5.6.1
uint32_t Bbr::pacing_gain() const {
  switch (s_.mode) {
    case Mode::kStartup: return kStartupPacing;
    case Mode::kDrain: return kDrainPacing;
    case Mode::kDown: return 90;
    case Mode::kUp: return 125;
    default: return 100;
  }
}

uint32_t Bbr::window_gain() const {
  if (s_.mode == Mode::kUp) return kUpWindowGain;
  return s_.mode == Mode::kProbeRtt ? kProbeRttWindowGain : kWindowGain;
}

// 5.6.2
void Bbr::set_pace(uint32_t gain) {
  const auto rate =
      static_cast<uint64_t>(static_cast<unsigned __int128>(s_.bw) * gain * (100 - kPacingMargin) / 10'000);
  if (rate > 0 && (s_.full_bw_reached || rate > m_.rate)) m_.rate = rate;
}

// 5.6.4.6
void Bbr::set_window(const RateSample& e) {
  const uint64_t extra = std::max(s_.extra_acked[0], s_.extra_acked[1]);
  const uint32_t most = with_budget(bdp(s_.bw, window_gain()) + extra);
  const uint32_t grown = std::min(c_.cwnd, kLargestWindow) + e.acked;
  if (s_.full_bw_reached) {
    c_.cwnd = std::min(grown, most);
  } else if (c_.cwnd < most || m_.delivered < e.initial_window) {
    c_.cwnd = grown;
  }
  c_.cwnd = std::clamp(c_.cwnd, least_window(), kLargestWindow);
  bound_window();
}

// 5.6.4.5, 5.6.4.7
void Bbr::bound_window() {
  if (s_.mode == Mode::kProbeRtt) {
    c_.cwnd = std::min(c_.cwnd, std::max(bdp(s_.bw, kProbeRttWindowGain), least_window()));
  }
  uint32_t cap = kNoBound;
  if (s_.mode == Mode::kCruise || s_.mode == Mode::kProbeRtt) {
    cap = with_headroom();
  } else if (probing_bw_mode()) {
    cap = s_.inflight_long;
  }
  c_.cwnd = std::min(c_.cwnd, std::max(std::min(cap, s_.inflight_short), least_window()));
}

// 5.6.4.4
void Bbr::save_window() {
  const bool modulated = s_.recovering || s_.mode == Mode::kProbeRtt;
  s_.prior_cwnd = modulated ? std::max(s_.prior_cwnd, c_.cwnd) : c_.cwnd;
}

void Bbr::restore_window() { c_.cwnd = std::max(c_.cwnd, s_.prior_cwnd); }

void Bbr::begin_recovery() {
  save_upon_loss();
  s_.recovering = true;
  c_.ssthresh = std::max(c_.cwnd, 2 * c_.mss);  // means nothing to BBR
}

void Bbr::timeout() {
  begin_recovery();
  c_.cwnd = c_.mss;
}

void Bbr::recovered() {
  s_.recovering = false;
  restore_window();
  bound_window();
}

// 2.15, RFC 3168 6.1.2
void Bbr::congested(uint32_t flight) {
  note_loss();
  s_.marked = true;
  if (s_.probe_sample) inflight_too_high(flight, false);
}

// 5.5.11.2
void Bbr::undo(const UndoEvent& e) {
  s_.recovering = false;
  restore_window();
  c_.cwnd = std::max(c_.cwnd, e.cwnd);
  c_.ssthresh = std::max(c_.ssthresh, e.ssthresh);
  s_.loss_in_round = false;
  reset_full_bw();
  s_.bw_short = std::max(s_.bw_short, s_.undo_bw_short);
  s_.inflight_short = std::max(s_.inflight_short, s_.undo_inflight_short);
  s_.inflight_long = std::max(s_.inflight_long, s_.undo_inflight_long);
  if (s_.undo == Undo::kStartup && s_.mode != Mode::kStartup) {
    s_.full_bw_reached = false;
    if (s_.mode != Mode::kProbeRtt) enter_startup();
  } else if (s_.undo == Undo::kUp && s_.mode != Mode::kUp && s_.mode != Mode::kProbeRtt) {
    start_refill();
  }
  s_.undo = Undo::kNone;
}

// 5.4.1
void Bbr::restart() {
  s_.idle_restart = true;
  s_.extra_from_ns = now_.ns();
  if (probing_bw_mode()) {
    set_pace(100);
  } else if (s_.mode == Mode::kProbeRtt) {
    check_probe_rtt_done();
  }
}

// Marsaglia's xorshift: what randomness this needs is that flows differ.
uint32_t Bbr::random_below(uint32_t limit) {
  s_.chance ^= s_.chance << 13;
  s_.chance ^= s_.chance >> 7;
  s_.chance ^= s_.chance << 17;
  return static_cast<uint32_t>((s_.chance >> 32) % limit);
}

constexpr Operations bbr{
    .name = "bbr",
    .start = [](Control c, const StartEvent& e) { Bbr(c, e.now).start(e); },
    .ack = ignore<AckEvent>,
    .loss = [](Control c, const LossEvent& e) { Bbr(c, e.now).begin_recovery(); },
    .timeout = [](Control c, const LossEvent& e) { Bbr(c, e.now).timeout(); },
    .congested = [](Control c, const LossEvent& e) { Bbr(c, e.now).congested(e.flight); },
    .undo = [](Control c, const UndoEvent& e) { Bbr(c, e.now).undo(e); },
    .restart = [](Control c, const RestartEvent& e) { Bbr(c, e.now).restart(); },
    .recovered = [](Control c, const RecoveredEvent& e) { Bbr(c, e.now).recovered(); },
    .wants = kWantsModel,
    .sample = [](Control c, const RateSample& e) { Bbr(c, e.now).sample(e); },
    .lost = [](Control c, const LostEvent& e) { Bbr(c, e.now).lost(e); },
};

}  // namespace millrace::tcp::cc
