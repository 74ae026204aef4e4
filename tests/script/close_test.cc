// Closing: RFC 9293 3.6, 3.10.4, 3.10.7.4 eighth; TIME-WAIT with RFC 6191, RFC 1122 4.2.2.13, RFC 1337.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Close, plain_variants());
SCRIPTS(CloseNoTimestamps, variants_where(plain_variants(), [](const Variant& v) { return !v.ts; }));

// We closed first, and the peer's FIN brought us to TIME-WAIT. The peer spoke up to 1, we up to 2 (FINs included).
Handle to_time_wait(Script& s) {
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK, seq(1), ack(1));
  s.in(ACK, seq(1), ack(2));
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "TIME-WAIT");
  return c;
}

TEST_P(Close, ActiveCloseGoesThroughFinWaitToTimeWait) {  // RFC 9293 3.6 case 1, 3.10.7.4
  Script s(GetParam());
  to_time_wait(s);
  s.quiet(59'999);
  EXPECT_EQ(s.state(), "TIME-WAIT");
  s.quiet(1);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, PassiveCloseGoesThroughCloseWaitAndLastAck) {  // RFC 9293 3.6 case 2
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, seq(1), ack(2));
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
  EXPECT_EQ(s.events(c), kReadable | uint32_t{kPeerClosed});
  EXPECT_EQ(s.read(c), 0u);
  s.close(c);
  s.expect(FIN | ACK, seq(1), ack(2));
  EXPECT_EQ(s.state(), "LAST-ACK");
  s.in(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "");
  s.quiet(5'000);
}

TEST_P(Close, WeMayGoOnReadingAfterShutdown) {  // RFC 9293 3.6 case 1
  Script s(GetParam());
  const Handle c = s.server();
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1));
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kBrokenPipe);
  s.in(ACK, ack(2), len(100));
  s.expect(ACK, seq(2), ack(101));
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.quiet(300'000);  // no limit while the program holds the socket
  s.in(FIN | ACK, len(10));
  s.expect(ACK, ack(112));
  EXPECT_EQ(s.state(), "TIME-WAIT");
  EXPECT_EQ(s.read(c), 10u);  // TIME-WAIT keeps nothing from the program
  EXPECT_EQ(s.read(c), 0u);
  s.close(c);
  s.expect_nothing();
}

TEST_P(Close, WeMayGoOnWritingAfterThePeersFin) {  // RFC 9293 3.6 case 2
  Script s(GetParam());
  const Handle c = s.server();
  s.in(FIN | ACK, seq(1), len(5));
  s.expect(ACK, ack(7));
  EXPECT_EQ(s.read(c), 5u);
  s.write(c, 3'000);
  s.expect_data(1, 3'001);
  s.in(ACK);
  s.shutdown(c);
  s.expect(FIN | ACK, seq(3'001), ack(7));
  s.in(ACK);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.read(c), 0u);
}

TEST_P(Close, SimultaneousCloseGoesThroughClosing) {  // RFC 9293 3.6 case 3, figure 13
  Script s(GetParam());
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK, seq(1), ack(1));
  s.in(FIN | ACK, seq(1), ack(1));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "CLOSING");
  s.in(ACK, seq(2), ack(2));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Close, FinWithTheAckOfOurFinGoesStraightToTimeWait) {  // RFC 9293 3.10.7.4 eighth
  Script s(GetParam());
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK, seq(1));
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Close, CloseDeliversWhatIsQueuedFirst) {  // RFC 9293 3.10.4
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  s.write(c, 12 * full);
  s.expect_data(1, 10 * full + 1);
  s.close(c);
  s.expect_nothing();
  s.in(ACK);
  s.expect(ACK, seq(10 * full + 1), len(full));
  s.expect(FIN | ACK, seq(11 * full + 1), len(full));
}

TEST_P(Close, FinBeforeTheLastDataWaitsForIt) {  // RFC 9293 3.10.7.4 eighth
  Script s(GetParam());
  const Handle c = s.server();
  s.in(FIN | ACK, seq(101), len(50));
  s.expect(ACK, ack(1));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(152));
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
  EXPECT_EQ(s.read(c), 150u);
  EXPECT_EQ(s.read(c), 0u);
}

TEST_P(Close, BareFinBehindHeldDataIsHeldWithIt) {  // RFC 9293 3.10.7.4, SHLD-31
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(101), len(100));
  s.skip();
  s.in(FIN | ACK, seq(201));
  s.skip();
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(202));
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
  EXPECT_EQ(s.read(c), 200u);
  EXPECT_EQ(s.read(c), 0u);
}

TEST_P(Close, BareFinOutOfOrderIsTakenWhenSentAgain) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(FIN | ACK, seq(101));
  s.expect(ACK, ack(1));
  s.in(ACK, seq(1), len(100));
  s.skip();
  s.in(FIN | ACK, seq(101));
  s.skip();
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.read(c), 0u);
}

TEST_P(Close, RepeatedFinInCloseWaitIsAcknowledgedAgain) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  s.server();
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, ack(2));
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, seq(1), ack(2));
  EXPECT_EQ(s.state(), "CLOSE-WAIT");
}

TEST_P(Close, AckThatEndsTheConnectionIsNoDrop) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, ack(2));
  s.close(c);
  s.expect(FIN | ACK, seq(1));
  s.in(ACK, ack(2));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.counter("tcp.drop.after_close"), 0u);
}

TEST_P(Close, RepeatedFinRestartsTimeWait) {  // RFC 9293 3.10.7.4 eighth, TIME-WAIT
  Script s(GetParam());
  to_time_wait(s);
  s.advance(50'000);
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(ACK, seq(2), ack(2));
  s.quiet(59'999);
  EXPECT_EQ(s.state(), "TIME-WAIT");
  s.quiet(1);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, ResetDoesNotEndTimeWait) {  // RFC 1337 3 (F1)
  Script s(GetParam());
  to_time_wait(s);
  s.in(RST, seq(2));
  s.in(RST | ACK, seq(2), ack(2));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Close, PlainAckInTimeWaitIsNotAnswered) {
  Script s(GetParam());
  to_time_wait(s);
  s.in(ACK, seq(2), ack(2));
  s.expect_nothing();
}

TEST_P(Close, OldDataInTimeWaitIsAnsweredWithTheAck) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  to_time_wait(s);
  s.in(ACK, seq(0), ack(2), len(1));
  s.expect(ACK, seq(2), ack(2));
}

TEST_P(Close, NewSynWithNewerTimestampReopensFromTimeWait) {  // RFC 6191 2, RFC 9293 MAY-2
  Script s(GetParam());
  const Handle old = to_time_wait(s);
  (void)old;
  const uint32_t before = s.raw_iss();
  s.advance(10);
  // An older sequence number than the connection used, but a newer timestamp.
  s.in(SYN, seq(s.variant().ts ? 0u - 5'000u : 5'000u), s.offer());
  const auto answer = s.sent().empty() ? Segment{} : s.sent().front();
  EXPECT_EQ(answer.flags, SYN | ACK);
  EXPECT_GT(static_cast<int32_t>(s.raw_iss() - before), 2);  // RFC 1122 4.2.2.13: above what was used
  s.skip();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  EXPECT_EQ(s.counter("tcp.time_wait_recycled"), 1u);
}

TEST_P(Close, OldSynInTimeWaitIsAnsweredWithTheAck) {  // RFC 6191 2 (otherwise), RFC 5961 4.2
  Script s(GetParam());
  to_time_wait(s);
  s.advance(10);
  s.in(SYN, seq(0u - 5'000u), s.offer(), tsval(s.peer_clock() - 1'000), ts(s.variant().ts));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Close, SameTimestampAndNewerSequenceReopens) {  // RFC 6191 2
  Script s(GetParam());
  to_time_wait(s);
  s.in(SYN, seq(5'000), s.offer());
  s.skip();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
}

TEST_P(CloseNoTimestamps, TimestampsNewToTheTupleReopen) {  // RFC 6191 2 (previous incarnation without timestamps)
  Script s(GetParam());
  to_time_wait(s);
  s.in(SYN, seq(0u - 5'000u), s.offer(), ts());
  s.skip();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
}

TEST_P(Close, SynToTimeWaitWithoutListenerIsNotAccepted) {
  Script s(GetParam());
  const Handle c = s.client();
  s.close(c);
  s.expect(FIN | ACK, seq(1));
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(ACK, ack(2));
  s.in(SYN, seq(90'000), s.offer(), tsval(s.peer_clock() + 1'000), ts(s.variant().ts));
  s.expect(ACK, seq(2), ack(2));
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

TEST_P(Close, OrphanInFinWait2EndsAfterAMinute) {
  Script s(GetParam());
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK, seq(1));
  s.in(ACK, ack(2));
  s.quiet(59'999);
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.quiet(1);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, ClosingInFinWait2StartsTheMinute) {
  Script s(GetParam());
  const Handle c = s.server();
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1));
  s.in(ACK, ack(2));
  s.quiet(100'000);
  s.close(c);
  s.quiet(59'999);
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.quiet(1);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, CloseWithUnreadDataResets) {  // RFC 1122 4.2.2.13, RFC 9293 3.10.4 (MAY-1)
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(101));
  s.close(c);
  s.expect(RST | ACK, seq(1), ack(101), len(0));
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, DataAfterCloseResets) {  // RFC 1122 4.2.2.13
  Script s(GetParam());
  const Handle c = s.server();
  s.close(c);
  s.expect(FIN | ACK, seq(1));
  s.in(ACK, ack(2));
  s.in(ACK, ack(2), len(10));
  s.expect(RST, seq(2));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.counter("tcp.drop.after_close"), 1u);
}

TEST_P(Close, ResetForDataAfterCloseStandsWhereThePeerExpectsIt) {  // RFC 9293 3.5.2: SEQ=SEG.ACK
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.close(c);
  s.expect(FIN | ACK, seq(101));
  s.in(ACK, ack(1), len(10));
  s.expect(RST, seq(1), len(0));
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, ResetOfAConnectionCarriesItsTimestamps) {  // RFC 7323 3.2
  Script s(GetParam());
  const Handle c = s.server();
  s.abort(c);
  s.expect(RST | ACK, seq(1), ts(s.variant().ts));
}

TEST_P(Close, AbortResets) {  // RFC 9293 3.10.5
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.abort(c);
  s.expect(RST | ACK, seq(101), len(0));
  EXPECT_EQ(s.state(), "");
}

TEST_P(Close, ClosingAListenerResetsWhatNobodyAccepted) {
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  s.close(l);
  s.expect(RST | ACK, seq(1));
  EXPECT_EQ(s.state(), "");
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(RST | ACK, seq(0), ack(1));
}

TEST_P(Close, AHandshakeThatOutlivesItsListenerIsReset) {
  for (const bool listens_again : {false, true}) {
    Script s(GetParam());
    const Handle l = s.listen();
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
    s.close(l);
    if (listens_again) s.listen();
    s.in(ACK);
    s.expect(RST, seq(1), len(0));
    EXPECT_EQ(s.state(), "");
  }
}

TEST_P(Close, FullTimeWaitTableRecyclesTheEntryNearestToItsEnd) {
  Options o;
  o.max_time_wait = 2;
  Script s(GetParam(), o);
  to_time_wait(s);
  for (const uint16_t port : {40'001, 40'002}) {
    s.advance(1'000);
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
    s.in(ACK);
    const Handle c = s.accept(s.listener());
    s.close(c);
    s.expect(FIN | ACK, seq(1));
    s.in(ACK, seq(1), ack(2));
    s.in(FIN | ACK, seq(1), ack(2));
    s.expect(ACK, seq(2), ack(2));
  }
  EXPECT_EQ(s.counter("tcp.time_wait_evicted"), 1u);
  for (const uint16_t port : {40'001, 40'002}) {
    s.peer_port(port);
    EXPECT_EQ(s.state(), "TIME-WAIT");
  }
  s.in(FIN | ACK, seq(1), ack(2));  // its last ACK was lost
  s.expect(ACK, seq(2), ack(2));
  s.peer_port(40'000);
  EXPECT_EQ(s.state(), "");
  s.in(FIN | ACK, seq(1), ack(2));
  s.expect(RST, seq(2));
}

}  // namespace
}  // namespace millrace::script
