// Unit tests of the latency histogram.
#include "common/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace millrace::apps {
namespace {

TEST(Histogram, AnEmptyOneAnswersZero) {
  Histogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.percentile(50), 0u);
  EXPECT_EQ(h.min(), 0u);
  EXPECT_EQ(h.max(), 0u);
  EXPECT_EQ(h.mean(), 0.0);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (uint64_t v = 1; v <= 1000; ++v) h.record(v);
  EXPECT_EQ(h.percentile(50), 500u);
  EXPECT_EQ(h.percentile(99), 990u);
  EXPECT_EQ(h.percentile(99.9), 999u);
  EXPECT_EQ(h.percentile(100), 1000u);
  EXPECT_EQ(h.percentile(0), 1u);
  EXPECT_EQ(h.min(), 1u);
  EXPECT_DOUBLE_EQ(h.mean(), 500.5);
}

TEST(Histogram, BucketsFollowEachOtherWithoutGapOrOverlap) {
  for (size_t i = 0; i + 1 < Histogram::index_of(Histogram::kMaxValue); ++i) {
    const uint64_t high = Histogram::highest_of(i);
    ASSERT_EQ(Histogram::index_of(high), i);
    ASSERT_EQ(Histogram::index_of(high + 1), i + 1) << "above " << high;
  }
}

TEST(Histogram, ABucketIsNarrowerThanAThousandthOfItsValue) {
  for (size_t i = 2048; i < Histogram::index_of(Histogram::kMaxValue); ++i) {
    const uint64_t low = Histogram::highest_of(i - 1) + 1;
    const uint64_t width = Histogram::highest_of(i) - low + 1;
    ASSERT_LE(width * 1000, low) << "bucket " << i;
  }
}

TEST(Histogram, PercentilesOfRandomValuesAreWithinAThousandthOfTheSortedOnes) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(11, 2);
  Histogram h;
  std::vector<uint64_t> all;
  for (int i = 0; i < 20'000; ++i) {
    all.push_back(static_cast<uint64_t>(latency(random)));
    h.record(all.back());
  }
  std::sort(all.begin(), all.end());
  for (const double p : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const auto exact = static_cast<double>(all[static_cast<size_t>(std::ceil(p / 100 * 20'000 - 1e-6)) - 1]);
    EXPECT_NEAR(static_cast<double>(h.percentile(p)), exact, exact / 1000 + 1) << "p" << p;
  }
  EXPECT_EQ(h.max(), all.back());
}

TEST(Histogram, ValuesBeyondTheRangeCountAsTheGreatest) {
  Histogram h;
  h.record(UINT64_MAX);
  EXPECT_EQ(h.max(), Histogram::kMaxValue);
  EXPECT_EQ(h.percentile(50), Histogram::kMaxValue);
}

TEST(Histogram, MergeEqualsRecordingEverythingInOne) {
  Histogram a, b, both;
  for (uint64_t v = 1; v < 100'000; v += 37) {
    ((v % 2) != 0 ? a : b).record_n(v, v % 5);
    both.record_n(v, v % 5);
  }
  a.merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.min(), both.min());
  EXPECT_EQ(a.max(), both.max());
  for (double p = 0; p <= 100; p += 0.5) EXPECT_EQ(a.percentile(p), both.percentile(p));
}

TEST(Histogram, ResetForgetsEverything) {
  Histogram h;
  h.record(5000);
  h.reset();
  EXPECT_EQ(h.count(), 0u);
  h.record(3);
  EXPECT_EQ(h.percentile(100), 3u);
  EXPECT_EQ(h.min(), 3u);
}

}  // namespace
}  // namespace millrace::apps
