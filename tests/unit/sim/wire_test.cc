// The event heap, links with faults, frames made and read, captures.
#include <gtest/gtest.h>

#include "sim/frame_view.h"
#include "sim/interval_set.h"
#include "sim/link.h"
#include "sim/pcapng.h"

namespace millrace::sim {
namespace {

TEST(EventHeap, RunsInOrderOfTimeThenOfInsertion) {
  EventHeap heap;
  std::string order;
  heap.at(Instant(20), [&] { order += 'c'; });
  heap.at(Instant(10), [&] { order += 'a'; });
  heap.at(Instant(10), [&] {
    order += 'b';
    heap.at(Instant(5), [&] { order += '!'; });  // the past means now
  });
  while (heap.step()) {
  }
  EXPECT_EQ(order, "ab!c");
  EXPECT_EQ(heap.now(), Instant(20));
}

TEST(IntervalSet, MergesWhatTouches) {
  IntervalSet set;
  set.add(0, 1);
  set.add(10, 20);
  set.add(30, 40);
  EXPECT_FALSE(set.covers(10, 31));
  set.add(20, 30);
  EXPECT_TRUE(set.covers(10, 40));
  EXPECT_EQ(set.count(), 2u);
  EXPECT_EQ(set.end_of(0), 1);
  set.add(1, 12);
  EXPECT_EQ(set.end_of(0), 40);
  EXPECT_EQ(set.count(), 1u);
}

struct Wire {
  EventHeap heap;
  FrameStore frames;
  std::vector<std::pair<Instant, Bytes>> out;
  Link link;
  explicit Wire(const LinkConfig& config)
      : link(heap, frames, 7, config, [this](Frame* f) {
          out.emplace_back(heap.now(), f->bytes);
          frames.drop(f);
        }) {}
  void send(size_t bytes) { link.send(frames.make(Bytes(bytes, 0x5a))); }
  void run() {
    while (heap.step()) {
    }
  }
};

TEST(Link, DelaysBySerialisationAndDistance) {
  LinkConfig config;
  config.bits_per_second = 1'000'000;
  config.delay = milliseconds(3);
  Wire w(config);
  w.send(976);  // 1,000 bytes with preamble and gap: 8 ms
  w.send(976);
  w.run();
  ASSERT_EQ(w.out.size(), 2u);
  EXPECT_EQ(w.out[0].first, Instant() + milliseconds(11));
  EXPECT_EQ(w.out[1].first, Instant() + milliseconds(19));
}

TEST(Link, DropsWhatItsQueueCannotHold) {
  LinkConfig config;
  config.bits_per_second = 1'000'000;
  config.queue_bytes = 2'500;
  Wire w(config);
  for (int i = 0; i < 10; ++i) w.send(976);
  w.run();
  EXPECT_EQ(w.out.size(), 3u);
  EXPECT_EQ(w.link.stats().lost_in_queue, 7u);
}

TEST(Link, EveryFaultStrikesAtItsRate) {
  LinkConfig config;
  config.bits_per_second = 1'000'000'000'000;
  config.faults = {.loss = 100'000, .duplicate = 50'000, .reorder = 20'000, .reorder_by = milliseconds(1)};
  config.queue_bytes = 1u << 30;
  Wire w(config);
  for (int i = 0; i < 10'000; ++i) w.send(100);
  w.run();
  const LinkStats& s = w.link.stats();
  EXPECT_NEAR(static_cast<double>(s.lost), 1'000, 150);
  EXPECT_NEAR(static_cast<double>(s.duplicated), 450, 120);
  EXPECT_NEAR(static_cast<double>(s.reordered), 180, 80);
  EXPECT_EQ(w.out.size(), 10'000 - s.lost + s.duplicated);
}

TEST(Link, BurstsLoseSeveralInARow) {
  LinkConfig config;
  config.faults = {.burst_enter = 2'000, .burst_leave = 100'000, .burst_loss = 1'000'000};
  config.queue_bytes = 1u << 30;
  Wire w(config);
  for (int i = 0; i < 20'000; ++i) w.send(100);
  w.run();
  const uint64_t lost = w.link.stats().lost_in_burst;
  EXPECT_GT(lost, 200u);
  EXPECT_LT(lost, 1'200u);
}

TEST(Link, APartitionLosesEverythingAndHeals) {
  Wire w(LinkConfig{});
  w.link.set_up(false);
  w.send(100);
  w.link.heal();
  w.send(100);
  w.run();
  EXPECT_EQ(w.out.size(), 1u);
  EXPECT_EQ(w.link.stats().lost_in_partition, 1u);
}

TcpSpec spec(bool v6) {
  TcpSpec s;
  s.source = {v6 ? *IpAddr::parse("fd00::1") : IpAddr::v4(10, 0, 0, 1), 1000};
  s.destination = {v6 ? *IpAddr::parse("fd00::2") : IpAddr::v4(10, 0, 0, 2), 2000};
  s.seq = 0xfffffff0;
  s.ack = 77;
  s.flags = kAck | kPsh;
  s.options = timestamp_option(5, 6);
  s.payload = Bytes(33, 9);
  return s;
}

TEST(FrameView, ReadsWhatItBuilds) {
  for (const bool v6 : {false, true}) {
    const Bytes frame = build_tcp(spec(v6));
    EXPECT_EQ(check_ip_frame(frame), "");
    const auto view = parse_tcp(frame);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->v6, v6);
    EXPECT_EQ(view->seq, 0xfffffff0u);
    EXPECT_EQ(view->payload_len, 33u);
    EXPECT_TRUE(view->has_timestamp);
    EXPECT_EQ(view->tsecr, 6u);
  }
}

TEST(FrameView, EveryFlippedBitBehindTheEthernetHeaderIsNoticedOrHarmless) {
  const Bytes good = build_tcp(spec(false));
  for (size_t bit = 14 * 8; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_NE(check_ip_frame(bad), "") << "bit " << bit;
  }
}

TEST(Link, CorruptionIsAlwaysNoticedByTheChecksum) {
  LinkConfig config;
  config.faults.corrupt = 1'000'000;
  Wire w(config);
  for (int i = 0; i < 500; ++i) w.link.send(w.frames.make(build_tcp(spec(false))));
  w.run();
  uint64_t noticed = 0;
  for (const auto& [when, frame] : w.out) noticed += check_ip_frame(frame).empty() ? 0 : 1;
  EXPECT_EQ(noticed, w.link.stats().corrupted);
  EXPECT_GT(noticed, 450u);
}

TEST(Pcapng, BlocksHaveTheLengthsThatTheyStateTwice) {
  Pcapng capture(64);
  capture.add_interface("host0");
  capture.add(0, Instant(1'234'567'890'123), Bytes(100, 1), true);
  const Bytes& b = capture.bytes();
  size_t at = 0;
  int blocks = 0;
  while (at < b.size()) {
    uint32_t length = 0;
    uint32_t again = 0;
    std::memcpy(&length, &b[at + 4], 4);
    ASSERT_LE(at + length, b.size());
    std::memcpy(&again, &b[at + length - 4], 4);
    EXPECT_EQ(length, again);
    EXPECT_EQ(length % 4, 0u);
    at += length;
    ++blocks;
  }
  EXPECT_EQ(blocks, 3);
}

}  // namespace
}  // namespace millrace::sim
