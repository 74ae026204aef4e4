// Resets and challenge ACKs: RFC 9293 3.5.2, 3.5.3, 3.10.7.4 second and fourth; RFC 5961.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Reset, plain_variants());

TEST_P(Reset, ExactResetEndsTheConnection) {  // RFC 5961 3.2 (1), RFC 9293 3.10.7.4 second
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.in(RST, seq(1));
  s.expect_nothing();
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kBrokenPipe);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Reset, ResetInTheWindowIsChallenged) {  // RFC 5961 3.2 (2)
  Script s(GetParam());
  s.server();
  s.in(RST, seq(2));
  s.expect(ACK, seq(1), ack(1), len(0));
  s.advance(500);
  s.in(RST, seq(30'000));
  s.expect(ACK, seq(1), ack(1), len(0));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(RST, seq(1));  // what a real peer answers to the challenge
  EXPECT_EQ(s.state(), "");
}

TEST_P(Reset, ResetOutsideTheWindowIsDroppedInSilence) {  // RFC 5961 3.2 (3)
  Script s(GetParam());
  s.server();
  s.in(RST, seq(0));
  s.in(RST, seq(1u << 30));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Reset, ResetAtTheRightEdgeOrBelowTheWindowIsDroppedInSilence) {  // RFC 9293 3.10.7.4 second (1)
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 4'096;
  const Handle c = s.server(o);
  s.in(RST, seq(1 + 4'096));
  s.in(RST, seq(1 + 4'095));
  s.expect(ACK, ack(1));  // the last place inside
  s.in(ACK, len(100));
  s.skip();
  s.in(RST, seq(51), len(100));  // starts below the window and ends inside
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.drop.bad_reset"), 3u);
  EXPECT_EQ(s.counter("tcp.challenge_acks"), 1u);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.read(c), 100u);
  s.skip();
}

TEST_P(Reset, SynWithoutTimestampsIsChallengedToo) {  // RFC 9293 3.10.7.4 fourth, RFC 5961 4.2
  Script s(GetParam());
  s.server();
  s.in(SYN, seq(500'000), ts(false), mss(1'460));
  s.expect(ACK, seq(1), ack(1), ts(s.variant().ts));
  s.advance(500);
  s.in(SYN, seq(10), ts(false), mss(1'460));
  s.expect(ACK, seq(1), ack(1), ts(s.variant().ts));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Reset, SynOnAConnectionIsChallenged) {  // RFC 5961 4.2, RFC 9293 3.10.7.4 fourth
  Script s(GetParam());
  s.server();
  s.in(SYN, seq(5), s.offer());
  s.expect(ACK, seq(1), ack(1), len(0));
  s.advance(500);
  s.in(SYN, seq(0), s.offer());
  s.expect(ACK, seq(1), ack(1), len(0));
  s.advance(500);
  s.in(SYN, seq(1u << 30), s.offer());
  s.expect(ACK, seq(1), ack(1), len(0));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Reset, SynAckOnAConnectionIsChallenged) {  // RFC 5961 4.2
  Script s(GetParam());
  s.server();
  s.in(SYN | ACK, seq(5), s.offer());
  s.expect(ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Reset, ChallengesAreLimitedPerSecond) {  // RFC 5961 7
  Options o;
  o.tcp.challenge_acks_per_second = 10;
  o.tcp.challenge_interval_us = 0;
  Script s(GetParam(), o);
  s.server();
  for (int i = 0; i < 100; ++i) s.in(RST, seq(2));
  const size_t first = s.skip();
  EXPECT_GE(first, 5u);
  EXPECT_LE(first, 15u);
  s.advance(1'000);
  s.in(RST, seq(2));
  s.expect(ACK, seq(1), ack(1));
}

TEST_P(Reset, SegmentToAClosedPortIsReset) {  // RFC 9293 3.5.2 group 1, 3.10.7.1
  Script s(GetParam());
  s.in(ACK, seq(10), ack(77), len(5), ts(false));
  s.expect(RST, seq(77), len(0));  // <SEQ=SEG.ACK><CTL=RST>
  s.in(FIN, seq(10), len(5), ts(false));
  s.expect(RST | ACK, seq(0), ack(16), len(0));  // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
}

TEST_P(Reset, ResetIsNeverAnswered) {  // RFC 9293 3.5.2
  Script s(GetParam());
  s.in(RST, seq(10));
  s.in(RST | ACK, seq(10), ack(5));
  s.in(RST | SYN, seq(10));
  s.expect_nothing();
  s.listen();
  s.in(RST, seq(10));
  s.in(RST | SYN, seq(10));
  s.expect_nothing();
}

TEST_P(Reset, AckToAListenerIsReset) {  // RFC 9293 3.10.7.2 second
  Script s(GetParam());
  s.listen();
  s.in(ACK, seq(10), ack(77));
  s.expect(RST, seq(77), len(0));
}

TEST_P(Reset, SegmentWithoutFlagsToAListenerIsDropped) {  // RFC 9293 3.10.7.2 fourth
  Script s(GetParam());
  s.listen();
  s.in(0, seq(10), len(10));
  s.expect_nothing();
}

TEST_P(Reset, HalfOpenConnectionIsDiscoveredByThePeersReset) {  // RFC 9293 3.5.1 figure 10
  Script s(GetParam());
  const Handle c = s.server();
  // The peer crashed and opens again from the same port; our answer makes it reset.
  s.in(SYN, seq(400'000), s.offer());
  s.expect(ACK, seq(1), ack(1));
  s.in(RST, seq(1));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
  s.in(SYN, seq(400'000), s.offer());
  s.expect(SYN | ACK, ack(400'001));
}

TEST_P(Reset, ResetInFinWaitAndCloseWaitEndsTheConnection) {  // RFC 9293 3.10.7.4 second
  Script s(GetParam());
  const Handle c = s.server();
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1));
  s.in(RST, seq(1));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, ack(2));
  s.in(RST, seq(2));
  EXPECT_EQ(s.state(), "");
}

TEST_P(Reset, ResetInLastAckTellsNobody) {  // RFC 9293 3.10.7.4 second: CLOSING, LAST-ACK
  Script s(GetParam());
  const Handle c = s.server();
  s.in(FIN | ACK, seq(1), len(100));
  s.expect(ACK, ack(102));
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1));
  EXPECT_EQ(s.state(), "LAST-ACK");
  (void)s.events(c);
  s.in(RST, seq(102));  // our last ACK was lost, and the peer's TIME-WAIT is over
  s.expect_nothing();
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.events(c) & kError, 0u);
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.read(c), 0u);
  s.close(c);
}

TEST_P(Reset, ResetInClosingTellsNobody) {  // RFC 9293 3.10.7.4 second: CLOSING, LAST-ACK
  Script s(GetParam());
  const Handle c = s.server();
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1));
  s.in(FIN | ACK, seq(1), ack(1), len(100));
  s.expect(ACK, ack(102));
  EXPECT_EQ(s.state(), "CLOSING");
  (void)s.events(c);
  s.in(RST, seq(102));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.events(c) & kError, 0u);
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.read(c), 0u);
  s.close(c);
}

TEST_P(Reset, DataBeforeTheResetStaysReadable) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(101));
  s.in(RST, seq(101));
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
  EXPECT_EQ(s.read(c), 0u);
}

TEST_P(Reset, ResetWithOldTimestampCounts) {  // RFC 7323 5.2: PAWS does not apply to RST
  Script s(GetParam());
  s.server();
  s.in(RST, seq(1), tsval(s.peer_clock() - 100'000), ts(s.variant().ts));
  EXPECT_EQ(s.state(), "");
}

// --- Timestamps ------------------------------------------------------------------------------------------------------

class Paws : public testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] Variant variant() const { return {GetParam(), true, true, false}; }
};
INSTANTIATE_TEST_SUITE_P(All, Paws, testing::Bool(), [](const auto& p) { return p.param ? "V6" : "V4"; });

TEST_P(Paws, OldTimestampIsDroppedAndAnswered) {  // RFC 7323 5.3 R1
  Script s(variant());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(10), tsval(s.peer_clock() - 1));
  s.expect(ACK, seq(1), ack(1), len(0));
  EXPECT_EQ(s.counter("tcp.drop.old_timestamp"), 1u);
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
  s.in(ACK, seq(1), len(10));
  s.expect(ACK, ack(11));
  EXPECT_EQ(s.read(c), 10u);
}

TEST_P(Paws, OldTimestampIsBelievedAfterTwentyFourDays) {  // RFC 7323 5.5
  Script s(variant());
  const Handle c = s.server();
  const uint32_t then = s.peer_clock();
  s.advance(seconds(25 * 86'400));
  s.in(ACK, seq(1), len(10), tsval(then - 1));
  s.expect(ACK, ack(11));
  EXPECT_EQ(s.read(c), 10u);
}

TEST_P(Paws, SegmentWithoutTimestampIsDropped) {  // RFC 7323 3.2
  Script s(variant());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(10), ts(false));
  s.expect_nothing();
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Paws, DelayedAckEchoesTheEarliestSegmentItCovers) {  // RFC 7323 4.3 (2), 4.2 case A
  Script s(variant());
  const Handle c = s.server();
  for (int i = 0; i < 16; ++i) s.in(ACK, len(s.full()));
  s.advance(1'000);
  s.skip();
  (void)s.read(c);
  s.skip();
  const uint32_t first = s.peer_clock();
  s.in(ACK, len(100));
  s.advance(20);
  s.in(ACK, len(100));
  s.expect_nothing();
  s.advance(20);
  s.expect(ACK, ecr(first));
  (void)s.read(c);
}

TEST_P(Paws, GapIsAnsweredWithTheTimestampBeforeIt) {  // RFC 7323 4.3 (2), 4.2 case B
  Script s(variant());
  const Handle c = s.server();
  const uint32_t before = s.peer_clock();
  s.advance(10);
  s.in(ACK, seq(101), len(100));
  s.expect(ACK, ack(1), ecr(before));
  s.advance(10);
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(201), ecr(before + 20));  // case C: the segment that filled the gap
  (void)s.read(c);
}

TEST_P(Paws, TimestampClockTicksInMilliseconds) {  // RFC 7323 5.4
  Script s(variant());
  const Handle c = s.server();
  const uint32_t start = s.last_ts_val();
  s.advance(250);
  s.write(c, 10);
  s.expect(ACK, len(10), tsval(start + 250));
}

TEST_P(Paws, MalformedOptionsDoNoHarm) {  // RFC 9293 3.1 MUST-7
  Script s(variant());
  const Handle l = s.listen();
  s.in(SYN, seq(0), raw({2, 4, 5, 180, 8, 77, 0, 0}));  // MSS 1460, then a timestamp longer than the header
  s.expect(SYN | ACK, seq(0), ack(1), ts(false));
  s.in(ACK, ts(false), raw({3, 0, 0, 0}));
  const Handle c = s.accept(l);
  s.in(ACK, len(10), ts(false), raw({5, 3, 1, 1}));
  s.expect(ACK, ack(11));
  EXPECT_EQ(s.read(c), 10u);
  EXPECT_EQ(s.counter("tcp.bad_options"), 3u);
}

TEST_P(Paws, UnknownOptionsAreSkipped) {  // RFC 9293 3.1 MUST-6
  Script s(variant());
  s.listen();
  s.in(SYN, seq(0), raw({254, 4, 1, 2, 2, 4, 2, 88, 1, 1, 1, 0}));  // MSS 600 behind an unknown option
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  const Handle c = s.accept(s.listener());
  s.write(c, 1'000);
  s.expect(ACK, seq(1), len(600));
  s.skip();
  EXPECT_EQ(s.counter("tcp.bad_options"), 0u);
}

}  // namespace
}  // namespace millrace::script
