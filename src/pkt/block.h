// Payload blocks: counted, immutable once queued, in memory that devices can read. A send copies into blocks (or
// brings its own memory under a Block header); every transmission refers to them; the last reference, which may be a
// device's, gives the block back.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "pkt/packet.h"

namespace millrace::pkt {

class BlockPool;

/// Block::ext.marks
enum BlockMark : uint16_t {
  kBlockSealed = 1 << 0,     ///< nothing may be appended (lent by a program)
  kBlockTold = 1 << 1,       ///< somebody is told when it comes back
  kBlockLent = 1 << 2,       ///< a LentBlock
  kBlockRecordEnd = 1 << 3,  ///< its last byte ends a record: no segment holds it and what follows
};

/// One line, and small data in the lines behind it. Of a headless block (BlockPool::allocate_headless) only the data is
/// touched.
struct alignas(64) Block {
  ExtInfo ext;             ///< ext.refs counts this header's users: the send queue and reference segments
  Block* next = nullptr;   ///< for the queue that holds it
  std::byte* data = nullptr;
  uint64_t iova = 0;       ///< address of `data` as devices see it
  uint32_t capacity = 0;
  uint32_t len = 0;        ///< bytes filled; only ever grows
  BlockPool* pool = nullptr;
};
static_assert(sizeof(Block) == 64);

/// Who hears of it when a lent block comes back.
struct ReleasedBlock {
  uint64_t cookie = 0;       ///< the program's word for it
  uint32_t owner_index = 0;  ///< handle of the socket that is told
  uint32_t owner_gen = 0;
};

/// A block that a program fills itself (zero-copy send): its data starts one line later, behind this.
struct alignas(64) LentBlock : Block {
  ReleasedBlock told{};  ///< with kBlockTold
};
static_assert(sizeof(LentBlock) == 128);

/// Blocks of four sizes, carved from regions of a MemorySource. One worker's; not thread-safe.
class BlockPool {
 public:
  static constexpr std::array<uint32_t, 4> kClassBytes = {256, 2048, 16384, 65536};  // header included

  /// At most `limit_bytes` are taken from `memory`; an eighth of it at the least goes to the largest blocks only, which
  /// smaller requests get too when nothing else is left.
  BlockPool(base::MemorySource& memory, size_t limit_bytes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// A block with one reference and room for `bytes`, or for as much as the largest class holds; nullptr if memory is
  /// exhausted.
  [[nodiscard]] Block* allocate(uint32_t bytes);
  /// The same for small data that its holder keeps to itself: the header stays unread and unwritten, a cache line
  /// saved. The holder counts the bytes and either gives the block back by free_headless() or makes it like any other
  /// by write_header(). nullptr if no block of the smallest class is free.
  [[nodiscard]] Block* allocate_headless();
  void free_headless(Block* block);
  static std::byte* data_behind(Block* block) { return reinterpret_cast<std::byte*>(block + 1); }
  static void write_header(Block* block, uint32_t bytes) { block->len = bytes; }
  /// The same as allocate() for a program to fill. At most max_lent() bytes.
  [[nodiscard]] LentBlock* lend(uint32_t bytes);
  /// Drops one reference.
  static void unref(Block* block) {
    if (--block->ext.refs == 0) block->ext.release(block->data, block);
  }

  [[nodiscard]] uint64_t in_use() const { return in_use_; }
  [[nodiscard]] uint64_t in_use_bytes() const { return in_use_bytes_; }
  [[nodiscard]] uint64_t limit_bytes() const { return limit_; }

  /// Blocks with a cookie that came back since the caller last emptied this list.
  [[nodiscard]] std::vector<ReleasedBlock>& released() { return released_; }

  static constexpr uint32_t max_headless() { return kClassBytes.front() - sizeof(Block); }
  static constexpr uint32_t max_payload() { return kClassBytes.back() - sizeof(Block); }
  static constexpr uint32_t max_lent() { return kClassBytes.back() - sizeof(LentBlock); }

 private:
  // A free block's header is that of an empty one with a reference; the list of free ones runs through their data.
  static Block*& next_free(Block* block) { return *reinterpret_cast<Block**>(data_behind(block)); }
  static void release_trampoline(void* addr, void* opaque);
  Block* take(size_t which);
  bool grow(size_t which);
  void put_back(Block* block);

  struct Class {
    Block* free = nullptr;
    std::byte* fresh = nullptr;  // uncarved rest of the newest region
    std::byte* fresh_end = nullptr;
    uint64_t io_offset = 0;  // iova minus address, in that region
  };
  base::MemorySource& memory_;
  size_t limit_;
  size_t left_;
  size_t kept_;  // of left_, for the largest class alone
  std::array<Class, kClassBytes.size()> classes_;
  std::vector<ReleasedBlock> released_;
  uint64_t in_use_ = 0;
  uint64_t in_use_bytes_ = 0;
};

}  // namespace millrace::pkt
