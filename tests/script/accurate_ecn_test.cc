// More accurate ECN feedback: RFC 9768.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(AccurateEcn, plain_variants());

Options mode(int64_t ecn) {
  Options o;
  o.tcp.ecn = ecn;
  return o;
}

/// A server whose peer asked for accurate feedback, and whose SYN-ACK arrived as it was sent.
Handle server(Script& s, const SocketOptions& o = {}) {
  const Handle l = s.listen(o);
  s.in(SYN, ace(7), seq(0), s.offer());
  s.expect(SYN | ACK, ace(2), seq(0), ack(1), ecn(0));
  s.in(ACK, ace(2));
  return s.accept(l);
}

Handle client(Script& s) {
  const Handle c = s.connect();
  s.expect(SYN, ace(7), seq(0), ecn(0));
  s.in(SYN | ACK, ace(2), seq(0), ack(1), s.offer());
  s.expect(ACK, ace(2), seq(1), ack(1), ecn(0));
  return c;
}

TEST_P(AccurateEcn, SynAckTellsHowTheSynArrived) {  // RFC 9768 3.1.1
  for (const auto& [codepoint, told] : {std::pair<uint8_t, uint8_t>{0, 2}, {1, 3}, {2, 4}, {3, 6}}) {
    Script s(GetParam(), mode(5));
    const Handle l = s.listen();
    s.in(SYN, ace(7), seq(0), s.offer(), ecn(codepoint));
    s.expect(SYN | ACK, ace(told), seq(0), ack(1), ecn(0));
    s.in(ACK, ace(2));
    const Handle c = s.accept(l);
    s.write(c, 100);
    s.expect(ACK, ace(5), seq(1), len(100), ecn(2));
  }
}

TEST_P(AccurateEcn, ValuesThatNobodyKnowsAskForItToo) {  // RFC 9768 3.1.3
  for (const uint8_t asked : {1, 2, 4, 5, 6}) {
    Script s(GetParam(), mode(5));
    s.listen();
    s.in(SYN, ace(asked), seq(0), s.offer());
    s.expect(SYN | ACK, ace(2), seq(0), ack(1));
    s.in(RST, seq(1));
  }
}

TEST_P(AccurateEcn, ClassicPeersGetTheClassicKind) {  // RFC 9768 3.1.2
  Script s(GetParam(), mode(5));
  const Handle l = s.listen();
  s.in(SYN, ace(3), seq(0), s.offer());
  s.expect(SYN | ACK, ace(1), seq(0), ack(1));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), ecn(2));
  s.in(ACK, len(10), ecn(3));
  s.expect(ACK | ECE, ack(11));
  EXPECT_EQ(s.read(c), 10u);
}

TEST_P(AccurateEcn, WhereItIsOffThePeerThatAsksGetsTheClassicKind) {
  Script s(GetParam(), mode(2));
  s.listen();
  s.in(SYN, ace(7), seq(0), s.offer());
  s.expect(SYN | ACK, ace(1), seq(0), ack(1));
  s.in(RST, seq(1));
}

TEST_P(AccurateEcn, MarksAreCounted) {  // RFC 9768 3.2.2.2, 3.2.2.5.1
  Script s(GetParam(), mode(5));
  const Handle c = server(s);
  for (int i = 0; i < 40; ++i) s.in(ACK, ace(5), len(100), ecn(2));  // beyond the quick acknowledgments of the start
  s.advance(50);
  s.skip();
  s.in(ACK, ace(5), len(100), ecn(3));
  s.expect(ACK, ace(6), ack(4101));  // the first mark at once
  s.in(ACK, ace(5), len(100), ecn(3));
  s.expect_nothing();
  s.in(ACK, ace(5), len(100), ecn(3));
  s.expect(ACK, ace(0), ack(4301));  // and then every second
  s.in(ACK, ace(5), len(100), ecn(2));
  s.advance(50);
  s.skip();
  s.in(ACK, ace(5), len(100), ecn(3));
  s.expect(ACK, ace(1), ack(4501));
  s.write(c, 100);
  s.expect(ACK, ace(1), seq(1), len(100), ecn(2));
  EXPECT_EQ(s.read(c), 4'500u);
  EXPECT_EQ(s.counter("tcp.marks_in"), 4u);
}

TEST_P(AccurateEcn, ACountThatGrowsReducesTheWindowOncePerRoundTripAndSaysNothing) {  // RFC 9768 3.1.5
  Script s(GetParam(), mode(5));
  const Handle c = server(s);
  const uint32_t full = s.full();
  const uint32_t before = s.info().tcp.cwnd;
  s.write(c, 10 * full);
  s.expect_data(1, 10 * full + 1);
  s.in(ACK, ace(6), ack(1 + 2 * full));
  EXPECT_LE(s.info().tcp.cwnd, before / 2 + full);
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 1u);
  const uint32_t reduced = s.info().tcp.ssthresh;
  s.in(ACK, ace(0), ack(1 + 4 * full));  // two more marks, of the same window
  EXPECT_EQ(s.info().tcp.ssthresh, reduced);
  s.in(ACK, ace(0), ack(1 + 10 * full));
  s.write(c, full);
  s.expect(ACK, ace(5), seq(1 + 10 * full), len(full), ecn(2));  // no CWR
  s.in(ACK, ace(0), ack(1 + 11 * full));
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 1u);
  s.write(c, full);
  s.expect(ACK, ace(5), seq(1 + 11 * full), len(full), ecn(2));
  s.in(ACK, ace(1), ack(1 + 12 * full));
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 2u);
}

TEST_P(AccurateEcn, WhereAcknowledgmentsAreMissingTheCountMayHaveGoneRound) {  // RFC 9768 3.2.2.5.2
  Script s(GetParam(), mode(5));
  const Handle c = server(s);
  const uint32_t full = s.full();
  s.write(c, 10 * full);
  s.expect_data(1, 10 * full + 1);
  s.in(ACK, ace(5), ack(1 + 10 * full));  // of ten segments eight may have been marked
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 1u);
}

TEST_P(AccurateEcn, RetransmissionsAndAcknowledgmentsAreNotEcnCapable) {
  Script s(GetParam(), mode(5));
  const Handle c = server(s);
  s.write(c, 100);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(2));
  while (s.sent().empty()) s.advance(10);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(0));
  s.in(ACK, ace(5), len(100));
  s.advance(50);
  s.expect(ACK, ace(5), ack(101), ecn(0));
  EXPECT_EQ(s.read(c), 100u);
}

TEST_P(AccurateEcn, AClientAsksAndTellsHowTheSynAckArrived) {  // RFC 9768 3.2.2.1
  for (const auto& [codepoint, told] : {std::pair<uint8_t, uint8_t>{0, 2}, {1, 3}, {2, 4}, {3, 6}}) {
    Script s(GetParam(), mode(3));
    const Handle c = s.connect();
    s.expect(SYN, ace(7), seq(0), ecn(0));
    s.in(SYN | ACK, ace(2), seq(0), ack(1), s.offer(), ecn(codepoint));
    s.expect(ACK, ace(told), seq(1), ack(1));
    s.write(c, 100);
    s.expect(ACK, ace(codepoint == 3 ? 6 : 5), seq(1), len(100), ecn(2));  // counted too: what is told may be lost
  }
}

TEST_P(AccurateEcn, AClientTakesWhatTheServerKnows) {  // RFC 9768 table 2
  for (const uint8_t answer : {0, 1, 7, 5}) {
    Script s(GetParam(), mode(3));
    const Handle c = s.connect();
    s.expect(SYN, ace(7), seq(0));
    s.in(SYN | ACK, ace(answer), seq(0), ack(1), s.offer());
    const uint8_t told = answer == 5 ? 2 : 0;
    s.expect(ACK, ace(told), seq(1), ack(1));
    s.write(c, 100);
    const bool ect = answer == 1 || answer == 5;
    s.expect(ACK, ace(answer == 5 ? 5 : 0), seq(1), len(100), ecn(ect ? 2 : 0));
  }
}

TEST_P(AccurateEcn, AMangledSynSilencesTheClient) {  // RFC 9768 3.2.2.3
  for (const uint8_t answer : {3, 4, 6}) {
    Script s(GetParam(), mode(3));
    const Handle c = s.connect();
    s.expect(SYN, ace(7), seq(0));
    s.in(SYN | ACK, ace(answer), seq(0), ack(1), s.offer());
    s.expect(ACK, ace(2), seq(1), ack(1));
    s.write(c, 100);
    s.expect(ACK, ace(5), seq(1), len(100), ecn(0));
    s.in(ACK, ace(5), len(100), ecn(3));  // it still tells what it sees
    s.expect(ACK, ace(6), ack(101));
    EXPECT_EQ(s.read(c), 100u);
  }
}

TEST_P(AccurateEcn, AMangledOrMissingAnswerSilencesTheServer) {  // RFC 9768 table 4, 3.2.2.3
  for (const uint8_t answer : {0, 3, 4, 6}) {
    Script s(GetParam(), mode(5));
    const Handle l = s.listen();
    s.in(SYN, ace(7), seq(0), s.offer());
    s.expect(SYN | ACK, ace(2), seq(0), ack(1));
    s.in(ACK, ace(answer));
    const Handle c = s.accept(l);
    s.write(c, 100);
    s.expect(ACK, ace(5), seq(1), len(100), ecn(0));
    s.in(ACK, ace(answer == 0 ? 3 : answer == 6 ? 7 : 6), ack(101));
    EXPECT_EQ(s.counter("tcp.ecn_reductions"), answer == 0 ? 0u : answer == 6 ? 2u : 1u) << int{answer};
  }
}

TEST_P(AccurateEcn, TheThirdSynGoesWithout) {  // RFC 9768 3.1.4.1
  Script s(GetParam(), mode(3));
  const Handle c = s.connect();
  s.expect(SYN, ace(7), seq(0));
  s.expect_after(1'000, SYN, ace(7), seq(0));
  s.expect_after(2'000, SYN, seq(0));
  s.in(SYN | ACK, ace(2), seq(0), ack(1), s.offer());  // the answer to one of the others
  s.expect(ACK, ace(2), seq(1), ack(1));
  s.write(c, 100);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(2));
}

TEST_P(AccurateEcn, TheThirdSynAckGoesWithout) {  // RFC 9768 3.2.3.2.2, 3.1.5
  Script s(GetParam(), mode(5));
  const Handle l = s.listen();
  s.in(SYN, ace(7), seq(0), s.offer());
  s.expect(SYN | ACK, ace(2), seq(0), ack(1));
  s.expect_after(1'000, SYN | ACK, ace(2), seq(0), ack(1));
  s.expect_after(2'000, SYN | ACK, seq(0), ack(1));
  s.in(ACK, ace(2));
  const Handle c = s.accept(l);
  s.write(c, 100);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(0));
}

TEST_P(AccurateEcn, ASynWithoutItDoesNotEndItButSilencesTheServer) {  // RFC 9768 3.1.5
  Script s(GetParam(), mode(5));
  const Handle l = s.listen();
  s.in(SYN, ace(7), seq(0), s.offer());
  s.expect(SYN | ACK, ace(2), seq(0), ack(1));
  s.advance(1);
  s.in(SYN, seq(0), s.offer(), ecn(2));
  s.expect(SYN | ACK, ace(4), seq(0), ack(1));
  s.in(ACK, ace(2));
  const Handle c = s.accept(l);
  s.write(c, 100);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(0));
}

TEST_P(AccurateEcn, APeerThatAsksForBothKindsIsReset) {  // RFC 9768 3.1.5
  for (const bool classic_first : {false, true}) {
    Script s(GetParam(), mode(5));
    s.listen();
    s.in(SYN, ace(classic_first ? 3 : 7), seq(0), s.offer());
    s.expect(SYN | ACK, ace(classic_first ? 1 : 2), seq(0), ack(1));
    s.advance(1);
    s.in(SYN, ace(classic_first ? 7 : 3), seq(0), s.offer());
    s.expect(RST | ACK, ack(1));
    EXPECT_EQ(s.state(), "");
  }
}

TEST_P(AccurateEcn, ACookieRemembersIt) {  // RFC 9768 5.1
  if (!GetParam().ts) return;              // nowhere to keep it
  for (const uint8_t asked : {7, 3}) {
    Options o = mode(5);
    o.tcp.syncookies = 2;
    Script s(GetParam(), o);
    const Handle l = s.listen();
    s.in(SYN, ace(asked), seq(0), s.offer());
    s.expect(SYN | ACK, ace(asked == 7 ? 2 : 1), seq(0), ack(1));
    s.in(ACK, ace(asked == 7 ? 2 : 0));
    const Handle c = s.accept(l);
    s.write(c, 100);
    s.expect(ACK, ace(asked == 7 ? 5 : 0), seq(1), len(100), ecn(2));
  }
}

TEST_P(AccurateEcn, DctcpCountsWhatWasMarked) {  // RFC 8257 3.3
  Options o = mode(5);
  o.tcp.congestion_control = tcp::cc::find_controller("dctcp");
  Script s(GetParam(), o);
  const Handle c = server(s);
  const uint32_t full = s.full();
  s.write(c, 10 * full);
  s.expect_data(1, 10 * full + 1);
  const uint32_t before = s.info().tcp.cwnd;
  for (uint32_t i = 2; i <= 10; i += 2) s.in(ACK, ace(6), ack(1 + i * full));  // one of ten
  const uint32_t once = s.info().tcp.cwnd;
  EXPECT_LT(once, before + 10 * full);
  EXPECT_GT(once, before / 2);
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 1u);
}

TEST_P(AccurateEcn, TwoOfOursAgree) {
  Script s(GetParam(), mode(3));
  const Handle c = client(s);
  s.write(c, 100);
  s.expect(ACK, ace(5), seq(1), len(100), ecn(2));
  s.in(ACK, ace(5), len(50), ecn(2));
  EXPECT_EQ(s.read(c), 50u);
  s.skip();
}

}  // namespace
}  // namespace millrace::script
