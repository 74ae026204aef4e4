// Clauses of RFCs that no other script happens to show (docs/RFC.md).
#include "flight.h"

namespace millrace::script {
namespace {

SCRIPTS(Clauses, plain_variants());
SCRIPTS(ClausesTimestamps, variants_where(plain_variants(), [](const Variant& v) { return v.ts; }));
SCRIPTS(ClausesNoTimestamps, variants_where(plain_variants(), [](const Variant& v) { return !v.ts; }));
SCRIPTS(ClausesLoss, all_variants());
SCRIPTS(ClausesSack, sack_variants());

TEST_P(Clauses, ResetMayCarryData) {  // RFC 9293 3.5.3 SHLD-2
  Script s(GetParam());
  const Handle c = s.server();
  s.in(RST, seq(1), len(5));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
}

TEST_P(Clauses, ResetOfASimultaneousOpenRefusesTheProgram) {  // RFC 9293 3.5 MUST-11
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(RST, seq(1));
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionRefused);
}

TEST_P(Clauses, ResetAndUrgentPointerCountAtAShutWindow) {  // RFC 9293 3.4 MUST-66
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 8'000;
  const Handle c = s.server(o);
  for (int i = 0; i < 8; ++i) s.in(ACK, len(1'000));
  s.skip();
  (void)s.events(c);
  s.in(ACK, seq(8'001), urg(9));
  s.skip();
  EXPECT_NE(s.events(c) & kUrgent, 0u);
  s.in(RST, seq(8'001));
  EXPECT_EQ(s.state(), "");
}

TEST_P(Clauses, KeepaliveWaitsTwoHoursByDefault) {  // RFC 9293 3.8.4 MUST-28
  Script s(GetParam());
  SocketOptions o;
  o.keepalive = true;
  s.server(o);
  s.mark();
  s.expect_after(7'200'000, ACK, seq(0), len(0));
}

TEST_P(Clauses, APortMayBeListenedOnWhileAConnectionOfItOpens) {  // RFC 9293 3.9.1.1 MUST-42, MUST-43
  Script s(GetParam());
  req::Connect connect;
  connect.remote = {s.remote(), 40'000};
  connect.local = {s.local(), 80};
  ASSERT_TRUE(s.ask(connect));
  s.expect(SYN, seq(0));
  s.listen();
  EXPECT_EQ(s.state(), "SYN-SENT");
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
}

TEST_P(Clauses, OpeningTowardAGroupIsRefused) {  // RFC 9293 3.9.1.1 MUST-46
  Script s(GetParam());
  req::Connect connect;
  connect.remote = {s.variant().v6 ? *IpAddr::parse("ff02::1") : IpAddr::v4(224, 0, 0, 1), 80};
  EXPECT_EQ(s.ask(connect).error(), Error::kNetUnreachable);
  connect.remote = {IpAddr::v4(255, 255, 255, 255), 80};
  EXPECT_EQ(s.ask(connect).error(), Error::kNetUnreachable);
  s.expect_nothing();
}

TEST_P(ClausesNoTimestamps, WindowScaleOutsideASynIsIgnored) {  // RFC 7323 2.2
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());  // scale 7
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK, win(100));
  const Handle c = s.accept(l);
  s.in(ACK, win(100), raw({3, 3, 0, 1}));
  s.write(c, 20'000);
  EXPECT_EQ(s.expect_data(1, 8 * s.full() + 1), 8u);  // of 12,800 bytes
  s.expect_nothing();
}

TEST_P(ClausesNoTimestamps, TimestampsThatWereNotAgreedOnAreIgnored) {  // RFC 7323 3.2
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, len(10), tsval(5));
  s.expect(ACK, ack(11), ts(false));
  s.in(ACK, len(10), tsval(4));
  s.expect(ACK, ack(21), ts(false));
  EXPECT_EQ(s.read(c), 20u);
}

TEST_P(ClausesNoTimestamps, FastOpenOutsideASynIsIgnored) {  // RFC 7413 4.1.1
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, len(10), raw({34, 2, 1, 1}));
  s.expect(ACK, ack(11), len(0));
  s.in(ACK, len(10), raw({34, 6, 1, 2, 3, 4, 1, 1}));
  s.expect(ACK, ack(21), len(0));
  EXPECT_EQ(s.read(c), 20u);
}

TEST_P(ClausesTimestamps, EchoInASynIsIgnored) {  // RFC 7323 3.2
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer(), ecr(0x7fff'0000));
  s.expect(SYN | ACK, seq(0), ack(1));
  s.advance(50);
  s.in(ACK);
  const Handle c = s.accept(l);
  EXPECT_TRUE(c.valid());
  EXPECT_EQ(s.info().tcp.srtt_us, 50'000u);
}

TEST_P(ClausesTimestamps, TimestampsOfResetsAndSynsAreNotKept) {  // RFC 7323 5.2
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, len(100));
  s.expect(ACK, ack(101));
  EXPECT_EQ(s.read(c), 100u);
  // From below the window into it, so that neither ends the connection.
  s.in(RST | ACK, seq(51), len(100), tsval(s.peer_clock() + 1'000'000));
  s.expect_nothing();
  s.in(SYN | ACK, seq(51), len(100), tsval(s.peer_clock() + 1'000'000));
  s.expect(ACK, seq(1), ack(101));
  s.in(ACK, seq(101), len(10));
  s.expect(ACK, ack(111), ecr(s.peer_clock()));
  EXPECT_EQ(s.read(c), 10u);
}

TEST_P(ClausesTimestamps, OldTimestampIsFoundBeforeAWrongSequenceNumber) {  // RFC 7323 5.3
  Script s(GetParam());
  s.server();
  const uint32_t old = s.peer_clock() - 1;
  s.in(ACK, seq(10'000'000), len(10), tsval(old));  // beyond the window
  s.expect(ACK, seq(1), ack(1), len(0));
  s.advance(1'000);
  s.in(ACK, seq(101), len(10), tsval(old));  // within, and early
  s.expect(ACK, seq(1), ack(1), len(0), no_sack());
  EXPECT_EQ(s.counter("tcp.drop.old_timestamp"), 2u);
}

TEST_P(ClausesSack, DuplicateAckWithoutNewBlocksSendsNothing) {  // RFC 5681 3.2 step 1
  Script s(GetParam());
  ten_in_flight(s, 10);
  const uint32_t full = s.full();
  s.advance(40);
  for (int i = 0; i < 4; ++i) s.in(ACK, ack(1));
  s.expect_nothing();
  s.in(ACK, ack(1), sack({{full + 1, 2 * full + 1}}));
  s.expect(ACK, seq(10 * full + 1), len(full));
  s.in(ACK, ack(1), sack({{full + 1, 2 * full + 1}}));
  s.expect_nothing();
}

TEST_P(ClausesLoss, LimitedTransmitDoesNotRaiseTheThreshold) {  // RFC 5681 3.2 step 2
  Script s(GetParam());
  ten_in_flight(s, 10);
  const uint32_t full = s.full();
  s.advance(40);
  for (uint32_t i = 2; i <= 4; ++i) {
    if (s.variant().sack) {
      s.in(ACK, ack(1), sack({{full + 1, i * full + 1}}));
    } else {
      s.in(ACK, ack(1));
    }
    if (i < 4) s.expect(ACK, seq((8 + i) * full + 1), len(full));
  }
  s.expect(ACK, seq(1), len(full));
  EXPECT_EQ(s.info().tcp.ssthresh, 5 * full);
  s.skip();
}

TEST_P(ClausesSack, TimeoutDuringRecoveryForbidsTheNextOneUpToItsEnd) {  // RFC 6675 5.1
  for (const int64_t rack : {0, 1}) {
    Options o;
    o.tcp.rack = rack;
    Script s(GetParam(), o);
    const Handle c = s.server();
    const uint32_t full = s.full();
    const auto edge = [&](uint32_t n) { return n * full + 1; };
    s.write(c, 10 * full);
    s.expect_data(1, edge(10));
    s.advance(40);
    s.in(ACK, ack(1), sack({{edge(1), edge(4)}}));
    s.expect(ACK, seq(1), len(full));
    s.advance(241);
    s.expect(ACK, seq(1), len(full));
    EXPECT_EQ(s.info().tcp.cwnd, full);
    EXPECT_EQ(s.counter("tcp.rtos"), 1u);
    s.in(ACK, ack(edge(1)));
    for (uint32_t i = 3; i <= 6; ++i) s.in(ACK, ack(edge(1)), sack({{edge(2), edge(i)}}));
    EXPECT_EQ(s.counter("tcp.fast_retransmits"), 1u);
    s.in(ACK, ack(edge(10)));
    EXPECT_EQ(std::string(s.info().tcp.recovery), "open");
    s.skip();
  }
}

TEST_P(ClausesSack, ReorderingWindowEndsAtTheSmoothedRoundTrip) {  // RFC 8985 3.3.2
  Script s(GetParam());
  Flight f(s, 100);
  const uint32_t full = s.full();
  s.in(ACK, ack(f.edge(10)));
  uint32_t at = f.edge(10);
  for (int i = 0; i < 8; ++i, at += full) {  // in each round the peer has something twice
    s.write(f.c, full);
    s.expect(ACK, seq(at), len(full));
    s.advance(100);
    s.in(ACK, ack(at + full), sack({{at, at + full}}));
  }
  s.write(f.c, 10 * full);
  EXPECT_EQ(s.expect_data(at, at + 10 * full), 10u);
  s.advance(100);
  s.in(ACK, ack(at), sack({{at + full, at + 2 * full}}));
  s.mark();
  s.expect_after(100, ACK, seq(at), len(full));
  s.skip();
}

}  // namespace
}  // namespace millrace::script
