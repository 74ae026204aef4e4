// The machine's monotonic clock, read from the time-stamp counter: a few nanoseconds a reading and no system call.
// Where the counter is not invariant, CLOCK_MONOTONIC serves.
#pragma once

#include <x86intrin.h>

#include <cstdint>

#include "millrace/time.h"

namespace millrace::runtime {

class Clock {
 public:
  /// Takes about 5 ms to learn the counter's rate.
  Clock();

  [[nodiscard]] static uint64_t cycles() { return __rdtsc(); }
  /// The instant of a counter reading; never earlier than one given before.
  [[nodiscard]] Instant at(uint64_t cycles) {
    if (!invariant_) return monotonic();
    const auto ticks = static_cast<int64_t>(cycles - base_cycles_);
    if (ticks < 0) return last_;
    const Instant now(base_ns_ + static_cast<int64_t>((static_cast<unsigned __int128>(ticks) * ns_per_2_32_) >> 32));
    if (now > last_) last_ = now;
    return last_;
  }
  [[nodiscard]] Instant now() { return at(cycles()); }
  [[nodiscard]] double cycles_per_ns() const { return 4294967296.0 / static_cast<double>(ns_per_2_32_); }
  /// Learns the rate better; to be called now and then (it has its own schedule).
  void refine();

 private:
  [[nodiscard]] static Instant monotonic();
  void learn(uint64_t cycles, Instant now);

  bool invariant_;
  uint64_t start_cycles_ = 0;
  Instant start_{};
  uint64_t base_cycles_ = 0;
  int64_t base_ns_ = 0;
  uint64_t ns_per_2_32_ = uint64_t{1} << 32;  // nanoseconds for 2^32 cycles
  Instant last_{};
  Instant refine_at_{};
  Duration refine_every_ = milliseconds(100);
};

}  // namespace millrace::runtime
