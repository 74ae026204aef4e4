// The long loop of the Internet checksum (RFC 1071): 64-bit additions into two 128-bit accumulators, so that the two
// carry chains run side by side.
#include "wire/checksum.h"

namespace millrace::wire::detail {

uint64_t sum_long(const std::byte* p, size_t n) {
  unsigned __int128 a = 0;
  unsigned __int128 b = 0;
  for (; n >= 64; n -= 64, p += 64) {
    a += load_native<uint64_t>(p);
    b += load_native<uint64_t>(p + 8);
    a += load_native<uint64_t>(p + 16);
    b += load_native<uint64_t>(p + 24);
    a += load_native<uint64_t>(p + 32);
    b += load_native<uint64_t>(p + 40);
    a += load_native<uint64_t>(p + 48);
    b += load_native<uint64_t>(p + 56);
  }
  for (; n >= 16; n -= 16, p += 16) {
    a += load_native<uint64_t>(p);
    b += load_native<uint64_t>(p + 8);
  }
  if (n >= 8) {
    a += load_native<uint64_t>(p);
    p += 8;
    n -= 8;
  }
  return fold_128(a + b + sum_tail(p, n));
}

}  // namespace millrace::wire::detail
