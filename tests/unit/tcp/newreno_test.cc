// NewReno against the numbers of RFC 5681 and RFC 3465.
#include <gtest/gtest.h>

#include "cc_control.h"

namespace millrace::tcp::cc {
namespace {

TEST(NewReno, SlowStartAddsWhatIsAcknowledgedUpToTwoSegments) {  // RFC 3465 2.2, L = 2
  Controlled c(newreno);
  c.ack(500);
  EXPECT_EQ(c.cwnd, 10'500u);
  c.ack(9'000);
  EXPECT_EQ(c.cwnd, 12'500u);
}

TEST(NewReno, CongestionAvoidanceAddsASegmentPerWindow) {  // RFC 5681 (3)
  Controlled c(newreno);
  c.ssthresh = 5'000;
  for (int i = 0; i < 9; ++i) c.ack(1'000);
  EXPECT_EQ(c.cwnd, 10'000u);
  c.ack(1'000);
  EXPECT_EQ(c.cwnd, 11'000u);
}

TEST(NewReno, LossHalvesTheFlightAndNeverBelowTwoSegments) {  // RFC 5681 (4)
  Controlled c(newreno);
  c.loss(8'000);
  EXPECT_EQ(c.cwnd, 4'000u);
  EXPECT_EQ(c.ssthresh, 4'000u);
  c.loss(1'000);
  EXPECT_EQ(c.cwnd, 2'000u);
}

TEST(NewReno, WhatWasSentBeyondTheWindowDoesNotCount) {  // RFC 5681 3.2 step 2
  Controlled c(newreno);
  c.loss(12'000);
  EXPECT_EQ(c.ssthresh, 5'000u);
}

TEST(NewReno, TimeoutLeavesOneSegmentAndHalfTheFlightAsThreshold) {  // RFC 5681 3.1
  Controlled c(newreno);
  c.timeout(8'000);
  EXPECT_EQ(c.cwnd, 1'000u);
  EXPECT_EQ(c.ssthresh, 4'000u);
}

}  // namespace
}  // namespace millrace::tcp::cc
