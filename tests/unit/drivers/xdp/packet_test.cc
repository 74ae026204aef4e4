// The driver's own work on packets: checksums that were left to somebody else, uncut segments, the pool of chunks.
#include <gtest/gtest.h>

#include <algorithm>

#include <cstring>

#include "base/memory.h"
#include "drivers/xdp/large_sender.h"
#include "drivers/xdp/umem.h"
#include "drivers/xdp/unfinished.h"
#include "frames.h"
#include "wire/checksum.h"

namespace millrace::drivers::xdp {
namespace {

class XdpPacket : public testing::Test {
 protected:
  pkt::Packet* packet(const Frame& bytes) {
    pkt::Packet* p = cache_.frame();
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(p->append(static_cast<uint16_t>(bytes.size()))));
    return p;
  }
  /// A frame whose transport checksum holds the sum of the pseudo-header alone.
  static Frame unfinished(bool v4, uint8_t protocol, size_t payload) {
    const char* from = v4 ? "192.0.2.9" : "2001:db8::9";
    const char* to = v4 ? "192.0.2.2" : "2001:db8::2";
    Frame transport = ports(5000, 80, protocol == kTcp ? 20 : 8);
    if (protocol == kTcp) transport[12] = 0x50;
    for (size_t i = 0; i < payload; ++i) transport.push_back(static_cast<uint8_t>(i * 7));
    const uint16_t sum = wire::fold(
        wire::pseudo_sum(addr(from), addr(to), protocol, static_cast<uint32_t>(transport.size())));
    const size_t field = protocol == kTcp ? 16 : 6;
    transport[field] = static_cast<uint8_t>(sum >> 8);
    transport[field + 1] = static_cast<uint8_t>(sum);
    return v4 ? ethernet(0x0800, ip4(from, to, protocol, transport))
              : ethernet(0x86dd, ip6(from, to, protocol, transport));
  }
  uint64_t marked(const Frame& frame) {
    pkt::Packet* p = packet(frame);
    mark_unfinished_checksum(*p);
    const uint64_t flags = p->flags;
    cache_.free(p);
    return flags;
  }

  pkt::HeapPacketPool frames_{64, 4096};
  pkt::HeapPacketPool references_{8, 0};
  pkt::PacketCache cache_{frames_, references_};
};

TEST_F(XdpPacket, KnowsAnUnfinishedChecksum) {
  for (const bool v4 : {true, false}) {
    for (const uint8_t protocol : {kTcp, kUdp}) {
      Frame frame = unfinished(v4, protocol, 333);
      EXPECT_EQ(marked(frame), pkt::kRxL4ChecksumNone);
      frame[(v4 ? 34u : 54u) + (protocol == kTcp ? 16 : 6)] ^= 1;
      EXPECT_EQ(marked(frame), 0u) << "any other checksum is for the core to verify";
      Frame fragment = unfinished(v4, protocol, 333);
      if (!v4) continue;
      fragment[14 + 6] = 0x20;
      EXPECT_EQ(marked(fragment), 0u);
    }
  }
}

TEST_F(XdpPacket, LeavesFramesAloneThatAreCutShort) {
  for (const bool v4 : {true, false}) {
    const Frame whole = unfinished(v4, kTcp, 0);
    for (size_t n = 0; n + 2 < whole.size(); ++n) EXPECT_EQ(marked(Frame(whole.begin(), whole.begin() + n)), 0u) << n;
  }
}

TEST_F(XdpPacket, FinishesTheChecksumThatTheCoreLeft) {
  for (const bool v4 : {true, false}) {
    for (const uint8_t protocol : {kTcp, kUdp}) {
      for (const size_t payload : {0, 1, 700, 701}) {
        const Frame frame = unfinished(v4, protocol, payload);
        const uint32_t headers = v4 ? 34 : 54;
        // In two segments, the first of odd length, as a reference to payload may be.
        const size_t cut = payload > 1 ? headers + 21 : frame.size();
        pkt::Packet* p = packet(Frame(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(cut)));
        if (cut != frame.size())
          pkt::chain(*p, packet(Frame(frame.begin() + static_cast<ptrdiff_t>(cut), frame.end())));
        p->flags = protocol == kTcp ? pkt::kTxTcpChecksum : pkt::kTxUdpChecksum;
        p->set_tx_lengths(14, headers - 14, 20, 0);
        finish_checksum(*p);
        Frame sent(frame.size());
        pkt::copy_out(*p, 0, std::as_writable_bytes(std::span(sent)));
        const auto length = static_cast<uint32_t>(frame.size() - headers);
        const uint64_t pseudo = wire::pseudo_sum(addr(v4 ? "192.0.2.9" : "2001:db8::9"),
                                                 addr(v4 ? "192.0.2.2" : "2001:db8::2"), protocol, length);
        const auto transport = std::as_bytes(std::span(sent)).subspan(headers);
        EXPECT_TRUE(wire::is_valid(wire::add_sums(pseudo, wire::sum_bytes(transport.data(), transport.size()))));
        const Frame once = sent;
        finish_checksum(*p);  // tried again after a full ring
        pkt::copy_out(*p, 0, std::as_writable_bytes(std::span(sent)));
        EXPECT_EQ(sent, once);
        cache_.free(p);
      }
    }
  }
}

TEST_F(XdpPacket, MarksUncutSegmentsWithTheirSize) {
  pkt::Packet* p = packet(unfinished(true, kTcp, 3000));
  EXPECT_TRUE(mark_merged(*p, 1500));
  EXPECT_EQ(p->flags, pkt::kRxMerged);
  EXPECT_EQ(p->seg_size(), 1460u);
  cache_.free(p);
  p = packet(unfinished(false, kTcp, 3000));
  EXPECT_TRUE(mark_merged(*p, 1500));
  EXPECT_EQ(p->seg_size(), 1440u);
  cache_.free(p);
  p = packet(unfinished(true, kUdp, 3000));
  EXPECT_FALSE(mark_merged(*p, 1500)) << "a row of datagrams cannot be told apart";
  cache_.free(p);
}

TEST(XdpUmem, AChunksAddressLeadsToItsPacket) {
  struct PageMemory final : base::MemorySource {
    base::Region allocate(size_t bytes) override {
      auto* p = static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096));
      held.emplace_back(p, std::free);
      return {p, bytes, reinterpret_cast<uint64_t>(p)};
    }
    std::vector<std::unique_ptr<std::byte, void (*)(void*)>> held;
  } pages;
  UmemPool pool(pages, 40);
  ASSERT_EQ(pool.capacity(), 40u);
  std::vector<pkt::Packet*> all(50);
  ASSERT_EQ(pool.allocate(all), 40u);
  EXPECT_EQ(pool.available(), 0u);
  for (size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(pool.address_of(all[i]->buf) + pkt::kHeadroom, i * 4096 + 256);
    EXPECT_EQ(pool.packet_at(i * 4096), all[i]);
    EXPECT_EQ(pool.packet_at(i * 4096 + 4095), all[i]);
    EXPECT_EQ(all[i]->buf + all[i]->buf_len, pool.area() + (i + 1) * 4096);
  }
  pool.release({all.data(), 40});
  EXPECT_EQ(pool.available(), 40u);
}

}  // namespace
}  // namespace millrace::drivers::xdp
