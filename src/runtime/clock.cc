#include "runtime/clock.h"

#include <cpuid.h>
#include <time.h>

namespace millrace::runtime {
namespace {

bool counter_is_invariant() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0x80000007, &a, &b, &c, &d) == 0) return false;
  return (d & (1u << 8)) != 0;
}

// A reading of both clocks that belong together: of several, the one with the least time between its two halves.
struct Pair {
  uint64_t cycles = 0;
  Instant now{};
};

template <class Read>
Pair read_both(Read&& monotonic) {
  Pair best;
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const uint64_t before = Clock::cycles();
    const Instant now = monotonic();
    const uint64_t after = Clock::cycles();
    if (after - before >= least) continue;
    least = after - before;
    best = {before + (after - before) / 2, now};
  }
  return best;
}

}  // namespace

Instant Clock::monotonic() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return Instant(int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec);
}

Clock::Clock() : invariant_(counter_is_invariant()) {
  const Pair start = read_both(monotonic);
  start_cycles_ = base_cycles_ = start.cycles;
  start_ = last_ = start.now;
  base_ns_ = start.now.ns();
  const timespec pause{0, 5'000'000};
  nanosleep(&pause, nullptr);
  const Pair end = read_both(monotonic);
  learn(end.cycles, end.now);
  refine_at_ = end.now + refine_every_;
}

void Clock::learn(uint64_t cycles, Instant now) {
  const uint64_t ticks = cycles - start_cycles_;
  if (ticks == 0 || now <= start_) return;
  const Instant reached = at(cycles);
  const auto ns = static_cast<unsigned __int128>((now - start_).ns());
  ns_per_2_32_ = static_cast<uint64_t>((ns << 32) / ticks);
  base_cycles_ = cycles;
  base_ns_ = reached.ns();
}

void Clock::refine() {
  constexpr Duration kLongest = seconds(10);
  if (!invariant_ || last_ < refine_at_) return;
  const Pair pair = read_both(monotonic);
  learn(pair.cycles, pair.now);
  refine_every_ = refine_every_ * 4 < kLongest ? refine_every_ * 4 : kLongest;
  refine_at_ = last_ + refine_every_;
}

}  // namespace millrace::runtime
