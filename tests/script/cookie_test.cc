// SYN cookies on the wire: RFC 4987 3.6, RFC 9293 3.10.7.2.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Cookie, all_variants());
SCRIPTS(CookieTimestamps, variants_where(all_variants(), [](const Variant& v) { return v.ts; }));

Options always() {
  Options o;
  o.tcp.syncookies = 2;
  return o;
}

TEST_P(Cookie, HandshakeKeepsNoEntryAndAgreesOnWhatTheTimestampHolds) {
  const bool ts = GetParam().ts;
  Script s(GetParam(), always());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  if (ts) {
    s.expect(SYN | ACK, seq(0), ack(1), mss(s.path_mss()), sack_ok(GetParam().sack), script::ts());
  } else {
    s.expect(SYN | ACK, seq(0), ack(1), mss(s.path_mss()), sack_ok(false), no_ws());
  }
  EXPECT_EQ(s.state(), "");
  s.in(ACK);
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.events(l), uint32_t{kAcceptable});
  EXPECT_EQ(s.counter("tcp.syncookies_sent"), 1u);
  EXPECT_EQ(s.counter("tcp.syncookies_accepted"), 1u);
  const tcp::Info info = s.info().tcp;
  EXPECT_EQ(info.timestamps, ts);
  EXPECT_EQ(info.sack, ts && GetParam().sack);
  EXPECT_EQ(info.window_scaling, ts);
  EXPECT_EQ(info.send_scale, ts ? 7 : 0);
  const Handle c = s.accept(l);
  s.in(ACK | PSH, len(100));
  EXPECT_EQ(s.read(c), 100u);
  s.expect(ACK, ack(101));
  s.write(c, 3 * s.full());
  s.expect_data(1, 3 * s.full() + 1);
  s.in(ACK);
}

TEST_P(CookieTimestamps, GoOnFromTheSynAck) {  // RFC 7323 4.1
  Script s(GetParam(), always());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  const uint32_t first = s.last_ts_val();
  s.in(ACK);
  s.write(s.accept(l), 10);
  s.expect(ACK, len(10));
  EXPECT_LT(s.last_ts_val() - first, 64u);
}

TEST_P(Cookie, DataMayBringItBack) {  // the bare ACK was lost
  Script s(GetParam(), always());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK | PSH, len(100));
  s.expect(ACK, ack(101));
  EXPECT_EQ(s.read(s.accept(l)), 100u);
}

TEST_P(Cookie, WrongOneIsAnsweredWithAReset) {  // RFC 9293 3.10.7.2 second
  Script s(GetParam(), always());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK, seq(1), ack(2));
  s.expect(RST, seq(2));
  s.in(ACK, seq(2), ack(1));
  s.expect(RST, seq(1));
  EXPECT_EQ(s.counter("tcp.syncookies_failed"), 2u);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Cookie, ExpiresAfterTwoMinutes) {
  Script s(GetParam(), always());
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.advance(129'000);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());  // so that cookies are looked for
  s.expect(SYN | ACK);
  s.peer_port(40'000);
  s.in(ACK, seq(1), ack(1));
  s.expect(RST);
  EXPECT_EQ(s.counter("tcp.syncookies_failed"), 1u);
}

TEST_P(Cookie, IsNotLookedForWhileNoneIsOnItsWay) {
  Options o;
  o.tcp.syncookies = 1;
  Script s(GetParam(), o);
  s.listen();
  s.in(ACK, seq(1), ack(1));
  s.expect(RST);
  EXPECT_EQ(s.counter("tcp.syncookies_failed"), 0u);
}

TEST_P(Cookie, FullAcceptQueueRefusesIt) {
  Script s(GetParam(), always());
  const Handle l = s.listen({}, 1);
  for (const uint16_t port : {40'000, 40'001}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  s.peer_port(40'000);
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.peer_port(40'001);
  s.in(ACK);
  s.expect_nothing();
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.counter("tcp.drop.backlog_full"), 1u);
  (void)s.accept(l);
  s.in(ACK | PSH, seq(1), len(10));  // sent again, there is room by now
  s.expect(ACK, ack(11));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Cookie, TakesOverWhereHalfOpenEntriesOfAListenerRunOut) {  // RFC 4987 3.6
  Script s(GetParam());
  s.listen({}, 2);
  for (const uint16_t port : {40'000, 40'001, 40'002}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  EXPECT_EQ(s.counter("tcp.syncookies_sent"), 1u);
  EXPECT_EQ(s.state(), "");
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.peer_port(40'000);
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.counter("tcp.syncookies_accepted"), 1u);
}

// A copy of the SYN came late and found room for an entry: the client knows of the first answer only.
TEST_P(Cookie, ItsAnswerReplacesAnEntryThatALateCopyOfTheSynMade) {
  Script s(GetParam());
  const Handle l = s.listen({}, 2);
  for (const uint16_t port : {40'000, 40'001, 40'002}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  const uint32_t cookie = s.raw_iss();
  for (const uint16_t port : {40'000, 40'001}) {
    s.peer_port(port);
    s.in(ACK);
    (void)s.accept(l);
  }
  s.peer_port(40'002);
  s.in(SYN, seq(0), s.offer());
  s.skip();
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.in(ACK, seq(1), ack(cookie + 1 - s.raw_iss()));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.counter("tcp.syncookies_accepted"), 1u);
  EXPECT_EQ(s.worker().sockets().size(), 4u);
}

// A forged SYN takes no entry, no connection, no buffer and no timer, however many come.
TEST_P(Cookie, FloodOfForgedSynsHoldsNothing) {
  Options o;
  o.max_half_open = 4;
  o.tcp.syncookies_per_second = 0;  // all are answered
  Script s(GetParam(), o);
  const Handle old = s.server();
  for (uint16_t i = 0; i < 2'000; ++i) {
    s.peer_port(static_cast<uint16_t>(20'000 + i));
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  EXPECT_EQ(s.counter("tcp.syncookies_sent"), 1'996u);
  EXPECT_EQ(s.counter("tcp.half_open_evicted"), 0u);
  EXPECT_EQ(s.worker().sockets().size(), 6u);  // the listener, a connection, four half-open entries
  s.peer_port(50'000);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.peer_port(40'000);
  s.write(old, 100);
  s.expect(ACK, seq(1), len(100));
  s.in(ACK);
}

TEST_P(CookieTimestamps, KeepTheGrantOfEcn) {  // RFC 3168 6.1.1
  Script s(GetParam(), always());
  const Handle l = s.listen();
  s.in(SYN | ECE | CWR, seq(0), s.offer());
  s.expect(SYN | ACK | ECE, seq(0));
  s.in(ACK);
  s.write(s.accept(l), 10);
  s.expect(ACK, len(10), ecn(2));
}

// Beyond the budget a SYN of a flood is dropped under its name; a client's comes again, and connections go on.
TEST_P(Cookie, FloodIsAnsweredWithinABudget) {
  Options o;
  o.max_half_open = 4;
  o.tcp.syncookies_per_second = 1'000;  // ten at once
  Script s(GetParam(), o);
  const Handle old = s.server();
  s.hold_input();
  for (uint16_t i = 0; i < 60; ++i) {
    s.peer_port(static_cast<uint16_t>(20'000 + i));
    s.in(SYN, seq(0), s.offer());
  }
  s.deliver();
  EXPECT_EQ(s.skip(), 14u);
  EXPECT_EQ(s.counter("tcp.syncookies_sent"), 10u);
  EXPECT_EQ(s.counter("tcp.drop.syn_flood"), 46u);
  s.peer_port(50'000);
  s.in(SYN, seq(0), s.offer());
  s.expect_nothing();
  s.peer_port(40'000);
  s.write(old, 100);
  s.expect(ACK, seq(1), len(100));
  s.in(ACK);
  s.advance(2);
  (void)s.skip();
  s.peer_port(50'000);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

// Whoever forges SYNs with a client's own address and port takes the entry, but the answer to its own SYN lets it in.
TEST_P(Cookie, ForgedSynsOnItsTupleDoNotKeepAClientOut) {  // RFC 4987 3.6
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(3'000'000), s.offer());
  (void)s.skip();
  s.in(SYN, seq(2'000'000), s.offer());  // the first that does not fit is answered with an ACK
  (void)s.skip();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, ack(1));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  EXPECT_EQ(s.counter("tcp.syncookies_sent"), 1u);
  const uint32_t cookie = s.raw_iss();
  s.in(SYN, seq(1'000'000), s.offer());
  (void)s.skip();
  s.in(ACK, seq(1), ack(cookie + 1 - s.raw_iss()));
  s.expect_nothing();
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.counter("tcp.syncookies_accepted"), 1u);
  (void)s.accept(l);
}

}  // namespace
}  // namespace millrace::script
