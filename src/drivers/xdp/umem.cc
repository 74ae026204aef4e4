#include "drivers/xdp/umem.h"

#include <new>

namespace millrace::drivers::xdp {

static_assert(UmemPool::kDataAt >= pkt::kHeadroom && UmemPool::kRoom >= pkt::kFrameRoom);

UmemPool::UmemPool(base::MemorySource& memory, size_t count) : count_(count) {
  // More than a megabyte, so that the source gives whole huge pages: the kernel wants the area to start at a page.
  constexpr size_t kLeast = (size_t{2} << 20) / kChunk;
  const size_t chunks = count < kLeast ? kLeast : count;
  chunks_ = memory.allocate(chunks * kChunk);
  const base::Region headers = memory.allocate(count * sizeof(pkt::Packet));
  headers_ = reinterpret_cast<pkt::Packet*>(headers.base);
  if (chunks_.base == nullptr || headers_ == nullptr || reinterpret_cast<uintptr_t>(chunks_.base) % kChunk != 0) {
    count_ = 0;
  }
  free_.reserve(count_);
}

size_t UmemPool::allocate(std::span<pkt::Packet*> out) {
  size_t n = 0;
  for (; n < out.size() && !free_.empty(); ++n) {
    out[n] = free_.back();
    free_.pop_back();
  }
  for (; n < out.size() && fresh_ < count_; ++n, ++fresh_) {
    auto* p = new (headers_ + fresh_) pkt::Packet();
    const size_t start = fresh_ * kChunk + kDataAt - pkt::kHeadroom;
    p->buf = chunks_.base + start;
    p->iova = chunks_.io_base + start;
    p->buf_len = static_cast<uint16_t>(kRoom + pkt::kHeadroom);
    p->refs = 1;
    p->segs = 1;
    p->pool = this;
    out[n] = p;
  }
  return n;
}

void UmemPool::release(std::span<pkt::Packet* const> packets) {
  for (pkt::Packet* p : packets) {
    MR_ASSERT(p->pool == this && p->refs == 1 && free_.size() < count_);
    free_.push_back(p);
  }
}

}  // namespace millrace::drivers::xdp
