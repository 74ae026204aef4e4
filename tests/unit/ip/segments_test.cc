// Chains cut at random: gather, trim and the sum over pieces against the bytes in one piece.
#include "ip/segments.h"

#include "base/rng.h"
#include "fixture.h"

namespace millrace::ip {
namespace {

class SegmentsTest : public IpTest {
 protected:
  static void expect_consistent(const pkt::Packet& head) {
    uint32_t total = 0;
    uint16_t segs = 0;
    for (const pkt::Packet* p = &head; p != nullptr; p = p->next) {
      total += p->len;
      ++segs;
    }
    EXPECT_EQ(head.total, total);
    EXPECT_EQ(head.segs, segs);
  }
  base::Rng rng_{11};
};

TEST_F(SegmentsTest, RandomCutsKeepTheBytes) {
  for (int round = 0; round < 500; ++round) {
    const size_t size = rng_.between(1, 600);
    Frame whole = bytes(size, static_cast<uint8_t>(rng_.next()));
    pkt::Packet* p = packet(whole, rng_.between(1, 200));
    const auto offset = static_cast<uint32_t>(rng_.below(size + 1));
    EXPECT_EQ(wire::fold(sum_chain(*p, offset)), wire::fold(wire::sum_bytes(whole.data() + offset, size - offset)));
    const auto wanted = static_cast<uint32_t>(rng_.between(0, size + 10));
    EXPECT_EQ(gather(cache_, *p, wanted), wanted <= size);
    if (wanted <= size) {
      EXPECT_GE(p->len, wanted);
    }
    EXPECT_EQ(content(*p), whole);
    expect_consistent(*p);
    const auto kept = static_cast<uint32_t>(rng_.between(0, size + 10));
    trim(cache_, *p, kept);
    whole.resize(std::min<size_t>(size, kept));
    EXPECT_EQ(content(*p), whole);
    expect_consistent(*p);
    cache_.free(p);
  }
}

TEST_F(SegmentsTest, GatherNeedsRoomInTheHead) {
  pkt::Packet* p = packet(bytes(pkt::kFrameRoom) + bytes(10));
  EXPECT_FALSE(gather(cache_, *p, pkt::kFrameRoom + 1));
  EXPECT_EQ(content(*p), bytes(pkt::kFrameRoom) + bytes(10));
  cache_.free(p);
}

}  // namespace
}  // namespace millrace::ip
