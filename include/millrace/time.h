// Time as the stack sees it: nanoseconds on a monotonic clock whose origin is the caller's. The stack never reads a
// clock; every entry takes `now`.
#pragma once

#include <compare>
#include <cstdint>

namespace millrace {

class Duration {
 public:
  constexpr Duration() = default;
  constexpr explicit Duration(int64_t ns) : ns_(ns) {}
  [[nodiscard]] constexpr int64_t ns() const { return ns_; }
  [[nodiscard]] constexpr int64_t us() const { return ns_ / 1'000; }
  [[nodiscard]] constexpr int64_t ms() const { return ns_ / 1'000'000; }
  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator+(Duration d) const { return Duration(ns_ + d.ns_); }
  constexpr Duration operator-(Duration d) const { return Duration(ns_ - d.ns_); }
  constexpr Duration operator*(int64_t n) const { return Duration(ns_ * n); }
  constexpr Duration operator/(int64_t n) const { return Duration(ns_ / n); }

 private:
  int64_t ns_ = 0;
};

constexpr Duration nanoseconds(int64_t n) { return Duration(n); }
constexpr Duration microseconds(int64_t n) { return Duration(n * 1'000); }
constexpr Duration milliseconds(int64_t n) { return Duration(n * 1'000'000); }
constexpr Duration seconds(int64_t n) { return Duration(n * 1'000'000'000); }

class Instant {
 public:
  constexpr Instant() = default;
  constexpr explicit Instant(int64_t ns) : ns_(ns) {}
  [[nodiscard]] constexpr int64_t ns() const { return ns_; }
  [[nodiscard]] constexpr int64_t us() const { return ns_ / 1'000; }
  constexpr auto operator<=>(const Instant&) const = default;
  constexpr Instant operator+(Duration d) const { return Instant(ns_ + d.ns()); }
  constexpr Instant operator-(Duration d) const { return Instant(ns_ - d.ns()); }
  constexpr Duration operator-(Instant other) const { return Duration(ns_ - other.ns_); }

 private:
  int64_t ns_ = 0;
};

/// Later than every instant that occurs.
inline constexpr Instant kNever{INT64_MAX};

}  // namespace millrace
