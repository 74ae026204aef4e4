// BBR version 3 alone: draft-ietf-ccwg-bbr 5. The path is a pipe of 10 MB/s and 100 ms that answers at once.
#include "tcp/cc/bbr.h"

#include <gtest/gtest.h>

#include "cc_control.h"

namespace millrace::tcp::cc {
namespace {

constexpr uint64_t kRate = 10'000'000;
constexpr uint32_t kRttUs = 100'000;
constexpr uint32_t kBdp = 1'000'000;

class BbrAlone : public ::testing::Test {
 protected:
  Controlled c{bbr};

  [[nodiscard]] Bbr::State& state() { return c.model.as<Bbr::State>(); }
  /// One round: a window is acknowledged, of which the path delivered `rate`.
  void round(uint64_t rate, bool app_limited = false, uint32_t flight = 0) {
    c.now = c.now + microseconds(kRttUs);
    const uint64_t before = c.model.delivered;
    c.model.delivered += kBdp;
    c.ops.sample(c.control(), {.now = c.now,
                               .rate = rate,
                               .prior_delivered = before,
                               .delivered = kBdp,
                               .sent_flight = kBdp,
                               .acked = kBdp,
                               .flight = flight,
                               .rtt_us = kRttUs,
                               .srtt_us = kRttUs,
                               .initial_window = 10'000,
                               .quantum = 2'000,
                               .app_limited = app_limited,
                               .selective = true});
  }
  void fill() {
    for (int i = 0; i < 4; ++i) round(kRate, false, 3 * kBdp);
  }
};

TEST_F(BbrAlone, StartupEndsAfterThreeRoundsWithoutMoreBandwidth) {  // 5.3.1.2
  for (uint64_t rate = kRate / 16; rate < kRate; rate *= 2) round(rate, false, 3 * kBdp);
  EXPECT_EQ(state().mode, Bbr::Mode::kStartup);
  fill();
  EXPECT_EQ(state().mode, Bbr::Mode::kDrain);
}

TEST_F(BbrAlone, AProgramThatHoldsBackDoesNotEndStartup) {  // 5.3.1.2
  for (int i = 0; i < 20; ++i) round(kRate, true, 3 * kBdp);
  EXPECT_EQ(state().mode, Bbr::Mode::kStartup);
}

TEST_F(BbrAlone, DrainEndsWhenTheFlightIsTheProduct) {  // 5.3.2
  fill();
  round(kRate, false, 2 * kBdp);
  EXPECT_EQ(state().mode, Bbr::Mode::kDrain);
  round(kRate, false, kBdp);
  EXPECT_NE(state().mode, Bbr::Mode::kDrain);
}

TEST_F(BbrAlone, ThePaceIsAHundredthBelowTheBandwidthWhileCruising) {  // 5.6.2
  fill();
  for (int i = 0; i < 10 && state().mode != Bbr::Mode::kCruise; ++i) round(kRate, false, kBdp / 2);
  ASSERT_EQ(state().mode, Bbr::Mode::kCruise);
  EXPECT_EQ(c.model.rate, kRate / 100 * 99);
  EXPECT_GE(c.cwnd, 2 * kBdp - kBdp / 10);
}

TEST_F(BbrAlone, ALossOutsideProbesLowersTheShortTermBounds) {  // 5.5.10.3
  fill();
  for (int i = 0; i < 10 && state().mode != Bbr::Mode::kCruise; ++i) round(kRate, false, kBdp / 2);
  for (int i = 0; i < 2; ++i) {  // the first of the rounds still delivered as before
    c.ops.lost(c.control(), {.now = c.now, .bytes = 1'000, .sent_flight = kBdp, .lost = 1'000, .known = true});
    round(kRate / 2, false, kBdp / 2);
  }
  EXPECT_LT(state().bw, kRate);
  EXPECT_GE(state().bw, kRate / 2);
}

TEST_F(BbrAlone, LooksForTheRoundTripAfterFiveSecondsAndComesBack) {  // 5.3.4.3
  fill();
  bool seen = false;
  for (int i = 0; i < 80; ++i) {
    round(kRate, false, 3'000);
    if (state().mode != Bbr::Mode::kProbeRtt) continue;
    seen = true;
    EXPECT_LE(c.cwnd, kBdp / 2);
  }
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace millrace::tcp::cc
