#include "pkt/pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace millrace::pkt {

HeapPacketPool::HeapPacketPool(size_t count, uint16_t room) : count_(count) {
  const size_t buffer = room == 0 ? 0 : size_t{kHeadroom} + room;
  const size_t stride = (sizeof(Packet) + buffer + 63) & ~size_t{63};
  memory_ = static_cast<std::byte*>(std::aligned_alloc(64, stride * (count == 0 ? 1 : count)));
  MR_ASSERT(memory_ != nullptr);
  free_.reserve(count);
  for (size_t i = count; i-- > 0;) {
    auto* p = new (memory_ + i * stride) Packet();
    p->buf = buffer == 0 ? nullptr : reinterpret_cast<std::byte*>(p + 1);
    p->iova = reinterpret_cast<uint64_t>(p->buf);
    p->buf_len = static_cast<uint16_t>(buffer);
    p->refs = 1;
    p->segs = 1;
    p->pool = this;
    free_.push_back(p);
  }
}

HeapPacketPool::~HeapPacketPool() { std::free(memory_); }

size_t HeapPacketPool::allocate(std::span<Packet*> out) {
  size_t n = 0;
  for (; n < out.size() && !free_.empty(); ++n) {
    out[n] = free_.back();
    free_.pop_back();
  }
  return n;
}

void HeapPacketPool::release(std::span<Packet* const> packets) {
  for (Packet* p : packets) {
    MR_ASSERT(p->pool == this && p->refs == 1 && free_.size() < count_);
    free_.push_back(p);
  }
}

// Of a small pool much less than the reserve of one frame in eight that makes the worker hold nothing more for later:
// else it would wait for frames that lie in its own cache.
PacketCache::Side::Side(PacketPool* p) : pool(p) {
  const size_t capacity = p->capacity();
  most = static_cast<uint32_t>(
      std::clamp<size_t>(std::max(capacity / 64, std::min<size_t>(64, capacity / 16)), 4, kCached));
  bulk = most / 4;
}

void PacketCache::spill(Side& side) {
  side.count -= side.bulk;
  side.pool->release({side.packets.data() + side.count, side.bulk});
}

void PacketCache::drain() {
  for (Side* side : {&frame_, &reference_}) {
    side->pool->release({side->packets.data(), side->count});
    side->count = 0;
  }
}

}  // namespace millrace::pkt
