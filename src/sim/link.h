// One direction of a wire with faults: rate, drop-tail queue, delay; independent and bursty loss (Gilbert-Elliott),
// duplication, reordering, bit flips, partition. Every fault that strikes is counted.
#pragma once

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
};

class Link {
 public:
  using Sink = std::function<void(Frame*)>;

  /// `sink` takes every frame that comes out at the far end.
  Link(EventHeap& heap, FrameStore& frames, uint64_t seed, const LinkConfig& config, Sink sink)
      : heap_(heap), frames_(frames), rng_(seed), config_(config), sink_(std::move(sink)) {}

  /// Takes the frame.
  void send(Frame* frame);
  void set_up(bool up) { up_ = up; }
  /// Ends all faults; rate, delay and queue stay.
  void heal() {
    config_.faults = {};
    up_ = true;
  }
  [[nodiscard]] const LinkStats& stats() const { return stats_; }
  [[nodiscard]] const LinkConfig& config() const { return config_; }

 private:
  bool lose();
  void corrupt(Frame& frame);
  void deliver_at(Instant when, Frame* frame);

  EventHeap& heap_;
  FrameStore& frames_;
  base::Rng rng_;
  LinkConfig config_;
  Sink sink_;
  LinkStats stats_;
  Instant busy_until_{};
  bool up_ = true;
  bool bad_ = false;
  Instant bad_since_{};
};

}  // namespace millrace::sim
