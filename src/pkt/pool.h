// Packet pools. A PacketPool is what a driver or a test provides; a PacketCache is the worker's own stack of free
// packets in front of it, so that a packet just consumed is the next one to be sent while its lines are still hot.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pkt/packet.h"

namespace millrace::pkt {

/// Not thread-safe beyond what its implementation says: one worker calls it.
class PacketPool {
 public:
  virtual ~PacketPool() = default;
  /// Fills `out` with free packets and returns how many it had: one segment, refs == 1, next == nullptr, buffer
  /// contents and other fields unspecified but `buf`, `iova`, `buf_len` and `pool` set.
  virtual size_t allocate(std::span<Packet*> out) = 0;
  /// Takes back single segments with refs == 1 and next == nullptr that it gave out (or its device received).
  virtual void release(std::span<Packet* const> packets) = 0;
  /// Packets not given out at this moment, for tests and gauges.
  [[nodiscard]] virtual size_t available() const = 0;
  [[nodiscard]] virtual size_t capacity() const = 0;
};

/// A pool on the heap, for tests, the simulator and the TAP driver. room == 0 makes header-only packets (reference
/// segments, whose data is external).
class HeapPacketPool final : public PacketPool {
 public:
  HeapPacketPool(size_t count, uint16_t room = kFrameRoom);
  ~HeapPacketPool() override;
  HeapPacketPool(const HeapPacketPool&) = delete;
  HeapPacketPool& operator=(const HeapPacketPool&) = delete;
  size_t allocate(std::span<Packet*> out) override;
  void release(std::span<Packet* const> packets) override;
  [[nodiscard]] size_t available() const override { return free_.size(); }
  [[nodiscard]] size_t capacity() const override { return count_; }

 private:
  size_t count_;
  std::byte* memory_;
  std::vector<Packet*> free_;
};

/// Worker-local front of two pools: frames (with room for data) and references (header only).
class PacketCache {
 public:
  PacketCache(PacketPool& frames, PacketPool& references) : frame_(&frames), reference_(&references) {}
  ~PacketCache() { drain(); }
  PacketCache(const PacketCache&) = delete;
  PacketCache& operator=(const PacketCache&) = delete;

  /// An empty frame with kHeadroom bytes before its data, or nullptr if the pool is empty.
  [[nodiscard]] Packet* frame() {
    Packet* p = take(frame_);
    if (p != nullptr) reset(*p, kHeadroom);
    return p;
  }

  /// A segment that refers to `bytes` of the memory counted by `info` (one more reference), or nullptr.
  [[nodiscard]] Packet* reference(std::byte* addr, uint64_t iova, uint16_t bytes, ExtInfo& info) {
    Packet* p = take(reference_);
    if (p == nullptr) return nullptr;
    reset(*p, 0);
    p->buf = addr;
    p->iova = iova;
    p->buf_len = bytes;
    p->len = bytes;
    p->total = bytes;
    p->flags = kExternal;
    p->ext = &info;
    ++info.refs;
    return p;
  }

  /// Drops one reference to a chain.
  void free(Packet* head) {
    while (head != nullptr) {
      Packet* next = head->next;
      free_segment(head);
      head = next;
    }
  }

  /// Returns everything cached to the pools.
  void drain();

  [[nodiscard]] size_t frames_available() const { return frame_.count + frame_.pool->available(); }
  [[nodiscard]] size_t frames_capacity() const { return frame_.pool->capacity(); }
  [[nodiscard]] size_t references_available() const { return reference_.count + reference_.pool->available(); }

 private:
  static constexpr size_t kCached = 256;
  struct Side {
    explicit Side(PacketPool* p);
    PacketPool* pool;
    size_t count = 0;
    /// Where it spills `bulk` to the pool; of a small pool a small part, since devices cannot receive into what is
    /// cached.
    uint32_t most = kCached;
    uint32_t bulk = 0;
    std::array<Packet*, kCached> packets;
  };

  static void reset(Packet& p, uint16_t headroom) {
    p.off = headroom;
    p.segs = 1;
    p.flags = 0;
    p.total = 0;
    p.len = 0;
    p.next = nullptr;
    p.tx_offload = 0;
  }

  Packet* take(Side& side) {
    if (side.count == 0) {
      side.count = side.pool->allocate({side.packets.data(), side.bulk});
      if (side.count == 0) return nullptr;
    }
    return side.packets[--side.count];
  }
  void put(Side& side, Packet* p) {
    side.packets[side.count++] = p;
    if (side.count >= side.most) spill(side);
  }
  void spill(Side& side);

  void free_segment(Packet* p) {
    MR_ASSERT(p->refs > 0);
    if (p->refs > 1) {
      --p->refs;
      return;
    }
    p->next = nullptr;
    p->segs = 1;
    if ((p->flags & kExternal) != 0) {
      ExtInfo* info = p->ext;
      void* addr = p->buf;
      p->flags = 0;
      p->ext = nullptr;
      put(reference_, p);
      if (--info->refs == 0) info->release(addr, info->opaque);
      return;
    }
    put(frame_, p);
  }

  Side frame_;
  Side reference_;
};

}  // namespace millrace::pkt
