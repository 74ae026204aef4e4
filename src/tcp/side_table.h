// State that few connections have, parallel to their slab in a region of its own whose pages nobody else touches. An
// entry belongs to the connection whose generation it bears; what a predecessor in the same place left counts as none.
#pragma once

#include "base/memory.h"
#include "base/slab.h"
#include "tcp/conn.h"

namespace millrace::tcp {

/// `T` has a first member `uint32_t gen`, and is usable as made from {}.
template <class T>
class SideTable {
 public:
  /// One entry for each of `conns`, which must stay where it is. The memory is zero when it comes and stays the
  /// source's.
  SideTable(base::MemorySource& memory, const base::Slab<Conn>& conns, uint32_t limit)
      : conns_(&conns), entries_(reinterpret_cast<T*>(memory.allocate((size_t{limit} + 1) * sizeof(T)).base)) {}

  /// False if there was no memory for it.
  [[nodiscard]] bool ok() const { return entries_ != nullptr; }
  /// The entry of a live connection, made anew if it has none.
  [[nodiscard]] T& of(uint32_t index) {
    T& entry = entries_[index];
    if (entry.gen != (*conns_)[index].gen) {
      entry = {};
      entry.gen = (*conns_)[index].gen;
    }
    return entry;
  }
  /// Null if it has none.
  [[nodiscard]] const T* find(uint32_t index) const {
    return entries_[index].gen == (*conns_)[index].gen ? &entries_[index] : nullptr;
  }

 private:
  const base::Slab<Conn>* conns_;
  T* entries_;
};

}  // namespace millrace::tcp
