// The part of a connection that a congestion controller sees, for tests of controllers alone. Segments of 1,000 bytes.
#pragma once

#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {

struct Controlled {
  static constexpr uint32_t kMss = 1'000;

  explicit Controlled(const Operations& o) : ops(o) { ops.start(control(), {.now = now}); }
  [[nodiscard]] Control control() {
    return {cwnd, ssthresh, ack_bytes, state, kMss, (ops.wants & kWantsModel) != 0 ? &model : nullptr};
  }

  /// One acknowledgment of `acked` bytes while a whole window is out.
  void ack(uint32_t acked, uint32_t rtt_us = 0) {
    snd_una += acked;
    ops.ack(control(), {.now = now,
                        .acked = acked,
                        .marked = echo ? acked : 0,
                        .flight = cwnd,
                        .rtt_us = rtt_us,
                        .srtt_us = srtt_us,
                        .snd_una = snd_una,
                        .snd_nxt = snd_una + cwnd,
                        .limited = true});
  }
  void loss(uint32_t flight) { ops.loss(control(), {now, flight}); }
  void timeout(uint32_t flight) { ops.timeout(control(), {now, flight}); }
  void recovered() { ops.recovered(control(), {now, cwnd}); }

  const Operations& ops;
  Instant now{1'000'000'000};
  uint32_t srtt_us = 0;
  uint32_t cwnd = 10'000;
  uint32_t ssthresh = UINT32_MAX;
  uint32_t ack_bytes = 0;
  Seq32 snd_una{};
  bool echo = false;  ///< acknowledgments carry ECE
  alignas(8) std::byte state[kStateBytes] = {};
  Model model{};
};

}  // namespace millrace::tcp::cc
