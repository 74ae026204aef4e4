// Parts of TCP that stand alone: the connection table, the settings rows, sizes, names.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "base/rng.h"
#include "tcp/bare.h"
#include "tcp/conn_table.h"
#include "tcp/mini.h"
#include "tcp/settings.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

TEST(ConnTable, AgreesWithAMapOverRandomUse) {
  base::HeapMemory memory;
  ConnTable table(memory, 300);
  ASSERT_TRUE(table.ok());
  base::Rng rng(3);
  std::map<uint64_t, Ref> model;
  // Few distinct buckets and tags, so that buckets overflow and tags collide.
  const auto hash_of = [](uint64_t key) { return (key % 3) * 0x100000001ULL | (key / 3) << 40; };
  for (int i = 0; i < 50'000; ++i) {
    const uint64_t key = rng.below(600);
    const auto found = table.find(hash_of(key), [&](Ref ref) { return ref.index() == key + 1; });
    const auto known = model.find(key);
    ASSERT_EQ(static_cast<bool>(found), known != model.end());
    if (known == model.end()) {
      const Ref ref(Place::kConn, static_cast<uint32_t>(key) + 1);
      const bool inserted = table.insert(hash_of(key), ref);
      ASSERT_EQ(inserted, model.size() < 300);
      if (inserted) model[key] = ref;
    } else if (rng.chance(1, 2)) {
      table.erase(hash_of(key), known->second);
      model.erase(known);
    }
    ASSERT_EQ(table.size(), model.size());
  }
}

TEST(ConnTable, ReplaceChangesWhatATupleNames) {
  base::HeapMemory memory;
  ConnTable table(memory, 10);
  ASSERT_TRUE(table.insert(7, Ref(Place::kHalf4, 1)));
  table.replace(7, Ref(Place::kHalf4, 1), Ref(Place::kConn, 9));
  const Ref now = table.find(7, [](Ref) { return true; });
  EXPECT_EQ(now.place(), Place::kConn);
  EXPECT_EQ(now.index(), 9u);
}

TEST(TupleHash, EveryFieldCountsAndTheKeyToo) {
  const TupleHash hash({1, 2});
  const Tuple t{IpAddr::v4(1, 2, 3, 4), IpAddr::v4(5, 6, 7, 8), 80, 40'000};
  std::set<uint64_t> seen{hash(t)};
  EXPECT_EQ(hash(t), hash(t.local, t.remote, t.local_port, t.remote_port));
  Tuple u = t;
  u.local = IpAddr::v4(1, 2, 3, 5);
  seen.insert(hash(u));
  u = t;
  u.remote = IpAddr::v4(5, 6, 7, 9);
  seen.insert(hash(u));
  u = t;
  u.local_port = 81;
  seen.insert(hash(u));
  u = t;
  u.remote_port = 40'001;
  seen.insert(hash(u));
  seen.insert(TupleHash({1, 8})(t));
  seen.insert(hash({t.remote, t.local, t.remote_port, t.local_port}));
  EXPECT_EQ(seen.size(), 7u);
}

TEST(Settings, EveryDefaultIsWithinItsRange) {
  const Settings settings;
  std::set<std::string> names;
  for (const SettingRow& row : kSettingRows) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_LE(row.least, row.value) << row.name;
    EXPECT_LE(row.value, row.greatest) << row.name;
    EXPECT_EQ(settings.*row.field, row.value) << row.name;
    EXPECT_NE(std::string(row.text), "");
  }
  EXPECT_EQ(names.size() * sizeof(int64_t), sizeof(Settings));
}

TEST(Sizes, StayWithinTheBudgets) {
  EXPECT_EQ(sizeof(Conn), 256u);
  EXPECT_LE(sizeof(Mini4<HalfOpen>), 64u);
  EXPECT_LE(sizeof(Mini4<TimeWait>), 64u);
  EXPECT_LE(sizeof(Mini6<HalfOpen>), 96u);
  EXPECT_LE(sizeof(Mini6<TimeWait>), 96u);
}

TEST(Names, EveryStateHasItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i < kStateCount; ++i) names.insert(name(static_cast<State>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(kStateCount));
  EXPECT_TRUE(names.contains("FIN-WAIT-2"));
}

TEST(WindowShift, IsTheSmallestThatOffersTheBuffer) {  // RFC 7323 2.3
  EXPECT_EQ(window_shift(0), 0);
  EXPECT_EQ(window_shift(65'535), 0);
  EXPECT_EQ(window_shift(65'536), 1);
  EXPECT_EQ(window_shift(1 << 20), 5);
  EXPECT_EQ(window_shift(uint64_t{65'535} << 14), 14);
  EXPECT_EQ(window_shift(UINT64_MAX), 14);
}

}  // namespace
}  // namespace millrace::tcp
