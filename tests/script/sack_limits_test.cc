// What SACK blocks can cost, whatever the peer writes into them: steps through the records and records made.
#include "vocabulary.h"

namespace millrace::script {
namespace {

// A server with `n` bytes in flight, each in a segment of its own, the first at 1.
Handle many_in_flight(Script& s, uint32_t n) {
  SocketOptions no_delay;
  no_delay.no_delay = true;
  const Handle c = s.server(no_delay);
  for (uint32_t i = 0; i < n; ++i) s.write(c, 1);
  EXPECT_EQ(s.skip(), n);
  return c;
}

TEST(SackLimits, OneAcknowledgmentPassesByAThousandRecordsAndNoMore) {
  Script s;
  many_in_flight(s, 3'000);
  s.in(ACK, ack(1), sack({{2'901, 2'902}}));
  EXPECT_EQ(s.info().tcp.sacked, 0u);
  EXPECT_EQ(s.counter("tcp.sack_skipped"), 1u);
  // Where the last acknowledgment ended the next one begins.
  for (uint32_t at = 901; at < 3'000; at += 1'000) s.in(ACK, ack(1), sack({{at, at + 1}}));
  EXPECT_EQ(s.info().tcp.sacked, 3u);
  EXPECT_EQ(s.counter("tcp.sack_skipped"), 1u);
  s.in(ACK, ack(3'001));
  EXPECT_EQ(s.info().tcp.sacked, 0u);
  s.skip();
}

TEST(SackLimits, BlockThatGrowsIsNotWalkedThroughAgain) {
  Script s;
  many_in_flight(s, 3'000);
  for (uint32_t end = 600; end <= 3'000; end += 600) s.in(ACK, ack(1), sack({{2, end + 1}}));
  EXPECT_EQ(s.info().tcp.sacked, 2'999u);
  EXPECT_EQ(s.counter("tcp.sack_skipped"), 0u);
  s.in(ACK, ack(3'001));
  s.skip();
}

TEST(SackLimits, SingleBytesInsideSegmentsMakeFewRecords) {
  Script s;
  const Handle c = s.server();
  const uint32_t full = s.full();
  s.write(c, 10 * full);
  s.skip();
  for (uint32_t at = 3; at + 6 < 10 * full; at += 6) {
    s.in(ACK, ack(1), sack({{at, at + 1}, {at + 2, at + 3}, {at + 4, at + 5}}));
  }
  // Each byte takes two cuts: 64 are free, and one more for each of the ten segments.
  EXPECT_LE(s.info().tcp.sacked, 40u);
  EXPECT_GT(s.info().tcp.sacked, 0u);
  EXPECT_GT(s.counter("tcp.sack_skipped"), 1'000u);
  s.in(ACK, ack(10 * full + 1));
  s.skip();
  s.write(c, full);
  s.expect(ACK, seq(10 * full + 1), len(full));
}

}  // namespace
}  // namespace millrace::script
