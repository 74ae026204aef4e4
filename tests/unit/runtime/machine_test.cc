// Clock, memory, pools, tables, wake-ups.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include <cstring>
#include <set>

#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/memory.h"
#include "runtime/table.h"
#include "runtime/wake.h"

namespace millrace::runtime {
namespace {

int64_t monotonic_ns() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

TEST(RuntimeClock, RunsWithTheMachinesMonotonicClock) {
  // Readings of the other clock on both sides of each of ours: the machine may stop us anywhere.
  Clock clock;
  const int64_t m0 = monotonic_ns();
  const int64_t first = clock.now().ns();
  const int64_t m1 = monotonic_ns();
  const timespec pause{0, 50'000'000};
  nanosleep(&pause, nullptr);
  const int64_t m2 = monotonic_ns();
  const int64_t second = clock.now().ns();
  const int64_t m3 = monotonic_ns();
  EXPECT_GT(static_cast<double>(second - first), static_cast<double>(m2 - m1) * 0.99);
  EXPECT_LT(static_cast<double>(second - first), static_cast<double>(m3 - m0) * 1.01);
}

TEST(RuntimeClock, NeverGoesBack) {
  Clock clock;
  Instant last = clock.now();
  const int64_t end = monotonic_ns() + 200'000'000;
  while (monotonic_ns() < end) {
    clock.refine();
    const Instant now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_EQ(clock.at(0), last);
}

TEST(RuntimeMemory, RegionsAreZeroedAlignedAndApart) {
  HugeMemory memory;
  std::set<std::byte*> seen;
  for (size_t bytes : {1u, 64u, 100'000u, 1u << 20, 3u << 20, 64u}) {
    const base::Region region = memory.allocate(bytes);
    ASSERT_NE(region.base, nullptr);
    EXPECT_GE(region.bytes, bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(region.base) % 64, 0u);
    EXPECT_TRUE(seen.insert(region.base).second);
    for (size_t i = 0; i < region.bytes; ++i) ASSERT_EQ(region.base[i], std::byte{0});
    std::memset(region.base, 0xff, region.bytes);
  }
}

TEST(RuntimeMemory, SmallRequestsShareAHugePage) {
  HugeMemory memory;
  for (int i = 0; i < 20; ++i) ASSERT_NE(memory.allocate(64 << 10).base, nullptr);
  EXPECT_EQ(memory.mapped_bytes(), size_t{2} << 20);
}

TEST(RuntimeMemory, WhatCannotBeHadIsAnEmptyRegion) {
  HugeMemory memory;
  EXPECT_EQ(memory.allocate(size_t{1} << 60).base, nullptr);
}

TEST(RuntimePool, GivesEachPacketOnceAndTakesItBack) {
  HugeMemory memory;
  RegionPacketPool pool(memory, 100);
  std::vector<pkt::Packet*> got(150);
  ASSERT_EQ(pool.allocate(got), 100u);
  EXPECT_EQ(std::set<pkt::Packet*>(got.begin(), got.begin() + 100).size(), 100u);
  EXPECT_EQ(pool.available(), 0u);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(got[i]->buf_len, pkt::kHeadroom + pkt::kFrameRoom);
    std::memset(got[i]->buf, 0xff, got[i]->buf_len);
  }
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(got[i]->refs, 1);
  pool.release({got.data(), 100});
  EXPECT_EQ(pool.available(), 100u);
}

TEST(RuntimePool, ReferencesHaveNoBuffer) {
  HugeMemory memory;
  RegionPacketPool pool(memory, 4, 0);
  pkt::Packet* p = nullptr;
  ASSERT_EQ(pool.allocate({&p, 1}), 1u);
  EXPECT_EQ(p->buf, nullptr);
  EXPECT_EQ(p->buf_len, 0);
  pool.release({&p, 1});
}

TEST(RuntimeTable, TextAlignsNumbersToTheRight) {
  Table table({"name", "n"});
  table.add({"a", 7});
  table.add({"long", 1000});
  EXPECT_EQ(table.text(), "name     n\na        7\nlong  1000\n");
}

TEST(RuntimeTable, JsonKeepsTheOrderOfColumns) {
  Table table({"name", "n"});
  table.add({"a\"b", 7});
  EXPECT_EQ(table.json(), "[\n  {\n    \"name\": \"a\\\"b\",\n    \"n\": 7\n  }\n]\n");
  EXPECT_EQ(Table({"x"}).json(), "[]\n");
}

TEST(RuntimeSignals, StopAndDumpAreSeenAndWake) {
  auto waker = Waker::make();
  ASSERT_TRUE(waker);
  const Signals signals(*waker, true);
  EXPECT_EQ(Signals::stops(), 0);
  EXPECT_FALSE(Signals::take_dump());
  raise(SIGUSR1);
  EXPECT_TRUE(Signals::take_dump());
  EXPECT_FALSE(Signals::take_dump());
  raise(SIGTERM);
  raise(SIGINT);
  EXPECT_EQ(Signals::stops(), 2);
  pollfd wait{waker->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 0), 1);
  waker->drain();
  EXPECT_EQ(poll(&wait, 1, 0), 0);
}

TEST(RuntimeDefaultRoute, LoopbackCarriesNone) {
  EXPECT_TRUE(refuse_default_route("lo", false));
  EXPECT_TRUE(refuse_default_route("no-such-if", false));
}

}  // namespace
}  // namespace millrace::runtime
