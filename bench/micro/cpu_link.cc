// What the path between two CPUs costs, which is the wire of a link in shared memory: the round trip of one cache line
// that both write, and reading lines that the other CPU has just written. On a virtual machine both change with where
// the host puts the CPUs, by up to three times.
//
//   bench_cpu_link [CPU CPU]
#include <fmt/core.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "runtime/clock.h"

using namespace millrace;

namespace {

constexpr uint32_t kTrips = 2'000;
constexpr size_t kBytes = 256 << 10;  // within a second-level cache
constexpr size_t kRounds = 31;

struct alignas(64) Line {
  std::atomic<uint32_t> turn{0};
};

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) fmt::print(stderr, "cannot use CPU {}\n", cpu);
}

void await(const Line& line, uint32_t turn) {
  while (line.turn.load(std::memory_order_acquire) != turn) _mm_pause();
}

struct Shared {
  Line line;
  std::vector<uint64_t> bytes = std::vector<uint64_t>(kBytes / 8);
};

// Odd turns are the partner's.
void partner(Shared& shared, int cpu) {
  pin(cpu);
  uint32_t turn = 1;
  for (size_t round = 0; round < kRounds; ++round) {
    for (uint32_t i = 0; i < kTrips; ++i, turn += 2) {
      await(shared.line, turn);
      shared.line.turn.store(turn + 1, std::memory_order_release);
    }
    await(shared.line, turn);
    std::fill(shared.bytes.begin(), shared.bytes.end(), round);
    shared.line.turn.store(turn + 1, std::memory_order_release);
    turn += 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  pin(argc > 2 ? std::atoi(argv[1]) : 0);
  Shared shared;
  std::vector<uint64_t> into(shared.bytes.size());
  std::thread other(partner, std::ref(shared), argc > 2 ? std::atoi(argv[2]) : 1);
  std::vector<double> trips;
  std::vector<double> lines;
  uint32_t turn = 0;
  for (size_t round = 0; round < kRounds; ++round) {
    uint64_t start = runtime::Clock::cycles();
    for (uint32_t i = 0; i < kTrips; ++i, turn += 2) {
      shared.line.turn.store(turn + 1, std::memory_order_release);
      await(shared.line, turn + 2);
    }
    trips.push_back(static_cast<double>(runtime::Clock::cycles() - start) / kTrips);
    shared.line.turn.store(turn + 1, std::memory_order_release);
    turn += 2;
    await(shared.line, turn);
    start = runtime::Clock::cycles();
    std::memcpy(into.data(), shared.bytes.data(), kBytes);
    lines.push_back(static_cast<double>(runtime::Clock::cycles() - start) * 64 / kBytes);
    if (into.back() != round) return 1;
  }
  other.join();
  std::sort(trips.begin(), trips.end());
  std::sort(lines.begin(), lines.end());
  fmt::print("round trip of a line: {:.0f} cycles; copying what the other wrote: {:.1f} cycles a line\n",
             trips[kRounds / 2], lines[kRounds / 2]);
}
