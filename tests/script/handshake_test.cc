// Opening connections: RFC 9293 3.5 and 3.10.7.2 to 3.10.7.4, RFC 7323 2 and 3, RFC 2018 2, RFC 6298 5.7.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Handshake, plain_variants());
SCRIPTS(HandshakeTimestamps, variants_where(plain_variants(), [](const Variant& v) { return v.ts; }));

TEST_P(Handshake, PassiveOpenAnswersSynWithSynAckAndIsEstablishedByAck) {  // RFC 9293 3.10.7.2
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), len(0), mss(s.path_mss()), ts(s.variant().ts), sack_ok(s.variant().sack));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  EXPECT_EQ(s.events(l), 0u);
  s.in(ACK, seq(1), ack(1));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.events(l), static_cast<uint32_t>(kAcceptable));
  const Handle c = s.accept(l);
  EXPECT_TRUE(c.valid());
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Handshake, ActiveOpenSendsSynAndAcknowledgesSynAck) {  // RFC 9293 3.10.7.3
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0), len(0), mss(s.path_mss()), ts(), ecr(0), sack_ok());
  EXPECT_EQ(s.state(), "SYN-SENT");
  s.in(SYN | ACK, seq(0), ack(1), s.offer());
  s.expect(ACK, seq(1), ack(1), len(0));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.events(c) & (kConnected | kWritable | kError), uint32_t{kConnected} | kWritable);
}

TEST_P(Handshake, AnswersTheSameSynAgainWithTheSameSynAck) {
  Script s(GetParam());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  EXPECT_EQ(s.counter("tcp.drop.duplicate"), 1u);
}

TEST_P(Handshake, SynIsSentAgainAfterOneSecondThenBacksOffAndGivesUp) {  // RFC 6298 2.1, 5.5; RFC 9293 3.8.3 R2
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  for (const int64_t ms : {1'000, 2'000, 4'000, 8'000, 16'000, 32'000}) s.expect_after(ms, SYN, seq(0), len(0));
  s.quiet(63'999);
  EXPECT_EQ(s.events(c), 0u);
  s.advance(1);
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Handshake, SynAckIsSentAgainAfterOneSecondThenBacksOffAndGivesUp) {  // RFC 6298 2.1, 5.5
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  for (const int64_t ms : {1'000, 2'000, 4'000, 8'000, 16'000}) s.expect_after(ms, SYN | ACK, seq(0), ack(1));
  s.quiet(31'999);
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.quiet(1);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.events(l), 0u);
}

TEST_P(Handshake, RtoIsThreeSecondsAfterALostSyn) {  // RFC 6298 5.7
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.expect_after(1'000, SYN, seq(0));
  s.in(SYN | ACK, seq(0), s.offer());
  s.expect(ACK, seq(1), ack(1));
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.expect_after(3'000, ACK, seq(1), len(10));
}

TEST_P(Handshake, RtoIsThreeSecondsAfterALostSynAck) {  // RFC 6298 5.7
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.expect_after(1'000, SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.expect_after(3'000, ACK, seq(1), len(10));
}

// RFC 5681 3.1: after a lost SYN or SYN-ACK the initial window is one segment.
TEST_P(Handshake, InitialWindowIsOneSegmentAfterALostSyn) {
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.expect_after(1'000, SYN, seq(0));
  s.in(SYN | ACK, seq(0), s.offer());
  s.expect(ACK, seq(1), ack(1));
  EXPECT_EQ(s.info().tcp.cwnd, s.full());
  s.write(c, 3 * s.full());
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
}

TEST_P(Handshake, InitialWindowIsOneSegmentAfterASynAckThatTheTimerSentAgain) {
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.expect_after(1'000, SYN | ACK, seq(0));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 3 * s.full());
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
}

TEST_P(Handshake, InitialWindowIsOneSegmentAfterASynThatThePeerSentAgain) {
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.advance(900);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 3 * s.full());
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
}

TEST_P(HandshakeTimestamps, SynThatTheNetworkDoubledLeavesTheInitialWindow) {
  Script s(GetParam());
  const Handle l = s.listen();
  for (int i = 0; i < 2; ++i) {
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 3 * s.full());
  s.expect_data(1, 3 * s.full() + 1);
}

TEST_P(Handshake, SimultaneousOpenWithoutLossKeepsTheInitialWindow) {
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  s.write(c, 3 * s.full());
  s.expect_data(1, 3 * s.full() + 1);
}

TEST_P(Handshake, SynInTheWindowOfAHalfOpenEntryReturnsItToListen) {  // RFC 9293 3.10.7.4 fourth, SYN-RECEIVED
  Script s(GetParam());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(SYN, seq(1'000), s.offer());
  s.expect_nothing();
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.counter("tcp.drop.syn_in_window"), 1u);
}

TEST_P(Handshake, SynOutsideTheWindowOfAHalfOpenEntryIsAnsweredWithAnAck) {  // RFC 9293 3.10.7.4 first
  for (const uint32_t at : {0u - 1'000u, 1'000'000u}) {
    Script s(GetParam());
    s.listen();
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0), ack(1));
    s.in(SYN, seq(at), s.offer());
    s.expect(ACK, seq(1), ack(1));
    EXPECT_EQ(s.state(), "SYN-RECEIVED");
  }
}

TEST_P(Handshake, AckBeyondTheWindowOfTheSynAckOpensNothing) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 4'096;
  s.listen(o);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), win(4'096));
  s.in(ACK, seq(1 + 4'096), ack(1), len(10));
  s.expect(ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.in(ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Handshake, TextOfASynAckIsCutAtTheWindow) {  // RFC 9293 3.10.7.3 fourth, 3.10.7.4 seventh
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 1'000;
  const Handle c = s.connect(o);
  s.expect(SYN, seq(0), win(1'000));
  s.in(SYN | ACK | FIN, seq(0), ack(1), len(1'200), s.offer());
  s.expect(ACK, seq(1), ack(1 + 1'000));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.read(c), 1'000u);
  s.skip();
}

TEST_P(Handshake, ConnectIsRefusedByReset) {  // RFC 9293 3.10.7.3 second
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(RST | ACK, seq(0), ack(1));
  s.expect_nothing();
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionRefused);
  EXPECT_EQ(*s.try_read(c), 0u);  // said once, then the end
}

TEST_P(Handshake, ResetThatDoesNotAcknowledgeTheSynIsIgnored) {  // RFC 9293 3.10.7.3 second, RFC 5961 3.2
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(RST | ACK, seq(0), ack(2));
  s.in(RST, seq(0));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "SYN-SENT");
  EXPECT_EQ(s.events(c), 0u);
}

TEST_P(Handshake, SegmentWithoutSynInSynSentIsDroppedByName) {  // RFC 9293 3.10.7.3 fifth
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(ACK, seq(0), ack(1), len(10));
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.drop.not_syn"), 1u);
  EXPECT_EQ(s.state(), "SYN-SENT");
  (void)c;
}

TEST_P(Handshake, WrongAckInSynSentIsAnsweredByReset) {  // RFC 9293 3.10.7.3 first
  Script s(GetParam());
  s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN | ACK, seq(0), ack(2), s.offer());
  s.expect(RST, seq(2), len(0));
  s.in(ACK, seq(77), ack(0));
  s.expect(RST, seq(0), len(0));
  EXPECT_EQ(s.state(), "SYN-SENT");
}

TEST_P(Handshake, SimultaneousOpenWithSynAck) {  // RFC 9293 3.5 figure 8, MUST-10
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.in(SYN | ACK, seq(0), ack(1), s.offer());
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.expect(ACK, seq(1), ack(1), len(0));  // the peer may be waiting for the same
  EXPECT_NE(s.events(c) & kConnected, 0u);
  s.in(ACK, seq(1), ack(1), len(5));
  s.expect(ACK, seq(1), ack(6));
  EXPECT_EQ(s.read(c), 5u);
}

TEST_P(Handshake, SimultaneousOpenCompletesByPlainAck) {  // RFC 9293 3.10.7.4 fifth
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK, seq(1), ack(1));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_NE(s.events(c) & kConnected, 0u);
}

TEST_P(Handshake, SynAckOfSimultaneousOpenIsSentAgain) {  // RFC 6298 5.4
  Script s(GetParam());
  s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.advance(999);
  s.expect_nothing();
  s.advance(1);
  s.expect(SYN | ACK, seq(0), ack(1));
}

TEST_P(Handshake, CloseDuringSimultaneousOpenSendsFinOnceEstablished) {  // RFC 9293 3.10.4 SYN-RECEIVED
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.close(c);
  s.in(ACK, seq(1), ack(1));
  s.expect(FIN | ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "FIN-WAIT-1");
  s.in(ACK, seq(1), ack(2));
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Handshake, CloseInSynSentSaysNothing) {  // RFC 9293 3.10.4 SYN-SENT
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.close(c);
  s.quiet(10'000);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Handshake, ResetInSynReceivedGoesBackToListen) {  // RFC 9293 3.10.7.4 second
  Script s(GetParam());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(RST, seq(1));
  s.quiet(5'000);
  EXPECT_EQ(s.state(), "");
  s.in(SYN, seq(500), s.offer());
  s.expect(SYN | ACK, ack(501));
}

TEST_P(Handshake, ResetOutsideTheWindowInSynReceivedIsIgnored) {  // RFC 5961 3.2
  Script s(GetParam());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(RST, seq(0));
  s.in(RST, seq(100'000));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.in(RST, seq(2));  // in the window, not exact: a challenge ACK
  s.expect(ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
}

TEST_P(Handshake, WrongAckInSynReceivedIsAnsweredByReset) {  // RFC 9293 3.10.7.4 fifth
  Script s(GetParam());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK, seq(1), ack(99));
  s.expect(RST, seq(99), len(0));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.in(ACK, seq(1), ack(1));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Handshake, FullBacklogDropsSynsUntilTheProgramAccepts) {
  Script s(GetParam());
  const Handle l = s.listen({}, 1);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.drop.backlog_full"), 1u);
  EXPECT_TRUE(s.accept(l).valid());
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
}

TEST_P(Handshake, HandshakeThatFindsTheBacklogFullCompletesLater) {
  Script s(GetParam());
  const Handle l = s.listen({}, 1);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  s.peer_port(40'000);
  s.in(ACK);
  s.expect_nothing();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  EXPECT_TRUE(s.accept(l).valid());
  s.advance(1'000);
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_TRUE(s.accept(l).valid());
}

TEST_P(Handshake, DataOnTheThirdSegmentIsReadable) {  // RFC 9293 3.10.7.4 seventh
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK | PSH, seq(1), len(100));
  s.expect(ACK, seq(1), ack(101));
  const Handle c = s.accept(l);
  EXPECT_NE(s.events(c) & kReadable, 0u);
  EXPECT_EQ(s.read(c), 100u);
}

TEST_P(Handshake, FinOnTheThirdSegmentIsSeenByAccept) {
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(FIN | ACK, seq(1), len(10));
  s.expect(ACK, seq(1), ack(12));
  const Handle c = s.accept(l);
  EXPECT_NE(s.events(c) & kPeerClosed, 0u);
  EXPECT_EQ(s.read(c), 10u);
  EXPECT_EQ(s.read(c), 0u);
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
}

TEST_P(Handshake, WindowOfASynIsNotScaled) {  // RFC 7323 2.2
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0), win(65'535));
  s.in(SYN | ACK, seq(0), win(1'000), ws(14), mss(s.path_mss()), ts(s.variant().ts));
  s.expect(ACK, seq(1), ack(1));
  s.write(c, 5'000);
  EXPECT_EQ(s.expect_data(1, 1'001), 1u);  // not 1,000 << 14
  s.expect_nothing();
}

TEST_P(Handshake, WindowScaleAboveFourteenCountsAsFourteen) {  // RFC 7323 2.3
  Options o;
  o.tcp.initial_window = 64;
  Script s(GetParam(), o);
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer(), ws(15));
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK, win(2));
  const Handle c = s.accept(l);
  s.write(c, 60'000);
  s.expect_data(1, 2 * 16'384 / s.full() * s.full() + 1);  // no silly rest
  s.expect_nothing();
}

TEST_P(Handshake, WindowScaleIsLeftOutIfThePeerDoesNotOfferIt) {  // RFC 7323 2.2
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer(), no_ws());
  s.expect(SYN | ACK, seq(0), ack(1), no_ws(), win(65'535));
  s.in(ACK, win(3'000));
  const Handle c = s.accept(l);
  s.write(c, 10'000);
  s.expect_data(1, 2 * s.full() + 1);
  s.in(ACK, len(10), ack(1), win(3'000));
  s.expect(ACK, ack(11), win(65'525));  // unscaled, as large as the field goes
  (void)s.read(c);
}

TEST_P(Handshake, OptionsThatThePeerDoesNotAnswerAreWithdrawn) {  // RFC 7323 3.2, RFC 2018 2
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0), ts(), sack_ok());
  s.in(SYN | ACK, seq(0), ack(1), mss(1'000));
  s.expect(ACK, seq(1), ack(1), ts(false));
  s.in(ACK, seq(101), len(10));
  s.expect(ACK, ack(1), ts(false), no_sack());
  s.write(c, 1'500);
  EXPECT_EQ(s.expect_data(1, 1'501), 2u);
}

TEST_P(Handshake, OptionsAreNotOfferedWhenTheSettingsSayNo) {
  Options o;
  o.tcp.timestamps = 0;
  o.tcp.sack = 0;
  o.tcp.window_scaling = 0;
  Script s(GetParam(), o);
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), ts(false), sack_ok(false), no_ws());
  s.peer_port(7'777);
  s.connect();
  s.expect(SYN, seq(0), ts(false), sack_ok(false), no_ws());
}

TEST_P(Handshake, PeerWithoutMssGetsTheDefault) {  // RFC 9293 3.7.1 MUST-15
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0));
  s.expect(SYN | ACK, seq(0), ack(1), mss(s.path_mss()), ts(false));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 2'000);
  const uint32_t standard = s.variant().v6 ? 1'220 : 536;
  s.expect(ACK, seq(1), len(standard));
  s.skip();
}

TEST_P(Handshake, TinyMssIsRaised) {
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer(), mss(1), ts(false));
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 128);
  s.expect(ACK, seq(1), len(64));
  s.expect(ACK, seq(65), len(64));
}

TEST_P(Handshake, MssOfTheSocketLimitsBothDirections) {
  Script s(GetParam());
  SocketOptions o;
  o.mss = 700;
  const Handle c = s.connect(o);
  s.expect(SYN, seq(0), mss(700));
  s.in(SYN | ACK, seq(0), s.offer());
  s.expect(ACK, seq(1), ack(1));
  s.write(c, 2'000);
  s.expect(ACK, seq(1), len(s.variant().ts ? 688 : 700));
  s.skip();
}

TEST_P(Handshake, SegmentsLeaveRoomForTimestamps) {  // RFC 6691 2
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 3 * s.full());
  EXPECT_EQ(s.expect_data(1, 3 * s.full() + 1), 3u);
  EXPECT_EQ(s.full(), s.path_mss() - (s.variant().ts ? 12u : 0u));
}

TEST_P(Handshake, SynWithoutListenerIsReset) {  // RFC 9293 3.10.7.1, 3.5.2 group 1
  Script s(GetParam());
  s.in(SYN, seq(0), s.offer());
  s.expect(RST | ACK, seq(0), ack(1), len(0));
  s.expect_nothing();
}

TEST_P(Handshake, InitialSequenceNumbersDifferByConnectionAndGrowWithTime) {  // RFC 6528 3
  Script s(GetParam());
  s.listen();
  std::vector<uint32_t> first;
  for (int round = 0; round < 2; ++round) {
    s.peer_port(40'000);
    s.in(SYN, seq(0), s.offer());
    first.push_back(s.raw_iss());
    s.skip();
    s.in(RST, seq(1));
    s.advance(1'000);
  }
  EXPECT_EQ(first[1] - first[0], 250'000u);  // a tick every 4 microseconds
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.skip();
  EXPECT_GT(s.raw_iss() - first[1], 1'000'000u);
}

}  // namespace
}  // namespace millrace::script
