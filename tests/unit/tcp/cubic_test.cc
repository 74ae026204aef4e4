// CUBIC against RFC 9438: the curve recomputed with floating point, the Reno-friendly region, fast convergence,
// timeouts, undo, time without data; and HyStart++ (RFC 9406).
#include <gtest/gtest.h>

#include <cmath>

#include "cc_control.h"
#include "tcp/cc/cubic_math.h"

namespace millrace::tcp::cc {
namespace {

constexpr uint32_t kMss = Controlled::kMss;

/// A round trip in which the whole window is acknowledged, segment by segment, evenly over the time.
void round_trip(Controlled& c, int64_t rtt_ms, uint32_t rtt_us = 0) {
  c.srtt_us = static_cast<uint32_t>(rtt_ms * 1'000);
  const uint32_t segments = c.cwnd / kMss;
  const Instant start = c.now;
  for (uint32_t i = 1; i <= segments; ++i) {
    c.now = start + microseconds(rtt_ms * 1'000 * i / segments);
    c.ack(kMss, rtt_us);
  }
}

/// A connection with this window that just lost a segment and recovered.
Controlled after_loss(uint32_t cwnd) {
  Controlled c(cubic);
  c.cwnd = cwnd;
  c.ssthresh = cwnd;
  c.loss(cwnd);
  c.recovered();
  return c;
}

TEST(CubicMath, CubeRootIsTheWholePart) {
  for (uint64_t x : {0ULL, 1ULL, 7ULL, 8ULL, 26ULL, 27ULL, 999'999ULL, 1'000'000ULL, 2'684'354'560'000'000'000ULL}) {
    const uint64_t r = cube_root(x);
    EXPECT_LE(r * r * r, x);
    EXPECT_GT((r + 1) * (r + 1) * (r + 1), x);
  }
}

TEST(CubicMath, CurveAndItsTimeAgreeWithFloatingPoint) {  // RFC 9438 4.2
  for (const uint32_t w_max : {20'000u, 1'000'000u, 800'000'000u}) {
    const double k = std::cbrt(w_max * 0.3 / kMss / 0.4);
    EXPECT_NEAR(cubic_k_ms(static_cast<uint32_t>(w_max * 0.3), kMss), k * 1'000, 1.5);
    for (const double t : {-3.0, -0.5, 0.0, 0.25, 2.0, 9.0}) {
      const double expected = std::min(std::max(0.0, w_max + 0.4 * t * t * t * kMss), double{kLargestWindow});
      EXPECT_NEAR(cubic_window(w_max, static_cast<int64_t>(t * 1'000), kMss), expected, 1.0);
    }
  }
}

TEST(Cubic, LossKeepsSevenTenthsOfTheWindow) {  // RFC 9438 4.6
  const Controlled c = after_loss(1'000'000);
  EXPECT_EQ(c.cwnd, 700'000u);
  EXPECT_EQ(c.ssthresh, 700'000u);
}

TEST(Cubic, FollowsTheCurveBackToWhereTheLossWasAndBeyond) {  // RFC 9438 4.2, 4.4, 4.5
  Controlled c = after_loss(1'000'000);                       // 1,000 segments: K = cbrt(300 / 0.4) = 9.09 s
  const Instant start = c.now;
  for (int i = 0; i < 140; ++i) {
    round_trip(c, 100);
    const double t = static_cast<double>((c.now - start).ns()) / 1e9;
    const double k = std::cbrt(300 / 0.4);
    const double expected = 1'000'000 + 0.4 * std::pow(t - k, 3) * kMss;
    // The window goes for where the curve will be a round trip later, and the first round trip starts the clock.
    const double before = 1'000'000 + 0.4 * std::pow(t - 0.2 - k, 3) * kMss;
    const double after = 1'000'000 + 0.4 * std::pow(t + 0.1 - k, 3) * kMss;
    ASSERT_GE(c.cwnd, before - 2 * kMss) << "after " << t << " s; the curve is at " << expected;
    ASSERT_LE(c.cwnd, after + 2 * kMss) << "after " << t << " s";
  }
  EXPECT_GT(c.cwnd, 1'030'000u);
}

TEST(Cubic, GrowsAtMostByHalfInARoundTrip) {  // RFC 9438 4.2: target
  Controlled c = after_loss(100'000);
  c.ack(kMss);
  c.srtt_us = 100'000;
  c.now = c.now + milliseconds(190);
  for (int i = 0; i < 100; ++i) {  // far beyond the curve's flat part, without a pause
    c.now = c.now + milliseconds(150);
    const uint32_t before = c.cwnd;
    for (uint32_t acked = 0; acked < before; acked += kMss) c.ack(kMss);
    ASSERT_LE(c.cwnd, before + before * 2 / 3);  // half of a window that grows meanwhile: e^0.5
  }
}

TEST(Cubic, IsAsFastAsRenoWithItsFactorOnShortPaths) {  // RFC 9438 4.3
  Controlled c = after_loss(20'000);  // the curve would take 2.5 s to be back; Reno's way takes a twentieth
  ASSERT_EQ(c.cwnd, 14'000u);
  for (int i = 0; i < 40; ++i) round_trip(c, 1);
  // alpha = 9/17 of a segment a round until the window before the loss (12 rounds), a whole one from then on.
  EXPECT_NEAR(c.cwnd, 20'000 + (40 - 12) * 1'000, 2'000);
}

TEST(Cubic, ReleasesRoomWhenItsWindowShrinksFromLossToLoss) {  // RFC 9438 4.7 fast convergence
  Controlled two = after_loss(1'000'000);
  two.loss(700'000);  // below the last w_max
  two.recovered();
  EXPECT_EQ(two.cwnd, 490'000u);
  // Its curve is flat around 0.85 of 700,000 now: after K = cbrt(105 / 0.4) = 6.4 s it stands there.
  for (int i = 0; i < 66; ++i) round_trip(two, 100);
  EXPECT_NEAR(two.cwnd, 595'000, 3'000);
}

TEST(Cubic, ATimeoutLeavesOneSegmentAndAFlatCurveAfterwards) {  // RFC 9438 4.8
  Controlled c(cubic);
  c.cwnd = 1'000'000;
  c.ssthresh = 1'000'000;
  c.timeout(1'000'000);
  EXPECT_EQ(c.cwnd, 1'000u);
  EXPECT_EQ(c.ssthresh, 700'000u);
  while (c.cwnd < c.ssthresh) c.ack(c.cwnd);
  const uint32_t begin = c.cwnd;
  for (int i = 0; i < 100; ++i) round_trip(c, 100);
  // K = 0: 10 s later 0.4 * 1,000 segments.
  EXPECT_NEAR(c.cwnd, begin + 400'000, 15'000);
}

TEST(Cubic, UndoBringsTheCurveBackToo) {  // RFC 9438 4.9.2
  Controlled c = after_loss(1'000'000);
  for (int i = 0; i < 40; ++i) round_trip(c, 100);
  Controlled same = c;
  const uint32_t cwnd = c.cwnd;
  const uint32_t ssthresh = c.ssthresh;
  c.loss(cwnd);
  c.ops.undo(c.control(), {c.now, cwnd, ssthresh});
  for (int i = 0; i < 20; ++i) {
    round_trip(c, 100);
    round_trip(same, 100);
  }
  EXPECT_NEAR(c.cwnd, same.cwnd, 2'000);
}

TEST(Cubic, TimeWithoutDataDoesNotMoveItAlongTheCurve) {  // RFC 9438 5.8
  Controlled c = after_loss(1'000'000);
  for (int i = 0; i < 20; ++i) round_trip(c, 100);
  Controlled busy = c;
  c.now = c.now + seconds(30);
  for (int i = 0; i < 20; ++i) {
    round_trip(c, 100);
    round_trip(busy, 100);
  }
  EXPECT_NEAR(c.cwnd, busy.cwnd, 5'000);
}

TEST(Cubic, MarksBringItDownToOneSegment) {  // RFC 9438 4.6
  Controlled c = after_loss(4'000);
  for (int i = 0; i < 8; ++i) c.ops.congested(c.control(), {c.now, c.cwnd});
  EXPECT_EQ(c.cwnd, kMss);
  EXPECT_EQ(c.ssthresh, 2 * kMss);
}

TEST(HyStart, SlowStartDoublesWhileTheDelayStaysTheSame) {  // RFC 9406 4.2
  Controlled c(cubic);
  for (int i = 0; i < 5; ++i) round_trip(c, 50, 50'000);
  EXPECT_EQ(c.cwnd, 320'000u);
  EXPECT_EQ(c.ssthresh, UINT32_MAX);
}

TEST(HyStart, ALongerRoundSlowsGrowthToAQuarterAndEndsSlowStartFiveRoundsLater) {  // RFC 9406 4.2
  Controlled c(cubic);
  for (int i = 0; i < 3; ++i) round_trip(c, 50, 50'000);
  ASSERT_EQ(c.cwnd, 80'000u);
  round_trip(c, 57, 57'000);  // an eighth more is 56.25 ms
  const uint32_t slow = c.cwnd;
  EXPECT_LT(slow, 110'000u);
  round_trip(c, 57, 57'000);
  EXPECT_NEAR(c.cwnd, slow * 1.25, 2'000);
  for (int i = 0; i < 5 && c.ssthresh == UINT32_MAX; ++i) round_trip(c, 57, 57'000);
  EXPECT_NE(c.ssthresh, UINT32_MAX) << "congestion avoidance after CSS_ROUNDS";
}

TEST(HyStart, GoesBackToDoublingWhenTheDelayWasAPassingOne) {  // RFC 9406 4.2
  Controlled c(cubic);
  for (int i = 0; i < 3; ++i) round_trip(c, 50, 50'000);
  round_trip(c, 60, 60'000);
  round_trip(c, 50, 50'000);  // shorter than the round that slowed it
  const uint32_t before = c.cwnd;
  round_trip(c, 50, 50'000);
  EXPECT_EQ(c.cwnd, before + before / kMss * kMss);
  EXPECT_EQ(c.ssthresh, UINT32_MAX);
}

TEST(HyStart, IsOnlyForTheFirstSlowStart) {  // RFC 9406 4.3
  Controlled c(cubic);
  for (int i = 0; i < 3; ++i) round_trip(c, 50, 50'000);
  c.timeout(80'000);
  while (c.cwnd < 16'000) round_trip(c, 50, 50'000);
  const uint32_t before = c.cwnd;
  round_trip(c, 80, 80'000);
  EXPECT_EQ(c.cwnd, 2 * before);
}

}  // namespace
}  // namespace millrace::tcp::cc
