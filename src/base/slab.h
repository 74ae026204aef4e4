// Slab of T with stable addresses, 32-bit indices and generations. One region of address space for all objects, touched
// in index order as they are first needed, so that look-ups are an addition and unused room costs nothing. Index 0 is
// never given out, so it can mean "none".
//
// T must have a public `uint32_t gen` that only the slab writes (odd = in use, even = free) and a public
// `uint32_t link` that the slab uses while the object is free.
#pragma once

#include <cstdint>
#include <new>
#include <type_traits>

#include "base/assert.h"
#include "base/memory.h"

namespace millrace::base {

template <class T>
class Slab {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  /// At most `limit` objects at a time. ok() is false if `memory` had no room.
  Slab(MemorySource& memory, uint32_t limit)
      : limit_(limit),
        objects_(reinterpret_cast<T*>(memory.allocate((size_t{limit} + 1) * sizeof(T)).base)) {}

  [[nodiscard]] bool ok() const { return objects_ != nullptr; }

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

  [[nodiscard]] T& operator[](uint32_t index) { return objects_[index]; }
  [[nodiscard]] const T& operator[](uint32_t index) const { return objects_[index]; }

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
    if (next_ > limit_ || objects_ == nullptr) return false;
    T* fresh = new (&objects_[next_]) T{};
    fresh->gen = 0;
    fresh->link = 0;
    free_ = next_++;
    return true;
  }

  uint32_t limit_;
  uint32_t next_ = 1;
  uint32_t free_ = 0;
  uint32_t used_ = 0;
  T* objects_;
};

}  // namespace millrace::base
