// Slabs: generations, limits, stable addresses.
#include "base/slab.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"

namespace millrace::base {
namespace {

struct Thing {
  uint32_t gen = 0;
  uint32_t link = 0;
  uint64_t value = 42;
};

TEST(Slab, GivesOutIndicesFromOneWithFreshObjects) {
  HeapMemory memory;
  Slab<Thing> slab(memory, 10);
  ASSERT_TRUE(slab.ok());
  const uint32_t first = slab.allocate();
  EXPECT_EQ(first, 1u);
  EXPECT_EQ(slab[first].value, 42u);
  slab[first].value = 7;
  slab.release(first);
  const uint32_t again = slab.allocate();
  EXPECT_EQ(again, first);
  EXPECT_EQ(slab[again].value, 42u);
}

TEST(Slab, RefusesBeyondItsLimitAndRecovers) {
  HeapMemory memory;
  Slab<Thing> slab(memory, 3);
  for (uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(slab.allocate(), i);
  EXPECT_EQ(slab.allocate(), 0u);
  EXPECT_EQ(slab.used(), 3u);
  slab.release(2);
  EXPECT_EQ(slab.allocate(), 2u);
  EXPECT_EQ(slab.allocate(), 0u);
  EXPECT_EQ(slab.end_index(), 4u);
}

TEST(Slab, StaleNamesFindNothing) {
  HeapMemory memory;
  Slab<Thing> slab(memory, 4);
  const uint32_t index = slab.allocate();
  const uint32_t gen = slab[index].gen;
  EXPECT_EQ(slab.find(index, gen), &slab[index]);
  slab.release(index);
  EXPECT_EQ(slab.find(index, gen), nullptr);
  EXPECT_EQ(slab.find(index, gen + 1), nullptr);  // an even generation is nobody's
  EXPECT_FALSE(slab.in_use(index));
  ASSERT_EQ(slab.allocate(), index);
  EXPECT_EQ(slab.find(index, gen), nullptr);
  EXPECT_NE(slab.find(index, gen + 2), nullptr);
}

TEST(Slab, AnyNumbersAreSafeToLookUp) {
  HeapMemory memory;
  Slab<Thing> slab(memory, 4);
  (void)slab.allocate();
  for (const uint32_t index : {0u, 2u, 4u, 5u, 1'000'000u, UINT32_MAX}) {
    EXPECT_EQ(slab.find(index, 1), nullptr);
    EXPECT_FALSE(slab.in_use(index));
  }
}

TEST(Slab, SaysWhenMemoryHasNoRoom) {
  HeapMemory memory(1'000);
  Slab<Thing> slab(memory, 1'000);
  EXPECT_FALSE(slab.ok());
  EXPECT_EQ(slab.allocate(), 0u);
}

TEST(Slab, ObjectsStayWhereTheyAreOverRandomUse) {
  HeapMemory memory;
  Slab<Thing> slab(memory, 500);
  Rng rng(1);
  std::map<uint32_t, std::pair<Thing*, uint64_t>> live;
  for (int i = 0; i < 20'000; ++i) {
    if (rng.chance(1, 2)) {
      const uint32_t index = slab.allocate();
      ASSERT_EQ(index == 0, live.size() == 500);
      if (index == 0) continue;
      ASSERT_FALSE(live.contains(index));
      slab[index].value = rng.next();
      live[index] = {&slab[index], slab[index].value};
    } else if (!live.empty()) {
      const auto victim = std::next(live.begin(), static_cast<long>(rng.below(live.size())));
      ASSERT_EQ(victim->second.first, &slab[victim->first]);
      ASSERT_EQ(victim->second.second, slab[victim->first].value);
      slab.release(victim->first);
      live.erase(victim);
    }
    ASSERT_EQ(slab.used(), live.size());
  }
}

TEST(HeapMemory, KeepsItsLimitAndZeroesWhatItGives) {
  HeapMemory memory(1'024);
  const Region a = memory.allocate(1'000);
  ASSERT_NE(a.base, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.base) % 64, 0u);
  EXPECT_GE(a.bytes, 1'000u);
  for (size_t i = 0; i < 1'000; ++i) ASSERT_EQ(a.base[i], std::byte{0});
  EXPECT_EQ(memory.allocate(1).base, nullptr);
}

}  // namespace
}  // namespace millrace::base
