// DCTCP against the sums of RFC 8257 3.3, worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "cc_control.h"

namespace millrace::tcp::cc {
namespace {

/// `windows` windows of ten segments in congestion avoidance, the first `marked` segments of each echoed.
void windows(Controlled& c, int windows, int marked) {
  for (int w = 0; w < windows; ++w) {
    const uint32_t segments = c.cwnd / Controlled::kMss;
    for (uint32_t i = 0; i < segments; ++i) {
      c.echo = i < static_cast<uint32_t>(marked);
      c.ack(Controlled::kMss);
    }
  }
  c.echo = false;
}

TEST(Dctcp, TheFirstMarkHalvesTheWindow) {  // RFC 8257 3.3: alpha = 1 at the start
  Controlled c(dctcp);
  c.ops.congested(c.control(), {c.now, 10'000});
  EXPECT_EQ(c.cwnd, 5'000u);
  EXPECT_EQ(c.ssthresh, 5'000u);
}

TEST(Dctcp, WithoutMarksTheShareFallsByASixteenthAWindow) {  // RFC 8257 3.3, g = 1/16
  Controlled c(dctcp);
  c.cwnd = c.ssthresh = 100'000;
  windows(c, 17, 0);  // sixteen are complete
  const uint32_t cwnd = c.cwnd;
  c.ops.congested(c.control(), {c.now, cwnd});
  const double alpha = std::pow(15.0 / 16, 16);
  EXPECT_NEAR(c.cwnd, cwnd * (1 - alpha / 2), 0.02 * cwnd);
}

TEST(Dctcp, AWindowShrinksByHalfTheShareOfMarkedBytes) {
  Controlled c(dctcp);
  c.cwnd = c.ssthresh = 100'000;
  for (int i = 0; i < 120; ++i) windows(c, 1, static_cast<int>(c.cwnd / 1'000 / 5));  // a fifth, for long
  const uint32_t cwnd = c.cwnd;
  c.ops.congested(c.control(), {c.now, cwnd});
  EXPECT_NEAR(c.cwnd, cwnd * 0.9, 0.01 * cwnd);
}

TEST(Dctcp, LossIsAnsweredAsByReno) {  // RFC 8257 3.5
  Controlled c(dctcp);
  c.loss(8'000);
  EXPECT_EQ(c.cwnd, 4'000u);
}

}  // namespace
}  // namespace millrace::tcp::cc
