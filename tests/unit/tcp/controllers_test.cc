// What every row of the table of congestion controllers owes: a name, a window that shrinks on loss and comes back when
// the loss was none. A new row is covered by being there.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "cc_control.h"

namespace millrace::tcp::cc {
namespace {

class EveryController : public ::testing::TestWithParam<uint8_t> {
 protected:
  Controlled c{controller(GetParam())};
};

TEST_P(EveryController, IsFoundByItsName) {
  EXPECT_EQ(find_controller(c.ops.name), GetParam());
  EXPECT_STREQ(kNames[GetParam()], c.ops.name);
  EXPECT_LE(std::string(c.ops.name).size(), 15u);
}

TEST_P(EveryController, AnswersEveryEvent) {
  EXPECT_NE(c.ops.start, nullptr);
  EXPECT_NE(c.ops.ack, nullptr);
  EXPECT_NE(c.ops.loss, nullptr);
  EXPECT_NE(c.ops.timeout, nullptr);
  EXPECT_NE(c.ops.congested, nullptr);
  EXPECT_NE(c.ops.undo, nullptr);
  EXPECT_NE(c.ops.restart, nullptr);
  EXPECT_NE(c.ops.recovered, nullptr);
}

TEST_P(EveryController, ItsWantsAndItsOperationsAgree) {
  const bool models = (c.ops.wants & kWantsModel) != 0;
  EXPECT_EQ(c.ops.sample != nullptr, models);
  EXPECT_EQ(c.ops.lost != nullptr, models);
}

/// Rows that grow a window with acknowledgments and shrink it with losses.
class WindowController : public EveryController {};

std::vector<uint8_t> window_controllers() {
  std::vector<uint8_t> rows;
  for (uint8_t row = 0; row < kControllers; ++row) {
    if ((controller(row).wants & kWantsModel) == 0) rows.push_back(row);
  }
  return rows;
}

TEST_P(WindowController, StartsSlowlyUpToTwiceTheWindowARound) {  // RFC 5681 3.1
  for (int i = 0; i < 10; ++i) c.ack(1'000);
  EXPECT_EQ(c.cwnd, 20'000u);
}

TEST_P(EveryController, ATimeoutLeavesOneSegment) {  // RFC 5681 3.1
  c.timeout(8'000);
  EXPECT_EQ(c.cwnd, 1'000u);
}

TEST_P(WindowController, ATimeoutLowersSsthresh) {  // RFC 5681 3.1 (4)
  c.timeout(8'000);
  EXPECT_GE(c.ssthresh, 2'000u);
  EXPECT_LT(c.ssthresh, 8'000u);
}

TEST_P(EveryController, KeepsTwoSegmentsAfterALossOfLittle) {  // RFC 5681 3.1 (4)
  c.loss(1'000);
  EXPECT_GE(c.ssthresh, 2'000u);
  EXPECT_GE(c.cwnd, 2'000u);
}

TEST_P(WindowController, UndoGivesBackWhatALossTook) {  // RFC 4015
  c.cwnd = 50'000;
  c.ssthresh = 60'000;
  c.loss(50'000);
  ASSERT_LT(c.cwnd, 50'000u);
  c.ops.undo(c.control(), {c.now, 50'000, 60'000});
  EXPECT_EQ(c.cwnd, 50'000u);
  EXPECT_EQ(c.ssthresh, 60'000u);
}

TEST_P(WindowController, RestartsAnIdleConnectionWithTheInitialWindow) {  // RFC 5681 4.1
  c.cwnd = 80'000;
  c.ssthresh = 40'000;
  c.ops.restart(c.control(), {c.now, seconds(2), 10'000});
  EXPECT_EQ(c.cwnd, 10'000u);
  EXPECT_EQ(c.ssthresh, 60'000u) << "three quarters of what the path bore (RFC 2861)";
  c.cwnd = 4'000;
  c.ops.restart(c.control(), {c.now, seconds(2), 10'000});
  EXPECT_EQ(c.cwnd, 4'000u) << "the window never grows by waiting";
}

TEST_P(EveryController, NeverGrowsBeyondTheLargestWindow) {
  c.cwnd = kLargestWindow;
  for (int i = 0; i < 100; ++i) c.ack(65'000, 10'000);
  EXPECT_EQ(c.cwnd, kLargestWindow);
}

const auto name_of = [](const auto& row) { return std::string(kNames[row.param]); };
INSTANTIATE_TEST_SUITE_P(Table, EveryController, ::testing::Range(uint8_t{0}, kControllers), name_of);
INSTANTIATE_TEST_SUITE_P(Table, WindowController, ::testing::ValuesIn(window_controllers()), name_of);

TEST(Controllers, HaveNamesOfTheirOwn) {
  const std::set<std::string> names(std::begin(kNames), std::end(kNames));
  EXPECT_EQ(names.size(), kControllers);
  EXPECT_EQ(find_controller("no such"), kNoController);
  EXPECT_EQ(find_controller(""), kNoController);
}

}  // namespace
}  // namespace millrace::tcp::cc
