// TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4). Comparison is circular, so there is no operator<
// for sorting containers; differences are signed 32-bit.
#pragma once

#include <cstdint>

namespace millrace::base {

class Seq32 {
 public:
  constexpr Seq32() = default;
  constexpr explicit Seq32(uint32_t raw) : raw_(raw) {}
  [[nodiscard]] constexpr uint32_t raw() const { return raw_; }

  constexpr bool operator==(const Seq32&) const = default;
  constexpr Seq32 operator+(uint32_t n) const { return Seq32(raw_ + n); }
  constexpr Seq32 operator-(uint32_t n) const { return Seq32(raw_ - n); }
  constexpr Seq32& operator+=(uint32_t n) {
    raw_ += n;
    return *this;
  }
  /// Signed distance from `other` to this, in bytes; valid while the two are less than 2^31 apart.
  constexpr int32_t operator-(Seq32 other) const { return static_cast<int32_t>(raw_ - other.raw_); }

  constexpr bool operator<(Seq32 other) const { return (*this - other) < 0; }
  constexpr bool operator<=(Seq32 other) const { return (*this - other) <= 0; }
  constexpr bool operator>(Seq32 other) const { return (*this - other) > 0; }
  constexpr bool operator>=(Seq32 other) const { return (*this - other) >= 0; }

 private:
  uint32_t raw_ = 0;
};

constexpr Seq32 max(Seq32 a, Seq32 b) { return a < b ? b : a; }
constexpr Seq32 min(Seq32 a, Seq32 b) { return a < b ? a : b; }

}  // namespace millrace::base
