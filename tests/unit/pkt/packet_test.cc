// Packets, the worker's cache of them, and payload blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "pkt/block.h"
#include "pkt/pool.h"

namespace millrace::pkt {
namespace {

struct Pools {
  explicit Pools(size_t frames = 1'000, size_t references = 1'000)
      : frame_pool(frames), reference_pool(references, 0), cache(frame_pool, reference_pool) {}
  HeapPacketPool frame_pool;
  HeapPacketPool reference_pool;
  PacketCache cache;
};

Packet* filled(Pools& pools, std::string_view text) {
  Packet* p = pools.cache.frame();
  std::memcpy(p->append(static_cast<uint16_t>(text.size())), text.data(), text.size());
  return p;
}

std::string text_of(const Packet& head, uint32_t offset, size_t room) {
  std::vector<std::byte> out(room);
  const size_t n = copy_out(head, offset, out);
  return {reinterpret_cast<const char*>(out.data()), n};
}

TEST(Packet, FreshFrameIsEmptyWithHeadroom) {
  Pools pools;
  Packet* p = pools.cache.frame();
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->headroom(), kHeadroom);
  EXPECT_EQ(p->tailroom(), kFrameRoom);
  EXPECT_EQ(p->len, 0);
  EXPECT_EQ(p->total, 0u);
  EXPECT_EQ(p->refs, 1);
  EXPECT_EQ(p->segs, 1);
  EXPECT_EQ(p->next, nullptr);
  pools.cache.free(p);
}

TEST(Packet, PushPullAndAppendMoveTheEnds) {
  Pools pools;
  Packet* p = filled(pools, "payload");
  std::memcpy(p->push(4), "head", 4);
  EXPECT_EQ(p->len, 11);
  EXPECT_EQ(p->total, 11u);
  EXPECT_EQ(p->headroom(), kHeadroom - 4);
  EXPECT_EQ(text_of(*p, 0, 100), "headpayload");
  p->pull(7);
  EXPECT_EQ(text_of(*p, 0, 100), "load");
  EXPECT_EQ(p->total, 4u);
  EXPECT_EQ(p->bytes().size(), 4u);
  pools.cache.free(p);
}

TEST(PacketDeath, NobodyPushesBeyondTheHeadroomOrPullsWhatIsNotThere) {
  Pools pools;
  Packet* p = filled(pools, "abc");
  EXPECT_DEATH((void)p->push(kHeadroom + 1), "");
  EXPECT_DEATH(p->pull(4), "");
  EXPECT_DEATH((void)p->append(kFrameRoom), "");
  pools.cache.free(p);
}

TEST(Packet, ChainCountsAndCopiesAcrossSegments) {
  Pools pools;
  Packet* head = filled(pools, "one");
  chain(*head, filled(pools, "two"));
  Packet* tail = filled(pools, "three");
  chain(*tail, filled(pools, "four"));
  chain(*head, tail);
  EXPECT_EQ(head->segs, 4);
  EXPECT_EQ(head->total, 15u);
  EXPECT_EQ(text_of(*head, 0, 100), "onetwothreefour");
  EXPECT_EQ(text_of(*head, 2, 6), "etwoth");
  EXPECT_EQ(text_of(*head, 6, 5), "three");
  EXPECT_EQ(text_of(*head, 15, 5), "");
  EXPECT_EQ(text_of(*head, 14, 5), "r");
  pools.cache.free(head);
  pools.cache.drain();
  EXPECT_EQ(pools.frame_pool.available(), 1'000u);
}

TEST(Packet, OffloadLengthsComeBack) {
  Packet p{};
  p.set_tx_lengths(14, 40, 32, 1'428);
  EXPECT_EQ(p.l2_len(), 14u);
  EXPECT_EQ(p.l3_len(), 40u);
  EXPECT_EQ(p.l4_len(), 32u);
  EXPECT_EQ(p.seg_size(), 1'428u);
}

TEST(PacketCache, SharedPacketIsFreedWithItsLastReference) {
  Pools pools;
  Packet* p = pools.cache.frame();
  ++p->refs;
  pools.cache.free(p);
  EXPECT_EQ(p->refs, 1);
  EXPECT_EQ(pools.cache.frames_available(), 999u);
  pools.cache.free(p);
  EXPECT_EQ(pools.cache.frames_available(), 1'000u);
}

TEST(PacketCache, GivesOutEveryPacketOfThePoolAndThenNone) {
  Pools pools(100);
  std::vector<Packet*> all;
  while (Packet* p = pools.cache.frame()) all.push_back(p);
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(pools.cache.frames_available(), 0u);
  pools.cache.free(all.back());
  EXPECT_EQ(pools.cache.frame(), all.back());  // the one just freed, still hot
  for (Packet* p : all) pools.cache.free(p);
}

TEST(PacketCache, SpillsToThePoolAndDrainsIntoIt) {
  Pools pools(1'000);
  std::vector<Packet*> all(1'000);
  for (Packet*& p : all) p = pools.cache.frame();
  for (Packet* p : all) pools.cache.free(p);
  EXPECT_GT(pools.frame_pool.available(), 700u);
  EXPECT_EQ(pools.cache.frames_available(), 1'000u);
  pools.cache.drain();
  EXPECT_EQ(pools.frame_pool.available(), 1'000u);
}

// Devices receive into what the pool has. An eighth of it is what the worker leaves free.
TEST(PacketCache, ReserveOfFramesDoesNotDisappearInCaches) {
  for (const size_t workers : {size_t{1}, size_t{4}, size_t{8}}) {
    for (const size_t each : {size_t{512}, size_t{700}, size_t{16'384}}) {
      HeapPacketPool frames(workers * each);
      HeapPacketPool references(1, 0);
      std::vector<std::unique_ptr<PacketCache>> caches;
      for (size_t i = 0; i < workers; ++i) caches.push_back(std::make_unique<PacketCache>(frames, references));
      std::vector<Packet*> all;
      while (Packet* p = caches[0]->frame()) all.push_back(p);
      ASSERT_EQ(all.size(), workers * each);
      for (size_t i = 0; i < workers * each / 8; ++i) {
        caches[i % workers]->free(all.back());
        all.pop_back();
      }
      EXPECT_GT(frames.available(), 0u) << workers << " workers, " << each << " frames each";
      for (Packet* p : all) caches[0]->free(p);
    }
  }
}

TEST(PacketCache, ReferenceReleasesItsMemoryLast) {
  Pools pools;
  std::byte memory[100];
  static int released = 0;
  released = 0;
  ExtInfo info;
  info.release = [](void*, void*) { ++released; };
  Packet* a = pools.cache.reference(memory, 0, 50, info);
  Packet* b = pools.cache.reference(memory + 50, 0, 50, info);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(info.refs, 2);
  EXPECT_EQ(b->data(), memory + 50);
  EXPECT_EQ(b->len, 50);
  EXPECT_NE(b->flags & kExternal, 0u);
  pools.cache.free(a);
  EXPECT_EQ(released, 0);
  pools.cache.free(b);
  EXPECT_EQ(released, 1);
  pools.cache.drain();
  EXPECT_EQ(pools.reference_pool.available(), 1'000u);
  EXPECT_EQ(pools.frame_pool.available(), 1'000u);  // not mixed up
}

TEST(PacketCache, ReferencesRunOutWithoutTouchingTheMemory) {
  Pools pools(10, 2);
  std::byte memory[8];
  ExtInfo info;
  info.release = [](void*, void*) {};
  Packet* a = pools.cache.reference(memory, 0, 8, info);
  Packet* b = pools.cache.reference(memory, 0, 8, info);
  EXPECT_EQ(pools.cache.reference(memory, 0, 8, info), nullptr);
  EXPECT_EQ(info.refs, 2);
  pools.cache.free(a);
  pools.cache.free(b);
}

TEST(BlockPool, AHeadlessBlockIsLikeAnyOtherOnceItsHeaderIsWritten) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{64} << 20);
  Block* used = pool.allocate(100);
  used->len = 100;
  used->ext.marks = kBlockSealed;
  BlockPool::unref(used);  // what it was told must not come back
  Block* block = pool.allocate_headless();
  ASSERT_EQ(block, used);
  EXPECT_EQ(pool.in_use(), 1u);
  std::memset(BlockPool::data_behind(block), 7, BlockPool::max_headless());
  BlockPool::write_header(block, BlockPool::max_headless());
  EXPECT_EQ(block->data, BlockPool::data_behind(block));
  EXPECT_EQ(block->len, block->capacity);
  EXPECT_EQ(block->ext.refs, 1u);
  EXPECT_EQ(block->ext.marks, 0u);
  EXPECT_EQ(block->next, nullptr);
  BlockPool::unref(block);
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(BlockPool, HeadlessBlocksComeAndGoWithoutTheirHeader) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{64} << 20);
  std::vector<Block*> blocks;
  for (int i = 0; i < 1'000; ++i) {
    blocks.push_back(pool.allocate_headless());
    ASSERT_NE(blocks.back(), nullptr);
    std::memset(BlockPool::data_behind(blocks.back()), i, BlockPool::max_headless());
  }
  EXPECT_EQ(pool.in_use_bytes(), 1'000u * BlockPool::kClassBytes.front());
  for (Block* b : blocks) pool.free_headless(b);
  EXPECT_EQ(pool.in_use(), 0u);
  EXPECT_EQ(pool.in_use_bytes(), 0u);
  Block* again = pool.allocate(10);
  EXPECT_EQ(again, blocks.back());
  EXPECT_EQ(again->len, 0u);
  EXPECT_EQ(again->ext.refs, 1u);
  BlockPool::unref(again);
}

TEST(BlockPool, ChoosesTheSmallestClassThatHolds) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{64} << 20);
  for (const uint32_t bytes : {1u, 128u, 129u, 1'920u, 2'000u, 16'256u, 16'257u, BlockPool::max_payload()}) {
    Block* b = pool.allocate(bytes);
    ASSERT_NE(b, nullptr);
    EXPECT_GE(b->capacity, bytes);
    const uint32_t whole = b->capacity + static_cast<uint32_t>(sizeof(Block));
    const auto at = std::find(BlockPool::kClassBytes.begin(), BlockPool::kClassBytes.end(), whole);
    ASSERT_NE(at, BlockPool::kClassBytes.end());
    if (at != BlockPool::kClassBytes.begin()) {
      EXPECT_LT(*(at - 1) - sizeof(Block), bytes);
    }
    std::memset(b->data, 0xab, b->capacity);  // all of it is ours
    BlockPool::unref(b);
  }
  EXPECT_EQ(pool.in_use(), 0u);
  EXPECT_EQ(pool.in_use_bytes(), 0u);
  Block* most = pool.allocate(1'000'000);
  EXPECT_EQ(most->capacity, BlockPool::max_payload());
  BlockPool::unref(most);
}

TEST(BlockPool, BlocksDoNotOverlap) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{64} << 20);
  std::vector<Block*> all;
  for (uint32_t i = 0; i < 500; ++i) {
    Block* b = pool.allocate(i % 2 == 0 ? 100 : 5'000);
    std::memset(b->data, static_cast<int>(i & 0xff), b->capacity);
    b->len = i;
    all.push_back(b);
  }
  for (uint32_t i = 0; i < 500; ++i) {
    EXPECT_EQ(all[i]->len, i);
    EXPECT_EQ(all[i]->data[0], static_cast<std::byte>(i));
    EXPECT_EQ(all[i]->data[all[i]->capacity - 1], static_cast<std::byte>(i));
    BlockPool::unref(all[i]);
  }
}

TEST(BlockPool, KeepsItsLimitAndReusesWhatComesBack) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{4} << 20);
  std::vector<Block*> all;
  while (Block* b = pool.allocate(60'000)) all.push_back(b);
  EXPECT_EQ(all.size(), 64u);
  EXPECT_EQ(pool.allocate(10), nullptr);  // not from any class
  BlockPool::unref(all.back());
  Block* again = pool.allocate(60'000);
  EXPECT_EQ(again, all.back());
  EXPECT_EQ(again->len, 0u);
  EXPECT_EQ(again->ext.marks, 0u);
  for (Block* b : all) BlockPool::unref(b);
}

TEST(BlockPool, SmallBlockComesFromALargerClassWhenMemoryRanOut) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{2} << 20);  // one region
  Block* large = pool.allocate(60'000);
  Block* small = pool.allocate(10);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(small->capacity, BlockPool::max_payload());
  BlockPool::unref(small);
  BlockPool::unref(large);
  EXPECT_EQ(pool.in_use_bytes(), 0u);
}

TEST(BlockPool, SmallBlocksLeaveTheLargestOnesTheirShare) {
  constexpr size_t kRegion = size_t{2} << 20;
  for (const size_t regions : {size_t{1}, size_t{4}, size_t{32}}) {
    base::HeapMemory memory;
    BlockPool pool(memory, regions * kRegion);
    for (const uint32_t bytes : {100u, 1'000u, 10'000u}) {  // each class takes what it can get and gives it back
      std::vector<Block*> all;
      while (Block* b = pool.allocate(bytes)) {
        all.push_back(b);
        if (b->capacity == BlockPool::max_payload()) break;
      }
      ASSERT_FALSE(all.empty());
      for (Block* b : all) BlockPool::unref(b);
    }
    std::vector<Block*> large;
    while (Block* b = pool.allocate(BlockPool::max_payload())) large.push_back(b);
    EXPECT_EQ(large.size(), std::max<size_t>(1, regions / 8) * (kRegion / BlockPool::kClassBytes.back())) << regions;
    for (Block* b : large) BlockPool::unref(b);
  }
}

TEST(BlockPool, ReportsCookiesOfBlocksThatCameBack) {
  base::HeapMemory memory;
  BlockPool pool(memory, size_t{4} << 20);
  LentBlock* quiet = pool.lend(10);
  LentBlock* told = pool.lend(10);
  told->told = {77, 3, 5};
  told->ext.marks |= kBlockTold;
  ++told->ext.refs;
  BlockPool::unref(quiet);
  BlockPool::unref(told);
  EXPECT_TRUE(pool.released().empty());
  BlockPool::unref(told);
  ASSERT_EQ(pool.released().size(), 1u);
  EXPECT_EQ(pool.released()[0].cookie, 77u);
  EXPECT_EQ(pool.released()[0].owner_index, 3u);
  EXPECT_EQ(pool.released()[0].owner_gen, 5u);
}

}  // namespace
}  // namespace millrace::pkt
