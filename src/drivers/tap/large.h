// Large receive buffers: where the part of a merged frame that does not fit an ordinary frame buffer is read to,
// without a copy. A buffer travels as external memory of a reference packet and comes back when its last reader is
// done.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"
#include "pkt/packet.h"

namespace millrace::drivers::tap {

class LargePool;

struct alignas(64) LargeBuffer {
  pkt::ExtInfo ext{};
  LargeBuffer* next = nullptr;
  LargePool* pool = nullptr;
  uint64_t iova = 0;  ///< address of data() as devices see it
  [[nodiscard]] std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

/// Grows by 2 MiB up to a limit, never shrinks. One worker's.
class LargePool {
 public:
  static constexpr size_t kBytes = size_t{64} << 10;  // header included; with the first 2 KiB elsewhere it is enough
  static constexpr size_t kData = kBytes - sizeof(LargeBuffer);

  LargePool(base::MemorySource& memory, size_t limit_bytes) : memory_(memory), left_(limit_bytes) {}
  LargePool(const LargePool&) = delete;
  LargePool& operator=(const LargePool&) = delete;

  /// A free buffer with ext.refs == 0, or nullptr.
  [[nodiscard]] LargeBuffer* take();
  void give(LargeBuffer* buffer) {
    buffer->next = free_;
    free_ = buffer;
    --used_;
  }
  [[nodiscard]] size_t used() const { return used_; }

 private:
  bool grow();

  base::MemorySource& memory_;
  size_t left_;
  size_t used_ = 0;
  LargeBuffer* free_ = nullptr;
};

}  // namespace millrace::drivers::tap
