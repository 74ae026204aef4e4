// PacketPool over an rte_mempool. The worker's PacketCache stands in front; the mempool's own cache of the main lcore
// stays on, because the device's receive and transmit functions take and give there.
#pragma once

#include <rte_mempool.h>

#include <memory>

#include "pkt/pool.h"
#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

class MempoolPool final : public pkt::PacketPool {
 public:
  /// `room` bytes behind the headroom; 0 makes reference packets, without a buffer. Buffers begin `shift` bytes (of 8)
  /// behind a cache line. One worker's: the ring behind the cache is single-producer, single-consumer.
  static runtime::Outcome<std::unique_ptr<MempoolPool>> make(const char* name, size_t count, uint16_t room,
                                                             uint16_t shift = 0);
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
