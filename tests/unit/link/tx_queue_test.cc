// The queue of frames in front of a device.
#include "link/tx_queue.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/rng.h"

namespace millrace::link {
namespace {

TEST(TxQueueTest, KeepsOrderAndLimitOverManyWraps) {
  std::vector<pkt::Packet> packets(100);
  std::deque<pkt::Packet*> model;
  TxQueue q(5);
  base::Rng rng(3);
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(q.full(), model.size() == 5);
    EXPECT_EQ(q.empty(), model.empty());
    if (!q.full() && rng.chance(1, 2)) {
      pkt::Packet* p = &packets[rng.below(100)];
      q.push(p);
      model.push_back(p);
    } else {
      pkt::Packet* out[3];
      const size_t want = rng.below(4);
      const size_t n = q.pop({out, want});
      ASSERT_EQ(n, std::min(want, model.size()));
      for (size_t k = 0; k < n; ++k) {
        ASSERT_EQ(out[k], model.front());
        model.pop_front();
      }
    }
    ASSERT_EQ(q.size(), model.size());
  }
}

TEST(TxQueueTest, LimitOfZeroHoldsOne) {
  pkt::Packet p{};
  TxQueue q(0);
  EXPECT_FALSE(q.full());
  q.push(&p);
  EXPECT_TRUE(q.full());
}

}  // namespace
}  // namespace millrace::link
