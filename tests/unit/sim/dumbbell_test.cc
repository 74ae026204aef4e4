// The world of the WAN table: whether its flows get what its bottleneck gives.
#include "sim/dumbbell.h"

#include <gtest/gtest.h>

#include "sim/frame_view.h"

namespace millrace::sim {
namespace {

DumbbellConfig bottleneck(uint64_t mbps, uint64_t queue_bytes) {
  DumbbellConfig config;
  config.bottleneck.bits_per_second = mbps * 1'000'000;
  config.bottleneck.queue_bytes = queue_bytes;
  config.tcp.send_buffer = config.tcp.receive_buffer = 16 << 20;
  return config;
}

Instant at(int64_t ms) { return Instant(milliseconds(ms).ns()); }

TEST(Dumbbell, AFlowFillsTheBottleneckAndNoMore) {
  Dumbbell d(bottleneck(20, 50'000), {{.controller = "cubic", .round_trip = milliseconds(20)}});
  d.run_until(at(1'000));
  const uint64_t before = d.flow(0).bytes;
  d.run_until(at(5'000));
  // 1,448 bytes of data in frames of 1,538 on the wire.
  const double most = 20e6 / 8 * 4 * 1'448 / 1'538;
  EXPECT_GT(static_cast<double>(d.flow(0).bytes - before), 0.97 * most);
  EXPECT_LT(static_cast<double>(d.flow(0).bytes - before), 1.001 * most);
}

TEST(Dumbbell, ATransferTakesItsRoundTrips) {
  // Handshake, ten segments, twenty, the rest: the last byte arrives half a round trip after it was sent.
  Dumbbell d(bottleneck(1'000, 1 << 20),
             {{.controller = "newreno", .round_trip = milliseconds(100), .start = milliseconds(5), .bytes = 65'536}});
  ASSERT_TRUE(d.run_to_end(at(5'000)));
  EXPECT_EQ(d.flow(0).began, at(5));
  const Duration took = d.flow(0).ended - d.flow(0).began;
  EXPECT_GE(took, milliseconds(350));
  EXPECT_LT(took, milliseconds(356));
  EXPECT_EQ(d.flow(0).bytes, 65'536u);
}

TEST(Dumbbell, FlowsWaitForOneAnother) {
  const FlowPlan first{.controller = "cubic", .round_trip = milliseconds(10), .bytes = 10'000};
  FlowPlan second = first;
  second.after = 0;
  second.start = milliseconds(7);
  Dumbbell d(bottleneck(10, 50'000), {first, second});
  ASSERT_TRUE(d.run_to_end(at(5'000)));
  EXPECT_EQ(d.flow(1).began, d.flow(0).ended + milliseconds(7));
}

TEST(Dumbbell, EachFlowHasItsOwnRoundTrip) {
  Dumbbell d(bottleneck(10, 50'000), {{.controller = "cubic", .round_trip = milliseconds(10), .bytes = 1'000},
                                      {.controller = "cubic", .round_trip = milliseconds(80), .bytes = 1'000}});
  ASSERT_TRUE(d.run_to_end(at(5'000)));
  EXPECT_NEAR(static_cast<double>((d.flow(0).ended - d.flow(0).began).us()), 15'000, 2'000);
  EXPECT_NEAR(static_cast<double>((d.flow(1).ended - d.flow(1).began).us()), 120'000, 2'000);
}

TEST(Dumbbell, TheSameSeedGivesTheSameRun) {
  const auto bytes = [](uint64_t seed) {
    DumbbellConfig config = bottleneck(20, 50'000);
    config.bottleneck.loss = impair::kBillion / 100;
    config.seed = seed;
    Dumbbell d(config, {{.controller = "cubic", .round_trip = milliseconds(20)}});
    d.run_until(at(3'000));
    return d.flow(0).bytes;
  };
  EXPECT_EQ(bytes(1), bytes(1));
  EXPECT_NE(bytes(1), bytes(2));
}

TEST(Dumbbell, TheBottleneckMarksFlowsThatWantIt) {
  DumbbellConfig config = bottleneck(50, 250'000);
  config.bottleneck.mark_bytes = 30'000;
  Dumbbell d(config, {{.controller = "dctcp", .round_trip = milliseconds(4)}});
  d.run_until(at(2'000));
  EXPECT_GT(d.bottleneck().marked, 50u);
  EXPECT_EQ(d.bottleneck().lost_in_queue, 0u);
  EXPECT_EQ(d.counter("tcp.retransmits"), 0u);
}

}  // namespace
}  // namespace millrace::sim
