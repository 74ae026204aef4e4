// Recoveries that were mistakes and are taken back: RFC 3522, RFC 5682, D-SACK as in RFC 3708. Proportional rate
// reduction: RFC 9937.
#include "flight.h"

namespace millrace::script {
namespace {

// Every segment counts, hence no device that cuts them.
std::vector<Variant> uncut_variants() {
  return variants_where(sack_variants(), [](const Variant& v) { return !v.tso; });
}

SCRIPTS(Undo, uncut_variants());
/// With timestamps, whose echo tells which transmission arrived.
SCRIPTS(UndoByEcho, variants_where(uncut_variants(), [](const Variant& v) { return v.ts; }));
/// Without, so that only what new data does can tell (F-RTO).
SCRIPTS(UndoByNewData, variants_where(uncut_variants(), [](const Variant& v) { return !v.ts; }));

constexpr int64_t kRtt = 64;  // ms

// Segments 1 to 3 overtake segment 0 by more than RACK grants.
uint32_t enter_recovery(Script& s, Flight& f) {
  f.sacked(0, 1, 4);
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  return s.info().tcp.ssthresh;
}

void expect_undone(Script& s, const Flight& f, uint32_t cwnd) {
  EXPECT_GE(s.info().tcp.cwnd, cwnd);
  EXPECT_EQ(s.info().tcp.ssthresh, UINT32_MAX);
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 1u);
  s.in(ACK, ack(f.edge(10)));
  s.quiet(5'000);
}

TEST_P(Undo, DuplicateOfAllThatWasSentAgainRestoresTheWindow) {  // RFC 2883, RFC 3708 3
  Script s(GetParam());
  Flight f(s, kRtt);
  const uint32_t cwnd = s.info().tcp.cwnd;
  EXPECT_LT(enter_recovery(s, f), cwnd);
  s.advance(10);
  s.in(ACK, ack(f.edge(4)), ecr(s.last_ts_val()));
  s.in(ACK, ack(f.edge(4)), sack({{f.edge(0), f.edge(1)}}));
  expect_undone(s, f, cwnd);
}

TEST_P(Undo, DuplicateOfAPartRestoresNothing) {  // RFC 3708 3
  Script s(GetParam());
  Flight f(s, kRtt);
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(2), f.edge(6)}}));  // 0 and 1 are missing
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.skip();
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(2), f.edge(10)}}));
  s.skip();
  s.advance(64);
  s.in(ACK, ack(f.edge(10)), ecr(s.last_ts_val()), sack({{f.edge(0), f.edge(1)}}));
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 0u);
}

TEST_P(UndoByEcho, EchoFromBeforeTheRetransmissionRestoresTheWindow) {  // RFC 3522 3.2
  Script s(GetParam());
  Flight f(s, kRtt);
  const uint32_t cwnd = s.info().tcp.cwnd;
  const uint32_t original = s.last_ts_val();
  enter_recovery(s, f);
  s.advance(10);
  s.in(ACK, ack(f.edge(4)), ecr(original));
  expect_undone(s, f, cwnd);
}

TEST_P(UndoByEcho, EchoOfTheRetransmissionRestoresNothing) {  // RFC 3522 3.2
  Script s(GetParam());
  Flight f(s, kRtt);
  const uint32_t ssthresh = enter_recovery(s, f);
  s.advance(64);
  s.in(ACK, ack(f.edge(10)), ecr(s.last_ts_val()));
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 0u);
  EXPECT_EQ(s.info().tcp.ssthresh, ssthresh);
  EXPECT_LE(s.info().tcp.cwnd, ssthresh);
}

// The path stalls: the probe and the timeout go out, then everything comes through.
void time_out(Script& s) {
  while (s.counter("tcp.rtos") == 0 && !s.failed()) s.advance(1);
  s.skip();
  EXPECT_EQ(s.info().tcp.cwnd, s.full());
  EXPECT_EQ(s.info().tcp.recovery, std::string("loss"));
}

TEST_P(UndoByNewData, NewDataAfterASpuriousTimeoutShowsThatTheOriginalsArrived) {  // RFC 5682 3.1 steps 2b and 3b
  Script s(GetParam());
  Flight f(s, kRtt);
  s.write(f.c, 10 * s.full());
  s.skip();
  const uint32_t cwnd = s.info().tcp.cwnd;
  time_out(s);
  const uint64_t retransmits = s.counter("tcp.retransmits");
  s.in(ACK, ack(f.edge(1)));
  EXPECT_EQ(s.counter("tcp.retransmits"), retransmits);
  EXPECT_EQ(s.skip(), 2u);  // new segments, and none of the lost ones
  s.in(ACK, ack(f.edge(2)));
  EXPECT_EQ(s.counter("tcp.spurious_timeouts"), 1u);
  EXPECT_GE(s.info().tcp.cwnd, cwnd);
  EXPECT_EQ(s.info().tcp.lost, 0u);
  s.skip();
}

TEST_P(UndoByNewData, SelectiveAcknowledgmentOfNewDataMeansThatTheTimeoutWasRight) {  // RFC 5682 3.1 step 3a
  Script s(GetParam());
  Flight f(s, kRtt);
  s.write(f.c, 10 * s.full());
  s.skip();
  time_out(s);
  s.in(ACK, ack(f.edge(1)));
  const uint32_t fresh = s.sent().empty() ? 0 : s.sent().front().seq.value_or(0);
  s.skip();
  s.in(ACK, ack(f.edge(1)), sack({{fresh, fresh + s.full()}}));
  EXPECT_EQ(s.counter("tcp.spurious_timeouts"), 0u);
  s.expect(ACK, seq(f.edge(1)), len(s.full()));  // the lost ones, in order
  s.skip();
}

TEST_P(UndoByNewData, SegmentsSackedBeforeTheTimeoutProveNothing) {  // RFC 5682 3.1, RFC 2018 8
  Options o;
  o.tcp.rack = 0;
  Script s(GetParam(), o);
  Flight f(s, kRtt, 10);
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(1), f.edge(3)}}));
  time_out(s);
  s.in(ACK, ack(f.edge(1)));
  s.skip();
  s.in(ACK, ack(f.edge(3)));
  EXPECT_EQ(s.counter("tcp.spurious_timeouts"), 0u);
  s.skip();
}

// Dates of sending compare over nine minutes: what waits for longer behind a shut window must not look newer than what
// is sent when it opens.
TEST_P(UndoByEcho, OrderOfSendingHoldsThroughMinutesOfAShutWindow) {
  Script s(GetParam());
  Flight f(s, kRtt, 10);
  const uint32_t original = s.last_ts_val();
  for (int minutes = 0; minutes < 14; ++minutes) {
    s.in(ACK, ack(f.edge(0)), ecr(original), win(0));
    s.advance(60'000);
    s.skip();
  }
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(ACK, ack(f.edge(1)), ecr(original));
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 1u);
  s.expect(ACK, seq(f.edge(10)), len(s.full()));
  s.in(ACK, ack(f.edge(11)));
  EXPECT_EQ(s.info().send_queue, 9 * s.full());
  s.skip();
}

TEST_P(UndoByEcho, WhatAnEarlierRecoverySentAgainIsNoWitness) {  // RFC 3522 3.2
  Script s(GetParam());
  Flight f(s, 64, 30);
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(1), f.edge(10)}}));
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.expect_data(f.edge(10), f.edge(14));  // new, and the first of it is lost
  s.skip();
  s.advance(64);
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(11), f.edge(12)}, {f.edge(1), f.edge(10)}}));
  s.expect(ACK, seq(f.edge(0)), len(s.full()));
  s.expect(ACK, seq(f.edge(10)), len(s.full()));
  s.skip();
  const uint32_t echo = s.last_ts_val();
  s.advance(8);
  s.in(ACK, ack(f.edge(10)), sack({{f.edge(11), f.edge(12)}}));  // the first recovery ends
  s.skip();
  s.advance(8);
  s.in(ACK, ack(f.edge(10)), sack({{f.edge(13), f.edge(14)}, {f.edge(11), f.edge(12)}}));
  s.advance(32);
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 2u);  // the second one began
  s.skip();
  s.advance(16);
  s.in(ACK, ack(f.edge(12)), ecr(echo), sack({{f.edge(13), f.edge(14)}}));
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 0u);
  s.skip();
}

TEST_P(Undo, RateFollowsDeliveriesDuringRecovery) {  // RFC 9937 6
  Script s(GetParam());
  Flight f(s, kRtt, 100);
  const uint32_t flight = s.info().tcp.flight / s.full();
  s.in(ACK, ack(f.edge(0)), sack({{f.edge(1), f.edge(4)}}));
  const uint32_t target = s.info().tcp.ssthresh;
  size_t sent = s.skip();
  for (uint32_t n = 5; n <= flight; ++n) {
    s.in(ACK, ack(f.edge(0)), sack({{f.edge(1), f.edge(n)}}));
    const size_t more = s.skip();
    EXPECT_LE(more, 1u);  // never a burst
    sent += more;
  }
  // What was in flight has left; what went out instead is what ssthresh allows.
  EXPECT_LE(sent * s.full(), target + s.full());
  EXPECT_GE(sent * s.full() + 2 * s.full(), target);
}

}  // namespace
}  // namespace millrace::script
