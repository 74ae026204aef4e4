// The memory that AF_XDP sockets and the core share: a frame pool of 4 KiB chunks, so that what arrives is a Packet
// without a copy, and what the core built is sent from where it lies.
//
// A chunk: 128 bytes unused, kHeadroom, then data where the kernel puts it (XDP_PACKET_HEADROOM, 256 bytes from the
// start). The Packet headers lie densely beside the chunks; a descriptor's address names its chunk and thereby its
// header.
#pragma once

#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"

namespace millrace::drivers::xdp {

class UmemPool final : public pkt::PacketPool {
 public:
  static constexpr size_t kChunk = 4096;
  static constexpr size_t kDataAt = 256;             ///< of a received frame in its chunk
  static constexpr size_t kRoom = kChunk - kDataAt;  ///< bytes of a frame in one chunk

  /// capacity() is 0 if the memory has no room.
  UmemPool(base::MemorySource& memory, size_t count);

  size_t allocate(std::span<pkt::Packet*> out) override;
  void release(std::span<pkt::Packet* const> packets) override;
  [[nodiscard]] size_t available() const override { return free_.size() + (count_ - fresh_); }
  [[nodiscard]] size_t capacity() const override { return count_; }

  [[nodiscard]] std::byte* area() const { return chunks_.base; }
  [[nodiscard]] size_t area_bytes() const { return count_ * kChunk; }
  /// The packet whose chunk holds the descriptor's address.
  [[nodiscard]] pkt::Packet* packet_at(uint64_t address) const {
    MR_ASSERT(address < area_bytes());
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes a packet cache's free() for the C library's.
    return headers_ + address / kChunk;
  }
  [[nodiscard]] uint64_t address_of(const std::byte* data) const { return static_cast<uint64_t>(data - chunks_.base); }
  [[nodiscard]] bool holds(const std::byte* data) const {
    return data >= chunks_.base && data < chunks_.base + area_bytes();
  }

 private:
  base::Region chunks_;
  pkt::Packet* headers_ = nullptr;
  size_t count_;
  size_t fresh_ = 0;  // packets from here on have never been used
  std::vector<pkt::Packet*> free_;
};

}  // namespace millrace::drivers::xdp
