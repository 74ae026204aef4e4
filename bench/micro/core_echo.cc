// Cycles per 64-byte request and response through the core alone: Worker::input, an echo program, Worker::output; no
// device. IPv4 with timestamps (echo_rounds.h says how requests come).
//
//   bench_core_echo [--software-checksums] [--sharded] [--rounds N] CONNECTIONS...
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/core.h>

#include "echo_rounds.h"

using namespace millrace;

namespace {

struct Measured {
  double median;
  double least;
  double greatest;
};

// Sharded: the worker is the first of two behind an RSS NIC whose hash says that every frame is its own.
Measured run(uint32_t connections, bool device_checksums, bool sharded, int rounds) {
  constexpr uint16_t kTable[] = {0, 1};
  const steer::ShardMap shards(2, {0x6d, 0x5a}, kTable, true);
  bench::Seat seat(connections, device_checksums, sharded ? &shards : nullptr);
  if (sharded) seat.peer.set_rss(0);
  seat.peer.open(connections);

  bench::EchoRounds echo(seat.worker, seat.peer);
  std::vector<double> samples;
  for (int round = -2; round < rounds; ++round) {
    const double cycles = echo.run();
    if (round >= 0) samples.push_back(cycles);
  }
  MR_ASSERT(seat.worker.check().empty());
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples.front(), samples.back()};
}

}  // namespace

int main(int argc, char** argv) {
  bool device_checksums = true;
  bool sharded = false;
  int rounds = 15;
  std::vector<uint32_t> counts;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--software-checksums") == 0) {
      device_checksums = false;
    } else if (std::strcmp(argv[i], "--sharded") == 0) {
      sharded = true;
    } else if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
    } else {
      counts.push_back(static_cast<uint32_t>(std::atol(argv[i])));
      if (counts.back() != 0) continue;
      fmt::print(stderr, "usage: bench_core_echo [--software-checksums] [--sharded] [--rounds N] CONNECTIONS...\n");
      return 2;
    }
  }
  if (counts.empty()) counts = {1, 256, 1'000, 10'000, 100'000, 1'000'000};
  fmt::print("checksums: {}\n", device_checksums ? "device" : "software");
  fmt::print("{:>12} {:>14} {:>10} {:>10}\n", "connections", "cycles/request", "min", "max");
  for (const uint32_t n : counts) {
    const Measured m = run(n, device_checksums, sharded, rounds);
    fmt::print("{:>12} {:>14.0f} {:>10.0f} {:>10.0f}\n", n, m.median, m.least, m.greatest);
    std::fflush(stdout);
  }
}
