// Windows: RFC 9293 3.8.6 (management), 3.8.6.1 (probes), 3.8.6.2 (silly windows), RFC 7323 2 (scale).
#include <algorithm>

#include "base/rng.h"
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Window, all_variants());

SocketOptions receives(uint32_t bytes) {
  SocketOptions o;
  o.receive_buffer = bytes;
  return o;
}

// A connection whose peer does not scale its window.
Handle unscaled(Script& s, uint32_t window, const SocketOptions& o = {}) {
  const Handle l = s.listen(o);
  s.in(SYN, seq(0), s.offer(), no_ws(), win(window));
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK, win(window));
  return s.accept(l);
}

TEST_P(Window, SenderStaysWithinThePeersWindow) {  // RFC 9293 3.8.6
  Script s(GetParam());
  const Handle c = unscaled(s, 3 * 1'428);
  s.write(c, 10'000);
  const uint32_t whole = 3 * 1'428 / s.full() * s.full();
  s.expect_data(1, whole + 1);
  s.expect_nothing();
  s.in(ACK, win(3 * 1'428));
  s.expect_data(whole + 1, 2 * whole + 1);
  s.expect_nothing();
}

// RFC 9293 3.8.6.1 MUST-36, MUST-37, SHLD-29, SHLD-30
TEST_P(Window, ZeroWindowIsProbedWithBackOffWhileThePeerAnswers) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, win(0));
  s.write(c, 100);
  s.mark();
  for (int i = 0; i < 25; ++i) {
    s.expect_after(std::min<int64_t>(int64_t{1'000} << std::min(i, 10), 120'000), ACK, seq(0), len(0));
    s.in(ACK, win(0));
    s.expect_nothing();
  }
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(ACK, win(10));
  s.expect(ACK, seq(1), len(100));
}

TEST_P(Window, SilentPeerWithAZeroWindowIsGivenUp) {  // RFC 9293 3.8.3 R2
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, win(0));
  s.write(c, 100);
  s.advance(1'206'999);
  EXPECT_EQ(s.skip(), 15u);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.advance(1);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
}

// RFC 9293 3.8.6 MUST-34, MUST-35, SHLD-17
TEST_P(Window, PeerThatShutsItsWindowOnDataInFlightIsKeptWhileItAnswers) {
  Options o;
  o.tcp.retries = 3;
  Script s(GetParam(), o);
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.in(ACK, ack(1), win(0));
  for (const int64_t ms : {1'000, 2'000, 4'000, 8'000, 16'000, 32'000}) {
    s.expect_after(ms, ACK, seq(1), len(100));
    s.in(ACK, ack(1), win(0));
  }
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.in(ACK, ack(101));
  s.quiet(100'000);
}

TEST_P(Window, WindowThatOpensStopsTheProbes) {  // RFC 9293 3.8.6.1
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, win(0));
  s.write(c, 100);
  s.mark();
  s.expect_after(1'000, ACK, seq(0), len(0));
  s.in(ACK, win(100));
  s.expect(ACK, seq(1), len(100));
  s.in(ACK);
  s.quiet(10'000);
}

TEST_P(Window, AckOfOldDataDoesNotMoveTheWindow) {  // RFC 9293 3.10.7.4 fifth (SND.WL1, SND.WL2)
  Script s(GetParam());
  const Handle c = unscaled(s, 20'000);
  s.in(ACK, seq(1), len(10), win(20'000));
  s.expect(ACK, ack(11));
  s.in(ACK, seq(1), win(0));  // older than the segment before
  s.expect(ACK, ack(11));     // and outside the window by now
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  (void)s.read(c);
}

TEST_P(Window, SenderAvoidsSillySegments) {  // RFC 9293 3.8.6.2.1 MUST-38
  Script s(GetParam());
  const Handle c = unscaled(s, 8'000);
  s.in(ACK, win(0));
  s.write(c, 5'000);
  s.in(ACK, win(100));
  s.expect_nothing();
  s.in(ACK, win(1'000));
  s.expect_nothing();
  s.in(ACK, win(1'460));
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
}

TEST_P(Window, HalfTheLargestWindowIsWorthASegment) {  // RFC 9293 3.8.6.2.1 (3)
  Script s(GetParam());
  const Handle c = unscaled(s, 1'000);
  s.write(c, 5'000);
  s.expect(ACK, seq(1), len(1'000));
  s.in(ACK, win(499));
  s.expect_nothing();
  s.in(ACK, win(500));
  s.expect(ACK, seq(1'001), len(500));
}

TEST_P(Window, SillyWindowIsUsedAfterTheOverrideTimeout) {  // RFC 9293 3.8.6.2.1 (4)
  Script s(GetParam());
  const Handle c = unscaled(s, 8'000);
  s.in(ACK, win(0));
  s.write(c, 5'000);
  s.in(ACK, win(100));
  s.mark();
  s.expect_after(1'000, ACK, seq(1), len(100));
}

TEST_P(Window, FullBufferClosesTheWindowAndReadingOpensIt) {  // RFC 9293 3.8.6.2.2 MUST-39
  Script s(GetParam());
  const Handle c = s.server(receives(8'000));
  for (uint32_t i = 0; i < 8; ++i) {
    s.in(ACK, len(1'000));
    s.expect(ACK, ack(1'001 + 1'000 * i), win(7'000 - 1'000 * i));
  }
  s.in(ACK, len(1));  // a probe
  s.expect(ACK, ack(8'001), win(0));
  EXPECT_EQ(s.read(c), 8'000u);
  s.expect(ACK, ack(8'001), win(8'000));
  s.expect_nothing();
}

TEST_P(Window, ReceiverAvoidsSillyWindows) {  // RFC 9293 3.8.6.2.2 MUST-39
  Script s(GetParam());
  const Handle c = s.server(receives(8'000));
  for (int i = 0; i < 8; ++i) s.in(ACK, len(1'000));
  s.skip();
  EXPECT_EQ(s.read(c, 400), 400u);
  s.expect_nothing();
  s.in(ACK, seq(8'000), len(0));  // a probe below the window finds it shut
  s.expect(ACK, ack(8'001), win(0));
  EXPECT_EQ(s.read(c, 3'600), 3'600u);
  s.collect();
  ASSERT_EQ(s.sent().size(), 1u);
  EXPECT_GE(s.sent().front().win.value_or(0), 1'000u);
  s.skip();
  (void)s.read(c);
  s.skip();
}

TEST_P(Window, DataInAZeroWindowIsDroppedButItsAckCounts) {  // RFC 9293 3.10.7.4 first, MUST-66
  Script s(GetParam());
  const Handle c = s.server(receives(8'000));
  for (int i = 0; i < 8; ++i) s.in(ACK, len(1'000));
  s.write(c, 50);
  s.skip();
  s.in(ACK, seq(8'001), ack(51), len(100));
  s.expect(ACK, seq(51), ack(8'001), win(0), len(0));
  EXPECT_EQ(s.info().send_queue, 0u);
  EXPECT_EQ(s.read(c), 8'000u);
  s.skip();
}

TEST_P(Window, RightEdgeNeverMovesLeft) {  // RFC 9293 3.8.6 SHLD-14
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Script s(GetParam());
    base::Rng rng(seed);
    const Handle c = s.server(receives(static_cast<uint32_t>(rng.between(3'000, 300'000))));
    const int shift = s.scale();
    uint32_t edge = 0;
    uint32_t sent = 1;
    for (int i = 0; i < 200 && !s.failed(); ++i) {
      const auto n = static_cast<uint32_t>(rng.between(1, s.full()));
      if (rng.chance(2, 3) && (edge == 0 || sent + n <= edge)) {
        s.in(ACK, seq(sent), len(n));
        sent += n;
      } else if (s.info().receive_queue > 0) {
        (void)s.read(c, static_cast<uint32_t>(rng.between(1, 5'000)));
      }
      if (rng.chance(1, 4)) s.advance(static_cast<int64_t>(rng.below(60)));
      s.collect();
      for (const Segment& out : s.sent()) {
        const uint32_t right = *out.ack + (*out.win << shift);
        ASSERT_GE(right, edge) << "seed " << seed;
        edge = right;
      }
      s.skip();
    }
    (void)s.info();
    s.abort(c);
    s.skip();
  }
}

TEST_P(Window, WindowIsScaledAfterTheHandshake) {  // RFC 7323 2.3
  Script s(GetParam());
  const Handle c = s.server(receives(1 << 20));
  s.in(ACK, len(100));
  s.expect(ACK, ack(101), win(32'767 - 3));  // (2^20 - 100) >> 5, never above what is free
  (void)s.read(c);
}

}  // namespace
}  // namespace millrace::script
