// Memory of a simulated worker: zeroed by the machine, so that a seed pays only for what it touches.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "base/memory.h"

namespace millrace::sim {

class LazyMemory final : public base::MemorySource {
 public:
  explicit LazyMemory(size_t limit_bytes = SIZE_MAX) : left_(limit_bytes) {}
  base::Region allocate(size_t bytes) override {
    if (bytes > left_) return {};
    auto* raw = static_cast<std::byte*>(std::calloc(1, bytes + 64));
    if (raw == nullptr) return {};
    left_ -= bytes;
    regions_.emplace_back(raw);
    const auto aligned = (reinterpret_cast<uintptr_t>(raw) + 63) & ~uintptr_t{63};
    return {reinterpret_cast<std::byte*>(aligned), bytes, aligned};
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  size_t left_;
  std::vector<std::unique_ptr<std::byte, Free>> regions_;
};

}  // namespace millrace::sim
