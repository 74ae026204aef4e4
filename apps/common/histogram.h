// Log-linear histogram of latencies in nanoseconds with three significant decimal digits: values below 2,048 have a
// bucket each, and every power of two above is cut into 1,024 buckets. Recording is a shift and an increment.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace millrace::apps {

class Histogram {
 public:
  /// Greatest value that is told apart (about 73 minutes in nanoseconds); greater ones count as this.
  static constexpr uint64_t kMaxValue = (uint64_t{1} << 42) - 1;

  Histogram() : counts_(index_of(kMaxValue) + 1) {}

  void record(uint64_t value) { record_n(value, 1); }
  void record_n(uint64_t value, uint64_t times) {
    if (times == 0) return;
    value = std::min(value, kMaxValue);
    counts_[index_of(value)] += times;
    count_ += times;
    sum_ += static_cast<double>(value) * static_cast<double>(times);
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }

  void merge(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
  }

  void reset() { *this = Histogram(); }

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  /// The least recorded value (to bucket precision, never above max()) that `percent` of all values do not exceed.
  [[nodiscard]] uint64_t percentile(double percent) const {
    if (count_ == 0) return 0;
    const double share = std::clamp(percent, 0.0, 100.0) / 100.0;
    // Rounding noise of the product must not push an exact rank to the next one.
    const double rank = std::ceil(share * static_cast<double>(count_) - 1e-6);
    const uint64_t wanted = std::max<uint64_t>(1, static_cast<uint64_t>(rank));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(highest_of(i), max_);
    }
    return max_;
  }

  /// Bucket of a value, at most kMaxValue.
  static constexpr size_t index_of(uint64_t value) {
    if (value < 2 * kHalf) return value;
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - (kHalfLog2 + 1);
    return size_t{shift} * kHalf + (value >> shift);
  }
  /// Greatest value of a bucket.
  static constexpr uint64_t highest_of(size_t index) {
    if (index < 2 * kHalf) return index;
    const size_t shift = index / kHalf - 1;
    return ((index - shift * kHalf + 1) << shift) - 1;
  }

 private:
  static constexpr unsigned kHalfLog2 = 10;
  static constexpr uint64_t kHalf = 1u << kHalfLog2;

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t min_ = UINT64_MAX;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace millrace::apps
