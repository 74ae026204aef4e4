// Set of half-open ranges of stream offsets, merged when they touch.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>

namespace millrace::sim {

class IntervalSet {
 public:
  void add(int64_t begin, int64_t end) {
    if (begin >= end) return;
    auto it = ranges_.upper_bound(begin);
    if (it != ranges_.begin()) {
      auto before = std::prev(it);
      if (before->second >= begin) {
        begin = before->first;
        if (before->second > end) end = before->second;
        it = ranges_.erase(before);
      }
    }
    while (it != ranges_.end() && it->first <= end) {
      if (it->second > end) end = it->second;
      it = ranges_.erase(it);
    }
    ranges_.emplace(begin, end);
  }
  [[nodiscard]] bool covers(int64_t begin, int64_t end) const {
    if (begin >= end) return true;
    auto it = ranges_.upper_bound(begin);
    return it != ranges_.begin() && std::prev(it)->second >= end;
  }
  /// Where the range that holds `from` ends; `from` itself if it is in none.
  [[nodiscard]] int64_t end_of(int64_t from) const {
    auto it = ranges_.upper_bound(from);
    if (it == ranges_.begin() || std::prev(it)->second < from) return from;
    return std::prev(it)->second;
  }
  [[nodiscard]] size_t count() const { return ranges_.size(); }

 private:
  std::map<int64_t, int64_t> ranges_;
};

}  // namespace millrace::sim
