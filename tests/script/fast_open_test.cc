// Fast open, the server's side: RFC 7413 4.1, 4.2.2, 5.1.
#include "tcp/fast_open.h"
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(FastOpenServer, all_variants());

constexpr uint64_t kKey[2] = {0x0123456789abcdef, 0x1122334455667788};

Options server() {
  Options o;
  o.tcp.fastopen = tcp::kFastOpenServer;
  return o;
}

SocketOptions pending(uint32_t most) {
  SocketOptions o;
  o.fast_open_queue = most;
  o.fast_open_key = {kKey[0], kKey[1]};
  o.fast_open_old_key = {7, 8};
  return o;
}

std::vector<uint8_t> cookie(const Script& s, const base::SipKey& key = {kKey[0], kKey[1]}) {
  const tcp::FastOpenCookie made = tcp::fast_open_cookie(key, s.remote(), s.local());
  std::vector<uint8_t> out;
  for (uint8_t i = 0; i < made.length; ++i) out.push_back(static_cast<uint8_t>(made.bytes[i]));
  return out;
}

TEST_P(FastOpenServer, GivesACookieToWhomAsks) {  // RFC 7413 4.1.1
  Script s(GetParam(), server());
  s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo());
  s.expect(SYN | ACK, seq(0), ack(1), fo(cookie(s)));
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(FastOpenServer, DeliversDataOfASynWithItsCookieBeforeTheHandshakeEnds) {  // RFC 7413 4.2.2 step 4
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101), no_fo(), ts(GetParam().ts), sack_ok(GetParam().sack));
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  const Handle c = s.accept(l);
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.counter("tcp.fastopen_in"), 1u);
  s.write(c, 300);  // the answer does not wait either
  s.expect(ACK, seq(1), ack(101), len(300));
  s.in(ACK, seq(101), ack(301));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(ACK | PSH, seq(101), len(50));
  s.expect(ACK, ack(151));
  EXPECT_EQ(s.read(c), 50u);
  EXPECT_EQ(s.info().tcp.send_scale, 7);
}

TEST_P(FastOpenServer, SendsTheSynAckAgainUntilItIsAcknowledged) {
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101));
  const Handle c = s.accept(l);
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.mark();
  s.expect_after(1'000, SYN | ACK, seq(0), ack(101));
  s.expect_after(2'000, SYN | ACK, seq(0), ack(101));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));  // the peer's timer is no slower
  s.expect(SYN | ACK, seq(0), ack(101));
  s.in(ACK, seq(101), ack(1));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.info().tcp.cwnd, s.full());  // RFC 5681 3.1
  s.mark();
  s.expect_after(3'000, ACK, seq(1), len(10));  // RFC 6298 5.7
  s.in(ACK, seq(101), ack(11));
  EXPECT_EQ(s.read(c), 100u);
}

TEST_P(FastOpenServer, GivesUpWhereTheSynAckIsNeverAcknowledged) {
  Options o = server();
  o.tcp.synack_retries = 2;
  Script s(GetParam(), o);
  const Handle l = s.listen(pending(1));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101));
  const Handle c = s.accept(l);
  s.expect_after(1'000, SYN | ACK, seq(0), ack(101));
  s.expect_after(2'000, SYN | ACK, seq(0), ack(101));
  s.quiet(4'000);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
  s.peer_port(40'001);  // and there is room for the next
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(10));
  s.expect(SYN | ACK, seq(0), ack(11));
}

TEST_P(FastOpenServer, RefusesAWrongCookieAndGivesTheRightOne) {  // RFC 7413 4.2.2 step 2
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  auto wrong = cookie(s);
  wrong[3] ^= 1;
  s.in(SYN, seq(0), s.offer(), fo(wrong), len(100));
  s.expect(SYN | ACK, seq(0), ack(1), fo(cookie(s)));
  EXPECT_EQ(s.counter("tcp.fastopen_refused"), 1u);
  EXPECT_EQ(s.events(l), 0u);
  s.in(ACK | PSH, seq(1), len(100));
  s.expect(ACK, ack(101));
  EXPECT_EQ(s.read(s.accept(l)), 100u);
}

TEST_P(FastOpenServer, TakesTheOldKeysCookieAndGivesANewOne) {  // RFC 7413 4.1.2
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s, {7, 8})), len(100));
  s.expect(SYN | ACK, seq(0), ack(101), fo(cookie(s)));
  EXPECT_EQ(s.read(s.accept(l)), 100u);
}

TEST_P(FastOpenServer, WorkersKeyIsGoodForTwoOfItsLives) {
  for (const bool late : {false, true}) {
    Script s(GetParam(), server());
    SocketOptions o;
    o.fast_open_queue = 4;
    s.listen(o);
    s.in(SYN, seq(0), s.offer(), fo());
    ASSERT_EQ(s.sent().size(), 1u);
    const auto given = s.sent().front().fast_open->cookie;
    s.drop_first();
    s.in(RST, seq(1));
    s.advance(tcp::kFastOpenKeyLife);
    if (late) s.advance(tcp::kFastOpenKeyLife);
    s.skip();
    s.in(SYN, seq(0), s.offer(), fo(given), len(100));
    s.expect(SYN | ACK, seq(0), ack(late ? 1 : 101));
  }
}

TEST_P(FastOpenServer, HasAsManyPendingAsTheListenerAllows) {  // RFC 7413 5.1
  Script s(GetParam(), server());
  s.listen(pending(2));
  for (const uint16_t port : {40'000, 40'001, 40'002}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(10));
    s.expect(SYN | ACK, seq(0), ack(port == 40'002 ? 1 : 11));
  }
  EXPECT_EQ(s.counter("tcp.fastopen_full"), 1u);
  s.peer_port(40'000);
  s.in(ACK, seq(11), ack(1));
  s.peer_port(40'001);
  s.in(RST, seq(11));
  for (const uint16_t port : {40'003, 40'004, 40'005}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(10));
    s.expect(SYN | ACK, seq(0), ack(port == 40'005 ? 1 : 11));
  }
}

TEST_P(FastOpenServer, IsOffUnlessBothTheListenerAndTheSettingSaySo) {
  for (const bool setting : {false, true}) {
    Script s(GetParam(), setting ? server() : Options());
    s.listen(pending(setting ? 0 : 4));
    s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(10));
    s.expect(SYN | ACK, seq(0), ack(1), no_fo());
  }
}

TEST_P(FastOpenServer, TakesDataWithoutACookieWhereToldTo) {
  Options o;
  o.tcp.fastopen = tcp::kFastOpenServer | tcp::kFastOpenServerNoCookie | tcp::kFastOpenAllListeners;
  Script s(GetParam(), o);
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer(), len(10));
  s.expect(SYN | ACK, seq(0), ack(11), no_fo());
  EXPECT_EQ(s.read(s.accept(l)), 10u);
}

TEST_P(FastOpenServer, ResetBeforeTheHandshakeEndsReachesTheProgramBehindTheData) {  // RFC 9293 3.10.7.4
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101));
  s.in(RST, seq(101));
  const Handle c = s.accept(l);
  EXPECT_EQ(s.read(c), 100u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionReset);
}

TEST_P(FastOpenServer, ClosesWhileTheHandshakeLasts) {  // RFC 9293 3.10.4
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101));
  const Handle c = s.accept(l);
  EXPECT_EQ(s.read(c), 100u);
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.close(c);
  s.expect(FIN | ACK, seq(11), ack(101));
  s.in(ACK, seq(101), ack(12));
  EXPECT_EQ(s.state(), "FIN-WAIT-2");
  s.in(FIN | ACK, seq(101), ack(12));
  s.expect(ACK, ack(102));
}

TEST_P(FastOpenServer, ClosedListenerResetsThem) {
  Script s(GetParam(), server());
  const Handle l = s.listen(pending(4));
  s.in(SYN, seq(0), s.offer(), fo(cookie(s)), len(100));
  s.expect(SYN | ACK, seq(0), ack(101));
  s.close(l);
  s.expect(RST | ACK, seq(1), ack(101));
}

}  // namespace
}  // namespace millrace::script
