// A ring between two threads: one writes, one reads, no locks. The writer gets its slots back: it may look at a slot
// again once the reader is done with it, which is how packets return to the worker they belong to.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace millrace::runtime {

template <class T>
class SpscRing {
 public:
  /// `room` is a power of two.
  explicit SpscRing(size_t room) : slots_(std::bit_ceil(room)), mask_(slots_.size() - 1) {}

  // Writer.
  /// Slots that can be written now; take back what the reader is done with first.
  [[nodiscard]] size_t room() const { return slots_.size() - (next_ - back_); }
  /// There must be room; seen by the reader after publish().
  void put(const T& value) { slots_[next_++ & mask_] = value; }
  void publish() { tail_.store(next_, std::memory_order_release); }
  /// done(T&) for each slot that the reader has finished since the last call.
  template <class Done>
  void take_back(Done&& done) {
    const size_t head = head_.load(std::memory_order_acquire);
    while (back_ != head) done(slots_[back_++ & mask_]);
  }

  // Reader.
  [[nodiscard]] bool empty() const {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }
  /// Up to `most` waiting values, oldest first: visit(const T&). They are the reader's until finish().
  template <class Visit>
  size_t peek(size_t most, Visit&& visit) const {
    const size_t head = head_.load(std::memory_order_relaxed);
    const size_t tail = tail_.load(std::memory_order_acquire);
    const size_t n = tail - head < most ? tail - head : most;
    for (size_t i = 0; i < n; ++i) visit(slots_[(head + i) & mask_]);
    return n;
  }
  void finish(size_t n) { head_.store(head_.load(std::memory_order_relaxed) + n, std::memory_order_release); }

 private:
  std::vector<T> slots_;
  size_t mask_;
  alignas(64) std::atomic<size_t> tail_{0};
  size_t next_ = 0;  // the writer's
  size_t back_ = 0;  // slots before this one have come back to the writer
  alignas(64) std::atomic<size_t> head_{0};
};

}  // namespace millrace::runtime
