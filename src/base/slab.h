// Slab of T with stable addresses, 32-bit indices and generations. Grows by whole chunks up to a limit; never gives
// memory back. Index 0 is never given out, so it can mean "none".
//
// T must have a public `uint32_t gen` that only the slab writes (odd = in use, even = free) and a public
// `uint32_t link` that the slab uses while the object is free.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "base/assert.h"
#include "base/memory.h"

namespace millrace::base {

template <class T>
class Slab {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  static constexpr uint32_t kChunkBytes = 2u << 20;
  static constexpr uint32_t kPerChunkLog2 = [] {
    uint32_t log2 = 0;
    while ((size_t{2} << log2) * sizeof(T) <= kChunkBytes) ++log2;
    return log2;
  }();
  static constexpr uint32_t kPerChunk = 1u << kPerChunkLog2;

  /// At most `limit` objects at a time.
  Slab(MemorySource& memory, uint32_t limit)
      : memory_(memory), limit_(limit), chunks_((size_t{limit} + 1 + kPerChunk - 1) >> kPerChunkLog2) {}

  /// Index of a value-initialised object, or 0 if the limit or the memory is reached.
  [[nodiscard]] uint32_t allocate() {
    if (free_ == 0 && !grow()) return 0;
    const uint32_t index = free_;
    T& object = (*this)[index];
    free_ = object.link;
    const uint32_t gen = object.gen + 1;
    new (&object) T{};
    object.gen = gen;
    ++used_;
    return index;
  }

  void release(uint32_t index) {
    T& object = (*this)[index];
    MR_ASSERT((object.gen & 1) != 0);
    ++object.gen;
    object.link = free_;
    free_ = index;
    --used_;
  }

  [[nodiscard]] T& operator[](uint32_t index) {
    return chunks_[index >> kPerChunkLog2][index & (kPerChunk - 1)];
  }
  [[nodiscard]] const T& operator[](uint32_t index) const {
    return chunks_[index >> kPerChunkLog2][index & (kPerChunk - 1)];
  }

  /// The object if `index` is in use with that generation, otherwise nullptr. Safe for any input.
  [[nodiscard]] T* find(uint32_t index, uint32_t gen) {
    if (index == 0 || index >= next_ || (gen & 1) == 0) return nullptr;
    T& object = (*this)[index];
    return object.gen == gen ? &object : nullptr;
  }
  /// Whether the object is in use; `index` may be anything.
  [[nodiscard]] bool in_use(uint32_t index) const {
    return index != 0 && index < next_ && ((*this)[index].gen & 1) != 0;
  }

  [[nodiscard]] uint32_t used() const { return used_; }
  [[nodiscard]] uint32_t limit() const { return limit_; }
  /// One past the highest index ever given out; for walks over all objects.
  [[nodiscard]] uint32_t end_index() const { return next_; }

 private:
  bool grow() {
    // Objects enter the free list one at a time in address order, so untouched memory stays untouched.
    if (next_ > limit_) return false;
    const uint32_t chunk = next_ >> kPerChunkLog2;
    if (chunks_[chunk] == nullptr) {
      Region region = memory_.allocate(size_t{kPerChunk} * sizeof(T));
      if (region.base == nullptr) return false;
      chunks_[chunk] = reinterpret_cast<T*>(region.base);
    }
    T* fresh = new (&chunks_[chunk][next_ & (kPerChunk - 1)]) T{};
    fresh->gen = 0;
    fresh->link = 0;
    free_ = next_++;
    return true;
  }

  MemorySource& memory_;
  uint32_t limit_;
  uint32_t next_ = 1;
  uint32_t free_ = 0;
  uint32_t used_ = 0;
  std::vector<T*> chunks_;
};

}  // namespace millrace::base
