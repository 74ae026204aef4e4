// Sequence numbers, random numbers, SipHash, the trace ring.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <set>
#include <vector>

#include "base/rng.h"
#include "base/seq32.h"
#include "base/siphash.h"
#include "base/trace.h"

namespace millrace::base {
namespace {

TEST(Seq32, ComparesAroundTheWrap) {  // RFC 9293 3.4
  const Seq32 before(0xfffffff0);
  const Seq32 after = before + 0x20;
  EXPECT_EQ(after.raw(), 0x10u);
  EXPECT_TRUE(before < after && before <= after && after > before && after >= before);
  EXPECT_FALSE(after < before);
  EXPECT_EQ(after - before, 0x20);
  EXPECT_EQ(before - after, -0x20);
  EXPECT_EQ(max(before, after), after);
  EXPECT_EQ(min(before, after), before);
  EXPECT_EQ(after - 0x20u, before);
  EXPECT_TRUE(before <= before && before >= before && !(before < before));
  EXPECT_TRUE(Seq32(0) < Seq32(0x7fffffff));
  EXPECT_TRUE(Seq32(0x80000001) < Seq32(0));
}

TEST(Rng, TheSameSeedGivesTheSameNumbers) {
  Rng a(5);
  Rng b(5);
  Rng c(6);
  bool differs = false;
  for (int i = 0; i < 1'000; ++i) {
    const uint64_t x = a.next();
    ASSERT_EQ(x, b.next());
    differs = differs || x != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, KeepsItsBounds) {
  Rng rng(1);
  EXPECT_EQ(rng.below(0), 0u);
  std::set<uint64_t> seen;
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_LT(rng.below(7), 7u);
    const uint64_t x = rng.between(10, 12);
    ASSERT_TRUE(x >= 10 && x <= 12);
    seen.insert(x);
    const double u = rng.unit();
    ASSERT_TRUE(u >= 0 && u < 1);
  }
  EXPECT_EQ(seen.size(), 3u);
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) hits += rng.chance(1, 4) ? 1 : 0;
  EXPECT_NEAR(hits, 2'500, 200);
}

// The published vectors: key 00 01 .. 0f, message 00 01 .. n-1.
TEST(SipHash, MatchesThePublishedVectors) {
  const SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::array<std::byte, 16> message{};
  for (size_t i = 0; i < message.size(); ++i) message[i] = static_cast<std::byte>(i);
  const auto of = [&](size_t n) { return siphash(key, std::span(message).first(n)); };
  EXPECT_EQ(of(0), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(of(1), 0x74f839c593dc67fdu);
  EXPECT_EQ(of(7), 0xab0200f58b01d137u);
  EXPECT_EQ(of(8), 0x93f5f5799a932462u);
  EXPECT_EQ(of(15), 0xa129ca6149be45e5u);
}

TEST(TraceRing, KeepsTheNewestRecords) {
  const auto ring = std::make_unique<TraceRing>();
  for (uint32_t i = 0; i < TraceRing::kRecords + 100; ++i) ring->put(1, TraceEvent::kRxSegment, i);
  const auto newest = ring->newest(10);
  ASSERT_EQ(newest.size(), 10u);
  EXPECT_EQ(newest.front().argument, TraceRing::kRecords + 90);
  EXPECT_EQ(newest.back().argument, TraceRing::kRecords + 99);
  EXPECT_EQ(ring->newest(UINT32_MAX).size(), TraceRing::kRecords);
  EXPECT_EQ(ring->written(), TraceRing::kRecords + 100);
}

TEST(TraceRing, KeepsakeOutlivesTheRing) {
  const auto ring = std::make_unique<TraceRing>();
  ring->put(7, TraceEvent::kRto, 1'000);
  ring->keep(7);
  for (uint32_t i = 0; i < 2 * TraceRing::kRecords; ++i) ring->put(8, TraceEvent::kRxSegment, i);
  const auto kept = ring->kept(7);
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(kept.back().conn, 7u);
  EXPECT_EQ(kept.back().argument, 1'000u);
  EXPECT_TRUE(ring->kept(9).empty());
}

TEST(TraceRing, KeepsOneKeepsakeForAStormOfTheSameConnection) {
  const auto ring = std::make_unique<TraceRing>();
  ring->put(1, TraceEvent::kRto, 1);
  ring->keep(1);
  for (int i = 0; i < 100; ++i) {
    ring->put(2, TraceEvent::kRto, 2);
    ring->keep(2);
  }
  EXPECT_FALSE(ring->kept(1).empty());  // not pushed out
  EXPECT_EQ(ring->kept(2).back().argument, 2u);
}

TEST(TraceRing, FormatsRecordsWithTheirTime) {
  const auto ring = std::make_unique<TraceRing>();
  ring->mark(Instant(1'500'000'000));
  ring->put(3, TraceEvent::kRetransmit, 77);
  EXPECT_EQ(TraceRing::format(ring->newest(10)), "1.500000 conn 3 retransmit 77\n");
}

}  // namespace
}  // namespace millrace::base
