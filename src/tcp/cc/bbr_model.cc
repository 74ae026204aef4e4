// BBR's model of the path (draft-ietf-ccwg-bbr 5.5): bandwidth and round trip are the long-term filters, the bounds
// come from losses: the long-term one from probes that went too high, the short-term ones from rounds with losses.
#include <algorithm>

#include "tcp/cc/bbr.h"

namespace millrace::tcp::cc {

uint64_t Bbr::max_bw() const { return std::max(s_.max_bw[0], s_.max_bw[1]); }

// 5.5.1: a round ends when something is acknowledged that was sent after its beginning.
void Bbr::update_round(const RateSample& e) {
  s_.round_start = e.prior_delivered >= s_.round_end;
  if (!s_.round_start) return;
  start_round();
  ++s_.round_count;
  ++s_.rounds_since_probe;
}

// 5.5.4, 5.5.5
void Bbr::update_max_bw(const RateSample& e) {
  update_round(e);
  if (e.rate > 0 && (e.rate >= max_bw() || !e.app_limited)) s_.max_bw[1] = std::max(s_.max_bw[1], e.rate);
}

// 5.5.6. A cycle without samples leaves the last one's in force.
void Bbr::advance_max_bw() {
  if (s_.max_bw[1] == 0) return;
  s_.max_bw[0] = s_.max_bw[1];
  s_.max_bw[1] = 0;
}

// 5.5.10.3
void Bbr::update_latest(const RateSample& e) {
  s_.bw_latest = std::max(s_.bw_latest, e.rate);
  s_.inflight_latest = std::max(s_.inflight_latest, static_cast<uint32_t>(std::min<uint64_t>(e.delivered, kNoBound)));
  s_.loss_round_start = e.prior_delivered >= s_.loss_round_end;
  if (s_.loss_round_start) s_.loss_round_end = m_.delivered;
}

void Bbr::update_congestion(const RateSample& e) {
  update_max_bw(e);
  if (!s_.loss_round_start) return;
  adapt_lower_bounds();
  s_.marked_rounds = s_.marked ? static_cast<uint8_t>(std::min(s_.marked_rounds + 1, 255)) : 0;
  s_.marked = false;
}

// Once a round: the model goes down towards what was delivered in it.
void Bbr::adapt_lower_bounds() {
  if (s_.mode == Mode::kStartup || s_.mode == Mode::kRefill || s_.mode == Mode::kUp || !s_.loss_in_round) return;
  if (s_.bw_short == kNoRate) s_.bw_short = max_bw();
  if (s_.inflight_short == kNoBound) s_.inflight_short = c_.cwnd;
  s_.bw_short = std::max(s_.bw_latest, s_.bw_short * kBeta / 100);
  const auto less = static_cast<uint32_t>(uint64_t{s_.inflight_short} * kBeta / 100);
  s_.inflight_short = std::max(s_.inflight_latest, less);
}

void Bbr::reset_congestion() {
  s_.loss_in_round = false;
  s_.losses_in_round = 0;
  s_.bw_latest = 0;
  s_.inflight_latest = 0;
}

void Bbr::reset_short_term() {
  s_.bw_short = kNoRate;
  s_.inflight_short = kNoBound;
}

void Bbr::reset_full_bw() {
  s_.full_bw = 0;
  s_.full_count = 0;
  s_.full_bw_now = false;
}

// 5.5.9: what was acknowledged beyond what the bandwidth makes expect, at most in the last five to ten rounds, or in
// one while Startup goes on.
void Bbr::update_aggregation(const RateSample& e) {
  if (s_.round_start) {
    if (++s_.extra_rounds >= (s_.full_bw_reached ? kExtraAckedRounds : 1)) {
      s_.extra_rounds = 0;
      s_.extra_acked[0] = s_.extra_acked[1];
      s_.extra_acked[1] = 0;
    }
  }
  const auto since_ns = static_cast<unsigned __int128>(now_.ns() - s_.extra_from_ns);
  auto expected = static_cast<uint64_t>(std::min<unsigned __int128>(since_ns * s_.bw / 1'000'000'000, kNoRate));
  if (s_.extra_delivered <= expected) {
    s_.extra_delivered = 0;
    s_.extra_from_ns = now_.ns();
    expected = 0;
  }
  s_.extra_delivered += e.acked;
  const auto extra = static_cast<uint32_t>(std::min<uint64_t>(s_.extra_delivered - expected, c_.cwnd));
  s_.extra_acked[1] = std::max(s_.extra_acked[1], extra);
}

// 5.3.4.3
void Bbr::update_min_rtt(const RateSample& e) {
  s_.probe_rtt_expired = now_.ns() > s_.probe_rtt_min_at_ns + kProbeRttIntervalNs;
  if (e.rtt_us != 0 && (e.rtt_us < s_.probe_rtt_min_us || s_.probe_rtt_expired)) {
    s_.probe_rtt_min_us = e.rtt_us;
    s_.probe_rtt_min_at_ns = now_.ns();
  }
  const bool expired = now_.ns() > s_.min_rtt_at_ns + kMinRttWindowNs;
  if (s_.probe_rtt_min_us < s_.min_rtt_us || expired) {
    s_.min_rtt_us = s_.probe_rtt_min_us;
    s_.min_rtt_at_ns = s_.probe_rtt_min_at_ns;
  }
}

// 5.5.10.2: whether losses exceed what a probe may cost.
bool Bbr::is_too_high(uint64_t lost, uint32_t sent_flight, bool selective) {
  return lost * 100 > uint64_t{sent_flight} * kLossThresh || (lost > 0 && !selective);
}

void Bbr::note_loss() {
  if (!s_.loss_in_round) {
    s_.loss_round_end = m_.delivered;
    s_.losses_in_round = 0;
    save_upon_loss();
  }
  s_.loss_in_round = true;
}

void Bbr::lost(const LostEvent& e) {
  note_loss();
  if (s_.losses_in_round == 0 || e.start != s_.lost_end) ++s_.losses_in_round;
  s_.lost_end = e.end;
  if (!s_.probe_sample || !e.known) return;
  if (is_too_high(e.lost, e.sent_flight, e.selective)) inflight_too_high(inflight_at_loss(e), e.app_limited);
}

// Losses passed the threshold somewhere within the burst that was lost: up to there it was safe.
uint32_t Bbr::inflight_at_loss(const LostEvent& e) {
  if (e.sent_flight < e.bytes) return e.sent_flight;
  const int64_t before = int64_t{e.sent_flight} - e.bytes;
  const int64_t lost_before = static_cast<int64_t>(e.lost) - e.bytes;
  const int64_t prefix = (before * kLossThresh - lost_before * 100) / (100 - int64_t{kLossThresh});
  return static_cast<uint32_t>(before + std::max<int64_t>(prefix, 0));
}

void Bbr::inflight_too_high(uint32_t sent_flight, bool app_limited) {
  s_.too_high = true;
  s_.probe_sample = false;  // once a probe
  if (!app_limited) {
    const auto least = static_cast<uint32_t>(uint64_t{target_inflight()} * kBeta / 100);
    s_.inflight_long = std::max(sent_flight, least);
  }
  if (s_.mode == Mode::kUp) {
    s_.undo = Undo::kUp;
    start_down();
  }
}

// 5.5.11.1
void Bbr::save_upon_loss() {
  save_window();
  s_.undo = Undo::kNone;
  s_.undo_bw_short = s_.bw_short;
  s_.undo_inflight_short = s_.inflight_short;
  s_.undo_inflight_long = s_.inflight_long;
}

// 5.6.4.2
uint32_t Bbr::bdp(uint64_t bw, uint32_t gain) const {
  if (s_.min_rtt_us == UINT32_MAX) return s_.initial_window != 0 ? s_.initial_window : c_.cwnd;
  const auto bytes = static_cast<unsigned __int128>(bw) * s_.min_rtt_us * gain / 100'000'000;
  return static_cast<uint32_t>(std::min<unsigned __int128>(bytes, kLargestWindow));
}

uint32_t Bbr::with_budget(uint64_t bytes) const {
  bytes = std::max({bytes, uint64_t{3} * s_.quantum, uint64_t{least_window()}});  // 5.5.8
  if (s_.mode == Mode::kUp) bytes += 2 * c_.mss;
  return static_cast<uint32_t>(std::min<uint64_t>(bytes, kLargestWindow));
}

uint32_t Bbr::with_headroom() const {
  if (s_.inflight_long == kNoBound) return kNoBound;
  const uint32_t room = std::max(c_.mss, static_cast<uint32_t>(uint64_t{s_.inflight_long} * kHeadroom / 100));
  return std::max(s_.inflight_long - std::min(room, s_.inflight_long), least_window());
}

uint32_t Bbr::target_inflight() const { return std::min(bdp(s_.bw, 100), c_.cwnd); }

}  // namespace millrace::tcp::cc
