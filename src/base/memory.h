// Where slabs and payload blocks get their memory. The runtime hands out device-visible huge pages, the simulator
// and the tests plain heap. Regions are asked for at start or by whole slabs off the busy path, and live as long as
// the source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace millrace::base {

struct Region {
  std::byte* base = nullptr;
  size_t bytes = 0;
  uint64_t io_base = 0;  ///< address of `base` as devices see it; contiguous over the region
};

class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// A zeroed region of at least `bytes`, aligned to 64; an empty one (base == nullptr) if there is none.
  virtual Region allocate(size_t bytes) = 0;
};

/// Plain heap memory, with an optional limit so that exhaustion can be tested.
class HeapMemory final : public MemorySource {
 public:
  explicit HeapMemory(size_t limit_bytes = SIZE_MAX) : left_(limit_bytes) {}
  Region allocate(size_t bytes) override;

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  size_t left_;
  std::vector<std::unique_ptr<std::byte[], Free>> regions_;
};

}  // namespace millrace::base
