// The bytes of a simulated stream: a function of the connection's key, the direction and the offset, so that either
// end can make or check any piece alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::sim {

class Content {
 public:
  Content(uint64_t key, int direction) : key_(key * 2 + static_cast<uint64_t>(direction)) {}

  void fill(uint64_t offset, std::span<std::byte> out) const {
    walk(offset, out.size(), [&](size_t i, uint8_t byte) {
      out[i] = static_cast<std::byte>(byte);
      return true;
    });
  }
  /// Index of the first byte that differs, or data.size().
  [[nodiscard]] size_t mismatch(uint64_t offset, std::span<const std::byte> data) const {
    return walk(offset, data.size(), [&](size_t i, uint8_t byte) { return data[i] == static_cast<std::byte>(byte); });
  }

 private:
  template <class Visit>
  size_t walk(uint64_t offset, size_t count, Visit visit) const {
    uint64_t word = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t at = offset + i;
      if (i == 0 || at % 8 == 0) {
        uint64_t z = (at / 8 + 1) * 0x9e3779b97f4a7c15ULL ^ key_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        word = z ^ (z >> 27);
      }
      if (!visit(i, static_cast<uint8_t>(word >> (at % 8 * 8)))) return i;
    }
    return count;
  }
  uint64_t key_;
};

}  // namespace millrace::sim
