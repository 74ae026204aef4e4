// Duplicate detection and defence of one address, on a virtual clock.
#include "autoconf/guard.h"

#include <gtest/gtest.h>

namespace millrace::autoconf {
namespace {

constexpr GuardStep kProbeStep{GuardSend::kProbe};
constexpr GuardStep kAnnounceStep{GuardSend::kAnnounce};
constexpr GuardStep kPassedStep{GuardSend::kAnnounce, true};
constexpr GuardStep kLostStep{GuardSend::kNone, false, true};

class GuardTest : public ::testing::Test {
 protected:
  GuardStep next() {
    now_ = guard_.deadline();
    return guard_.tick(now_, rng_);
  }
  void settle_v4() {
    guard_.start(kAcdTiming, true, now_, rng_);
    for (int i = 0; i < 5; ++i) (void)next();
    ASSERT_EQ(guard_.state(), Guard::State::kSettled);
  }

  base::Rng rng_{1};
  Instant now_{seconds(5).ns()};
  Guard guard_;
};

// RFC 4862 5.4: one probe, one second without an answer.
TEST_F(GuardTest, Ipv6ProbesOnceAndPassesASecondLater) {
  guard_.start(kDadTiming, true, now_, rng_);
  EXPECT_TRUE(guard_.testing());
  const Instant began = now_;
  EXPECT_EQ(next(), kProbeStep);
  EXPECT_EQ(now_, began);
  EXPECT_EQ(next(), kPassedStep);
  EXPECT_EQ(now_ - began, seconds(1));
  EXPECT_EQ(guard_.state(), Guard::State::kSettled);
  EXPECT_EQ(guard_.deadline(), kNever);
}

// RFC 4862 5.1: RetransTimer is what routers say of the link.
TEST_F(GuardTest, Ipv6WaitsForTheRetransTimerOfTheLinkAndIpv4DoesNot) {
  guard_.start(kDadTiming, true, now_, rng_);
  const Instant began = now_;
  EXPECT_EQ(guard_.tick(now_, rng_, milliseconds(3'500)), kProbeStep);
  EXPECT_EQ(guard_.deadline() - began, milliseconds(3'500));
  guard_.start(kAcdTiming, true, now_, rng_);
  EXPECT_EQ(guard_.tick(now_, rng_, milliseconds(3'500)), kProbeStep);
  EXPECT_LE(guard_.deadline() - now_, seconds(2));
}

// RFC 4862 5.4.2: a random delay of up to a second in front of the first message.
TEST_F(GuardTest, FirstProbeWaitsForARandomTime) {
  Duration least = seconds(9);
  Duration most{};
  for (int i = 0; i < 200; ++i) {
    guard_.start(kDadTiming, false, now_, rng_);
    least = std::min(least, guard_.deadline() - now_);
    most = std::max(most, guard_.deadline() - now_);
  }
  EXPECT_LT(least, milliseconds(100));
  EXPECT_GT(most, milliseconds(900));
  EXPECT_LE(most, seconds(1));
}

// RFC 5227 2.1.1, 2.3: three probes one to two seconds apart, two seconds, two announcements two seconds apart.
TEST_F(GuardTest, Ipv4ProbesThreeTimesAndAnnouncesTwice) {
  guard_.start(kAcdTiming, true, now_, rng_);
  EXPECT_EQ(next(), kProbeStep);
  for (int i = 0; i < 2; ++i) {
    const Instant before = now_;
    EXPECT_EQ(next(), kProbeStep);
    EXPECT_GE(now_ - before, seconds(1));
    EXPECT_LE(now_ - before, seconds(2));
  }
  Instant before = now_;
  EXPECT_EQ(next(), kPassedStep);
  EXPECT_EQ(now_ - before, seconds(2));
  before = now_;
  EXPECT_EQ(next(), kAnnounceStep);
  EXPECT_EQ(now_ - before, seconds(2));
  EXPECT_EQ(guard_.deadline(), kNever);
}

TEST_F(GuardTest, ConflictDuringTheTestLosesTheAddress) {
  for (const GuardTiming* timing : {&kDadTiming, &kAcdTiming}) {
    guard_.start(*timing, true, now_, rng_);
    (void)next();
    EXPECT_EQ(guard_.conflict(Defence::kKeep, now_), kLostStep);
    EXPECT_EQ(guard_.state(), Guard::State::kLost);
    EXPECT_EQ(guard_.deadline(), kNever);
    EXPECT_EQ(guard_.conflict(Defence::kKeep, now_), GuardStep{});
  }
}

// RFC 5227 2.4 b: defended once; a second conflict within ten seconds gives the address up.
TEST_F(GuardTest, SecondConflictWithinTenSecondsGivesTheAddressUp) {
  settle_v4();
  EXPECT_EQ(guard_.conflict(Defence::kGiveUp, now_), kAnnounceStep);
  EXPECT_EQ(guard_.conflict(Defence::kGiveUp, now_ + seconds(10)), kAnnounceStep) << "ten seconds later is a new one";
  EXPECT_EQ(guard_.conflict(Defence::kGiveUp, now_ + seconds(19)), kLostStep);
}

// RFC 5227 2.4 c: kept for ever, with at most one defence in ten seconds.
TEST_F(GuardTest, KeptAddressIsDefendedAtMostOnceInTenSeconds) {
  settle_v4();
  int defences = 0;
  for (int ms = 0; ms < 100'000; ms += 100) {
    const GuardStep step = guard_.conflict(Defence::kKeep, now_ + milliseconds(ms));
    EXPECT_FALSE(step.lost);
    defences += step.send == GuardSend::kAnnounce ? 1 : 0;
  }
  EXPECT_EQ(defences, 10);
}

TEST_F(GuardTest, Ipv6AddressThatPassedIsNotGivenUp) {
  guard_.settle(kDadTiming);
  EXPECT_EQ(guard_.conflict(Defence::kGiveUp, now_), GuardStep{});
  EXPECT_EQ(guard_.conflict(Defence::kGiveUp, now_), GuardStep{});
}

}  // namespace
}  // namespace millrace::autoconf
