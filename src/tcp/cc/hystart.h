// HyStart++ (RFC 9406): slow start that notices a filling queue by its delay, before it overflows. First it grows on as
// in slow start; when a round's shortest round trip is clearly longer than the last round's, it grows four times as
// slowly (conservative slow start) for five rounds, and goes back if the delay was a passing one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {

/// All zero = a round is yet to begin.
struct HyStart {
  static constexpr uint32_t kMinRttThreshUs = 4'000;   // RFC 9406 4.3 MIN_RTT_THRESH
  static constexpr uint32_t kMaxRttThreshUs = 16'000;  // MAX_RTT_THRESH
  static constexpr uint32_t kMinRttDivisor = 8;        // MIN_RTT_DIVISOR
  static constexpr uint8_t kRttSamples = 8;            // N_RTT_SAMPLE
  static constexpr uint32_t kCssDivisor = 4;           // CSS_GROWTH_DIVISOR
  static constexpr uint8_t kCssRounds = 5;             // CSS_ROUNDS
  static constexpr uint32_t kLimit = 8;                // L, without pacing

  Seq32 window_end{};
  uint32_t last_round_us = 0;    ///< shortest round trip of the last round; 0 = none
  uint32_t this_round_us = 0;    ///< likewise of this one
  uint32_t css_baseline_us = 0;  ///< of the round that began conservative slow start; 0 = not in it
  uint8_t samples = 0;
  uint8_t css_rounds = 0;
  bool running = false;  ///< a round is measured

  /// Bytes by which the window grows for an acknowledgment in slow start; ends slow start by setting ssthresh.
  uint32_t growth(Control c, const AckEvent& e) {
    if (!running || e.snd_una >= window_end) begin_round(c, e);
    if (e.rtt_us != 0) {
      this_round_us = this_round_us == 0 ? e.rtt_us : std::min(this_round_us, e.rtt_us);
      if (samples < UINT8_MAX) ++samples;
    }
    if (samples >= kRttSamples && this_round_us != 0) judge();
    const uint32_t full = std::min(e.acked, kLimit * c.mss);  // RFC 9406 4.2
    return css_baseline_us == 0 ? full : full / kCssDivisor;
  }

 private:
  void begin_round(Control c, const AckEvent& e) {
    if (css_baseline_us != 0 && running && ++css_rounds >= kCssRounds) c.ssthresh = c.cwnd;
    last_round_us = this_round_us;
    this_round_us = 0;
    samples = 0;
    window_end = e.snd_nxt;
    running = true;
  }

  void judge() {
    if (css_baseline_us != 0) {
      if (this_round_us < css_baseline_us) css_baseline_us = 0;  // RFC 9406 4.2: the exit was premature
      return;
    }
    if (last_round_us == 0) return;
    const uint32_t threshold = std::clamp(last_round_us / kMinRttDivisor, kMinRttThreshUs, kMaxRttThreshUs);
    if (this_round_us < last_round_us + threshold) return;
    css_baseline_us = this_round_us;
    css_rounds = 0;
  }
};
static_assert(sizeof(HyStart) == 20);

}  // namespace millrace::tcp::cc
