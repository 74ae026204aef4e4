// A worker with its peer, and rounds of requests and echoes through it, for the core's micro-benchmarks: connections in
// random order, 256 requests outstanding however many connections there are (all of them where there are fewer), in
// bursts of 32; the generator and the validation of every answer are outside the timed region.
#pragma once

#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "core_peer.h"
#include "runtime/memory.h"

namespace millrace::bench {

inline constexpr size_t kOutstanding = 256;  ///< requests

/// A worker with a peer of its own, and what both need. `map` (borrowed) where the worker is its `shard`.
struct Seat {
  Seat(uint32_t connections, bool device_checksums, const steer::ShardMap* map = nullptr, uint32_t shard = 0)
      : worker(configured(connections, map, shard)), peer(worker, frames, device_checksums, shard != 0) {}

  runtime::HugeMemory memory;
  pkt::HeapPacketPool frames{kOutstanding * 2 + 1'024};
  pkt::HeapPacketPool references{1'024, 0};
  stack::Worker worker;
  Peer peer;

 private:
  stack::WorkerConfig configured(uint32_t connections, const steer::ShardMap* map, uint32_t shard) {
    stack::WorkerConfig config;
    config.frames = &frames;
    config.references = &references;
    config.memory = &memory;
    config.seed = 42;
    config.max_connections = connections;
    config.block_bytes = size_t{1} << 30;
    config.shards = map;
    config.shard = shard;
    return config;
  }
};

class EchoRounds {
 public:
  static constexpr size_t kBurst = 32;
  static constexpr size_t kPayload = 64;

  /// Over the open connections of `peer`.
  EchoRounds(stack::Worker& worker, Peer& peer)
      : worker_(worker), peer_(peer), order_(peer.size()), at_(peer.size()), answers_(kBurst * 2) {
    std::iota(order_.begin(), order_.end(), 0u);
  }

  /// TSC cycles a request: as many requests as connections, but at least 65,536 and at most 1,048,576. `take_in` and
  /// `hand_out` run in the timed region at the start and the end of each burst.
  template <class TakeIn, class HandOut>
  double run(TakeIn&& take_in, HandOut&& hand_out) {
    const size_t wanted = std::clamp<size_t>(order_.size(), 65'536, 1'048'576);
    uint64_t cycles = 0;
    size_t done = 0;
    while (done < wanted) {
      prepare();
      for (size_t i = 0; i < requests_.size(); i += kBurst) {
        const size_t n = std::min(kBurst, requests_.size() - i);
        peer_.advance_time(microseconds(1));  // answers are acknowledged by the next request, before any timeout
        const Instant now = peer_.now();
        const uint64_t start = __rdtsc();
        worker_.input(peer_.interface(), {requests_.data() + i, n}, now);
        take_in(now);
        for (const Event& e : worker_.events()) {
          const auto got = worker_.request(req::Receive{e.handle, buffer_}, now);
          if (got && got->bytes > 0) (void)worker_.request(req::Send{e.handle, {buffer_.data(), got->bytes}}, now);
        }
        worker_.clear_events();
        worker_.advance(now);
        const size_t out = worker_.output(peer_.interface(), answers_, now);
        hand_out();
        cycles += __rdtsc() - start;
        MR_ASSERT(peer_.answer({answers_.data(), out}, payload_) == n * kPayload);
      }
      done += requests_.size();
    }
    return static_cast<double>(cycles) / static_cast<double>(done);
  }
  double run() {
    return run([](Instant) {}, [] {});
  }

 private:
  void prepare() {
    requests_.clear();
    for (std::byte& b : payload_) b = static_cast<std::byte>(rng_.next());
    if (at_ == order_.size()) {
      for (size_t k = order_.size() - 1; k > 0; --k) std::swap(order_[k], order_[rng_.below(k + 1)]);
      at_ = 0;
    }
    const size_t end = at_ + std::min(kOutstanding, order_.size() - at_);
    while (at_ < end) requests_.push_back(peer_.request(order_[at_++], payload_));
  }

  stack::Worker& worker_;
  Peer& peer_;
  base::Rng rng_{7};
  std::array<std::byte, kPayload> payload_{};
  std::array<std::byte, 2'048> buffer_{};
  std::vector<uint32_t> order_;
  size_t at_;
  std::vector<pkt::Packet*> requests_;
  std::vector<pkt::Packet*> answers_;
};

}  // namespace millrace::bench
