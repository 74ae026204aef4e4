// The simulator's ledger notices a packet that is counted once too often, or not at all.
#include <gtest/gtest.h>

#include "sim/world.h"
#include "stack/impl.h"

namespace millrace::sim {
namespace {

std::string failure_with(tcp::Counter miscounted) {
  World world(Plan::from_seed(1), {});
  if (miscounted != tcp::Counter::kSegmentsOut) world.host(0).worker(0).impl().tcp.count(miscounted);
  return world.run().failure;
}

TEST(Ledger, HoldsWhenNothingIsMiscounted) { EXPECT_EQ(failure_with(tcp::Counter::kSegmentsOut), ""); }

TEST(Ledger, NoticesASegmentDroppedTwice) {
  EXPECT_NE(failure_with(tcp::Counter::kDropWindow).find("were taken or dropped"), std::string::npos);
}

TEST(Ledger, NoticesASegmentThatWasNeitherTakenNorDropped) {
  EXPECT_NE(failure_with(tcp::Counter::kSegmentsIn).find("were taken or dropped"), std::string::npos);
}

TEST(Ledger, NoticesAFrameThatNeverReachedTcp) {
  EXPECT_NE(failure_with(tcp::Counter::kDropChecksum).find("frames came in"), std::string::npos);
}

// Fragments meet at one worker, the whole datagram goes to another, and no frame is lost from the books (checked at the
// end of every run).
TEST(Ledger, HoldsWhereDatagramsAreCutAndPutTogetherAmongWorkers) {
  for (const uint32_t workers : {1u, 4u}) {
    uint64_t answered = 0;
    uint64_t reassembled = 0;
    uint64_t handed_over = 0;
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      Plan plan = Plan::from_seed(seed, workers);
      for (DatagramPlan& d : plan.datagrams) {
        d = {};
        d.count = 200;
        d.largest = 12'000;
        d.key = seed;
        d.interval = milliseconds(1);
        d.v6 = seed % 2 == 0;
      }
      const Outcome outcome = World(plan, {}).run();
      EXPECT_EQ(outcome.failure, "") << "seed " << seed << ", workers " << workers;
      answered += outcome.datagrams_answered;
      reassembled += outcome.reassembled;
      handed_over += outcome.handed_over_whole;
    }
    EXPECT_GT(answered, 100u);
    EXPECT_GT(reassembled, answered);  // most are larger than the MTU, both ways
    EXPECT_EQ(handed_over > 0, workers > 1);
  }
}

}  // namespace
}  // namespace millrace::sim
