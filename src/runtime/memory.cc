#include "runtime/memory.h"

#include <sys/mman.h>

#include <new>

namespace millrace::runtime {
namespace {

constexpr size_t kHuge = size_t{2} << 20;
constexpr size_t kSmall = kHuge / 2;  // up to here, requests share a huge page

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

HugeMemory::~HugeMemory() {
  for (const Mapping& mapping : mappings_) munmap(mapping.base, mapping.bytes);
}

std::byte* HugeMemory::map(size_t bytes) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (try_hugetlb_) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags | MAP_HUGETLB, -1, 0);
    if (p != MAP_FAILED) {
      mappings_.push_back({static_cast<std::byte*>(p), bytes});
      mapped_ += bytes;
      hugetlb_ += bytes;
      return static_cast<std::byte*>(p);
    }
    try_hugetlb_ = false;
  }
  // Room to align to a huge page, trimmed afterwards.
  void* p = mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, kFlags | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  auto* start = static_cast<std::byte*>(p);
  auto* aligned = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<uintptr_t>(start), kHuge));
  if (aligned != start) munmap(start, static_cast<size_t>(aligned - start));
  std::byte* end = start + bytes + kHuge;
  if (aligned + bytes != end) munmap(aligned + bytes, static_cast<size_t>(end - (aligned + bytes)));
  madvise(aligned, bytes, MADV_HUGEPAGE);
  mappings_.push_back({aligned, bytes});
  mapped_ += bytes;
  return aligned;
}

base::Region HugeMemory::allocate(size_t bytes) {
  bytes = round_up(bytes == 0 ? 1 : bytes, 64);
  if (bytes <= fresh_bytes_) {
    std::byte* at = fresh_;
    fresh_ += bytes;
    fresh_bytes_ -= bytes;
    return {at, bytes, reinterpret_cast<uint64_t>(at)};
  }
  const size_t mapping = round_up(bytes, kHuge);
  std::byte* base = map(mapping);
  if (base == nullptr) return {};
  if (bytes <= kSmall) {
    fresh_ = base + bytes;
    fresh_bytes_ = mapping - bytes;
  }
  return {base, bytes, reinterpret_cast<uint64_t>(base)};
}

RegionPacketPool::RegionPacketPool(base::MemorySource& memory, size_t count, uint16_t room)
    : buffer_(static_cast<uint16_t>(room == 0 ? 0 : pkt::kHeadroom + room)),
      stride_(round_up(sizeof(pkt::Packet) + buffer_, 64)) {
  region_ = memory.allocate(stride_ * count);
  count_ = region_.base == nullptr ? 0 : count;
  free_.reserve(count_);
}

size_t RegionPacketPool::allocate(std::span<pkt::Packet*> out) {
  size_t n = 0;
  for (; n < out.size() && !free_.empty(); ++n) {
    out[n] = free_.back();
    free_.pop_back();
  }
  for (; n < out.size() && fresh_ < count_; ++n, ++fresh_) {
    std::byte* at = region_.base + fresh_ * stride_;
    auto* p = new (at) pkt::Packet();
    p->buf = buffer_ == 0 ? nullptr : at + sizeof(pkt::Packet);
    p->iova = buffer_ == 0 ? 0 : region_.io_base + fresh_ * stride_ + sizeof(pkt::Packet);
    p->buf_len = buffer_;
    p->refs = 1;
    p->segs = 1;
    p->pool = this;
    out[n] = p;
  }
  return n;
}

void RegionPacketPool::release(std::span<pkt::Packet* const> packets) {
  for (pkt::Packet* p : packets) {
    MR_ASSERT(p->pool == this && p->refs == 1 && free_.size() < count_);
    free_.push_back(p);
  }
}

}  // namespace millrace::runtime
