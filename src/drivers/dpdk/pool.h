// PacketPool over an rte_mempool, one worker's. The worker's PacketCache stands in front; the mempool's own cache of
// the worker's lcore stays on, because the device's receive and transmit functions take and give there.
#pragma once

#include <rte_mempool.h>

#include <memory>
#include <string>

#include "pkt/pool.h"
#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

class MempoolPool final : public pkt::PacketPool {
 public:
  /// `room` bytes behind the headroom; 0 makes reference packets, without a buffer. Buffers begin `shift` bytes (of 8)
  /// behind a cache line. One worker's: the ring behind the cache is single-producer, single-consumer.
  static runtime::Outcome<std::unique_ptr<MempoolPool>> make(const std::string& name, size_t count, uint16_t room,
                                                             uint16_t shift = 0);
  /// What the calling thread's lcore holds in its cache goes back to the pool. For the main thread, once it has set up
  /// the device of a worker with another thread.
  void leave();
  ~MempoolPool() override;
  MempoolPool(const MempoolPool&) = delete;
  MempoolPool& operator=(const MempoolPool&) = delete;

  size_t allocate(std::span<pkt::Packet*> out) override;
  void release(std::span<pkt::Packet* const> packets) override;
  [[nodiscard]] size_t available() const override;
  [[nodiscard]] size_t capacity() const override { return count_; }
  [[nodiscard]] rte_mempool* mempool() { return pool_; }

 private:
  MempoolPool(rte_mempool* pool, size_t count) : pool_(pool), count_(count) {}
  rte_mempool* pool_;
  size_t count_;
};

}  // namespace millrace::drivers::dpdk
