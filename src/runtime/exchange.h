// Exchange: what the workers of a process hand each other, in rings with one writer and one reader: frames of another
// worker and news about tables. The taker copies a frame into packets of its own and then finishes the slot; the giver
// frees its packet when it sees that. So no worker touches another's pools.
//
// docs/ARCHITECTURE.md, "Several workers", says who owns what.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "runtime/carrier.h"
#include "runtime/spsc_ring.h"
#include "runtime/wake.h"
#include "stack/worker.h"

namespace millrace::runtime {

class Exchange final : public Carrier {
 public:
  explicit Exchange(uint32_t workers);

  /// Before the workers' threads start. `waker` wakes the worker's loop; both outlive the exchange's use.
  void attach(uint32_t self, stack::Worker& worker, const Waker& waker);

  // Each for the thread of worker `self` only.
  /// Gives its worker what others handed over; returns how many frames and pieces of news. Frames for which its pool
  /// has no packet are dropped, counted, like at a device.
  size_t take_in(uint32_t self, Instant now) override;
  /// Hands out what its worker has for others; returns how much. What finds no room stays in the worker.
  size_t hand_out(uint32_t self) override;
  /// Says that the worker is about to sleep and wants to be woken; false: something came meanwhile.
  bool prepare_sleep(uint32_t self) override;
  void end_sleep(uint32_t self) override { sides_[self]->asleep.store(false, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t no_buffer(uint32_t self) const { return sides_[self]->no_buffer; }

  /// Carries all news between all workers; only while no worker's thread runs.
  void settle(Instant now);
  /// Frees every frame on its way; only while no worker's thread runs.
  void clear();
  void wake_all() const;

 private:
  static constexpr size_t kFrames = 1'024;
  static constexpr size_t kNews = 256;
  static constexpr size_t kBurst = 64;
  struct Slot {
    pkt::Packet* frame = nullptr;
    IfIndex interface = IfIndex::kNone;
  };
  struct Way {  // from one worker to another
    SpscRing<Slot> frames{kFrames};
    SpscRing<ip::TableMessage> news{kNews};
  };
  struct Side {
    stack::Worker* worker = nullptr;
    const Waker* waker = nullptr;
    uint64_t no_buffer = 0;
    alignas(64) std::atomic<bool> asleep{false};
  };
  [[nodiscard]] Way& way(uint32_t from, uint32_t to) { return *ways_[size_t{from} * sides_.size() + to]; }
  size_t take_frames(uint32_t self, Way& in, Instant now);
  bool give_frames(uint32_t self, uint32_t to);
  bool give_news(uint32_t self, uint32_t to);
  void wake(uint32_t worker);

  std::vector<std::unique_ptr<Way>> ways_;
  std::vector<std::unique_ptr<Side>> sides_;
};

}  // namespace millrace::runtime
