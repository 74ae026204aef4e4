// The reachability state machine, event by event (RFC 4861 7.2.5, 7.3 and appendix C).
#include "neigh/reachability.h"

#include <gtest/gtest.h>

namespace millrace::neigh {
namespace {

constexpr MacAddr kMacA{{2, 0, 0, 0, 0, 0xa}};
constexpr MacAddr kMacB{{2, 0, 0, 0, 0, 0xb}};
constexpr Duration kReachable = seconds(30);
constexpr Timing kTiming{};
constexpr Instant kStart{1'000'000'000};
constexpr Step kNothing{};

class ReachabilityTest : public ::testing::Test {
 protected:
  // Moves to the next deadline and says what happens there.
  Step tick() {
    now_ = r_.deadline();
    return r_.tick(now_, kTiming);
  }
  Step use() { return r_.use(now_, kTiming); }
  Step advert(std::optional<MacAddr> mac, bool solicited, bool override_flag, bool router = false) {
    return r_.hear_advert({mac, solicited, override_flag, router}, now_, kReachable);
  }
  void reach() {
    use();
    advert(kMacA, true, true);
    ASSERT_EQ(r_.state(), State::kReachable);
  }
  void stale() {
    reach();
    tick();
    ASSERT_EQ(r_.state(), State::kStale);
  }

  Reachability r_;
  Instant now_ = kStart;
};

TEST_F(ReachabilityTest, FirstUseSolicitsByMulticast) {
  EXPECT_EQ(use(), Step{.send = Solicit::kMulticast});
  EXPECT_EQ(r_.state(), State::kIncomplete);
  EXPECT_FALSE(r_.has_mac());
}

TEST_F(ReachabilityTest, FurtherUseWhileIncompleteSendsNothing) {
  use();
  EXPECT_EQ(use(), kNothing);
}

TEST_F(ReachabilityTest, GivesUpAfterThreeSolicitationsOneSecondApart) {
  use();
  EXPECT_EQ(r_.deadline(), kStart + seconds(1));
  EXPECT_EQ(tick(), Step{.send = Solicit::kMulticast});
  EXPECT_EQ(tick(), Step{.send = Solicit::kMulticast});
  EXPECT_EQ(r_.deadline(), kStart + seconds(3));
  EXPECT_EQ(tick(), Step{.failed = true});
  EXPECT_EQ(r_.state(), State::kFailed);
  EXPECT_EQ(r_.deadline(), kNever);
}

TEST_F(ReachabilityTest, AFailedNeighbourIsTriedAgainOnUse) {
  use();
  tick(), tick(), tick();
  EXPECT_EQ(use(), Step{.send = Solicit::kMulticast});
  EXPECT_EQ(tick(), Step{.send = Solicit::kMulticast});
}

TEST_F(ReachabilityTest, TickBeforeTheDeadlineDoesNothing) {
  use();
  EXPECT_EQ(r_.tick(now_ + milliseconds(999), kTiming), kNothing);
  EXPECT_EQ(r_.state(), State::kIncomplete);
}

TEST_F(ReachabilityTest, SolicitedAdvertResolves) {
  use();
  EXPECT_EQ(advert(kMacA, true, false, true), Step{.resolved = true});
  EXPECT_EQ(r_.state(), State::kReachable);
  EXPECT_EQ(r_.mac(), kMacA);
  EXPECT_TRUE(r_.is_router());
  EXPECT_EQ(r_.deadline(), now_ + kReachable);
}

TEST_F(ReachabilityTest, UnsolicitedAdvertResolvesToStale) {
  use();
  EXPECT_EQ(advert(kMacA, false, false), Step{.resolved = true});
  EXPECT_EQ(r_.state(), State::kStale);
}

TEST_F(ReachabilityTest, AdvertWithoutAddressDoesNotResolve) {
  use();
  EXPECT_EQ(advert(std::nullopt, true, true), kNothing);
  EXPECT_EQ(r_.state(), State::kIncomplete);
}

TEST_F(ReachabilityTest, AdvertForAnUnknownNeighbourIsIgnored) {
  EXPECT_EQ(advert(kMacA, true, true), kNothing);
  EXPECT_EQ(r_.state(), State::kFailed);
}

TEST_F(ReachabilityTest, ReachableBecomesStaleAndThenDelayOnUse) {
  stale();
  EXPECT_EQ(r_.deadline(), kNever);
  EXPECT_EQ(use(), kNothing);
  EXPECT_EQ(r_.state(), State::kDelay);
  EXPECT_EQ(r_.deadline(), now_ + seconds(5));
  EXPECT_TRUE(r_.has_mac());
}

TEST_F(ReachabilityTest, DelayEndsInUnicastProbesAndFailure) {
  stale();
  use();
  EXPECT_EQ(tick(), Step{.send = Solicit::kUnicast});
  EXPECT_EQ(r_.state(), State::kProbe);
  const Instant first = now_;
  EXPECT_EQ(tick(), Step{.send = Solicit::kUnicast});
  EXPECT_EQ(tick(), Step{.send = Solicit::kUnicast});
  EXPECT_TRUE(r_.has_mac());
  EXPECT_EQ(tick(), Step{.failed = true});
  EXPECT_EQ(now_, first + seconds(3));
}

TEST_F(ReachabilityTest, ConfirmationEndsDelayAndProbe) {
  stale();
  use();
  r_.confirm(now_, kReachable);
  EXPECT_EQ(r_.state(), State::kReachable);
  tick();
  use();
  tick();
  ASSERT_EQ(r_.state(), State::kProbe);
  EXPECT_EQ(advert(kMacA, true, false), kNothing);
  EXPECT_EQ(r_.state(), State::kReachable);
}

TEST_F(ReachabilityTest, DoubtAsksAtOnceWhereThereIsAnAddress) {  // RFC 1122 3.3.1.4
  r_.suspect(now_);
  EXPECT_EQ(r_.state(), State::kFailed);
  stale();
  r_.suspect(now_);
  EXPECT_EQ(r_.state(), State::kDelay);
  EXPECT_EQ(r_.deadline(), now_);
  EXPECT_EQ(tick(), Step{.send = Solicit::kUnicast});
  r_.suspect(now_);
  EXPECT_EQ(r_.state(), State::kProbe);
  r_.confirm(now_, kReachable);
  r_.suspect(now_);
  EXPECT_EQ(tick(), Step{.send = Solicit::kUnicast});
  r_.set_static(kMacA);
  r_.suspect(now_);
  EXPECT_EQ(r_.state(), State::kStatic);
}

TEST_F(ReachabilityTest, ConfirmationNeedsAnAddress) {
  r_.confirm(now_, kReachable);
  EXPECT_EQ(r_.state(), State::kFailed);
  use();
  r_.confirm(now_, kReachable);
  EXPECT_EQ(r_.state(), State::kIncomplete);
}

// RFC 4861 7.2.5 I.
TEST_F(ReachabilityTest, OtherAddressWithoutOverrideCastsDoubtOnly) {
  reach();
  advert(kMacB, true, false);
  EXPECT_EQ(r_.mac(), kMacA);
  EXPECT_EQ(r_.state(), State::kStale);
  use();
  advert(kMacB, true, false);
  EXPECT_EQ(r_.state(), State::kDelay);
}

// RFC 4861 7.2.5 II.
TEST_F(ReachabilityTest, OverrideReplacesTheAddress) {
  reach();
  advert(kMacB, true, true);
  EXPECT_EQ(r_.mac(), kMacB);
  EXPECT_EQ(r_.state(), State::kReachable);
  advert(kMacA, false, true);
  EXPECT_EQ(r_.mac(), kMacA);
  EXPECT_EQ(r_.state(), State::kStale);
}

TEST_F(ReachabilityTest, UnsolicitedAdvertOfTheSameAddressChangesNothing) {
  reach();
  const Instant before = r_.deadline();
  now_ = now_ + seconds(2);
  advert(kMacA, false, true);
  EXPECT_EQ(r_.state(), State::kReachable);
  EXPECT_EQ(r_.deadline(), before);
}

TEST_F(ReachabilityTest, SourceOfASolicitationMakesStale) {
  EXPECT_EQ(r_.hear_source(kMacA), kNothing);
  EXPECT_EQ(r_.state(), State::kStale);
  EXPECT_EQ(r_.mac(), kMacA);
}

TEST_F(ReachabilityTest, SourceOfASolicitationResolvesAnIncompleteEntry) {
  use();
  EXPECT_EQ(r_.hear_source(kMacA), Step{.resolved = true});
  EXPECT_EQ(r_.state(), State::kStale);
  EXPECT_EQ(r_.deadline(), kNever);
}

TEST_F(ReachabilityTest, KnownSourceKeepsTheStateNewSourceMakesStale) {
  reach();
  r_.hear_source(kMacA);
  EXPECT_EQ(r_.state(), State::kReachable);
  r_.hear_source(kMacB);
  EXPECT_EQ(r_.state(), State::kStale);
  EXPECT_EQ(r_.mac(), kMacB);
}

TEST_F(ReachabilityTest, StaticEntriesIgnoreEveryEvent) {
  r_.set_static(kMacA);
  EXPECT_EQ(use(), kNothing);
  EXPECT_EQ(advert(kMacB, true, true), kNothing);
  EXPECT_EQ(r_.hear_source(kMacB), kNothing);
  r_.confirm(now_, kReachable);
  EXPECT_EQ(r_.state(), State::kStatic);
  EXPECT_EQ(r_.mac(), kMacA);
  EXPECT_EQ(r_.deadline(), kNever);
}

}  // namespace
}  // namespace millrace::neigh
