// Hierarchical timer wheel. Deadlines are exact: an entry fires in the first advance() whose `now` is at or past its
// deadline, entries in the order of their slots. Nodes are intrusive and named by 32-bit ids that the owner maps to a
// TimerNode, so that a connection pays 16 bytes and an armed timer no allocation.
//
// Costs: arm and cancel O(1); advance O(slots passed + entries fired + cascades), a bitmap skips empty slots.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/assert.h"
#include "millrace/time.h"

namespace millrace::base {

/// Zero-initialised means not armed.
struct TimerNode {
  int64_t deadline_ns = 0;  ///< valid while armed
  uint32_t next = 0;
  uint32_t prev = 0;  ///< 0 = not armed; an id, or kSlotFlag | slot for the first entry of a slot
};
static_assert(sizeof(TimerNode) == 16);

/// Resolver: `TimerNode& operator()(uint32_t id)`, id in [1, 2^31).
template <class Resolver>
class TimerWheel {
 public:
  explicit TimerWheel(Resolver resolver, Instant start = Instant()) : node_(resolver), tick_(tick_of(start.ns())) {}

  [[nodiscard]] static bool armed(const TimerNode& node) { return node.prev != 0; }
  [[nodiscard]] uint32_t size() const { return size_; }

  /// Arms or re-arms `id`. A deadline in the past fires in the next advance().
  void arm(uint32_t id, Instant deadline) {
    TimerNode& node = node_(id);
    if (armed(node)) unlink(node);
    node.deadline_ns = deadline.ns();
    link(id, node);
    ++size_;
  }

  void cancel(uint32_t id) {
    TimerNode& node = node_(id);
    if (armed(node)) unlink(node);
  }

  /// Calls fire(id) for every entry due at `now`; the entry is disarmed before the call and may be armed again by it.
  /// An entry that is armed during the call for a time not after `now` fires in the same call.
  template <class Fire>
  void advance(Instant now, Fire&& fire) {
    const uint64_t target = tick_of(now.ns());
    for (;;) {
      run_slot(now, fire);
      if (tick_ >= target) break;
      step_to(next_tick(target));
    }
  }

  /// Nothing fires before this instant; nullopt-like kNever if nothing is armed. Exact for entries within the lowest
  /// level; for others the start of their slot, when a cascade is due.
  [[nodiscard]] Instant next_deadline() {
    if (size_ == 0) return kNever;
    int64_t best = INT64_MAX;
    for (uint32_t level = 0; level < kLevels; ++level) {
      if (bitmap_[level] == 0) continue;
      const uint32_t at = (tick_ >> (level * kSlotBits)) & kMask;
      const uint64_t ahead = std::rotr(bitmap_[level], static_cast<int>(at));
      const uint32_t distance = static_cast<uint32_t>(std::countr_zero(ahead));
      if (level == 0) {
        const uint32_t slot = (at + distance) & kMask;
        for (uint32_t id = head_[slot]; id != 0; id = node_(id).next) {
          if (node_(id).deadline_ns < best) best = node_(id).deadline_ns;
        }
      } else {
        const uint64_t unit = (tick_ >> (level * kSlotBits)) + (distance == 0 ? kSlots : distance);
        const int64_t start = static_cast<int64_t>((unit << (level * kSlotBits)) << kTickShift);
        if (start < best) best = start;
      }
    }
    return Instant(best);
  }

 private:
  static constexpr int kTickShift = 17;  // 131 us a slot at the lowest level
  static constexpr uint32_t kSlotBits = 6;
  static constexpr uint32_t kSlots = 1u << kSlotBits;
  static constexpr uint32_t kMask = kSlots - 1;
  static constexpr uint32_t kLevels = 7;  // 2^(17+42) ns: 18 years
  static constexpr uint32_t kSlotFlag = 1u << 31;

  static uint64_t tick_of(int64_t ns) { return ns <= 0 ? 0 : static_cast<uint64_t>(ns) >> kTickShift; }

  void link(uint32_t id, TimerNode& node) {
    uint64_t tick = tick_of(node.deadline_ns);
    if (tick < tick_) tick = tick_;
    const uint64_t diff = tick ^ tick_;
    uint32_t level = diff == 0 ? 0 : (63 - static_cast<uint32_t>(std::countl_zero(diff))) / kSlotBits;
    if (level >= kLevels) level = kLevels - 1;
    const uint32_t slot = level * kSlots + ((tick >> (level * kSlotBits)) & kMask);
    node.next = head_[slot];
    node.prev = kSlotFlag | slot;
    if (node.next != 0) node_(node.next).prev = id;
    head_[slot] = id;
    bitmap_[level] |= uint64_t{1} << (slot & kMask);
  }

  void unlink(TimerNode& node) {
    if (node.next != 0) node_(node.next).prev = node.prev;
    if ((node.prev & kSlotFlag) != 0) {
      const uint32_t slot = node.prev & ~kSlotFlag;
      head_[slot] = node.next;
      if (node.next == 0) bitmap_[slot / kSlots] &= ~(uint64_t{1} << (slot & kMask));
    } else {
      node_(node.prev).next = node.next;
    }
    node.prev = 0;
    node.next = 0;
    --size_;
  }

  template <class Fire>
  void run_slot(Instant now, Fire&& fire) {
    const uint32_t slot = tick_ & kMask;
    // Restart after each firing: the callback may change the list.
    for (bool again = true; again;) {
      again = false;
      for (uint32_t id = head_[slot]; id != 0;) {
        TimerNode& node = node_(id);
        const uint32_t next = node.next;
        if (node.deadline_ns <= now.ns()) {
          unlink(node);
          fire(id);
          again = true;
          break;
        }
        id = next;
      }
    }
  }

  // The next tick at which anything happens: a non-empty slot of level 0, or a boundary where a higher level cascades.
  [[nodiscard]] uint64_t next_tick(uint64_t target) const {
    const uint32_t at = tick_ & kMask;
    const uint64_t later = at == kMask ? 0 : bitmap_[0] >> (at + 1);
    uint64_t next = (tick_ | kMask) + 1;
    if (later != 0) {
      next = tick_ + 1 + static_cast<uint64_t>(std::countr_zero(later));
    } else {
      // Skip whole empty stretches: while no lower level holds anything, jump by the higher level's unit.
      for (uint32_t level = 1; level < kLevels && bitmap_[level - 1] == 0; ++level) {
        const uint32_t here = (tick_ >> (level * kSlotBits)) & kMask;
        const uint64_t ahead = here == kMask ? 0 : bitmap_[level] >> (here + 1);
        const uint64_t base = tick_ >> (level * kSlotBits);
        if (ahead != 0) {
          next = (base + 1 + static_cast<uint64_t>(std::countr_zero(ahead))) << (level * kSlotBits);
          break;
        }
        next = ((base | kMask) + 1) << (level * kSlotBits);
      }
    }
    return next < target ? next : target;
  }

  void step_to(uint64_t tick) {
    const uint64_t before = tick_;
    tick_ = tick;
    // Entries of each higher-level slot that now begins move down.
    for (uint32_t level = kLevels - 1; level >= 1; --level) {
      const uint32_t shift = level * kSlotBits;
      if ((before >> shift) == (tick >> shift)) continue;
      const uint32_t slot = level * kSlots + ((tick >> shift) & kMask);
      uint32_t id = head_[slot];
      head_[slot] = 0;
      bitmap_[level] &= ~(uint64_t{1} << (slot & kMask));
      while (id != 0) {
        TimerNode& node = node_(id);
        const uint32_t next = node.next;
        link(id, node);
        id = next;
      }
    }
  }

  Resolver node_;
  uint64_t tick_;
  uint32_t size_ = 0;
  std::array<uint64_t, kLevels> bitmap_{};
  std::array<uint32_t, kLevels * kSlots> head_{};
};

}  // namespace millrace::base
