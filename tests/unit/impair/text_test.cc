// Paths as they are written on a command line.
#include "impair/text.h"

#include <gtest/gtest.h>

namespace millrace::impair {
namespace {

PathText read(std::string_view text) {
  PathText path;
  const auto done = parse_path(text, path);
  EXPECT_TRUE(done) << (done ? "" : done.error());
  return path;
}

TEST(PathText, ReadsEveryKey) {
  const PathConfig c = read(
                           "rate=1.5M,queue=64k,delay=20ms,jitter=500us,loss=0.1%,reorder=1%,reorder_by=5ms,"
                           "duplicate=2%,mark=30k,burst_length=4,burst_loss=1%")
                           .config;
  EXPECT_EQ(c.bits_per_second, 1'500'000u);
  EXPECT_EQ(c.queue_bytes, 64'000u);
  EXPECT_EQ(c.mark_bytes, 30'000u);
  EXPECT_EQ(c.delay, milliseconds(20));
  EXPECT_EQ(c.jitter, microseconds(500));
  EXPECT_EQ(c.reorder_by, milliseconds(5));
  EXPECT_EQ(c.loss, 1'000'000u);
  EXPECT_EQ(c.reorder, 10'000'000u);
  EXPECT_EQ(c.duplicate, 20'000'000u);
  EXPECT_EQ(c.burst_leave, kBillion / 4);
  EXPECT_NEAR(c.burst_enter, 0.25 * kBillion / 99, 10);
}

TEST(PathText, LaterTextWinsAndKeepsTheRest) {
  PathText path = read("delay=20ms,loss=1%");
  ASSERT_TRUE(parse_path("loss=0%", path));
  EXPECT_EQ(path.config.loss, 0u);
  EXPECT_EQ(path.config.delay, milliseconds(20));
}

TEST(PathText, QueuesInProductsOfRateAndRoundTrip) {
  PathText there = read("rate=100M,delay=30ms,queue=0.5bdp");
  PathText back = read("delay=70ms,queue=9k");
  resolve_queues(there, back);
  EXPECT_EQ(there.config.queue_bytes, 625'000u);  // half of 100 Mb/s times 100 ms
  EXPECT_EQ(back.config.queue_bytes, 9'000u);
  there = read("rate=100M,delay=1ms,queue=0.01bdp");
  back = read("");
  resolve_queues(there, back);
  EXPECT_EQ(there.config.queue_bytes, 3'076u) << "two full frames, whatever the product";
}

TEST(PathText, SaysWhatIsWrong) {
  const auto complaint = [](std::string_view text) {
    PathText path;
    const auto done = parse_path(text, path);
    return done ? std::string() : done.error();
  };
  EXPECT_EQ(complaint("speed=1M"), "there is no key 'speed'");
  EXPECT_EQ(complaint("delay"), "'delay' is not key=value");
  for (const char* text : {"delay=5", "delay=-5ms", "delay=61s", "loss=5", "loss=101%", "rate=", "rate=1T", "rate=nan",
                           "queue=1bpd", "mark=1bdp", "burst_length=0.5", "burst_loss=95%", "delay=1msx"}) {
    EXPECT_EQ(complaint(text), std::string("'") + text + "': no such value");
  }
}

}  // namespace
}  // namespace millrace::impair
