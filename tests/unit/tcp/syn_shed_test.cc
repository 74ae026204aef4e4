// SynShed under a flood of a million forged SYNs a second, in virtual time.
#include "tcp/syn_shed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/rng.h"
#include "wire/bytes.h"

namespace millrace::tcp {
namespace {

constexpr uint32_t kRate = 100'000;
constexpr Duration kEach = microseconds(1);  // between forged SYNs

struct Headers {
  std::array<std::byte, 60> bytes{};
  size_t ip_header = 20;
};

class SynShedTest : public ::testing::Test {
 protected:
  Headers syn() {
    Headers h;
    for (size_t i = 0; i + 8 <= h.bytes.size(); i += 8) wire::store_be64(&h.bytes[i], rng_.next());
    wire::store_u8(h.bytes.data(), 0x45);
    return h;
  }
  /// As stack/ does it: the glance first, then, for what goes on, the last word.
  bool answered(const Headers& h) {
    if (shed_.active(now_) && !shed_.lets_in(shed_.hash(h.bytes.data(), h.bytes.data() + h.ip_header), now_))
      return false;
    return shed_.take(now_);
  }
  /// Forged SYNs for that long; how many were answered.
  uint32_t flood(Duration length) {
    uint32_t count = 0;
    for (const Instant end = now_ + length; now_ < end; now_ = now_ + kEach) count += answered(syn()) ? 1 : 0;
    return count;
  }

  base::HeapMemory memory_;
  base::Rng rng_{3};
  SynShed shed_{memory_, {1, 2}, kRate};
  Instant now_{seconds(100).ns()};
};

TEST_F(SynShedTest, IsQuietWithinItsBudget) {
  for (int i = 0; i < 10'000; ++i, now_ = now_ + microseconds(11)) EXPECT_TRUE(answered(syn()));
  EXPECT_FALSE(shed_.active(now_));
}

TEST_F(SynShedTest, AnswersHalfOfItsBudgetToSynsThatAreNew) {
  (void)flood(milliseconds(100));
  EXPECT_TRUE(shed_.active(now_));
  EXPECT_NEAR(flood(seconds(1)), kRate / 2, kRate / 100);
}

TEST_F(SynShedTest, EndsTwoSecondsAfterTheFlood) {
  (void)flood(milliseconds(100));
  now_ = now_ + milliseconds(1'900);
  EXPECT_TRUE(shed_.active(now_));
  now_ = now_ + milliseconds(200);
  EXPECT_FALSE(shed_.active(now_));
}

// RFC 6298 2: a client's SYN comes again after one second, and then after two.
TEST_F(SynShedTest, MostClientsAreAnsweredAtTheirSecondSyn) {
  constexpr int kClients = 200;
  (void)flood(seconds(1));
  std::array<Headers, kClients> clients;
  std::array<int, kClients> tries{};
  const auto ask = [&](int nth) {
    for (int i = 0; i < kClients; ++i) {
      if (tries[i] == 0 && answered(clients[i])) tries[i] = nth;
      (void)flood(microseconds(1'000));
    }
    (void)flood(seconds(nth) - milliseconds(kClients));
  };
  for (Headers& c : clients) c = syn();
  ask(1);
  ask(2);
  ask(3);
  const auto within = [&](int n) {
    return std::count_if(tries.begin(), tries.end(), [n](int t) { return t != 0 && t <= n; });
  };
  EXPECT_LT(within(1), kClients / 5) << "no better than a forged one";
  EXPECT_GT(within(2), kClients * 85 / 100);
  EXPECT_GT(within(3), kClients * 93 / 100);
}

TEST_F(SynShedTest, KnowsASynByAddressPortAndSequenceNumber) {
  (void)flood(milliseconds(100));
  for (const size_t ip_header : {20u, 40u}) {
    Headers h = syn();
    h.ip_header = ip_header;
    wire::store_u8(h.bytes.data(), ip_header == 20 ? 0x45 : 0x60);
    const auto hash = [&] { return shed_.hash(h.bytes.data(), h.bytes.data() + ip_header); };
    const uint64_t first = hash();
    const size_t source = ip_header == 20 ? 12 : 8;
    for (const size_t at : {source, source + 3, ip_header - 1, ip_header, ip_header + 2, ip_header + 7}) {
      h.bytes[at] ^= std::byte{1};
      EXPECT_NE(hash(), first) << at;
      h.bytes[at] ^= std::byte{1};
    }
    h.bytes[ip_header + 8] ^= std::byte{1};  // the acknowledgment number
    EXPECT_EQ(hash(), first);
  }
}

TEST_F(SynShedTest, WithoutMemoryTheBudgetHoldsAllTheSame) {
  base::HeapMemory none(0);
  SynShed shed(none, {1, 2}, kRate);
  uint32_t count = 0;
  for (int i = 0; i < 1'000'000; ++i, now_ = now_ + kEach) count += shed.lets_in(rng_.next(), now_) && shed.take(now_);
  EXPECT_NEAR(count, kRate, kRate / 50);
}

TEST_F(SynShedTest, NoRateIsNoLimit) {
  shed_.set_rate(0);
  EXPECT_EQ(flood(milliseconds(100)), 100'000u);
  EXPECT_FALSE(shed_.active(now_));
}

}  // namespace
}  // namespace millrace::tcp
