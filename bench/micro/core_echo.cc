// Cycles per 64-byte request and response through the core alone: Worker::input, an echo program, Worker::output; no
// device. IPv4 with timestamps. Connections are visited in random order, at most 2,048 requests outstanding, in bursts
// of 32; the generator and the validation of every answer are outside the timed region.
//
//   bench_core_echo [--software-checksums] [--sharded] [--rounds N] CONNECTIONS...
#include <x86intrin.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>

#include <fmt/core.h>

#include "core_peer.h"
#include "base/rng.h"
#include "runtime/memory.h"

using namespace millrace;

namespace {

constexpr size_t kBurst = 32;
constexpr size_t kOutstanding = 2'048;
constexpr size_t kPayload = 64;

struct Measured {
  double median;
  double least;
  double greatest;
};

// Sharded: the worker is the first of two behind an RSS NIC whose hash says that every frame is its own.
Measured run(uint32_t connections, bool device_checksums, bool sharded, int rounds) {
  runtime::HugeMemory memory;
  pkt::HeapPacketPool frames(kOutstanding * 2 + 1'024);
  pkt::HeapPacketPool references(1'024, 0);
  stack::WorkerConfig config;
  config.frames = &frames;
  config.references = &references;
  config.memory = &memory;
  config.seed = 42;
  config.max_connections = connections;
  config.block_bytes = size_t{1} << 30;
  constexpr uint16_t kTable[] = {0, 1};
  const steer::ShardMap shards(2, {0x6d, 0x5a}, kTable, true);
  if (sharded) config.shards = &shards;
  stack::Worker worker(config);
  bench::Peer peer(worker, frames, device_checksums);
  if (sharded) peer.set_rss(0);
  peer.open(connections);

  base::Rng rng(7);
  std::byte payload[kPayload];
  std::byte buffer[2'048];
  std::vector<uint32_t> order(connections);
  std::iota(order.begin(), order.end(), 0u);
  std::vector<pkt::Packet*> requests;
  std::vector<pkt::Packet*> answers(kBurst * 2);
  std::vector<double> samples;
  size_t at = connections;
  for (int round = -2; round < rounds; ++round) {
    // One round: as many requests as connections, but at least 65,536 and at most 1,048,576.
    const size_t wanted = std::clamp<size_t>(connections, 65'536, 1'048'576);
    uint64_t cycles = 0;
    size_t done = 0;
    while (done < wanted) {
      const size_t batch = std::min<size_t>(kOutstanding, connections);
      requests.clear();
      for (std::byte& b : payload) b = static_cast<std::byte>(rng.next());
      for (size_t i = 0; i < batch; ++i) {
        if (at == connections) {
          for (size_t k = connections - 1; k > 0; --k) std::swap(order[k], order[rng.below(k + 1)]);
          at = 0;
        }
        requests.push_back(peer.request(order[at++], payload));
      }
      for (size_t i = 0; i < batch; i += kBurst) {
        const size_t n = std::min(kBurst, batch - i);
        peer.advance_time(microseconds(1));  // answers are acknowledged by the next request, before any timeout
        const Instant now = peer.now();
        const uint64_t start = __rdtsc();
        worker.input(peer.interface(), {requests.data() + i, n}, now);
        for (const Event& e : worker.events()) {
          const auto got = worker.request(req::Receive{e.handle, buffer}, now);
          if (got && got->bytes > 0) (void)worker.request(req::Send{e.handle, {buffer, got->bytes}}, now);
        }
        worker.clear_events();
        worker.advance(now);
        const size_t out = worker.output(peer.interface(), answers, now);
        cycles += __rdtsc() - start;
        MR_ASSERT(peer.answer({answers.data(), out}, payload) == n * kPayload);
      }
      done += batch;
    }
    if (round >= 0) samples.push_back(static_cast<double>(cycles) / static_cast<double>(done));
  }
  MR_ASSERT(worker.check().empty());
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
