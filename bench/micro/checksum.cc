// Cost of the Internet checksum, of a pseudo-header and of reading a TCP header with timestamps, in TSC cycles: the
// least of many rounds over data in the first-level cache (the longest sizes: second-level).
//
//   build/release/bin/bench_checksum
#include <fmt/core.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"
#include "wire/tcp.h"

namespace {

using namespace millrace;

constexpr int kRounds = 2000;

/// Stops the compiler from knowing or dropping a value.
template <class T>
void opaque(T& value) {
  asm volatile("" : "+r"(value) : : "memory");
}

template <class Work>
double least_cycles(int calls, Work&& work) {
  uint64_t best = UINT64_MAX;
  for (int round = 0; round < kRounds; ++round) {
    unsigned aux;
    _mm_lfence();
    const uint64_t start = __rdtsc();
    for (int i = 0; i < calls; ++i) work(i);
    const uint64_t end = __rdtscp(&aux);
    best = std::min(best, end - start);
  }
  return static_cast<double>(best) / calls;
}

void bench_sums() {
  base::Rng rng(1);
  std::vector<std::byte> data(65536 + 64);
  for (auto& b : data) b = static_cast<std::byte>(rng.next());
  fmt::print("{:>8} {:>6} {:>10} {:>12}\n", "bytes", "offset", "cycles", "bytes/cycle");
  for (const size_t offset : {size_t{0}, size_t{1}}) {
    for (const size_t size : {20, 40, 64, 128, 256, 512, 1460, 4096, 16384, 65536}) {
      const int calls = size <= 512 ? 64 : 8;
      const double cycles = least_cycles(calls, [&](int) {
        const std::byte* p = data.data() + offset;
        opaque(p);
        uint64_t sum = wire::sum_bytes(p, size);
        opaque(sum);
      });
      fmt::print("{:>8} {:>6} {:>10.1f} {:>12.1f}\n", size, offset, cycles, static_cast<double>(size) / cycles);
    }
  }
}

void bench_headers() {
  const IpAddr a = IpAddr::v4(198, 18, 0, 1);
  const IpAddr b = IpAddr::v4(198, 18, 0, 2);
  const double pseudo = least_cycles(64, [&](int i) {
    uint64_t sum = wire::pseudo_sum(a, b, wire::kProtocolTcp, static_cast<uint32_t>(i));
    opaque(sum);
  });
  fmt::print("pseudo-header sum {:.1f} cycles\n", pseudo);

  std::array<std::byte, 32> segment{};
  wire::TcpHeader header;
  header.header_length = 32;
  header.flags = wire::kAck;
  header.emit(segment);
  wire::emit_timestamps(&segment[20], 1, 2);
  const double parse = least_cycles(64, [&](int) {
    const std::byte* p = segment.data();
    opaque(p);
    const auto view = wire::TcpView::check({p, segment.size()});
    uint32_t value = 0;
    uint32_t echo = 0;
    bool only = view && view->only_timestamps(value, echo);
    opaque(only);
    opaque(value);
    opaque(echo);
  });
  fmt::print("TCP check and timestamps {:.1f} cycles\n", parse);
  const double options = least_cycles(64, [&](int) {
    const std::byte* p = segment.data() + 20;
    opaque(p);
    const auto read = wire::TcpOptions::parse({p, 12});
    const wire::TcpOptions* out = &read;
    opaque(out);
  });
  fmt::print("TcpOptions::parse of the same {:.1f} cycles\n", options);
}

}  // namespace

int main() {
  bench_sums();
  bench_headers();
  return 0;
}
