// Packets and memory that a fuzzer keeps between its inputs, since making them anew costs more than most inputs do.
// Every input still starts from the same state: reset() fails unless everything came back, zeroes what was handed out
// and puts it in the order in which it was at first. What nobody holds is poisoned, so that a late use of it is seen.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/memory.h"
#include "pkt/pool.h"

namespace millrace::fuzz {

class ReusedMemory final : public base::MemorySource {
 public:
  base::Region allocate(size_t bytes) override {
    const auto fits = [&](const Piece& p) { return !p.used && p.bytes == bytes; };
    auto it = std::find_if(pieces_.begin(), pieces_.end(), fits);
    if (it == pieces_.end()) it = pieces_.insert(it, make(bytes));
    it->used = true;
    ASAN_UNPOISON_MEMORY_REGION(it->base, it->bytes);
    return {it->base, it->bytes, reinterpret_cast<uintptr_t>(it->base)};
  }

  /// Takes back all regions; whoever had them is gone.
  void reset() {
    for (Piece& p : pieces_) {
      if (!p.used) continue;
      p.used = false;
      zero(p);
      ASAN_POISON_MEMORY_REGION(p.base, std::min(p.bytes, kSmall));
    }
  }

 private:
  static constexpr size_t kSmall = size_t{64} << 10;
  static constexpr size_t kPage = 4096;
  struct Piece {
    std::byte* base = nullptr;
    size_t bytes = 0;
    bool used = false;
  };

  static Piece make(size_t bytes) {
    auto* raw = static_cast<std::byte*>(std::calloc(1, bytes + 64));
    MR_ASSERT(raw != nullptr);
    return {raw + (64 - reinterpret_cast<uintptr_t>(raw) % 64) % 64, bytes};
  }

  // Of a large region only little was touched: its pages go back to the machine.
  static void zero(const Piece& p) {
    if (p.bytes <= kSmall) {
      std::memset(p.base, 0, p.bytes);
      return;
    }
    const size_t before = (kPage - reinterpret_cast<uintptr_t>(p.base) % kPage) % kPage;
    const size_t pages = (p.bytes - before) / kPage * kPage;
    std::memset(p.base, 0, before);
    MR_ASSERT(madvise(p.base + before, pages, MADV_DONTNEED) == 0);
    std::memset(p.base + before + pages, 0, p.bytes - before - pages);
  }

  std::vector<Piece> pieces_;
};

class ReusedPool final : public pkt::PacketPool {
 public:
  /// `room` bytes of data behind the headroom of each packet; 0 makes header-only packets.
  ReusedPool(size_t count, uint16_t room) : buffer_(room == 0 ? 0U : size_t{pkt::kHeadroom} + room) {
    for (size_t i = 0; i < count; ++i) {
      all_.push_back(new pkt::Packet());
      buffers_.push_back(buffer_ == 0 ? nullptr : static_cast<std::byte*>(std::calloc(1, buffer_)));
      restore(i);
    }
    free_ = all_;
    lowest_ = count;
  }
  ReusedPool(const ReusedPool&) = delete;
  ReusedPool& operator=(const ReusedPool&) = delete;

  size_t allocate(std::span<pkt::Packet*> out) override {
    size_t n = 0;
    for (; n < out.size() && !free_.empty(); ++n) {
      out[n] = free_.back();
      free_.pop_back();
      if (out[n]->buf != nullptr) ASAN_UNPOISON_MEMORY_REGION(out[n]->buf, buffer_);
    }
    lowest_ = std::min(lowest_, free_.size());
    return n;
  }

  void release(std::span<pkt::Packet* const> packets) override {
    for (pkt::Packet* p : packets) {
      MR_ASSERT(p->pool == this && p->refs == 1 && p->next == nullptr && free_.size() < all_.size());
      if (buffer_ != 0) ASAN_POISON_MEMORY_REGION(p->buf, buffer_);
      free_.push_back(p);
    }
  }

  [[nodiscard]] size_t available() const override { return free_.size(); }
  [[nodiscard]] size_t capacity() const override { return all_.size(); }

  /// Every packet must be back.
  void reset() {
    MR_ASSERT(free_.size() == all_.size());
    for (size_t i = lowest_; i < all_.size(); ++i) {
      if (buffer_ != 0) {
        ASAN_UNPOISON_MEMORY_REGION(buffers_[i], buffer_);
        std::memset(buffers_[i], 0, buffer_);
      }
      restore(i);
      free_[i] = all_[i];
    }
    lowest_ = all_.size();
  }

 private:
  void restore(size_t i) {
    pkt::Packet& p = *all_[i];
    p = pkt::Packet();
    p.buf = buffers_[i];
    p.iova = reinterpret_cast<uint64_t>(p.buf);
    p.buf_len = static_cast<uint16_t>(buffer_);
    p.refs = 1;
    p.segs = 1;
    p.pool = this;
    if (buffer_ != 0) ASAN_POISON_MEMORY_REGION(p.buf, buffer_);
  }

  size_t buffer_;
  std::vector<pkt::Packet*> all_;
  std::vector<std::byte*> buffers_;
  std::vector<pkt::Packet*> free_;  ///< below `lowest_` never handed out since the last reset
  size_t lowest_ = 0;
};

[[noreturn]] inline void broken(const std::string& what) {
  std::fprintf(stderr, "broken: %s\n", what.c_str());
  std::abort();
}

/// What outlives an input of a fuzzer that makes workers.
struct Machine {
  explicit Machine(size_t pool) : frames(pool, pkt::kFrameRoom), references(pool, 0) {}
  /// The input's worker is gone: everything must be back.
  void reset() {
    if (frames.available() != frames.capacity() || references.available() != references.capacity()) {
      broken("packets are left");
    }
    frames.reset();
    references.reset();
    memory.reset();
  }
  ReusedPool frames;
  ReusedPool references;
  ReusedMemory memory;
};

}  // namespace millrace::fuzz
