// The neighbour table: bounds, eviction, waiting packets, timers.
#include "neigh/table.h"

#include <gtest/gtest.h>

#include <map>

#include "pkt/pool.h"

namespace millrace::neigh {
namespace {

constexpr IfIndex kIf{1};
constexpr MacAddr kMac{{2, 0, 0, 0, 0, 1}};
constexpr Instant kStart{5'000'000'000};

IpAddr host(uint32_t n) { return IpAddr::v4(0x0a000000U + n); }

class TableTest : public ::testing::Test {
 protected:
  TableTest() : table_({.neighbours = 4, .pending_per_neighbour = 2, .pending_total = 5}, {}, 7) {}
  ~TableTest() override { EXPECT_TRUE(table_.check()); }

  EntryId reachable(uint32_t n) {
    const EntryId id = table_.obtain(kIf, host(n));
    table_.use(id, now_);
    table_.hear_advert(id, {kMac, true, true, false}, now_);
    return id;
  }
  EntryId stale(uint32_t n) {
    const EntryId id = table_.obtain(kIf, host(n));
    table_.hear_source(id, kMac);
    return id;
  }
  State state(EntryId id) { return table_.get(id)->reach.state(); }
  pkt::Packet* packet() {
    pkt::Packet* p = nullptr;
    EXPECT_EQ(pool_.allocate({&p, 1}), 1U);
    return p;
  }
  void free(pkt::Packet* p) { pool_.release({&p, 1}); }

  pkt::HeapPacketPool pool_{16};
  Table table_;
  Instant now_ = kStart;
};

TEST_F(TableTest, FindsWhatItObtained) {
  const EntryId id = table_.obtain(kIf, host(1));
  EXPECT_TRUE(id.valid());
  EXPECT_EQ(table_.find(kIf, host(1)), id);
  EXPECT_EQ(table_.obtain(kIf, host(1)), id);
  EXPECT_FALSE(table_.find(IfIndex{2}, host(1)).valid());
  EXPECT_FALSE(table_.find(kIf, host(2)).valid());
}

TEST_F(TableTest, FullTableEvictsTheLongestStaleEntry) {
  const EntryId used = reachable(1);
  const EntryId oldest = stale(2);
  const EntryId newer = stale(3);
  (void)reachable(4);
  EXPECT_TRUE(table_.obtain(kIf, host(5)).valid());
  EXPECT_EQ(table_.get(oldest), nullptr);
  EXPECT_FALSE(table_.find(kIf, host(2)).valid());
  EXPECT_NE(table_.get(newer), nullptr);
  EXPECT_NE(table_.get(used), nullptr);
  EXPECT_EQ(table_.counters().get(Counter::kEvicted), 1U);
}

TEST_F(TableTest, StaleEntryInUseIsNotEvicted) {
  for (uint32_t n = 1; n <= 4; ++n) table_.use(stale(n), now_);
  EXPECT_EQ(state(table_.find(kIf, host(1))), State::kDelay);
  EXPECT_FALSE(table_.obtain(kIf, host(5)).valid());
}

TEST_F(TableTest, LongestUnresolvedEntryCanBeGivenUp) {
  for (uint32_t n = 1; n <= 4; ++n) table_.use(table_.obtain(kIf, host(n)), now_);
  EXPECT_TRUE(table_.is_full());
  EXPECT_EQ(table_.oldest_unresolved(), table_.find(kIf, host(1)));
  table_.hear_advert(table_.find(kIf, host(1)), {kMac, true, true, false}, now_);
  EXPECT_EQ(table_.oldest_unresolved(), table_.find(kIf, host(2))) << "whoever answered stays";
  table_.give_up(table_.oldest_unresolved());
  EXPECT_FALSE(table_.is_full());
  EXPECT_TRUE(table_.obtain(kIf, host(5)).valid());
  EXPECT_FALSE(table_.find(kIf, host(2)).valid());
  EXPECT_EQ(table_.counters().get(Counter::kGivenUp), 1U);
  EXPECT_EQ(table_.counters().get(Counter::kTableFull), 0U);
}

TEST_F(TableTest, TimesOfOneInterfaceAndOfIpv6Only) {
  Timing fast;
  fast.retransmit = milliseconds(100);
  table_.set_timing_v6(kIf, fast);
  const IpAddr six({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  const auto waits = [&](IfIndex interface, const IpAddr& addr) {
    const EntryId id = table_.obtain(interface, addr);
    table_.use(id, now_);
    return table_.get(id)->reach.deadline() - now_;
  };
  EXPECT_EQ(waits(kIf, six), milliseconds(100));
  EXPECT_EQ(waits(kIf, host(1)), seconds(1));
  EXPECT_EQ(waits(IfIndex{2}, six), seconds(1));
}

TEST_F(TableTest, FullTableOfUsedEntriesRefusesAndCounts) {
  for (uint32_t n = 1; n <= 4; ++n) (void)reachable(n);
  EXPECT_FALSE(table_.obtain(kIf, host(5)).valid());
  EXPECT_EQ(table_.counters().get(Counter::kTableFull), 1U);
  EXPECT_EQ(table_.size(), 4U);
}

TEST_F(TableTest, OldestWaitingPacketIsPushedOut) {
  const EntryId id = table_.obtain(kIf, host(1));
  pkt::Packet* p[3] = {packet(), packet(), packet()};
  EXPECT_EQ(table_.enqueue(id, p[0]), nullptr);
  EXPECT_EQ(table_.enqueue(id, p[1]), nullptr);
  EXPECT_EQ(table_.enqueue(id, p[2]), p[0]);
  EXPECT_EQ(table_.counters().get(Counter::kDropOldest), 1U);
  EXPECT_EQ(table_.dequeue(id), p[1]);
  EXPECT_EQ(table_.dequeue(id), p[2]);
  EXPECT_EQ(table_.dequeue(id), nullptr);
  for (pkt::Packet* q : p) free(q);
}

TEST_F(TableTest, WaitingPacketsAreLimitedInAll) {
  std::vector<pkt::Packet*> all;
  for (uint32_t n = 1; n <= 3; ++n) {
    const EntryId id = table_.obtain(kIf, host(n));
    for (int i = 0; i < 2; ++i) {
      pkt::Packet* p = packet();
      all.push_back(p);
      EXPECT_EQ(table_.enqueue(id, p), all.size() == 6 ? p : nullptr);
    }
  }
  EXPECT_EQ(table_.pending_total(), 5U);
  EXPECT_EQ(table_.counters().get(Counter::kDropTotal), 1U);
  for (uint32_t n = 1; n <= 3; ++n) {
    while (table_.dequeue(table_.find(kIf, host(n))) != nullptr) {
    }
  }
  EXPECT_EQ(table_.pending_total(), 0U);
  for (pkt::Packet* p : all) free(p);
}

TEST_F(TableTest, TimersFireInOrderAndReportFailure) {
  const EntryId id = table_.obtain(kIf, host(1));
  EXPECT_EQ(table_.use(id, now_).send, Solicit::kMulticast);
  int solicitations = 0;
  bool failed = false;
  for (int ms = 0; ms <= 4000; ms += 50) {
    now_ = kStart + milliseconds(ms);
    table_.advance(now_, [&](EntryId, const Step& step) {
      solicitations += step.send == Solicit::kMulticast ? 1 : 0;
      failed |= step.failed;
    });
    EXPECT_EQ(failed, ms >= 3000) << ms;
  }
  EXPECT_EQ(solicitations, 2);
  EXPECT_EQ(table_.counters().get(Counter::kFailed), 1U);
  EXPECT_EQ(table_.next_deadline(), kNever);
}

TEST_F(TableTest, ReachableTimeIsJitteredAroundThirtySeconds) {
  Duration shortest = seconds(1000);
  Duration longest{};
  const EntryId id = reachable(1);
  for (int i = 0; i < 200; ++i) {
    table_.confirm(id, now_);
    const Duration d = table_.get(id)->reach.deadline() - now_;
    shortest = std::min(shortest, d);
    longest = std::max(longest, d);
  }
  EXPECT_GE(shortest, seconds(15));
  EXPECT_LT(shortest, seconds(20));
  EXPECT_LE(longest, seconds(45));
  EXPECT_GT(longest, seconds(40));
}

TEST_F(TableTest, StaleIdFindsNothingAfterRemoval) {
  const EntryId id = reachable(1);
  table_.remove(id);
  EXPECT_EQ(table_.get(id), nullptr);
  const EntryId again = table_.obtain(kIf, host(2));
  EXPECT_EQ(again.index, id.index);
  EXPECT_EQ(table_.get(id), nullptr);
  EXPECT_EQ(table_.get({id.index, 0}), nullptr);
  EXPECT_EQ(table_.get({99, 1}), nullptr);
}

TEST_F(TableTest, StaticEntryIsNeverEvicted) {
  const EntryId id = table_.obtain(kIf, host(9));
  table_.set_static(id, kMac);
  for (uint32_t n = 1; n < 20; ++n) (void)stale(n);
  EXPECT_EQ(table_.find(kIf, host(9)), id);
}

TEST(AddrIndexTest, AgreesWithAMapUnderRandomChanges) {
  AddrIndex index(300, {1, 2});
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> model;
  base::Rng rng(42);
  for (int i = 0; i < 100'000; ++i) {
    const auto interface = static_cast<uint32_t>(rng.between(1, 2));
    const auto n = static_cast<uint32_t>(rng.below(400));
    const auto key = std::pair{interface, n};
    const auto found = model.find(key);
    ASSERT_EQ(index.find(static_cast<IfIndex>(interface), host(n)), found == model.end() ? 0 : found->second);
    if (found != model.end()) {
      index.erase(static_cast<IfIndex>(interface), host(n));
      model.erase(found);
    } else if (model.size() < 300) {
      const auto value = static_cast<uint32_t>(rng.between(1, 1'000'000));
      index.insert(static_cast<IfIndex>(interface), host(n), value);
      model[key] = value;
    }
    ASSERT_EQ(index.size(), model.size());
  }
}

}  // namespace
}  // namespace millrace::neigh
