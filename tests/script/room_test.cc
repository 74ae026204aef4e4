// Buffers that follow what a connection carries (tcp/room.cc), and those whose size the program gives.
#include <algorithm>

#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Room, plain_variants());

constexpr uint32_t kInitial = 65'536;
constexpr uint32_t kMost = 1 << 20;
constexpr int64_t kRoundTrip = 40;  // milliseconds

Options autotuned(uint32_t most = kMost) {
  Options o;
  o.tcp.receive_buffer = kInitial;
  o.tcp.receive_buffer_max = most;
  o.tcp.send_buffer = 65'536;
  o.tcp.send_buffer_max = most;
  o.frames = 10'000;
  o.block_bytes = size_t{256} << 20;
  return o;
}

// A server whose handshake took a round trip.
Handle far_server(Script& s, const SocketOptions& o = {}) {
  const Handle l = s.listen(o);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.advance(kRoundTrip);
  s.in(ACK);
  return s.accept(l);
}

// The peer sends whatever the window lets it for so many round trips of two halves; the program reads all of it, or
// none.
void fill(Script& s, Handle c, int round_trips, bool reads = true) {
  for (int i = 0; i < round_trips; ++i) {
    for (uint32_t left = s.info().tcp.receive_window / s.full(); left > 0; --left) {
      s.in(ACK, len(s.full()), ecr(s.last_ts_val()));
      if (reads) (void)s.read(c);
    }
    s.advance(kRoundTrip);
    s.skip();
  }
}

TEST_P(Room, ReceiveBufferGrowsWithWhatIsReadInARoundTripUpToTheMaximum) {
  Script s(GetParam(), autotuned());
  const Handle c = far_server(s);
  EXPECT_EQ(s.info().tcp.receive_limit, kInitial);
  EXPECT_GE(65'535U << s.scale(), kMost) << "the scale allows for the maximum (RFC 7323 2.3)";
  fill(s, c, 3);
  EXPECT_GT(s.info().tcp.receive_limit, 2 * kInitial);
  fill(s, c, 6);
  EXPECT_EQ(s.info().tcp.receive_limit, kMost);
  EXPECT_GT(s.info().tcp.receive_window, kMost / 2) << "it is announced, too";
}

TEST_P(Room, ReceiveBufferStaysWhereTheProgramDoesNotRead) {
  Script s(GetParam(), autotuned());
  const Handle c = far_server(s);
  fill(s, c, 4, false);
  EXPECT_EQ(s.info().tcp.receive_limit, kInitial);
}

TEST_P(Room, ReceiveBufferStaysForASlowFlow) {
  Script s(GetParam(), autotuned());
  const Handle c = far_server(s);
  for (int i = 0; i < 500; ++i) {  // 700 KB, but at most four segments in a round trip
    s.in(ACK, len(s.full()), ecr(s.last_ts_val()));
    (void)s.read(c);
    s.advance(kRoundTrip / 4);
    s.skip();
  }
  EXPECT_EQ(s.info().tcp.receive_limit, kInitial);
}

TEST_P(Room, SizesThatTheProgramGivesHold) {
  Script s(GetParam(), autotuned());
  SocketOptions o;
  o.receive_buffer = 100'000;
  o.send_buffer = 50'000;
  const Handle c = far_server(s, o);
  fill(s, c, 5);
  EXPECT_EQ(s.info().tcp.receive_limit, 100'000U);
  EXPECT_EQ(*s.try_write(c, 1'000'000), 50'000U);
  EXPECT_EQ(s.info().tcp.send_limit, 50'000U);
  s.skip();
}

TEST_P(Room, AMaximumOfZeroTurnsGrowthOff) {
  Script s(GetParam(), autotuned(0));
  const Handle c = far_server(s);
  fill(s, c, 5);
  EXPECT_EQ(s.info().tcp.receive_limit, kInitial);
  EXPECT_EQ(*s.try_write(c, 1'000'000), 65'536U);
  s.skip();
}

TEST_P(Room, OneConnectionGetsAShareOfThePacketsOnly) {
  Options o = autotuned();
  o.frames = 1'000;
  Script s(GetParam(), o);
  const Handle c = far_server(s);
  fill(s, c, 10);
  EXPECT_LE(s.info().tcp.receive_limit, o.frames * 2'048 / 8);
  EXPECT_GT(s.info().tcp.receive_limit, kInitial);
}

TEST_P(Room, ScarcePacketsBringTheBufferBackAndTheEdgeStays) {  // RFC 9293 3.8.6 SHLD-14
  Script s(GetParam(), autotuned());
  const Handle c = far_server(s);
  fill(s, c, 9);
  ASSERT_EQ(s.info().tcp.receive_limit, kMost);
  const uint32_t window = s.info().tcp.receive_window;
  for (int i = 0; i < 32; ++i) {  // none is free while a segment is taken in
    s.hold_input();
    s.in(ACK, len(s.full()), ecr(s.last_ts_val()));
    s.close_pool(true);
    s.deliver();
    (void)s.read(c);
    s.advance(kRoundTrip / 4);
    s.close_pool(false);
  }
  s.advance(kRoundTrip);
  s.skip();
  EXPECT_EQ(s.info().tcp.receive_limit, kInitial);
  EXPECT_LT(s.info().tcp.receive_window, window);
  EXPECT_GE(s.info().tcp.receive_window, window - 32 * s.full() - (1U << s.scale()));
}

TEST_P(Room, SendBufferGrowsWithTheCongestionWindow) {
  Script s(GetParam(), autotuned());
  const Handle c = far_server(s);
  EXPECT_LE(*s.try_write(c, 10'000'000), 100'000U);
  for (int i = 0; i < 6; ++i) {
    s.advance(kRoundTrip);
    const auto sent = s.sent();
    s.skip();
    for (const Segment& segment : sent) s.in(ACK, ack(*segment.seq + segment.len), win(60'000));
    while (const auto n = s.try_write(c, 10'000'000)) {
      if (*n == 0) break;
    }
  }
  EXPECT_EQ(s.info().tcp.send_limit, kMost);
  s.skip();
}

// RFC 7323 2.3: what the SYN-ACK said holds, whatever the setting becomes meanwhile.
TEST_P(Room, SettingsThatChangeDuringAHandshakeDoNotChangeWhatItAnnounced) {
  for (const int64_t later : {4'096, 64 << 20}) {
    Options o;
    o.tcp.receive_buffer = 1 << 20;
    o.tcp.receive_buffer_max = 0;
    Script s(GetParam(), o);
    const Handle l = s.listen();
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0), ack(1), ws(5), win(65'535));
    const auto& rows = tcp::kSettingRows;
    for (size_t row = 0; row < std::size(rows); ++row) {
      if (rows[row].field != &tcp::Settings::receive_buffer) continue;
      ASSERT_TRUE(s.ask(req::Set{req::Set::Section::kTcp, static_cast<uint16_t>(row), later}));
    }
    s.advance(1'000);
    s.expect(SYN | ACK, seq(0), ack(1), ws(5), win(65'535));
    s.in(ACK);
    const Handle c = s.accept(l);
    s.in(ACK, len(100));
    EXPECT_EQ(s.info().tcp.receive_scale, 5);
    const uint32_t window = s.info().tcp.receive_window;
    EXPECT_GE(window + 100, 65'535U) << "the edge never goes back";
    EXPECT_LE(window, 65'535U << 5);
    s.skip();
    EXPECT_EQ(s.read(c), 100U);
    s.skip();
  }
}

// What is taken of a large write, sent while it fits the congestion window of ten segments.
size_t write_all(Script& s, Handle c, uint32_t n) {
  size_t taken = 0;
  for (;;) {
    const auto some = s.try_write(c, n);
    if (!some) return taken;
    taken += *some;
  }
}

TEST_P(Room, LowWaterMarkBoundsWhatIsNotSentByOneRun) {
  Script s(GetParam());
  SocketOptions o;
  o.unsent_low_water = 4'000;
  const Handle c = s.server(o);
  const size_t run = std::min(s.info().tcp.send_window / 2, 65'535U) / s.full() * s.full();
  EXPECT_EQ(write_all(s, c, 200'000), 10 * s.full() + run);
  EXPECT_EQ(s.info().tcp.unsent, run);
  EXPECT_EQ(s.skip(), 10U);
}

TEST_P(Room, WriterIsToldAtHalfTheLowWaterMark) {
  Script s(GetParam());
  SocketOptions o;
  o.unsent_low_water = 4 * s.full();
  const Handle c = s.server(o);
  const size_t taken = write_all(s, c, 200'000);
  (void)s.events(c);
  uint32_t acked = 0;
  while (s.info().tcp.unsent >= 2 * s.full()) {
    EXPECT_EQ(s.events(c) & kWritable, 0U) << s.info().tcp.unsent;
    s.skip();
    acked += s.full();
    s.in(ACK, ack(1 + acked));
    s.advance(0);
    ASSERT_LT(acked, taken);
  }
  s.advance(1);
  EXPECT_NE(s.events(c) & kWritable, 0U) << "sending is enough, no further acknowledgment is needed";
  EXPECT_GT(*s.try_write(c, 200'000), 0U);
  s.skip();
}

TEST_P(Room, LowWaterMarkComesAndGoesWithTheOption) {
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t before = s.info().tcp.send_limit;
  SocketOptions o;
  o.unsent_low_water = 1;
  ASSERT_TRUE(s.ask(req::SetOptions{c, o}));
  EXPECT_EQ(s.info().tcp.send_limit, before);
  s.write(c, 10 * s.full());
  EXPECT_EQ(s.skip(), 10U);
  ASSERT_GT(*s.try_write(c, 10), 0U);
  o.unsent_low_water = UINT32_MAX;
  ASSERT_TRUE(s.ask(req::SetOptions{c, o}));
  EXPECT_EQ(s.info().tcp.send_limit, before);
  EXPECT_EQ(*s.try_write(c, before), before - 10 * s.full() - 10);
  s.skip();
}

TEST_P(Room, LowWaterMarkOfTheSettingHoldsForNewSockets) {
  Options options;
  options.tcp.notsent_lowat = 4'000;
  Script s(GetParam(), options);
  const Handle c = s.server();
  EXPECT_LT(write_all(s, c, 500'000), 120'000U);
  s.skip();
}

}  // namespace
}  // namespace millrace::script
