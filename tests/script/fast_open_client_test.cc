// Fast open, the client's side: RFC 7413 4.1.3, 4.2.1, 7.1.
#include "tcp/fast_open.h"
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(FastOpenClient, plain_variants());

const std::vector<uint8_t> kCookie{1, 2, 3, 4, 5, 6, 7, 8};

Options client(int64_t bits = tcp::kFastOpenClient) {
  Options o;
  o.tcp.fastopen = bits;
  return o;
}

// One connection that asks for a cookie and gets it, from port 40,000.
void learn(Script& s, uint16_t server_mss = 1'000) {
  size_t taken = 0;
  const Handle c = s.connect_early(100, taken);
  EXPECT_EQ(taken, 0U) << "no cookie yet";
  s.expect(SYN, seq(0), fo(), len(0));
  s.in(SYN | ACK, seq(0), ack(1), mss(server_mss), fo(kCookie));
  s.expect(ACK, ack(1));
  EXPECT_NE(s.events(c) & kConnected, 0U);
  s.abort(c);
  s.expect(RST | ACK);
  s.peer_port(40'001);
}

// The cookie serves a connection from another port.
void sends_early_again(Script& s, uint16_t port) {
  s.peer_port(port);
  size_t taken = 0;
  (void)s.connect_early(100, taken);
  EXPECT_EQ(taken, 100U);
  s.expect(SYN, seq(0), fo(kCookie), len(100));
}

TEST_P(FastOpenClient, FirstSynAsksAndTheNextBringsDataAndTheCookie) {  // RFC 7413 4.2.1
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  const Handle c = s.connect_early(300, taken);
  EXPECT_EQ(taken, 300U);
  s.expect(SYN, seq(0), fo(kCookie), len(300));
  s.in(SYN | ACK, seq(0), ack(301), s.offer());
  s.expect(ACK, seq(301), ack(1), len(0));
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.counter("tcp.fastopen_out"), 1U);
  EXPECT_EQ(s.counter("tcp.fastopen_taken"), 1U);
  EXPECT_EQ(s.counter("tcp.retransmits"), 0U);
  s.write(c, 100);
  s.expect(ACK, seq(301), len(100));
  s.in(ACK, ack(401), len(10));
  EXPECT_EQ(s.read(c), 10U);
  s.close(c);
  s.skip();
}

TEST_P(FastOpenClient, DataOfTheSynKeepsToTheServersMss) {  // RFC 7413 4.1.3
  Script s(GetParam(), client());
  learn(s, 900);
  size_t taken = 0;
  const Handle c = s.connect_early(5'000, taken);
  EXPECT_EQ(taken, 860U) << "room for all options";
  s.expect(SYN, seq(0), fo(kCookie), len(860));
  s.in(SYN | ACK, seq(0), ack(861), s.offer());
  s.skip();
  s.write(c, 100);
  s.expect(ACK, seq(861), len(100));
}

TEST_P(FastOpenClient, DataThatTheServerDoesNotTakeFollowsAtOnce) {  // RFC 7413 4.2.1 step 5 (b)
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  const Handle c = s.connect_early(700, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(700));
  s.in(SYN | ACK, seq(0), ack(1), s.offer());
  s.expect(ACK | PSH, seq(1), ack(1), len(700));
  EXPECT_EQ(s.counter("tcp.fastopen_taken"), 0U);
  s.in(ACK, ack(701));
  s.write(c, 10);
  s.expect(ACK, seq(701), len(10));
}

TEST_P(FastOpenClient, PartOfTheDataIsTaken) {
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  const Handle c = s.connect_early(700, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(700));
  s.in(SYN | ACK, seq(0), ack(201), s.offer());
  s.expect(ACK | PSH, seq(201), len(500));
  s.in(ACK, ack(701));
  s.close(c);
  s.expect(FIN | ACK, seq(701));
  s.skip();
}

TEST_P(FastOpenClient, SynThatIsSentAgainIsPlain) {  // RFC 7413 4.2.1
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  (void)s.connect_early(700, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(700));
  s.expect_after(1'000, SYN, seq(0), no_fo(), len(0));
  s.in(SYN | ACK, seq(0), ack(1), s.offer());
  s.expect(ACK | PSH, seq(1), len(700));
  s.in(ACK, ack(701));
  // What was lost with the SYN is not tried again for a while (RFC 7413 4.1.3.1).
  s.peer_port(40'002);
  const Handle c = s.connect_early(100, taken);
  EXPECT_EQ(taken, 0U);
  s.expect(SYN, seq(0), no_fo(), len(0));
  s.abort(c);
  s.advance(121'000);
  s.skip();
  sends_early_again(s, 40'003);
}

TEST_P(FastOpenClient, AnswerToTheFirstSynMayComeAfterTheSecond) {
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  (void)s.connect_early(700, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(700));
  s.expect_after(1'000, SYN, seq(0), len(0));
  s.in(SYN | ACK, seq(0), ack(701), s.offer());
  s.expect(ACK, seq(701), len(0));
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(FastOpenClient, CookieThatWasNotAskedForIsIgnored) {
  Script s(GetParam(), client());
  (void)s.connect();
  s.expect(SYN, seq(0), no_fo());
  s.in(SYN | ACK, seq(0), ack(1), s.offer(), fo(kCookie));
  s.expect(ACK);
  s.peer_port(40'001);
  size_t taken = 0;
  (void)s.connect_early(100, taken);
  EXPECT_EQ(taken, 0U);
  s.expect(SYN, seq(0), fo(), len(0));
}

TEST_P(FastOpenClient, NothingGoesEarlyWhereTheSettingForbidsIt) {
  Script s(GetParam(), client(0));
  size_t taken = 0;
  (void)s.connect_early(100, taken);
  EXPECT_EQ(taken, 0U);
  s.expect(SYN, seq(0), no_fo(), len(0));
}

TEST_P(FastOpenClient, DataGoesWithoutACookieWhereTheSettingSaysSo) {
  Script s(GetParam(), client(tcp::kFastOpenClient | tcp::kFastOpenClientNoCookie));
  size_t taken = 0;
  (void)s.connect_early(100, taken);
  s.expect(SYN, seq(0), no_fo(), len(100));
  s.in(SYN | ACK, seq(0), ack(101), s.offer());
  s.expect(ACK, seq(101));
}

TEST_P(FastOpenClient, ThreeTimeoutsInARowPauseItForAllServers) {  // RFC 7413 7.1
  Options o = client();
  o.tcp.fastopen_blackhole_us = 600'000'000;
  Script s(GetParam(), o);
  learn(s);
  size_t taken = 0;
  const Handle lost = s.connect_early(100, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(100));
  for (const int64_t ms : {1'000, 2'000, 4'000}) s.expect_after(ms, SYN, seq(0), no_fo(), len(0));
  EXPECT_EQ(s.counter("tcp.fastopen_paused"), 1U);
  s.abort(lost);
  s.peer_port(40'002);
  const Handle plain = s.connect_early(100, taken);
  EXPECT_EQ(taken, 0U);
  s.expect(SYN, seq(0), no_fo());
  s.abort(plain);
  s.advance(600'000);
  s.skip();
  sends_early_again(s, 40'003);
}

TEST_P(FastOpenClient, RefusedConnectionTakesItsDataWithIt) {
  Script s(GetParam(), client());
  learn(s);
  size_t taken = 0;
  const Handle c = s.connect_early(100, taken);
  s.expect(SYN, seq(0), fo(kCookie), len(100));
  s.in(RST | ACK, seq(0), ack(101), ts(false));
  EXPECT_NE(s.events(c) & kError, 0U);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kConnectionRefused);
}

}  // namespace
}  // namespace millrace::script
