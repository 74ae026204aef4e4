#include "pkt/block.h"

#include <algorithm>
#include <new>

namespace millrace::pkt {
namespace {

constexpr size_t kRegionBytes = size_t{2} << 20;
constexpr size_t kLargestShare = 8;  // one part in so many of the limit, and at least one region
constexpr int32_t kLentExtra = sizeof(LentBlock) - sizeof(Block);

void move_data(Block& block, int32_t bytes) {
  block.data += bytes;
  block.iova += static_cast<uint64_t>(int64_t{bytes});
  block.capacity -= static_cast<uint32_t>(bytes);
}

}  // namespace

BlockPool::BlockPool(base::MemorySource& memory, size_t limit_bytes)
    : memory_(memory),
      limit_(limit_bytes),
      left_(limit_bytes),
      kept_(std::max(limit_bytes / kLargestShare, kRegionBytes)) {}

Block* BlockPool::allocate(uint32_t bytes) {
  size_t which = 0;
  while (which + 1 < kClassBytes.size() && kClassBytes[which] - sizeof(Block) < bytes) ++which;
  // Where the class has nothing left and cannot grow, a larger block serves as well: memory stays with the class that
  // took it first.
  while (classes_[which].free == nullptr && classes_[which].fresh == classes_[which].fresh_end && !grow(which)) {
    if (++which == kClassBytes.size()) return nullptr;
  }
  return take(which);
}

Block* BlockPool::allocate_headless() {
  const Class& c = classes_.front();
  return c.free == nullptr && c.fresh == c.fresh_end && !grow(0) ? nullptr : take(0);
}

void BlockPool::free_headless(Block* block) {
  --in_use_;
  in_use_bytes_ -= kClassBytes.front();
  next_free(block) = classes_.front().free;
  classes_.front().free = block;
}

// A block of a class that has one.
Block* BlockPool::take(size_t which) {
  Class& c = classes_[which];
  ++in_use_;
  in_use_bytes_ += kClassBytes[which];
  Block* block = c.free;
  if (block != nullptr) {
    c.free = next_free(block);
    return block;
  }
  block = new (c.fresh) Block();
  block->ext.refs = 1;
  block->data = data_behind(block);
  block->iova = reinterpret_cast<uint64_t>(block->data) + c.io_offset;
  block->capacity = kClassBytes[which] - static_cast<uint32_t>(sizeof(Block));
  block->pool = this;
  block->ext.release = &BlockPool::release_trampoline;
  block->ext.opaque = block;
  c.fresh += kClassBytes[which];
  return block;
}

LentBlock* BlockPool::lend(uint32_t bytes) {
  Block* block = allocate(bytes + kLentExtra);
  if (block == nullptr) return nullptr;
  move_data(*block, kLentExtra);
  block->ext.marks = kBlockLent;
  auto* lent = static_cast<LentBlock*>(block);
  lent->told = {};
  return lent;
}

bool BlockPool::grow(size_t which) {
  // Memory stays with the class that took it, and only the largest class serves every request: it keeps a share.
  const bool largest = which + 1 == kClassBytes.size();
  if (left_ < kRegionBytes + (largest ? 0 : kept_)) return false;
  const base::Region region = memory_.allocate(kRegionBytes);
  if (region.base == nullptr) return false;
  left_ -= kRegionBytes;
  if (largest) kept_ -= std::min(kept_, kRegionBytes);
  Class& c = classes_[which];
  c.fresh = region.base;
  c.fresh_end = region.base + kRegionBytes / kClassBytes[which] * kClassBytes[which];
  c.io_offset = region.io_base - reinterpret_cast<uint64_t>(region.base);
  return true;
}

void BlockPool::release_trampoline(void*, void* opaque) {
  auto* block = static_cast<Block*>(opaque);
  block->pool->put_back(block);
}

void BlockPool::put_back(Block* block) {
  if ((block->ext.marks & kBlockLent) != 0) {
    auto* lent = static_cast<LentBlock*>(block);
    if ((lent->ext.marks & kBlockTold) != 0) released_.push_back(lent->told);
    move_data(*block, -kLentExtra);
  }
  const uint32_t bytes = block->capacity + static_cast<uint32_t>(sizeof(Block));
  const auto which = static_cast<size_t>(
      std::find(kClassBytes.begin(), kClassBytes.end(), bytes) - kClassBytes.begin());
  MR_ASSERT(which < kClassBytes.size());
  --in_use_;
  in_use_bytes_ -= bytes;
  block->ext.refs = 1;
  block->ext.marks = 0;
  block->next = nullptr;
  block->len = 0;
  next_free(block) = classes_[which].free;
  classes_[which].free = block;
}

}  // namespace millrace::pkt
