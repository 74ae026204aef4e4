// The pace of a connection on the wire: draft-ietf-ccwg-bbr 5.6.2 and 5.6.3, SocketOptions::max_pacing_rate.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Pacing, all_variants());

SocketOptions at_most(uint64_t bytes_per_second) {
  SocketOptions o;
  o.max_pacing_rate = bytes_per_second;
  return o;
}

TEST_P(Pacing, ASocketsLimitHoldsOverTime) {
  Script s(GetParam());
  const Handle c = s.server(at_most(146'000));  // one segment in 10 ms: two at a time
  const uint32_t full = s.full();
  s.write(c, 8 * full);
  EXPECT_LE(s.skip(), 3u);
  const uint32_t at_once = s.info().tcp.flight;
  EXPECT_LE(at_once, 3 * full);
  s.advance(15);
  (void)s.skip();
  EXPECT_EQ(s.info().tcp.flight, at_once);
  s.advance(10);
  (void)s.skip();
  EXPECT_EQ(s.info().tcp.flight, at_once + 2 * full);
  s.advance(100);
  (void)s.skip();
  EXPECT_EQ(s.info().tcp.flight, 8 * full);
  EXPECT_GE(s.counter("tcp.paced"), 3u);
}

TEST_P(Pacing, FramesCarryAboutAMillisecond) {
  Script s(GetParam());
  const Handle c = s.server(at_most(5'840'000));  // four segments in a millisecond, and as many owed
  const uint32_t full = s.full();
  const size_t before = s.frames();
  s.write(c, 9 * full);
  EXPECT_EQ(s.info().tcp.flight, 8 * full);
  EXPECT_EQ(s.frames() - before, s.variant().tso ? 2u : 8u);
  (void)s.skip();
}

TEST_P(Pacing, AConnectionWithoutALimitIsNotPaced) {
  Script s(GetParam());
  const uint32_t full = s.full();
  const Handle c = s.server();
  s.write(c, 8 * full);
  s.expect_data(1, 8 * full + 1);
  EXPECT_EQ(s.counter("tcp.paced"), 0u);
  EXPECT_EQ(s.info().tcp.pacing_rate, 0u);
}

}  // namespace
}  // namespace millrace::script
