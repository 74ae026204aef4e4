// Explicit congestion notification: RFC 3168 6.1, and DCTCP's echo (RFC 8257 3.2).
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Ecn, plain_variants());

Options asking(int64_t ecn) {
  Options o;
  o.tcp.ecn = ecn;
  return o;
}

/// A connection with ECN that the peer asked for.
Handle server(Script& s, const SocketOptions& o = {}) {
  const Handle l = s.listen(o);
  s.in(SYN | ECE | CWR, seq(0), s.offer(), ecn(0));
  s.expect(SYN | ACK | ECE, seq(0), ack(1), ecn(0));  // RFC 3168 6.1.1: no ECT on the handshake
  s.in(ACK);
  return s.accept(l);
}

TEST_P(Ecn, IsGrantedToAPeerThatAsks) {  // RFC 3168 6.1.1
  Script s(GetParam());
  const Handle c = server(s);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), ecn(2));
}

TEST_P(Ecn, IsNotGrantedWhereItIsOff) {
  Script s(GetParam(), asking(0));
  const Handle l = s.listen();
  s.in(SYN | ECE | CWR, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  s.write(s.accept(l), 100);
  s.expect(ACK, seq(1), len(100), ecn(0));
}

TEST_P(Ecn, IsNotAskedForUnlessTheSettingSaysSo) {
  Script s(GetParam());
  s.connect();
  s.expect(SYN, seq(0), ecn(0));
}

TEST_P(Ecn, AClientAsksAndDoesWithoutWhereThePeerDoesNotKnowIt) {  // RFC 3168 6.1.1
  Script s(GetParam(), asking(1));
  const Handle c = s.connect();
  s.expect(SYN | ECE | CWR, seq(0), ecn(0));
  s.in(SYN | ACK, seq(0), ack(1), s.offer());
  s.expect(ACK, seq(1), ack(1), ecn(0));
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), ecn(0));
}

TEST_P(Ecn, AClientUsesItWhereThePeerGrantsIt) {
  Script s(GetParam(), asking(1));
  const Handle c = s.connect();
  s.expect(SYN | ECE | CWR, seq(0));
  s.in(SYN | ACK | ECE, seq(0), ack(1), s.offer());
  s.expect(ACK, seq(1), ack(1), ecn(0));
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), ecn(2));
}

TEST_P(Ecn, ASynWithoutAnswerIsSentAgainWithout) {  // RFC 3168 6.1.1.1
  Script s(GetParam(), asking(1));
  s.connect();
  s.mark();
  s.expect(SYN | ECE | CWR, seq(0));
  s.expect_after(1'000, SYN, seq(0));
}

TEST_P(Ecn, APeerThatTriesAgainWithoutGetsNone) {  // RFC 3168 6.1.1.1
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN | ECE | CWR, seq(0), s.offer());
  s.expect(SYN | ACK | ECE, seq(0), ack(1));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  s.write(s.accept(l), 100);
  s.expect(ACK, seq(1), len(100), ecn(0));
}

TEST_P(Ecn, OnlyNewDataIsCapable) {  // RFC 3168 6.1.4, 6.1.5
  Script s(GetParam());
  const Handle c = server(s);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), ecn(2));
  s.advance(3'000);
  s.expect(ACK, seq(1), len(100), ecn(0));
  s.skip();
  s.in(ACK, len(1000));
  s.expect(ACK, len(0), ecn(0));
}

TEST_P(Ecn, MarksAreEchoedUntilTheSenderHasReduced) {  // RFC 3168 6.1.3
  Script s(GetParam());
  const Handle c = server(s);
  s.in(ACK, len(100), ecn(3));
  s.expect(ACK | ECE, ack(101));
  s.in(ACK, len(100), ecn(2));
  s.expect(ACK | ECE, ack(201));
  s.in(ACK | CWR, len(100), ecn(2));
  s.expect(ACK, ack(301));
  s.in(ACK | CWR, len(100), ecn(3));  // marked again on its way
  s.expect(ACK | ECE, ack(401));
  EXPECT_EQ(s.read(c), 400u);
  EXPECT_EQ(s.counter("tcp.marks_in"), 2u);
}

// RFC 3168 6.1.2, RFC 9438 4.6: a window of one segment has nothing left to give but time.
TEST_P(Ecn, EchoesAtOneSegmentLeaveOneSegmentATimeout) {
  Options o;
  o.tcp.congestion_control = tcp::cc::find_controller("cubic");
  Script s(GetParam(), o);
  const Handle c = server(s);
  const uint32_t full = s.full();
  s.write(c, 60 * full);
  s.advance(20);
  for (int i = 0; i < 12 && s.info().tcp.cwnd > full; ++i) {
    ASSERT_GT(s.skip(), 0u);
    s.in(ACK | ECE);
  }
  ASSERT_EQ(s.info().tcp.cwnd, full);
  ASSERT_EQ(s.skip(), 1u);
  for (const int64_t times : {1, 2, 4}) {
    s.in(ACK | ECE);
    const int64_t wait = times * s.info().tcp.rto_us / 1'000;
    s.in(ACK, len(10));  // which tells the window, and does not end the wait
    s.advance(wait - 2);
    EXPECT_LE(s.skip(), 1u);  // its acknowledgment
    EXPECT_EQ(s.counter("tcp.retransmits"), 0u);
    EXPECT_EQ(s.info().tcp.cwnd, full);
    s.advance(4);
    ASSERT_EQ(s.sent().size(), 1u);
    EXPECT_EQ(s.sent().front().flags & CWR, CWR);
    s.skip();
  }
  s.in(ACK);
  EXPECT_GT(s.info().tcp.cwnd, full);
  EXPECT_GT(s.skip(), 0u) << "without a mark it goes on at once";
  EXPECT_EQ(s.read(c), 30u);
}

// A report of duplicates that comes late takes nothing back of what a mark has asked for since.
TEST_P(Ecn, AMarkEndsTheTimeInWhichARecoveryMayBeUndone) {
  Script s(GetParam());
  const Handle c = server(s);
  const auto edge = [&](uint32_t n) { return (2 + n) * s.full() + 1; };
  s.write(c, 2 * s.full());
  s.skip();
  s.advance(64);
  s.in(ACK);
  s.write(c, 10 * s.full());
  s.skip();
  s.advance(64);
  s.in(ACK, ack(edge(0)), sack({{edge(1), edge(4)}}));
  ASSERT_EQ(s.skip(), 1u);
  s.advance(10);
  s.in(ACK, ack(edge(10)), ecr(s.last_ts_val()));
  s.in(ACK | ECE, ack(edge(10)));
  ASSERT_EQ(s.counter("tcp.ecn_reductions"), 1u);
  const uint32_t reduced = s.info().tcp.ssthresh;
  s.in(ACK, ack(edge(10)), sack({{edge(0), edge(1)}}));
  EXPECT_EQ(s.counter("tcp.recoveries_undone"), 0u);
  EXPECT_EQ(s.info().tcp.ssthresh, reduced);
}

TEST_P(Ecn, AnEchoHalvesTheWindowOnceAndSaysSo) {  // RFC 3168 6.1.2
  Script s(GetParam());
  const Handle c = server(s);
  const uint32_t full = s.full();
  const uint32_t before = s.info().tcp.cwnd;
  s.write(c, 10 * full);
  s.expect_data(1, 10 * full + 1);
  s.in(ACK | ECE, ack(1 + 2 * full));
  EXPECT_LE(s.info().tcp.cwnd, before / 2 + full);
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 1u);
  EXPECT_EQ(s.counter("tcp.retransmits"), 0u);
  const uint32_t reduced = s.info().tcp.ssthresh;
  s.in(ACK | ECE, ack(1 + 4 * full));  // the same window
  EXPECT_EQ(s.info().tcp.ssthresh, reduced);
  s.in(ACK | ECE, ack(1 + 10 * full));
  EXPECT_EQ(s.info().tcp.ssthresh, reduced) << "the peer has not seen CWR yet";
  s.write(c, 3 * full);
  s.expect(ACK | CWR, seq(1 + 10 * full), len(full), ecn(2));
  s.expect(ACK, seq(1 + 11 * full), len(full), ecn(2));
  s.expect(ACK, seq(1 + 12 * full), len(full), ecn(2));
  s.in(ACK, ack(1 + 13 * full));
  s.write(c, full);
  s.expect(ACK, seq(1 + 13 * full), len(full));
  s.in(ACK | ECE, ack(1 + 14 * full));  // another window: another reduction
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 2u);
}

TEST_P(Ecn, WithoutNegotiationMarksAndEchoesMeanNothing) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, len(100), ecn(3));
  s.expect(ACK, ack(101));
  const uint32_t full = s.full();
  s.write(c, 4 * full);
  s.expect_data(1, 4 * full + 1);
  s.in(ACK | ECE, ack(1 + 4 * full));
  EXPECT_EQ(s.counter("tcp.ecn_reductions"), 0u);
}

TEST_P(Ecn, DctcpAsksWhateverTheSettingAndEchoesEachChangeAtOnce) {  // RFC 8257 3.2
  Script s(GetParam(), asking(0));
  SocketOptions o;
  o.congestion_control = "dctcp";
  const Handle c = server(s, o);
  for (int i = 0; i < 20; ++i) {  // past the quick acknowledgments of the start
    s.in(ACK, len(100), ecn(2));
    (void)s.skip();
  }
  s.advance(1'000);
  (void)s.skip();
  s.in(ACK, len(100), ecn(2));
  s.expect_nothing();  // delayed
  s.in(ACK, len(100), ecn(3));
  s.expect(ACK, ack(2'101));  // what came before the mark, unmarked
  s.advance(100);
  s.expect(ACK | ECE, ack(2'201));
  s.in(ACK, len(100), ecn(3));
  s.in(ACK, len(100), ecn(2));
  s.expect(ACK | ECE, ack(2'301));
  s.advance(100);
  s.expect(ACK, ack(2'401));
  EXPECT_EQ(s.read(c), 2'400u);
}

SCRIPTS(Idle, plain_variants());

TEST_P(Idle, AWindowThatWasNotUsedForATimeoutStartsSlowlyAgain) {  // RFC 5681 4.1
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  const uint32_t initial = s.info().tcp.cwnd;
  uint32_t at = 1;
  for (int i = 0; i < 3; ++i) {
    const uint32_t n = s.info().tcp.cwnd / full * full;
    s.write(c, n);
    s.expect_data(at, at + n);
    at += n;
    s.advance(10);
    s.in(ACK, ack(at));
  }
  const uint32_t grown = s.info().tcp.cwnd;
  ASSERT_GT(grown, initial);
  s.advance(100);
  s.write(c, 10);
  s.expect(ACK, seq(at), len(10));
  at += 10;
  s.in(ACK, ack(at));
  EXPECT_EQ(s.info().tcp.cwnd, grown) << "idle for less than a timeout";
  s.advance(1'000);
  s.write(c, 10);  // a small segment first, which must not hide that the connection was idle
  s.expect(ACK, seq(at), len(10));
  EXPECT_EQ(s.info().tcp.cwnd, initial);
  EXPECT_GE(s.info().tcp.ssthresh, grown / 4 * 3);
}

TEST_P(Idle, KeepsTheWindowWhereTheSettingSaysSo) {
  Options o;
  o.tcp.slow_start_after_idle = 0;
  Script s(GetParam(), o);
  const Handle c = s.server();
  const uint32_t n = s.info().tcp.cwnd / s.full() * s.full();
  s.write(c, n);
  s.expect_data(1, 1 + n);
  s.in(ACK, ack(1 + n));
  const uint32_t grown = s.info().tcp.cwnd;
  s.advance(5'000);
  s.write(c, 10);
  s.expect(ACK, seq(1 + n), len(10));
  EXPECT_EQ(s.info().tcp.cwnd, grown);
}

}  // namespace
}  // namespace millrace::script
