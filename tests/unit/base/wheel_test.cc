// The timer wheel against a sorted list, over random operations and all distances.
#include "base/wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/rng.h"

namespace millrace::base {
namespace {

struct Bench {
  explicit Bench(size_t n, Instant start = Instant()) : nodes(n + 1), wheel(Resolver{this}, start) {}
  struct Resolver {
    Bench* bench;
    TimerNode& operator()(uint32_t id) const { return bench->nodes.at(id); }
    void prefetch(uint32_t id) const { (void)bench->nodes.at(id); }
  };
  std::vector<uint32_t> advance(Instant now) {
    std::vector<uint32_t> fired;
    wheel.advance(now, [&](uint32_t id) { fired.push_back(id); });
    return fired;
  }
  std::vector<TimerNode> nodes;
  TimerWheel<Resolver> wheel;
};

TEST(TimerWheel, FiresAtTheDeadlineAndNotANanosecondBefore) {
  for (const int64_t ns : {int64_t{1}, int64_t{131'072}, int64_t{40'000'000}, int64_t{1'000'000'000},
                           int64_t{3'600'000'000'000}, int64_t{86'400'000'000'000} * 365}) {
    Bench b(1, Instant(5));
    b.wheel.arm(1, Instant(5 + ns));
    EXPECT_TRUE(b.advance(Instant(4 + ns)).empty()) << ns;
    EXPECT_EQ(b.advance(Instant(5 + ns)), std::vector<uint32_t>{1}) << ns;
    EXPECT_EQ(b.wheel.size(), 0u);
    EXPECT_FALSE(b.wheel.armed(b.nodes[1]));
  }
}

TEST(TimerWheel, DeadlineInThePastFiresAtOnce) {
  Bench b(1, Instant(1'000'000'000));
  b.wheel.arm(1, Instant(5));
  EXPECT_EQ(b.wheel.next_deadline(), Instant(5));
  EXPECT_EQ(b.advance(Instant(1'000'000'000)), std::vector<uint32_t>{1});
}

TEST(TimerWheel, CancelAndRearmAreObeyed) {
  Bench b(2);
  b.wheel.arm(1, Instant(1'000'000));
  b.wheel.arm(2, Instant(1'000'000));
  b.wheel.cancel(1);
  b.wheel.cancel(1);  // twice does no harm
  b.wheel.arm(2, Instant(9'000'000));
  EXPECT_TRUE(b.advance(Instant(8'999'999)).empty());
  EXPECT_EQ(b.advance(Instant(9'000'000)), std::vector<uint32_t>{2});
  EXPECT_EQ(b.wheel.next_deadline(), kNever);
}

TEST(TimerWheel, TimerArmedWhileFiringFiresInTheSameCallIfDue) {
  Bench b(2);
  b.wheel.arm(1, Instant(1'000));
  std::vector<uint32_t> fired;
  b.wheel.advance(Instant(5'000'000'000), [&](uint32_t id) {
    fired.push_back(id);
    if (id == 1) b.wheel.arm(2, Instant(2'000'000'000));
  });
  EXPECT_EQ(fired, (std::vector<uint32_t>{1, 2}));
}

TEST(TimerWheel, PeriodicTimerRearmedBeyondNowFiresOnce) {
  Bench b(1);
  b.wheel.arm(1, Instant(1'000));
  int fired = 0;
  b.wheel.advance(Instant(1'000), [&](uint32_t) {
    ++fired;
    b.wheel.arm(1, Instant(1'001));
  });
  EXPECT_EQ(fired, 1);
}

int64_t distance(Rng& rng) {
  return static_cast<int64_t>(rng.below(uint64_t{1} << rng.between(1, 56)));
}

TEST(TimerWheel, AgreesWithASortedListOverRandomOperations) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    constexpr size_t kTimers = 200;
    int64_t now = static_cast<int64_t>(rng.below(1'000'000'000'000));
    Bench b(kTimers, Instant(now));
    std::map<uint32_t, int64_t> armed;
    for (int i = 0; i < 3'000; ++i) {
      const auto id = static_cast<uint32_t>(rng.between(1, kTimers));
      const uint64_t what = rng.below(10);
      if (what < 5) {
        const int64_t deadline = now - 1'000 + distance(rng);
        b.wheel.arm(id, Instant(deadline));
        armed[id] = deadline;
      } else if (what < 6) {
        b.wheel.cancel(id);
        armed.erase(id);
      } else {
        const Instant next = b.wheel.next_deadline();
        int64_t earliest = INT64_MAX;
        for (const auto& [a, d] : armed) earliest = std::min(earliest, d);
        ASSERT_LE(next.ns(), earliest) << "seed " << seed;  // never late
        ASSERT_EQ(next == kNever, armed.empty());
        // Half of the time to the very next deadline, or just before it.
        if (!armed.empty() && rng.chance(1, 2)) {
          now = std::max(now, rng.chance(1, 2) ? earliest : earliest - 1);
        } else {
          now += distance(rng) / 4;
        }
        auto fired = b.advance(Instant(now));
        std::vector<uint32_t> due;
        for (const auto& [a, d] : armed) {
          if (d <= now) due.push_back(a);
        }
        std::sort(fired.begin(), fired.end());
        ASSERT_EQ(fired, due) << "seed " << seed;
        for (const uint32_t d : due) armed.erase(d);
      }
      ASSERT_EQ(b.wheel.size(), armed.size());
    }
  }
}

TEST(TimerWheel, FollowingNextDeadlineMissesNothingAndTerminates) {
  Rng rng(99);
  Bench b(100);
  std::map<uint32_t, int64_t> armed;
  for (uint32_t id = 1; id <= 100; ++id) b.wheel.arm(id, Instant(armed[id] = 1 + distance(rng)));
  int turns = 0;
  while (b.wheel.size() > 0) {
    ASSERT_LT(++turns, 2'000);
    const Instant now = b.wheel.next_deadline();
    for (const uint32_t id : b.advance(now)) EXPECT_EQ(armed[id], now.ns());
  }
}

}  // namespace
}  // namespace millrace::base
