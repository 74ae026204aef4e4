// The arithmetic of CUBIC (RFC 9438 4.2) in integers: C = 0.4 segments/s^3, beta = 0.7.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {

/// The whole part of the cube root.
[[nodiscard]] constexpr uint32_t cube_root(uint64_t x) {
  uint64_t root = 0;
  for (int bit = 21; bit >= 0; --bit) {
    const uint64_t tried = root | uint64_t{1} << bit;
    if (static_cast<unsigned __int128>(tried) * tried * tried <= x) root = tried;
  }
  return static_cast<uint32_t>(root);
}

/// K: milliseconds in which the curve climbs `below` bytes up to w_max, cbrt(below / mss / C).
[[nodiscard]] constexpr uint32_t cubic_k_ms(uint32_t below, uint32_t mss) {
  return cube_root(uint64_t{below} * 2'500'000'000 / mss);  // at most 2^30 * 2^31.3
}

/// W_cubic `from_k_ms` milliseconds after K: w_max + C * mss * t^3, between 0 and kLargestWindow.
[[nodiscard]] constexpr uint32_t cubic_window(uint32_t w_max, int64_t from_k_ms, uint32_t mss) {
  const int64_t t = std::clamp<int64_t>(from_k_ms, -(1 << 22), 1 << 22);
  const auto rise = static_cast<__int128>(t) * t * t * mss / 2'500'000'000;
  const __int128 window = rise + w_max;
  if (window <= 0) return 0;
  return window > kLargestWindow ? kLargestWindow : static_cast<uint32_t>(window);
}

[[nodiscard]] constexpr uint32_t times_7_10(uint32_t x) { return static_cast<uint32_t>(uint64_t{x} * 7 / 10); }
[[nodiscard]] constexpr uint32_t times_17_20(uint32_t x) { return static_cast<uint32_t>(uint64_t{x} * 17 / 20); }

}  // namespace millrace::tcp::cc
