// RACK: RFC 8985 6. Losses are found by the time of sending, whatever was sent again or came out of order.
#include "flight.h"

namespace millrace::script {
namespace {

SCRIPTS(Rack, sack_variants());

constexpr int64_t kRtt = 100;  // ms

TEST_P(Rack, OneSackedSegmentStartsTheReorderingTimer) {  // RFC 8985 6.2 steps 4 and 5, 6.3
  Script s(GetParam());
  Flight f(s, kRtt);
  f.sacked(0, 1, 2);
  s.expect_nothing();
  s.mark();
  s.quiet(24);
  s.expect_after(25, ACK, seq(f.edge(0)), len(s.full()));  // a quarter of the least round trip
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.rack_marks"), 1u);
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 1u);
  s.in(ACK, ack(f.edge(10)));
  s.quiet(5'000);
}

TEST_P(Rack, DeliveryWithinTheReorderingWindowIsNoLoss) {  // RFC 8985 6.2 step 4
  Script s(GetParam());
  Flight f(s, kRtt);
  f.sacked(0, 1, 3);
  s.quiet(24);
  s.in(ACK, ack(f.edge(10)));
  s.quiet(5'000);
  EXPECT_EQ(s.counter("tcp.retransmits"), 0u);
}

TEST_P(Rack, ThreeSackedSegmentsNeedNoTimer) {  // RFC 8985 6.2 step 4
  Script s(GetParam());
  Flight f(s, kRtt);
  f.sacked(0, 1, 4);
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.expect_nothing();
}

TEST_P(Rack, ReorderingOnceSeenMakesTheTimerDecide) {  // RFC 8985 6.2 steps 3 and 4
  Script s(GetParam());
  Flight f(s, kRtt);
  f.sacked(0, 1, 2);
  s.in(ACK, ack(f.edge(2)));  // segment 0 was late, not lost
  f.sacked(2, 3, 7);
  s.mark();
  s.quiet(24);
  s.expect_after(25, ACK, seq(f.edge(2)), len(s.full()));
  EXPECT_EQ(s.counter("tcp.rack_marks"), 1u);
}

TEST_P(Rack, LostRetransmissionIsSentAgainWithoutATimeout) {  // RFC 8985 3.4, 6.2 step 5
  Script s(GetParam());
  Flight f(s, kRtt, 20);
  f.sacked(0, 1, 4);
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.skip();
  const uint64_t timeouts = s.counter("tcp.rtos");
  // Everything behind the hole arrives, and then what was sent after the retransmission.
  s.advance(10);
  f.sacked(0, 1, 10);
  EXPECT_GT(s.skip(), 0u);
  s.advance(100);
  f.sacked(0, 1, 11);
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.skip();
  EXPECT_EQ(s.counter("tcp.rtos"), timeouts);
}

TEST_P(Rack, ReportedDuplicatesWidenTheWindowOnceARound) {  // RFC 8985 6.2 step 4
  Script s(GetParam());
  Flight f(s, kRtt);
  // The peer has something twice, and says so twice within a round trip.
  s.in(ACK, ack(f.edge(9)), sack({{f.edge(0), f.edge(1)}}));
  s.in(ACK, ack(f.edge(9)), sack({{f.edge(1), f.edge(2)}}));
  s.in(ACK, ack(f.edge(10)));
  s.write(f.c, 10 * s.full());
  EXPECT_EQ(s.expect_data(f.edge(10), f.edge(20)), 10u);
  s.advance(100);
  f.sacked(10, 11, 12);
  s.mark();
  s.quiet(49);
  s.expect_after(50, ACK, seq(f.edge(10)), len(s.full()));
}

TEST_P(Rack, SettingBringsBackCountingSegments) {  // RFC 6675 4
  Options o;
  o.tcp.rack = 0;
  Script s(GetParam(), o);
  Flight f(s, kRtt);
  f.sacked(0, 1, 3);
  s.quiet(40);
  f.sacked(0, 1, 4);
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.rack_marks"), 0u);
}

}  // namespace
}  // namespace millrace::script
