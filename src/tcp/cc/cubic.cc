// CUBIC (RFC 9438): after a loss the window comes back along a cubic of the time since, at first steep, flat around
// where the loss was (w_max), then steep again; never slower than Reno would. Integers only: bytes, milliseconds for
// the place on the curve, 16 fractional bits for Reno's estimate. The first slow start is HyStart++ (RFC 9406).
//
// Only acknowledgments that the window held back come here; time in which the program sent less is taken off the clock
// of the curve (RFC 9438 5.8).
#include <algorithm>

#include "base/planted.h"
#include "tcp/cc/cubic_math.h"
#include "tcp/cc/hystart.h"
#include "tcp/cc/reno.h"

namespace millrace::tcp::cc {
namespace cubic_rules {
namespace {

/// What of the curve a loss forgets and an undo brings back (RFC 9438 4.9.2).
struct Curve {
  int64_t epoch_ns;  ///< congestion avoidance began; 0 = it has not since the last loss
  uint64_t reno_fp;  ///< W_est, bytes << 16
  uint32_t w_max;    ///< bytes; 0 = no loss yet
  uint32_t k_ms;     ///< when the curve is at w_max again
};

struct State {
  Curve curve;
  int64_t last_ack_ns;  ///< of congestion avoidance
  uint32_t cwnd_prior;  ///< before the last loss: where Reno's estimate begins to grow as Reno
  union {
    HyStart hystart;  ///< until the first loss
    Curve before;     ///< from then on: the curve that the last loss ended
  };
};

constexpr uint32_t kFriendlyUp = 9;  // alpha = 3 (1 - beta) / (1 + beta) = 9/17 (RFC 9438 4.3)
constexpr uint32_t kFriendlyDown = 17;

void begin_epoch(Control c, State& s, Instant now) {
  Curve& v = s.curve;
  v.epoch_ns = now.ns();
  v.reno_fp = uint64_t{c.cwnd} << 16;
  c.ack_bytes = 0;
  if (v.w_max <= c.cwnd) {  // after a timeout, or without a loss: RFC 9438 4.8, 4.10
    v.w_max = c.cwnd;
    v.k_ms = 0;
  } else {
    v.k_ms = cubic_k_ms(v.w_max - c.cwnd, c.mss);  // RFC 9438 4.2 figure 2
  }
}

// RFC 9438 4.3: the window that Reno would have, with the factor that is fair to it.
void grow_reno(Control c, State& s, uint32_t acked) {
  const bool above = s.curve.reno_fp >> 16 >= s.cwnd_prior;
  const uint64_t up = above ? 1 : kFriendlyUp;
  const uint64_t down = above ? 1 : kFriendlyDown;
  const auto grown = (static_cast<unsigned __int128>(acked) * c.mss * up << 16) / (uint64_t{c.cwnd} * down);
  s.curve.reno_fp = std::min(s.curve.reno_fp + static_cast<uint64_t>(grown), uint64_t{kLargestWindow} << 16);
}

void avoid_congestion(Control c, State& s, const AckEvent& e) {
  const int64_t since = e.now.ns() - s.last_ack_ns;
  s.last_ack_ns = e.now.ns();
  Curve& v = s.curve;
  if (v.epoch_ns == 0) {
    begin_epoch(c, s, e.now);
  } else if (since > std::max<int64_t>(int64_t{e.srtt_us} * 2'000, 1'000'000)) {
    v.epoch_ns += since;  // RFC 9438 5.8: the program had nothing to send
  }
  grow_reno(c, s, e.acked);
  const int64_t at_ms = (e.now.ns() - v.epoch_ns) / 1'000'000 - v.k_ms;
  const auto reno = static_cast<uint32_t>(v.reno_fp >> 16);
  if (cubic_window(v.w_max, at_ms, c.mss) < reno) {  // RFC 9438 4.3: the Reno-friendly region
    c.cwnd = std::max(c.cwnd, reno);
    return;
  }
  uint32_t target = cubic_window(v.w_max, at_ms + e.srtt_us / 1'000, c.mss);
  // RFC 9438 4.2: at most half as much again within a round trip.
  target = std::clamp(target, c.cwnd, std::min(c.cwnd + c.cwnd / 2, kLargestWindow));
  // RFC 9438 4.4: (target - cwnd) / cwnd for each segment; what does not make a byte is kept.
  const uint64_t due = uint64_t{target - c.cwnd} * e.acked + c.ack_bytes;
  c.ack_bytes = static_cast<uint32_t>(due % c.cwnd);
  c.cwnd += static_cast<uint32_t>(std::min<uint64_t>(due / c.cwnd, target - c.cwnd));
}

void on_ack(Control c, const AckEvent& e) {
  if (c.cwnd >= kLargestWindow) return;
  State& s = c.as<State>();
  if (c.cwnd >= c.ssthresh) return avoid_congestion(c, s, e);
  // RFC 9406 4.3: only the first slow start.
  const bool first = c.ssthresh == UINT32_MAX;
  c.cwnd += first ? s.hystart.growth(c, e) : std::min(e.acked, HyStart::kLimit * c.mss);
}

// RFC 9438 4.6 and 4.7.
void reduce(Control c, const LossEvent& e) {
  State& s = c.as<State>();
  s.before = s.curve;
  const bool shrinking = c.cwnd < s.curve.w_max;
  s.curve = {};
  s.curve.w_max = shrinking ? times_17_20(c.cwnd) : c.cwnd;  // fast convergence: (1 + beta) / 2
  s.cwnd_prior = c.cwnd;
  c.ssthresh = std::max(times_7_10(std::min(e.flight, c.cwnd)), 2 * c.mss);
  c.ack_bytes = 0;
}

void on_loss(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  reduce(c, e);
  c.cwnd = c.ssthresh;
}

// RFC 9438 4.6: an echo of marks may leave one segment.
void on_congested(Control c, const LossEvent& e) {
  const uint32_t left = times_7_10(std::min(e.flight, c.cwnd));
  on_loss(c, e);
  if (!MR_PLANTED(cwnd_not_reduced)) c.cwnd = std::max(left, c.mss);
}

// RFC 9438 4.8: as Reno, with CUBIC's factor; the next curve starts flat.
void on_timeout(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  reduce(c, e);
  c.as<State>().curve.w_max = 0;
  c.cwnd = c.mss;
}

void on_undo(Control c, const UndoEvent& e) {
  reno::on_undo(c, e);
  State& s = c.as<State>();
  const Curve before = s.before;
  if (c.ssthresh == UINT32_MAX) {
    s = {};
  } else {
    s.curve = before;
  }
}

// The curve begins anew where slow start ends.
void on_restart(Control c, const RestartEvent& e) {
  reno::on_restart(c, e);
  State& s = c.as<State>();
  if (c.ssthresh == UINT32_MAX) {
    s.hystart = {};
  } else {
    s.curve.epoch_ns = 0;
  }
}

}  // namespace
}  // namespace cubic_rules

constexpr Operations cubic{
    .name = "cubic",
    .start = ignore<StartEvent>,
    .ack = cubic_rules::on_ack,
    .loss = cubic_rules::on_loss,
    .timeout = cubic_rules::on_timeout,
    .congested = cubic_rules::on_congested,
    .undo = cubic_rules::on_undo,
    .restart = cubic_rules::on_restart,
    .recovered = reno::on_recovered,
};

}  // namespace millrace::tcp::cc
