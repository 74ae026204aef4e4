// Connections that are announced with their first data: tcp(7), TCP_DEFER_ACCEPT.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Deferred, plain_variants());

// The listener waits for data for about `seconds`.
SocketOptions deferring(int64_t s) {
  SocketOptions o;
  o.defer_accept = seconds(s);
  return o;
}

TEST_P(Deferred, ConnectionIsAnnouncedWithItsFirstData) {
  Script s(GetParam());
  const Handle l = s.listen(deferring(5));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  EXPECT_EQ(s.events(l) & kAcceptable, 0U);
  EXPECT_EQ(s.counter("tcp.drop.deferred"), 1U);
  s.quiet(3'500);  // the SYN-ACK is not sent again meanwhile
  s.in(ACK, seq(1), len(100));
  EXPECT_NE(s.events(l) & kAcceptable, 0U);
  const Handle c = s.accept(l);
  EXPECT_EQ(s.read(c), 100U);
  s.skip();
  EXPECT_EQ(s.info().tcp.cwnd, 10 * s.full()) << "nothing was lost";
}

TEST_P(Deferred, ConnectionIsAnnouncedWithoutDataWhenItsTimeIsOver) {
  Script s(GetParam());
  const Handle l = s.listen(deferring(5));  // timeouts after 1, 3 and 7 seconds
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.mark();
  s.in(ACK);
  s.expect_after(7'000, SYN | ACK, seq(0), ack(1));
  EXPECT_EQ(s.events(l) & kAcceptable, 0U);
  s.in(ACK);
  EXPECT_NE(s.events(l) & kAcceptable, 0U);
  (void)s.accept(l);
}

TEST_P(Deferred, ConnectionThatNobodyAnswersForIsGivenUp) {
  Options o;
  o.tcp.synack_retries = 4;
  Script s(GetParam(), o);
  (void)s.listen(deferring(1));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  for (const int64_t ms : {1'000, 2'000, 4'000, 8'000}) s.expect_after(ms, SYN | ACK, seq(0), ack(1));
  s.quiet(100'000);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Deferred, EndOfDataOpensADeferredConnectionToo) {
  Script s(GetParam());
  const Handle l = s.listen(deferring(5));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  s.in(FIN | ACK, seq(1));
  s.expect(ACK, ack(2));
  EXPECT_NE(s.events(l) & kAcceptable, 0U);
}

}  // namespace
}  // namespace millrace::script
