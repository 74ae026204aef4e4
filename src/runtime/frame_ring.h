// A ring of whole frames in memory that two processes share: one writes, one reads, no locks. A frame counts from the
// moment the writer has moved `tail` past it, so one that dies while it writes leaves nothing half; positions only grow
// and lie in the shared memory, so either side may begin again where the one before it ended.
//
// Nothing that is read here is believed: a ring that makes no sense is emptied.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "millrace/address.h"
#include "pkt/packet.h"
#include "pkt/pool.h"

namespace millrace::runtime {

class FrameRing {
 public:
  /// Stands in front of the bytes.
  struct alignas(64) Positions {
    std::atomic<uint64_t> tail;
    alignas(64) std::atomic<uint64_t> head;
  };
  static_assert(std::atomic<uint64_t>::is_always_lock_free);

  FrameRing() = default;
  /// `bytes`, a power of two, follow behind `at`.
  FrameRing(Positions* at, size_t bytes)
      : positions_(at), bytes_(reinterpret_cast<std::byte*>(at + 1)), mask_(bytes - 1) {}

  /// Writer. False: no room.
  bool put(const pkt::Packet& frame, IfIndex interface);
  /// Reader. Up to `most` frames, oldest first, as copies in packets of `cache`, to take(packet, interface), where a
  /// packet may be null for want of one. How many.
  template <class Take>
  size_t take(size_t most, pkt::PacketCache& cache, Take&& take_one) {
    uint64_t at = positions_->head.load(std::memory_order_relaxed);
    const size_t n = walk(at, most, cache, take_one);
    positions_->head.store(at, std::memory_order_release);
    return n;
  }
  /// Writer: the same of what a reader that is gone has left, once; its positions stay as they are.
  template <class Take>
  size_t take_back(pkt::PacketCache& cache, Take&& take_one) {
    uint64_t at = positions_->head.load(std::memory_order_acquire);
    return walk(at, SIZE_MAX, cache, take_one);
  }
  /// Reader: leaves out what is there.
  void skip_all() {
    positions_->head.store(positions_->tail.load(std::memory_order_acquire), std::memory_order_release);
  }
  [[nodiscard]] bool empty() const {
    return positions_->head.load(std::memory_order_acquire) == positions_->tail.load(std::memory_order_acquire);
  }

 private:
  struct Record {
    uint32_t size = 0;   // of the record, a multiple of eight
    uint32_t bytes = 0;  // of the frame behind it; 0: none, up to the end of the ring
    uint64_t flags = 0;
    uint64_t tx_offload = 0;
    uint32_t ptype = 0;
    uint32_t rss = 0;
    uint16_t vlan = 0;
    IfIndex interface = IfIndex::kNone;
    uint32_t unused = 0;
  };
  static_assert(sizeof(Record) == 40);
  using Image = std::array<std::byte, sizeof(Record)>;
  static constexpr size_t kMostBytes = 80'000;  // more than any device gives

  template <class Take>
  size_t walk(uint64_t& at, size_t most, pkt::PacketCache& cache, Take&& take_one) {
    const uint64_t tail = positions_->tail.load(std::memory_order_acquire);
    size_t n = 0;
    while (at != tail && n < most) {
      const auto record = look(at, tail);
      if (!record) {
        at = tail;
        break;
      }
      if (record->bytes != 0) {
        take_one(copy(*record, at, cache), record->interface);
        ++n;
      }
      at += record->size;
    }
    return n;
  }
  [[nodiscard]] std::optional<Record> look(uint64_t at, uint64_t tail) const;
  [[nodiscard]] pkt::Packet* copy(const Record& record, uint64_t at, pkt::PacketCache& cache) const;

  Positions* positions_ = nullptr;
  std::byte* bytes_ = nullptr;
  uint64_t mask_ = 0;
};

}  // namespace millrace::runtime
