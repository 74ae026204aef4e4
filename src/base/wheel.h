// Hierarchical timer wheel. Deadlines are exact: an entry fires in the first advance() whose `now` is at or past its
// deadline, in the order of their deadlines. The owner keeps a 16-byte TimerNode for each id; a slot is a list of
// chunks of {deadline, id, stamp}, so that arming writes to memory that is hot already, cancelling touches the node
// alone, entries move down without their nodes, and firing can prefetch. An entry whose stamp is not its node's any
// more is stale and skipped when its time has come.
//
// Costs: arm and cancel O(1); advance O(slots passed + entries reached + cascades), a bitmap skips empty slots. Chunks
// come in batches and are used again.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "millrace/time.h"

namespace millrace::base {

/// Zero-initialised means not armed.
struct TimerNode {
  int64_t deadline_ns = 0;  ///< valid while armed
  uint32_t stamp = 0;       ///< of the slot entry that counts; 0 = not armed
  uint32_t unused = 0;
};
static_assert(sizeof(TimerNode) == 16);

/// Resolver: `TimerNode& operator()(uint32_t id)`, and `void prefetch(uint32_t id)` for what a firing touches.
template <class Resolver>
class TimerWheel {
 public:
  explicit TimerWheel(Resolver resolver, Instant start = Instant()) : node_(resolver), tick_(tick_of(start.ns())) {}

  [[nodiscard]] static bool armed(const TimerNode& node) { return node.stamp != 0; }
  [[nodiscard]] uint32_t size() const { return size_; }

  /// Arms or re-arms `id`. A deadline in the past fires in the next advance().
  void arm(uint32_t id, Instant deadline) {
    TimerNode& node = node_(id);
    if (!armed(node)) ++size_;
    node.deadline_ns = deadline.ns();
    if (++stamp_ == 0) ++stamp_;
    node.stamp = stamp_;
    link({node.deadline_ns, id, node.stamp});
  }

  void cancel(uint32_t id) {
    TimerNode& node = node_(id);
    if (!armed(node)) return;
    node.stamp = 0;
    --size_;
  }

  /// Calls fire(id) for every entry due at `now`; the entry is disarmed before the call and may be armed again by it.
  /// An entry that is armed during the call for a time not after `now` fires in the same call.
  template <class Fire>
  void advance(Instant now, Fire&& fire) {
    const uint64_t target = tick_of(now.ns());
    for (;;) {
      run_current(now, fire);
      if (tick_ >= target) break;
      step_to(next_tick(target));
    }
  }

  /// Nothing fires before this instant; kNever if nothing is armed. Exact for entries within the lowest level; for
  /// others the start of their slot, when a cascade is due.
  [[nodiscard]] Instant next_deadline() {
    if (size_ == 0) return kNever;
    while (!current_.empty() && stale(current_.back())) current_.pop_back();
    if (!current_.empty()) return Instant(current_.back().deadline_ns);
    int64_t best = INT64_MAX;
    while (bitmap_[0] != 0) {
      const uint32_t at = tick_ & kMask;
      const uint32_t slot = (at + static_cast<uint32_t>(std::countr_zero(rotated(0)))) & kMask;
      for (const Chunk* c = slots_[slot].first; c != nullptr; c = c->next) {
        for (uint32_t i = 0; i < c->count; ++i) {
          if (!stale(c->entries[i])) best = std::min(best, c->entries[i].deadline_ns);
        }
      }
      if (best != INT64_MAX) return Instant(best);
      recycle(detach(slot));  // nothing but stale entries
    }
    for (uint32_t level = 1; level < kLevels; ++level) {
      if (bitmap_[level] == 0) continue;
      const uint32_t distance = static_cast<uint32_t>(std::countr_zero(rotated(level)));
      const uint64_t unit = (tick_ >> (level * kSlotBits)) + (distance == 0 ? kSlots : distance);
      best = std::min(best, static_cast<int64_t>((unit << (level * kSlotBits)) << kTickShift));
    }
    return Instant(best);
  }

 private:
  static constexpr int kTickShift = 17;  // 131 us a slot at the lowest level
  static constexpr uint32_t kSlotBits = 6;
  static constexpr uint32_t kSlots = 1u << kSlotBits;
  static constexpr uint32_t kMask = kSlots - 1;
  static constexpr uint32_t kLevels = 7;  // 2^(17+42) ns: 18 years
  static constexpr uint32_t kChunkEntries = 31;
  static constexpr uint32_t kChunksAtOnce = 128;
  static constexpr uint32_t kAhead = 32;  // entries whose nodes are prefetched before they fire

  struct Entry {
    int64_t deadline_ns;
    uint32_t id;
    uint32_t stamp;
  };
  struct Chunk {
    Chunk* next = nullptr;
    uint32_t count = 0;
    std::array<Entry, kChunkEntries> entries;
  };
  struct Slot {
    Chunk* first = nullptr;
    Chunk* last = nullptr;
  };

  static uint64_t tick_of(int64_t ns) { return ns <= 0 ? 0 : static_cast<uint64_t>(ns) >> kTickShift; }

  /// The level's bitmap with the current slot at bit 0.
  [[nodiscard]] uint64_t rotated(uint32_t level) const {
    return std::rotr(bitmap_[level], static_cast<int>((tick_ >> (level * kSlotBits)) & kMask));
  }

  void link(Entry entry) {
    const uint64_t tick = std::max(tick_of(entry.deadline_ns), tick_);
    const uint64_t diff = tick ^ tick_;
    uint32_t level = (63 - static_cast<uint32_t>(std::countl_zero(diff | 1))) / kSlotBits;
    if (diff == 0) {  // this very tick: the list that is being worked off, latest first
      const auto later = [](const Entry& due, int64_t deadline) { return due.deadline_ns > deadline; };
      current_.insert(std::lower_bound(current_.begin(), current_.end(), entry.deadline_ns, later), entry);
      return;
    }
    level = std::min(level, kLevels - 1);
    const uint32_t index = (tick >> (level * kSlotBits)) & kMask;
    Slot& slot = slots_[level * kSlots + index];
    if (slot.last == nullptr || slot.last->count == kChunkEntries) {
      Chunk* chunk = take_chunk();
      (slot.last == nullptr ? slot.first : slot.last->next) = chunk;
      slot.last = chunk;
    }
    slot.last->entries[slot.last->count++] = entry;
    bitmap_[level] |= uint64_t{1} << index;
  }

  Chunk* take_chunk() {
    if (free_ == nullptr) {
      batches_.push_back(std::make_unique<Chunk[]>(kChunksAtOnce));
      for (uint32_t i = 0; i < kChunksAtOnce; ++i) {
        batches_.back()[i].next = free_;
        free_ = &batches_.back()[i];
      }
    }
    Chunk* chunk = free_;
    free_ = chunk->next;
    chunk->next = nullptr;
    chunk->count = 0;
    return chunk;
  }

  void recycle(Chunk* chunk) {
    while (chunk != nullptr) {
      Chunk* next = chunk->next;
      chunk->next = free_;
      free_ = chunk;
      chunk = next;
    }
  }

  Chunk* detach(uint32_t slot) {
    Chunk* chunk = slots_[slot].first;
    slots_[slot] = {};
    bitmap_[slot / kSlots] &= ~(uint64_t{1} << (slot & kMask));
    return chunk;
  }

  // Visits every entry of a detached list, stale ones too, and gives the chunks back.
  template <class Visit>
  void drain(Chunk* chunk, Visit&& visit) {
    for (const Chunk* c = chunk; c != nullptr; c = c->next) {
      for (uint32_t i = 0; i < c->count; ++i) visit(c->entries[i]);
    }
    recycle(chunk);
  }

  [[nodiscard]] bool stale(const Entry& entry) const { return node_(entry.id).stamp != entry.stamp; }

  template <class Fire>
  void run_current(Instant now, Fire&& fire) {
    while (!current_.empty() && current_.back().deadline_ns <= now.ns()) {
      const Entry due = current_.back();
      current_.pop_back();
      if (current_.size() >= kAhead) node_.prefetch(current_[current_.size() - kAhead].id);
      if (stale(due)) continue;
      node_(due.id).stamp = 0;
      --size_;
      fire(due.id);
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
    return std::min(next, target);
  }

  void step_to(uint64_t tick) {
    const uint64_t before = tick_;
    tick_ = tick;
    // Entries of each higher-level slot that now begins move down.
    for (uint32_t level = kLevels - 1; level >= 1; --level) {
      const uint32_t shift = level * kSlotBits;
      if ((before >> shift) == (tick >> shift)) continue;
      const uint32_t slot = level * kSlots + ((tick >> shift) & kMask);
      if (slots_[slot].first == nullptr) continue;
      drain(detach(slot), [&](const Entry& entry) { link(entry); });
    }
    const uint32_t slot = tick & kMask;
    if (slots_[slot].first == nullptr) return;
    drain(detach(slot), [&](const Entry& entry) { current_.push_back(entry); });
    const auto earlier = [](const Entry& a, const Entry& b) {
      return a.deadline_ns != b.deadline_ns ? a.deadline_ns < b.deadline_ns : a.stamp < b.stamp;
    };
    // Armed one after the other with the same delay, as many are, they stand in order.
    if (std::is_sorted(current_.begin(), current_.end(), earlier)) {
      std::reverse(current_.begin(), current_.end());
    } else {
      std::sort(current_.rbegin(), current_.rend(), earlier);
    }
    for (size_t i = current_.size() - std::min<size_t>(kAhead, current_.size()); i < current_.size(); ++i) {
      node_.prefetch(current_[i].id);
    }
  }

  Resolver node_;
  uint64_t tick_;
  uint32_t size_ = 0;
  uint32_t stamp_ = 0;
  Chunk* free_ = nullptr;
  std::array<uint64_t, kLevels> bitmap_{};
  std::array<Slot, kLevels * kSlots> slots_{};
  std::vector<Entry> current_;  // of the current tick, latest first
  std::vector<std::unique_ptr<Chunk[]>> batches_;
};

}  // namespace millrace::base
