// Frames of one interface that wait for the device: a ring of fixed room, oldest first.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "pkt/packet.h"

namespace millrace::link {

class TxQueue {
 public:
  /// Holds at most `limit` frames, at least 1.
  explicit TxQueue(uint32_t limit)
      : limit_(limit == 0 ? 1 : limit), mask_(std::bit_ceil(limit_) - 1), ring_(size_t{mask_} + 1) {}

  [[nodiscard]] bool empty() const { return head_ == tail_; }
  [[nodiscard]] bool full() const { return tail_ - head_ >= limit_; }
  [[nodiscard]] uint32_t room() const { return limit_ - (tail_ - head_); }
  [[nodiscard]] uint32_t size() const { return tail_ - head_; }

  /// There must be room.
  void push(pkt::Packet* frame) {
    MR_ASSERT(!full());
    ring_[tail_++ & mask_] = frame;
  }
  /// Moves the oldest frames into `out`; returns how many.
  size_t pop(std::span<pkt::Packet*> out) {
    size_t n = 0;
    while (n < out.size() && head_ != tail_) out[n++] = ring_[head_++ & mask_];
    return n;
  }

 private:
  uint32_t limit_;
  uint32_t mask_;
  uint32_t head_ = 0;  // counts frames ever taken
  uint32_t tail_ = 0;  // counts frames ever put
  std::vector<pkt::Packet*> ring_;
};

}  // namespace millrace::link
