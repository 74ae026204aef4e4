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

}  // namespace
}  // namespace millrace::sim
