// Memory and packets of a worker without DPDK: huge pages where the machine has them, and pools that touch only what
// has been used.
#pragma once

#include <cstddef>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"

namespace millrace::runtime {

/// Regions from 2 MiB pages of hugetlbfs if there are any, else from ordinary memory with transparent huge pages asked
/// for. Not thread-safe.
class HugeMemory final : public base::MemorySource {
 public:
  HugeMemory() = default;
  ~HugeMemory() override;
  HugeMemory(const HugeMemory&) = delete;
  HugeMemory& operator=(const HugeMemory&) = delete;

  base::Region allocate(size_t bytes) override;

  [[nodiscard]] size_t mapped_bytes() const { return mapped_; }
  [[nodiscard]] size_t hugetlb_bytes() const { return hugetlb_; }

 private:
  struct Mapping {
    std::byte* base;
    size_t bytes;
  };
  std::byte* map(size_t bytes);

  std::vector<Mapping> mappings_;
  std::byte* fresh_ = nullptr;  // rest of the newest small mapping
  size_t fresh_bytes_ = 0;
  size_t mapped_ = 0;
  size_t hugetlb_ = 0;
  bool try_hugetlb_ = true;
};

/// Packets from one region; a packet is touched when it is first used. room == 0 makes header-only packets.
class RegionPacketPool final : public pkt::PacketPool {
 public:
  /// capacity() is 0 if the memory has no room.
  RegionPacketPool(base::MemorySource& memory, size_t count, uint16_t room = pkt::kFrameRoom);

  size_t allocate(std::span<pkt::Packet*> out) override;
  void release(std::span<pkt::Packet* const> packets) override;
  [[nodiscard]] size_t available() const override { return free_.size() + (count_ - fresh_); }
  [[nodiscard]] size_t capacity() const override { return count_; }

 private:
  base::Region region_;
  uint16_t buffer_;
  size_t stride_;
  size_t count_;
  size_t fresh_ = 0;  // packets from here on have never been used
  std::vector<pkt::Packet*> free_;
};

}  // namespace millrace::runtime
