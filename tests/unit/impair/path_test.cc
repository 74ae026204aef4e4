// Whether a path's rates, delays and chances are those that were asked for.
#include "impair/path.h"

#include <gtest/gtest.h>

#include <array>

#include <algorithm>
#include <vector>

namespace millrace::impair {
namespace {

constexpr uint32_t percent(double x) { return static_cast<uint32_t>(x * kBillion / 100); }

TEST(Path, WithoutAnythingAFrameComesOutAtOnce) {
  Path path({}, 1);
  const Verdict v = path.send(Instant(5), 100);
  ASSERT_EQ(v.copies, 1);
  EXPECT_EQ(v.at[0], Instant(5));
  EXPECT_FALSE(v.mark);
}

TEST(Path, FramesLeaveTheBottleneckAtItsRateOverheadIncluded) {
  Path path({.bits_per_second = 100'000'000, .delay = milliseconds(10)}, 1);
  // 1,226 + 24 bytes take 100 us at 100 Mb/s.
  for (int i = 1; i <= 5; ++i) {
    const Verdict v = path.send(Instant(0), 1'226);
    ASSERT_EQ(v.copies, 1);
    EXPECT_EQ(v.at[0], Instant((milliseconds(10) + microseconds(100) * i).ns()));
  }
  // A frame that comes when the queue is empty again waits for nobody.
  const Instant later(milliseconds(3).ns());
  EXPECT_EQ(path.send(later, 1'226).at[0], later + milliseconds(10) + microseconds(100));
}

TEST(Path, TheQueueTakesAsManyBytesAsWereAskedForAndDropsTheRest) {
  Path path({.bits_per_second = 100'000'000, .queue_bytes = 12'500}, 1);
  int taken = 0;
  for (int i = 0; i < 100; ++i) taken += path.send(Instant(0), 1'226).copies;
  EXPECT_EQ(taken, 11);  // one on the wire, ten behind it
  EXPECT_EQ(path.stats().lost_in_queue, 89u);
  EXPECT_EQ(path.stats().deepest_queue, 13'750u);
  // Ten frames later there is room for ten.
  taken = 0;
  for (int i = 0; i < 100; ++i) taken += path.send(Instant(milliseconds(1).ns()), 1'226).copies;
  EXPECT_EQ(taken, 10);
}

TEST(Path, ALongQueueMarks) {  // RFC 3168 5
  Path path({.bits_per_second = 100'000'000, .mark_bytes = 2'500}, 1);
  std::array<bool, 5> marks{};
  for (bool& mark : marks) mark = path.send(Instant(0), 1'226).mark;
  EXPECT_EQ(marks, (std::array{false, false, false, true, true}));
  EXPECT_EQ(path.stats().marked, 2u);
}

TEST(Path, JitterSpreadsTheDelayEvenlyAndKeepsTheOrder) {
  Path path({.delay = milliseconds(20), .jitter = milliseconds(5)}, 3);
  // Frames further apart than the jitter: each shows its own delay.
  Instant now{};
  double sum = 0;
  int64_t low = INT64_MAX;
  int64_t high = 0;
  constexpr int kFrames = 20'000;
  for (int i = 0; i < kFrames; ++i) {
    now = now + milliseconds(11);
    const int64_t us = (path.send(now, 100).at[0] - now).us();
    sum += static_cast<double>(us);
    low = std::min(low, us);
    high = std::max(high, us);
  }
  EXPECT_NEAR(sum / kFrames, 20'000, 100);
  EXPECT_NEAR(static_cast<double>(low), 15'000, 10);
  EXPECT_NEAR(static_cast<double>(high), 25'000, 10);
  Instant latest{};
  for (int i = 0; i < kFrames; ++i) {
    now = now + microseconds(100);
    const Instant at = path.send(now, 100).at[0];
    EXPECT_GE(at, latest);
    latest = at;
  }
}

TEST(Path, LossIsIndependentAndAsFrequentAsAskedFor) {
  Path path({.loss = percent(3)}, 4);
  constexpr int kFrames = 200'000;
  int lost = 0;
  int pairs = 0;
  bool before = false;
  for (int i = 0; i < kFrames; ++i) {
    const bool is_lost = path.send(Instant(i), 100).fate == Fate::kLost;
    lost += is_lost ? 1 : 0;
    pairs += is_lost && before ? 1 : 0;
    before = is_lost;
  }
  EXPECT_NEAR(lost, 0.03 * kFrames, 0.0015 * kFrames);
  EXPECT_NEAR(pairs, 0.0009 * kFrames, 0.0003 * kFrames);
}

TEST(Path, BurstsHaveTheMeanLengthAndLoseTheShareThatWasAskedFor) {
  PathConfig config;
  config.set_bursts(percent(2), 8);
  Path path(config, 5);
  constexpr int kFrames = 1'000'000;
  int lost = 0;
  int runs = 0;
  bool before = false;
  for (int i = 0; i < kFrames; ++i) {
    const bool is_lost = path.send(Instant(i), 100).fate == Fate::kLostInBurst;
    lost += is_lost ? 1 : 0;
    runs += is_lost && !before ? 1 : 0;
    before = is_lost;
  }
  EXPECT_NEAR(lost, 0.02 * kFrames, 0.0015 * kFrames);
  EXPECT_NEAR(static_cast<double>(lost) / runs, 8, 0.5);
  EXPECT_EQ(path.stats().bursts, static_cast<uint64_t>(runs));
}

TEST(Path, HeldBackFramesAreOvertakenByAtMostTheTimeThatWasAskedFor) {
  Path path({.delay = milliseconds(1), .reorder = percent(10), .reorder_by = milliseconds(2)}, 6);
  constexpr int kFrames = 10'000;
  int overtaken = 0;
  Instant latest{};
  for (int i = 0; i < kFrames; ++i) {
    const Instant now(microseconds(100).ns() * i);
    const Instant at = path.send(now, 100).at[0];
    EXPECT_GE(at, now + milliseconds(1));
    EXPECT_LE(at, now + milliseconds(3));
    overtaken += at < latest ? 1 : 0;
    latest = std::max(latest, at);
  }
  EXPECT_NEAR(static_cast<double>(path.stats().reordered), 0.1 * kFrames, 0.01 * kFrames);
  EXPECT_GT(overtaken, 0);
}

TEST(Path, DuplicatesComeBehindTheirOriginals) {
  Path path({.delay = milliseconds(1), .duplicate = percent(50)}, 7);
  int twice = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Verdict v = path.send(Instant(i), 100);
    if (v.copies != 2) continue;
    ++twice;
    EXPECT_GE(v.at[1], v.at[0]);
  }
  EXPECT_NEAR(twice, 5'000, 200);
}

TEST(Path, TheSameSeedGivesTheSameFates) {
  const PathConfig config{.bits_per_second = 10'000'000,
                          .jitter = milliseconds(1),
                          .loss = percent(10),
                          .duplicate = percent(10),
                          .reorder = percent(10)};
  Path one(config, 8);
  Path same(config, 8);
  Path other(config, 9);
  int differences = 0;
  for (int i = 0; i < 1'000; ++i) {
    const Instant now(i * 1'000'000);
    const Verdict a = one.send(now, 500);
    const Verdict b = same.send(now, 500);
    const Verdict c = other.send(now, 500);
    EXPECT_EQ(a.fate, b.fate);
    EXPECT_EQ(a.at, b.at);
    differences += a.at != c.at ? 1 : 0;
  }
  EXPECT_GT(differences, 100);
}

}  // namespace
}  // namespace millrace::impair
