// Retransmission: RFC 6298 (timer), RFC 5681 (congestion control), RFC 6582 (NewReno), RFC 6675 (SACK), RFC 3042.
#include "flight.h"

namespace millrace::script {
namespace {

SCRIPTS(Loss, all_variants());
SCRIPTS(LossSack, sack_variants());
SCRIPTS(LossNoSack, no_sack_variants());
SCRIPTS(LossUncut, variants_where(no_sack_variants(), [](const Variant& v) { return !v.tso; }));

// The peer's duplicate ACK for a hole at `hole`, having received [left, right).
void duplicate(Script& s, uint32_t hole, uint32_t left, uint32_t right) {
  if (s.variant().sack) {
    s.in(ACK, ack(hole), sack({{left, right}}));
  } else {
    s.in(ACK, ack(hole));
  }
}

TEST_P(Loss, FirstTimeoutIsOneSecondAndDoubles) {  // RFC 6298 2.1, 5.1, 5.4, 5.5
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  for (const int64_t ms : {1'000, 2'000, 4'000, 8'000, 16'000, 32'000, 64'000, 120'000, 120'000}) {
    s.expect_after(ms, ACK, seq(1), len(100));
  }
  s.in(ACK);
  s.quiet(200'000);
  EXPECT_EQ(s.counter("tcp.retransmits"), 9u);
}

TEST_P(Loss, TimeoutIsNeverLessThanTwoHundredMillisecondsOverTheRoundTrip) {  // RFC 6298 2.4 says 1 s in all
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.advance(64);
  s.in(ACK);
  s.write(c, 100);
  s.expect(ACK, seq(101), len(100));
  s.expect_after(264, ACK, seq(101), len(100));
}

TEST_P(Loss, TimeoutOfALongSteadyPathLeavesRoomForADelayedAcknowledgment) {
  Script s(GetParam());
  const Handle c = s.server();
  for (uint32_t i = 0; i < 20; ++i) {
    s.write(c, 100);
    s.expect(ACK, seq(1 + 100 * i), len(100));
    s.advance(300);
    s.in(ACK);
  }
  EXPECT_LT(s.info().tcp.rttvar_us, 1'000u);
  s.write(c, 100);
  s.expect(ACK, seq(2'001), len(100));
  s.quiet(499);
  s.expect_after(500, ACK, seq(2'001), len(100));
}

TEST_P(Loss, TimeoutFollowsTheMeasuredRoundTrip) {  // RFC 6298 2.2, 2.3, 5.3
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 2 * s.full());
  s.expect_data(1, 2 * s.full() + 1);
  s.advance(500);
  s.in(ACK, ack(s.full() + 1));
  s.mark();
  s.expect_after(1'500, ACK, seq(s.full() + 1), len(s.full()));  // 500 + 4 * 250
  EXPECT_EQ(s.info().tcp.srtt_us, 500'000u);
}

TEST_P(Loss, SecondSampleSmoothsTheRoundTrip) {  // RFC 6298 2.3
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.advance(400);
  s.in(ACK);
  s.write(c, 100);
  s.expect(ACK, seq(101), len(100));
  s.advance(800);
  s.in(ACK);
  EXPECT_EQ(s.info().tcp.srtt_us, 450'000u);  // 7/8 * 400 + 1/8 * 800
  s.write(c, 100);
  s.expect(ACK, seq(201), len(100));
  s.expect_after(1'450, ACK, seq(201), len(100));  // 450 + 4 * (3/4 * 200 + 1/4 * 400)
}

TEST_P(Loss, SegmentSentTwiceMeasuresOnlyByTimestamps) {  // RFC 6298 3 (Karn), RFC 7323 4
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.expect_after(1'000, ACK, seq(1), len(100));
  s.advance(100);
  s.in(ACK);
  EXPECT_EQ(s.info().tcp.srtt_us, s.variant().ts ? 100'000u : 0u);
}

TEST_P(Loss, BackedOffTimeoutStaysUntilANewSample) {  // RFC 6298 5.5 to 5.7 with Karn; RFC 7323 4
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.expect_after(1'000, ACK, seq(1), len(100));
  s.expect_after(2'000, ACK, seq(1), len(100));
  s.advance(50);
  s.in(ACK);  // of a segment that was sent three times: only an echo measures
  s.write(c, 100);
  s.expect(ACK, seq(101), len(100));
  s.expect_after(s.variant().ts ? 250 : 4'000, ACK, seq(101), len(100));
  s.in(ACK);
  s.write(c, 100);
  s.expect(ACK, seq(201), len(100));
  s.advance(50);
  s.in(ACK);  // sent once: the timeout follows the round trip again
  s.write(c, 100);
  s.expect(ACK, seq(301), len(100));
  s.advance(260);
  s.expect(ACK, seq(301), len(100));
}

TEST_P(Loss, TimeoutOfAConnectionInRecoveryStaysBackedOff) {  // RFC 6298 5.3, 5.5
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  s.expect_after(1'000, ACK, seq(1), len(full));
  s.in(ACK, ack(full + 1), tsval(s.peer_clock()), ecr(0));  // an echo that nobody sent measures nothing
  s.expect_data(full + 1, 3 * full + 1);
  s.mark();
  s.expect_after(2'000, ACK, seq(full + 1), len(full));
  EXPECT_EQ(s.info().tcp.srtt_us, 0u);
}

TEST_P(Loss, ProgressResetsTheCountThatGivesUp) {  // RFC 9293 3.8.3 R2: a peer that acknowledges is alive
  Options o;
  o.tcp.retries = 3;
  Variant v = GetParam();
  v.ts = false;
  Script s(v, o);
  ten_in_flight(s);
  const uint32_t full = s.full();
  for (const int64_t ms : {1'000, 2'000, 4'000}) s.expect_after(ms, ACK, seq(1), len(full));
  s.in(ACK, ack(full + 1));
  s.expect_data(full + 1, 3 * full + 1);
  s.mark();
  for (const int64_t ms : {8'000, 16'000, 32'000}) s.expect_after(ms, ACK, seq(full + 1), len(full));
  EXPECT_EQ(s.counter("tcp.timed_out"), 0u);
}

TEST_P(Loss, UserTimeoutGivesASilentPeerUpEarlier) {  // RFC 5482, RFC 9293 3.8.3 MUST-21
  Script s(GetParam());
  SocketOptions o;
  o.user_timeout = seconds(3);
  const Handle c = s.server(o);
  (void)s.events(c);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.expect_after(1'000, ACK, seq(1), len(100));
  s.quiet(1'999);
  EXPECT_EQ(s.events(c), 0u);
  s.quiet(1);
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kTimedOut);
}

TEST_P(Loss, SilentPeerIsGivenUp) {  // RFC 9293 3.8.3 R2, MUST-20
  Options o;
  o.tcp.retries = 3;
  Script s(GetParam(), o);
  const Handle c = s.server();
  (void)s.events(c);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  for (const int64_t ms : {1'000, 2'000, 4'000}) s.expect_after(ms, ACK, seq(1), len(100));
  s.quiet(7'999);
  EXPECT_EQ(s.events(c), uint32_t{kUnanswered});
  s.quiet(1);
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kTimedOut);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kBrokenPipe);
  EXPECT_EQ(s.counter("tcp.timed_out"), 1u);
}

TEST_P(Loss, ProgramHearsOfTroubleWhenR1IsReached) {  // RFC 9293 3.8.3 R1, SHLD-9, SHLD-10
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  for (const int64_t ms : {1'000, 2'000}) s.expect_after(ms, ACK, seq(1), len(100));
  EXPECT_EQ(s.events(c), 0u);
  s.expect_after(4'000, ACK, seq(1), len(100));
  EXPECT_EQ(s.events(c), uint32_t{kUnanswered});
  s.expect_after(8'000, ACK, seq(1), len(100));
  EXPECT_EQ(s.events(c), 0u) << "once";
  s.in(ACK);
  s.write(c, 100);
  EXPECT_EQ(s.counter("tcp.unanswered"), 1u);
  s.skip();
}

TEST_P(Loss, TimeoutShrinksTheWindowToOneSegmentThenSlowStarts) {  // RFC 5681 3.1 (4)
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  s.advance(1'000);
  s.expect(ACK, seq(1), len(full));
  s.expect_nothing();
  EXPECT_EQ(s.info().tcp.cwnd, full);
  s.in(ACK, ack(full + 1));
  s.expect_data(full + 1, 3 * full + 1);
  s.expect_nothing();
  s.in(ACK, ack(3 * full + 1));
  s.expect_data(3 * full + 1, 7 * full + 1);
  s.expect_nothing();
  s.in(ACK, ack(10 * full + 1));
  s.quiet(5'000);
}

TEST_P(Loss, TimeoutOfAnotherSegmentHalvesTheThresholdAgain) {  // RFC 5681 3.1 (4): "has not yet been resent"
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  s.advance(1'000);
  s.expect(ACK, seq(1), len(full));
  s.in(ACK, ack(full + 1));
  s.expect_data(full + 1, 3 * full + 1);
  while (s.sent().empty() && !s.failed()) s.advance(100);
  s.expect(ACK, seq(full + 1), len(full));  // the threshold was five segments; of the two it becomes two
  EXPECT_EQ(s.info().tcp.cwnd, full);
  s.in(ACK, ack(2 * full + 1));
  s.in(ACK, ack(3 * full + 1));
  s.in(ACK, ack(4 * full + 1));
  EXPECT_EQ(s.info().tcp.cwnd, 3 * full);
  s.skip();
}

TEST_P(Loss, ThirdDuplicateAckRetransmitsAtOnce) {  // RFC 5681 3.2
  Script s(GetParam());
  ten_in_flight(s);
  s.advance(40);
  const uint32_t full = s.full();
  duplicate(s, 1, full + 1, 2 * full + 1);
  s.expect_nothing();
  duplicate(s, 1, full + 1, 3 * full + 1);
  s.expect_nothing();
  duplicate(s, 1, full + 1, 4 * full + 1);
  s.expect(ACK, seq(1), len(full));
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 1u);
  EXPECT_EQ(s.info().tcp.ssthresh, 5 * full);  // half the flight
  s.in(ACK, ack(10 * full + 1));
  EXPECT_EQ(s.info().tcp.cwnd, 5 * full);
  s.quiet(5'000);
}

TEST_P(Loss, FirstTwoDuplicateAcksSendNewData) {  // RFC 3042 2
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  s.write(c, 20 * full);
  s.expect_data(1, 10 * full + 1);
  s.expect_nothing();
  s.advance(40);
  duplicate(s, 1, full + 1, 2 * full + 1);
  s.expect(ACK, seq(10 * full + 1), len(full));
  s.expect_nothing();
  duplicate(s, 1, full + 1, 3 * full + 1);
  s.expect(ACK, seq(11 * full + 1), len(full));
  s.expect_nothing();
}

TEST_P(LossNoSack, AckThatChangesTheWindowIsNoDuplicate) {  // RFC 5681 2 (e)
  Script s(GetParam());
  ten_in_flight(s);
  for (uint32_t i = 1; i <= 5; ++i) s.in(ACK, ack(1), win(65'535 - i));
  s.expect_nothing();
}

TEST_P(LossNoSack, DataFromThePeerIsNoDuplicateAck) {  // RFC 5681 2 (b)
  Script s(GetParam());
  const Handle c = ten_in_flight(s);
  for (uint32_t i = 0; i < 5; ++i) {
    s.in(ACK, ack(1), len(10));
    s.expect(ACK, ack(11 + 10 * i), len(0));
  }
  EXPECT_EQ(s.counter("tcp.retransmits"), 0u);
  (void)s.read(c);
}

TEST_P(LossSack, SackNamesEveryHoleAndEachIsFilledOnce) {  // RFC 6675 4, 5
  Script s(GetParam());
  ten_in_flight(s);
  s.advance(40);
  const uint32_t full = s.full();
  const auto edge = [&](uint32_t n) { return n * full + 1; };
  // Segments 0 and 4 are lost.
  s.in(ACK, ack(1), sack({{edge(1), edge(2)}}));
  s.in(ACK, ack(1), sack({{edge(1), edge(3)}}));
  s.in(ACK, ack(1), sack({{edge(1), edge(4)}}));
  s.expect(ACK, seq(1), len(full));
  for (uint32_t i = 6; i <= 10; ++i) s.in(ACK, ack(1), sack({{edge(5), edge(i)}, {edge(1), edge(4)}}));
  s.expect(ACK, seq(edge(4)), len(full));
  s.expect_nothing();
  s.in(ACK, ack(edge(4)), sack({{edge(5), edge(10)}}));
  s.expect_nothing();
  s.in(ACK, ack(edge(10)));
  EXPECT_EQ(s.counter("tcp.retransmits"), 2u);
  EXPECT_EQ(s.info().tcp.cwnd, 5 * full);
  s.quiet(5'000);
}

TEST_P(LossSack, SackBelowTheAckOrBeyondWhatWasSentIsIgnored) {  // RFC 2883 4, RFC 2018 5
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  s.in(ACK, ack(full + 1), sack({{1, full + 1}}));  // a D-SACK
  s.in(ACK, ack(full + 1), sack({{11 * full, 12 * full}}));
  s.in(ACK, ack(full + 1), sack({{5 * full, 3 * full}}));
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 0u);
}

TEST_P(LossUncut, EndOfAPieceHasPshAgainOnlyWithTheRestOfIt) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, s.full());
  s.expect(ACK, seq(1), len(s.full()));
  s.advance(20);
  s.in(ACK);
  s.write(c, 10 * s.full());  // pieces of two segments
  const auto edge = [&](uint32_t n) { return (1 + n) * s.full() + 1; };
  for (uint32_t i = 0; i < 10; ++i) s.expect(ACK, seq(edge(i)), len(s.full()), psh(i % 2 == 1));
  s.advance(1'000);
  s.expect(ACK, seq(edge(0)), len(s.full()), psh(false));
  s.skip();
  s.in(ACK, ack(edge(1)));  // two may go: the end of one piece, the beginning of the next
  s.expect(ACK, seq(edge(1)), len(s.full()), psh(false));
  s.expect(ACK, seq(edge(2)), len(s.full()), psh(false));
  s.in(ACK, ack(edge(3)));
  s.expect(ACK, seq(edge(3)), len(s.full()), psh(false));
  s.expect(ACK, seq(edge(4)), len(s.full()), psh(false));
  s.expect(ACK, seq(edge(5)), len(s.full()), psh());
  s.skip();
}

TEST_P(LossNoSack, PartialAckRetransmitsTheNextHole) {  // RFC 6582 3.2 step 3
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  // Segments 0 and 4 are lost; eight others arrive.
  for (int i = 0; i < 8; ++i) s.in(ACK, ack(1));
  s.expect(ACK, seq(1), len(full));
  s.expect_nothing();
  s.in(ACK, ack(4 * full + 1));
  s.expect(ACK, seq(4 * full + 1), len(full));
  s.expect_nothing();
  s.in(ACK, ack(10 * full + 1));
  EXPECT_EQ(s.counter("tcp.retransmits"), 2u);
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 1u);
  s.quiet(5'000);
}

TEST_P(Loss, LostRetransmissionIsFoundByTheTimer) {  // RFC 6298 5.4
  Script s(GetParam());
  ten_in_flight(s);
  const uint32_t full = s.full();
  for (uint32_t i = 2; i <= 4; ++i) duplicate(s, 1, full + 1, i * full + 1);
  s.expect(ACK, seq(1), len(full));
  s.advance(s.variant().sack ? 201 : 1'000);  // selective acknowledgments measured the round trip
  s.expect(ACK, seq(1), len(full));
  s.expect_nothing();
  EXPECT_EQ(s.info().tcp.cwnd, full);
}

TEST_P(LossSack, TimeoutKeepsWhatSackSaidUntilThePeerProvesToHaveThrownItAway) {  // RFC 2018 8
  Script s(GetParam());
  ten_in_flight(s);
  s.advance(40);
  const uint32_t full = s.full();
  s.in(ACK, ack(1), sack({{full + 1, 3 * full + 1}}));
  s.advance(10);
  s.expect(ACK, seq(1), len(full));  // by RACK's timer
  s.mark();
  s.expect_after(240, ACK, seq(1), len(full));
  s.in(ACK, ack(full + 1));  // the peer threw the sacked segments away
  s.expect_data(3 * full + 1, 5 * full + 1);
  while (s.counter("tcp.rtos") < 2 && !s.failed()) s.advance(1);
  s.expect(ACK, seq(full + 1), len(full));
}

TEST_P(LossSack, SelectiveAcknowledgmentsMeasureTheRoundTrip) {  // RFC 6298 3
  Script s(GetParam());
  ten_in_flight(s);
  s.advance(64);
  s.in(ACK, ack(1), sack({{s.full() + 1, 3 * s.full() + 1}}));
  EXPECT_EQ(s.info().tcp.srtt_us, 64'000u);
}

TEST_P(Loss, CongestionAvoidanceAddsOneSegmentAWindow) {  // RFC 5681 3.1 (3)
  Script s(GetParam());
  const Handle c = ten_in_flight(s);
  const uint32_t full = s.full();
  for (uint32_t i = 2; i <= 4; ++i) duplicate(s, 1, full + 1, i * full + 1);
  s.skip();
  s.in(ACK, ack(10 * full + 1));
  EXPECT_EQ(s.info().tcp.cwnd, 5 * full);
  s.write(c, 100 * full);
  uint32_t at = 10 * full + 1;
  for (uint32_t window = 5; window <= 7; ++window) {
    for (uint32_t i = 0; i < window; ++i) s.in(ACK, ack(at += full));
    EXPECT_EQ(s.info().tcp.cwnd, (window + 1) * full);
  }
  s.skip();
}

TEST_P(Loss, RetransmissionCarriesTheNewestAcknowledgment) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), ack(1), len(100));
  s.in(ACK, ack(1), len(50));
  s.expect(ACK, seq(101), ack(51), len(0));
  s.advance(1'000);
  s.expect(ACK, seq(1), ack(51), len(100));
  (void)s.read(c);
}

TEST_P(Loss, LostFinIsSentAgain) {  // RFC 9293 3.10.8
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.shutdown(c);
  s.expect(ACK, seq(1), len(100));
  s.expect(FIN | ACK, seq(101), len(0));
  s.advance(64);
  s.in(ACK, ack(101));
  s.mark();
  s.expect_after(264, FIN | ACK, seq(101), len(0));
  s.in(ACK, ack(102));
  s.quiet(5'000);
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
}

}  // namespace
}  // namespace millrace::script
