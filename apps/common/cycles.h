// The time-stamp counter, and how fast it runs.
#pragma once

#include <chrono>
#include <cstdint>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace millrace::apps {

inline uint64_t cycles_now() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Cycles of cycles_now() a second, measured for `spent`.
inline double cycles_per_second(std::chrono::milliseconds spent = std::chrono::milliseconds(20)) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const uint64_t first = cycles_now();
  auto now = start;
  while (now - start < spent) now = Clock::now();
  const auto ran = static_cast<double>(cycles_now() - first);
  return ran / std::chrono::duration<double>(now - start).count();
}

}  // namespace millrace::apps
