// The one clock and the one queue of a simulated world: callbacks at instants, ties in the order they were added.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "millrace/time.h"

namespace millrace::sim {

class EventHeap {
 public:
  using Action = std::function<void()>;

  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] bool empty() const { return items_.empty(); }
  [[nodiscard]] size_t size() const { return items_.size(); }
  [[nodiscard]] Instant next_at() const { return items_.empty() ? kNever : Instant(items_.front().at_ns); }

  /// Runs `action` at `when`, or as soon as possible if that has passed.
  void at(Instant when, Action action) {
    const int64_t at_ns = std::max(when, now_).ns();
    items_.push_back({at_ns, next_seq_++, std::move(action)});
    std::push_heap(items_.begin(), items_.end(), later);
  }

  /// Runs the earliest action; false if there is none.
  bool step() {
    if (items_.empty()) return false;
    std::pop_heap(items_.begin(), items_.end(), later);
    Item item = std::move(items_.back());
    items_.pop_back();
    MR_ASSERT(item.at_ns >= now_.ns());
    now_ = Instant(item.at_ns);
    item.action();
    return true;
  }

  /// Runs everything due until `when` and moves the clock there.
  void run_until(Instant when) {
    while (!items_.empty() && items_.front().at_ns <= when.ns()) step();
    now_ = std::max(now_, when);
  }

 private:
  struct Item {
    int64_t at_ns;
    uint64_t seq;
    Action action;
  };
  static bool later(const Item& a, const Item& b) {
    return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.seq > b.seq;
  }
  std::vector<Item> items_;
  uint64_t next_seq_ = 0;
  Instant now_{};
};

}  // namespace millrace::sim
