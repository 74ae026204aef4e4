#include "base/memory.h"

#include <cstdlib>

namespace millrace::base {

void HeapMemory::Free::operator()(std::byte* p) const { std::free(p); }

// Zeroed by calloc, so that large regions are address space until they are touched.
Region HeapMemory::allocate(size_t bytes) {
  constexpr size_t kAlign = 64;
  bytes = (bytes + kAlign - 1) & ~(kAlign - 1);
  if (bytes > left_) return {};
  auto* p = static_cast<std::byte*>(std::calloc(1, bytes + kAlign));
  if (p == nullptr) return {};
  left_ -= bytes;
  regions_.emplace_back(p);
  auto* base = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(p) + kAlign - 1) & ~(kAlign - 1));
  return {base, bytes, reinterpret_cast<uint64_t>(base)};
}

}  // namespace millrace::base
