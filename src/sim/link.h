// One direction of a wire with faults: rate, drop-tail queue, delay; independent and bursty loss (Gilbert-Elliott),
// duplication, reordering, bit flips, partition. Every fault that strikes is counted.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "base/rng.h"
#include "sim/event_heap.h"
#include "sim/frame.h"

namespace millrace::sim {

/// Probabilities in parts per million of frames.
struct LinkFaults {
  uint32_t loss = 0;
  uint32_t burst_enter = 0;  ///< from the good to the bad state
  uint32_t burst_leave = 0;  ///< back
  uint32_t burst_loss = 0;   ///< in the bad state
  uint32_t duplicate = 0;
  uint32_t reorder = 0;
  Duration reorder_by{};     ///< at most
  uint32_t corrupt = 0;
};

struct LinkConfig {
  uint64_t bits_per_second = 1'000'000'000;
  Duration delay = microseconds(10);
  uint32_t queue_bytes = 1 << 20;
  uint32_t mark_bytes = UINT32_MAX;  ///< a longer queue marks what is ECN-capable (RFC 3168 5)
  LinkFaults faults{};
};

struct LinkStats {
  uint64_t sent = 0;
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t lost_in_burst = 0;
  uint64_t lost_in_queue = 0;
  uint64_t lost_in_partition = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t corrupted = 0;
  uint64_t marked = 0;
};

class Link {
 public:
  using Sink = std::function<void(Frame*)>;

  /// `sink` takes every frame that comes out at the far end.
  Link(EventHeap& heap, FrameStore& frames, uint64_t seed, const LinkConfig& config, Sink sink)
      : heap_(heap), frames_(frames), rng_(seed), config_(config), sink_(std::move(sink)) {
    for (uint64_t& frame : due_) frame = rng_.between(8, 40);
  }

  /// Takes the frame. Every fault that is on strikes by chance, and once for certain among the first frames, so that no
  /// seed goes without.
  void send(Frame* frame);
  void set_up(bool up) { up_ = up; }
  /// Ends all faults; rate, delay and queue stay.
  void heal() {
    config_.faults = {};
    up_ = true;
    healed_ = true;
  }
  [[nodiscard]] const LinkStats& stats() const { return stats_; }
  [[nodiscard]] const LinkConfig& config() const { return config_; }

 private:
  enum Fault : uint8_t { kLoss, kBurst, kQueue, kDuplicate, kReorder, kCorrupt, kFaults };
  static constexpr uint32_t kAmpleQueue = 1 << 20;
  bool lose();
  bool strikes(Fault fault, uint32_t per_million, uint64_t so_far);
  [[nodiscard]] static bool is_later_fragment(const Frame& frame);
  void corrupt(Frame& frame);
  void deliver_at(Instant when, Frame* frame);

  EventHeap& heap_;
  FrameStore& frames_;
  base::Rng rng_;
  LinkConfig config_;
  Sink sink_;
  LinkStats stats_;
  Instant busy_until_{};
  std::array<uint64_t, kFaults> due_{};  ///< the frame with which a fault strikes at the latest
  bool up_ = true;
  bool healed_ = false;
  bool bad_ = false;
  Instant bad_since_{};
};

}  // namespace millrace::sim
