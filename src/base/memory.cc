#include "base/memory.h"

#include <cstdlib>
#include <cstring>

namespace millrace::base {

void HeapMemory::Free::operator()(std::byte* p) const { std::free(p); }

Region HeapMemory::allocate(size_t bytes) {
  bytes = (bytes + 63) & ~size_t{63};
  if (bytes > left_) return {};
  auto* p = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  if (p == nullptr) return {};
  std::memset(p, 0, bytes);
  left_ -= bytes;
  regions_.emplace_back(p);
  return {p, bytes, reinterpret_cast<uint64_t>(p)};
}

}  // namespace millrace::base
