// The long loop of the Internet checksum (RFC 1071), in vector lanes: 32-bit halves are added into 64-bit lanes, which
// cannot overflow below 2^32 additions, so that no carry is looked at before the end. Long spans use the wider
// registers of AVX2 where the machine has them.
#include "wire/checksum.h"

namespace millrace::wire::detail {
namespace {

// Shorter spans do not repay the wider registers.
constexpr size_t kMinWide = 256;

using Lanes2 [[gnu::vector_size(16)]] = uint64_t;
using Lanes4 [[gnu::vector_size(32)]] = uint64_t;

// Sum of the n bytes at p; n is a multiple of twice the size of Lanes.
template <class Lanes>
[[gnu::always_inline]] inline uint64_t sum_lanes(const std::byte* p, size_t n) {
  constexpr size_t kWidth = sizeof(Lanes);
  Lanes low_a{};
  Lanes low_b{};
  Lanes high_a{};
  Lanes high_b{};
  for (; n != 0; n -= 2 * kWidth, p += 2 * kWidth) {
    Lanes a;
    Lanes b;
    std::memcpy(&a, p, kWidth);
    std::memcpy(&b, p + kWidth, kWidth);
    low_a += a & 0xffffffff;
    high_a += a >> 32;
    low_b += b & 0xffffffff;
    high_b += b >> 32;
  }
  const Lanes all = (low_a + low_b) + (high_a + high_b);
  uint64_t sum = 0;
  for (size_t i = 0; i < kWidth / sizeof(uint64_t); ++i) sum += all[i];
  return sum;
}

#ifdef __x86_64__
[[gnu::target("avx2")]] uint64_t sum_wide(const std::byte* p, size_t n) { return sum_lanes<Lanes4>(p, n); }
bool has_wide() { return __builtin_cpu_supports("avx2") != 0; }
#else
uint64_t sum_wide(const std::byte* p, size_t n) { return sum_lanes<Lanes2>(p, n); }
bool has_wide() { return false; }
#endif

}  // namespace

uint64_t sum_long(const std::byte* p, size_t n) {
  uint64_t sum = 0;
  if (n >= kMinWide && has_wide()) {
    const size_t wide = n & ~size_t{63};
    sum = sum_wide(p, wide);
    p += wide;
    n -= wide;
  }
  const size_t narrow = n & ~size_t{31};
  if (narrow != 0) sum += sum_lanes<Lanes2>(p, narrow);
  return add_sums(sum, sum_short(p + narrow, n - narrow));
}

}  // namespace millrace::wire::detail
