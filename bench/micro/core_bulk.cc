// Cycles per segment of bulk data received through the core alone: bursts of 32 full segments from one or several
// connections, one after another or in turn, Worker::input, a program that reads everything, Worker::output. With PSH
// on each segment none is merged with the one before it (stack/merge.h).
//
//   bench_core_bulk [--rounds N]
//   bench_core_bulk --apart-only | --merged-only: 128,000 segments on four connections, to count instructions in run
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fmt/core.h>

#include "echo_rounds.h"

using namespace millrace;

namespace {

constexpr size_t kBurst = 32;
constexpr size_t kPayload = 1'448;
constexpr size_t kBursts = 4'000;

// Cycles per segment.
double run(bench::Seat& seat, uint32_t flows, bool merges) {
  static std::array<std::byte, kPayload> payload{};
  static std::array<std::byte, kBurst * kPayload> buffer{};
  std::array<pkt::Packet*, kBurst> frames;
  std::array<pkt::Packet*, 2 * kBurst> out;
  uint64_t cycles = 0;
  for (size_t b = 0; b < kBursts; ++b) {
    for (uint32_t i = 0; i < kBurst; ++i) frames[i] = seat.peer.request(i % flows, payload, !merges);
    seat.peer.advance_time(microseconds(1));
    const Instant now = seat.peer.now();
    const uint64_t start = __rdtsc();
    seat.worker.input(seat.peer.interface(), frames, now);
    for (const Event& e : seat.worker.events()) (void)seat.worker.request(req::Receive{e.handle, buffer}, now);
    seat.worker.clear_events();
    seat.worker.advance(now);
    const size_t n = seat.worker.output(seat.peer.interface(), out, now);
    cycles += __rdtsc() - start;
    (void)seat.peer.answer({out.data(), n}, {});
  }
  return static_cast<double>(cycles) / (kBursts * kBurst);
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = 5;
  if (argc == 2 && (std::strcmp(argv[1], "--apart-only") == 0 || std::strcmp(argv[1], "--merged-only") == 0)) {
    bench::Seat seat(4, true);
    seat.peer.open(4);
    (void)run(seat, 4, std::strcmp(argv[1], "--merged-only") == 0);
    return 0;
  }
  if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) {
    rounds = std::max(std::atoi(argv[2]), 1);
  } else if (argc != 1) {
    fmt::print(stderr, "usage: bench_core_bulk [--rounds N | --apart-only | --merged-only]\n");
    return 2;
  }
  for (const uint32_t flows : {1u, 4u, 16u}) {
    std::vector<double> apart;
    std::vector<double> merged;
    bench::Seat seat(flows, true);
    seat.peer.open(flows);
    for (int r = -1; r < rounds; ++r) {
      const double a = run(seat, flows, false);
      const double m = run(seat, flows, true);
      if (r < 0) continue;
      apart.push_back(a);
      merged.push_back(m);
    }
    MR_ASSERT(seat.worker.check().empty());
    std::sort(apart.begin(), apart.end());
    std::sort(merged.begin(), merged.end());
    fmt::print("{:>2} connections: {:>5.0f} cycles per segment one by one, {:>5.0f} merged\n", flows,
               apart[apart.size() / 2], merged[merged.size() / 2]);
  }
  return 0;
}
