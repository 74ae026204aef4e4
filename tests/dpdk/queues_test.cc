// Several workers: each has a queue pair of the port, in a thread and with packets of its own.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "frames.h"
#include "sides.h"

namespace millrace::test {
namespace {

constexpr uint32_t kWorkers = 2;
constexpr uint32_t kFrames = 20'000;  // of each worker
const Link kTwoQueues = {"net_vhost0,iface=@", "net_virtio_user0,path=@", {}, kWorkers};

using Clock = std::chrono::steady_clock;

// Every worker at once sends its numbers and takes the other end's; false: not all came, in order, on this queue.
bool exchange(Side& side, uint32_t worker) {
  runtime::Device& device = side.device(worker);
  pkt::PacketCache& cache = side.cache(worker);
  device.enter_thread();
  pkt::Packet* sample = cache.frame();
  const void* own_pool = sample->pool;
  cache.free(sample);
  uint32_t sent = 0;
  uint32_t got = 0;
  pkt::Packet* waiting = nullptr;
  bool right = true;
  const auto end = Clock::now() + std::chrono::seconds(static_cast<int>(kPatience));
  while ((sent < kFrames || got < kFrames) && right && Clock::now() < end) {
    if (waiting == nullptr && sent < kFrames) {
      waiting = linear_frame(cache, {false, sent * kWorkers + worker, sent % 1'000});
    }
    if (waiting == nullptr) {
      device.housekeeping({});
    } else if (device.transmit({&waiting, 1}) == 1) {
      waiting = nullptr;
      ++sent;
    }
    std::array<pkt::Packet*, 32> burst;
    const size_t n = device.receive(burst);
    for (size_t i = 0; i < n; ++i) {
      right = right && CHECK_THAT(seq_of(flatten(*burst[i]), false) == got * kWorkers + worker) &&
              CHECK_THAT(burst[i]->pool == own_pool);
      ++got;
      cache.free(burst[i]);
    }
  }
  return CHECK_THAT(sent == kFrames) && CHECK_THAT(got == kFrames) && right;
}

// What an end sends while the other still opens its queues may be lost: a whole ring was, once in a dozen runs.
bool exchange_on_every_queue(Side& side) {
  side.tell('o');
  if (!CHECK_THAT(side.hear('o'))) return false;
  std::atomic<uint32_t> good{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kWorkers; ++i) {
    threads.emplace_back([&, i] { good += exchange(side, i) ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  side.tell('d');
  return CHECK_THAT(side.hear('d')) && good == kWorkers;
}

TEST(DpdkQueues, CarryFramesOfTheirOwnWorkers) {
  EXPECT_EQ(run_pair(kTwoQueues, exchange_on_every_queue, exchange_on_every_queue), "");
}

}  // namespace
}  // namespace millrace::test
