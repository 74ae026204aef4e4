// Chain: bytes that go between a program and the stack without being copied: buffers that it lends to be filled and
// sent, and what was received, borrowed. One thread has a chain at a time. Only with a worker in this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace millrace::posix {

struct Chain {
  struct Piece {
    std::byte* data = nullptr;
    uint32_t bytes = 0;
    uint32_t sent = 0;                    ///< of a lent one, by copy
    uint64_t token = 0;                   ///< borrowed; 0: lent, or our own
    std::unique_ptr<std::byte[]> copy{};  ///< our own
  };
  std::vector<Piece> pieces{};

  [[nodiscard]] size_t bytes() const {
    size_t sum = 0;
    for (const Piece& piece : pieces) sum += piece.bytes;
    return sum;
  }
  /// Copies from byte number `at` on; how many there were.
  size_t read(size_t at, void* into, size_t most) const;
  size_t write(size_t at, const void* from, size_t most);
};

}  // namespace millrace::posix
