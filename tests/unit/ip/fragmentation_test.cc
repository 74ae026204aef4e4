// Datagrams that leave in fragments: they add up to the datagram, obey the device, and are told apart by unpredictable
// identifications. Large echo requests get their replies.
#include "fixture.h"

#include <set>

#include "base/memory.h"
#include "ip/datagram_ids.h"
#include "pkt/block.h"

namespace millrace::ip {
namespace {

Frame pattern(size_t n) {
  Frame out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(i * 7 + (i >> 8));
  return out;
}

struct Sent {
  uint32_t id = 0;
  uint32_t start = 0;
  bool more = false;
  bool fragment = false;
  bool dont_fragment = false;
  uint8_t protocol = 0;
  Frame data;
};

Sent parse(const Frame& frame) {
  const wire::Bytes bytes = wire::Bytes(frame).subspan(14);
  Sent out;
  if (const auto v4 = wire::Ipv4View::check(bytes)) {
    EXPECT_TRUE(v4->checksum_ok());
    EXPECT_EQ(v4->total_length(), bytes.size());
    const auto data = v4->payload();
    out = {v4->id(),       v4->fragment_offset(),          v4->more_fragments(), v4->is_fragment(), v4->dont_fragment(),
           v4->protocol(), Frame(data.begin(), data.end())};
    return out;
  }
  const auto v6 = wire::Ipv6View::check(bytes);
  EXPECT_TRUE(v6);
  EXPECT_EQ(v6->total_length(), bytes.size());
  const auto upper = wire::find_upper(*v6);
  out.fragment = upper.status == wire::Ipv6Upper::Status::kFragment;
  out.id = upper.fragment.id;
  out.start = upper.fragment.offset;
  out.more = upper.fragment.more;
  out.protocol = out.fragment ? upper.fragment.next_header : upper.protocol;
  out.data = Frame(bytes.begin() + upper.offset, bytes.end());
  return out;
}

class FragmentationTest : public IpTest, public ::testing::WithParamInterface<bool> {
 protected:
  FragmentationTest() : v6_(GetParam()) { learn_peers(); }
  void use(const link::DeviceLimits& limits) {
    limits_ = limits;
    make({});
    learn_peers();
  }
  [[nodiscard]] IpAddr peer() const { return v6_ ? peer6_ : peer4_; }
  Result<void> send(pkt::Packet* p, bool may_fragment = true, uint8_t protocol = wire::kProtocolUdp) {
    const auto route = ip_->route(peer(), {}, 0);
    return ip_->send({route->source, peer(), protocol, 64, 0, *route, may_fragment}, p, now_);
  }
  /// What the frames add up to; each but the last is as large as it may be.
  Frame join(const std::vector<Frame>& frames, size_t mtu) {
    Frame whole;
    for (size_t i = 0; i < frames.size(); ++i) {
      const Sent s = parse(frames[i]);
      const bool last = i + 1 == frames.size();
      EXPECT_TRUE(s.fragment);
      EXPECT_FALSE(s.dont_fragment);
      EXPECT_EQ(s.start, whole.size());
      EXPECT_EQ(s.more, !last);
      EXPECT_EQ(s.id, parse(frames[0]).id);
      EXPECT_LE(frames[i].size() - 14, mtu);
      if (!last) {
        EXPECT_GT(frames[i].size() - 14, mtu - 8);
      }
      whole = whole + s.data;
    }
    return whole;
  }
  bool v6_;
};
INSTANTIATE_TEST_SUITE_P(Families, FragmentationTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "v6" : "v4"; });

TEST_P(FragmentationTest, ADatagramThatFitsIsNotFragmented) {
  const uint32_t most = v6_ ? 1460 : 1480;
  EXPECT_TRUE(send(packet(pattern(most))));
  const Sent s = parse(sent_one());
  EXPECT_FALSE(s.fragment);
  EXPECT_EQ(s.dont_fragment, !v6_) << "RFC 6864 4.1: atomic, so that its identification means nothing";
  EXPECT_EQ(s.data, pattern(most));
  EXPECT_TRUE(send(packet(pattern(most + 1))));
  EXPECT_EQ(join(sent(), 1500), pattern(most + 1));
}

TEST_P(FragmentationTest, TheLargestDatagramGoesOutWhole) {
  const uint32_t most = v6_ ? 65'535 : 65'515;
  EXPECT_TRUE(send(packet(pattern(most))));
  EXPECT_EQ(join(sent(), 1500), pattern(most));
  EXPECT_EQ(send(packet(pattern(most + 1))).error(), Error::kTooBig);
  EXPECT_TRUE(sent().empty());
}

TEST_P(FragmentationTest, WithoutLeaveALargeDatagramIsRefused) {
  EXPECT_EQ(send(packet(pattern(2000)), false).error(), Error::kTooBig);
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(count("ip.drop.too_big"), 1U);
}

TEST_P(FragmentationTest, ChainsOfOddPiecesAreCutRight) {
  EXPECT_TRUE(send(packet(pattern(7'777), 333)));
  EXPECT_EQ(join(sent(), 1500), pattern(7'777));
}

TEST_P(FragmentationTest, ABlockIsReferredToWhereTheFragmentsAreLarge) {
  use({.mtu = 8000, .max_segments = 4});
  base::HeapMemory memory;
  pkt::BlockPool blocks(memory, size_t{4} << 20);
  pkt::Block* block = blocks.allocate(30'000);
  const Frame payload = pattern(30'000);
  std::memcpy(block->data, payload.data(), payload.size());
  pkt::Packet* head = packet(pattern(8));
  pkt::chain(*head, cache_.reference(block->data, block->iova, 30'000, block->ext));
  pkt::BlockPool::unref(block);
  EXPECT_TRUE(send(head));
  EXPECT_EQ(blocks.in_use(), 1U) << "fragments that wait for the device refer to it";
  EXPECT_LT(references_.available(), references_.capacity());
  EXPECT_EQ(join(sent(), 8000), pattern(8) + payload);
  EXPECT_EQ(blocks.in_use(), 0U);
}

TEST_P(FragmentationTest, TheDevicesNumberOfPiecesIsObeyed) {
  for (const uint16_t segments : {uint16_t{1}, uint16_t{2}, uint16_t{3}}) {
    use({.mtu = 9000, .max_segments = segments});
    EXPECT_TRUE(send(packet(pattern(20'000), 100)));
    Frame whole;
    pkt::Packet* p = nullptr;
    while (ip_->drain(if_, {&p, 1}) == 1) {
      EXPECT_LE(p->segs, segments);
      whole = whole + parse(content(*p)).data;
      cache_.free(p);
    }
    EXPECT_EQ(whole, pattern(20'000));
  }
}

TEST_P(FragmentationTest, TheTransportChecksumIsCompletedInSoftware) {
  Frame udp = pattern(3001);
  const IpAddr source = v6_ ? our6_ : our4_;
  wire::store_be16(&udp[6], wire::fold(wire::pseudo_sum(source, peer(), 17, 3001)));
  pkt::Packet* p = packet(udp, 1001);
  p->flags |= pkt::kTxUdpChecksum;
  EXPECT_TRUE(send(p));
  const Frame whole = join(sent(), 1500);
  EXPECT_TRUE(wire::is_valid(wire::add_sums(wire::pseudo_sum(source, peer(), 17, 3001), wire::sum_bytes(whole))));
}

TEST_P(FragmentationTest, WithoutRoomInTheQueueNothingIsSent) {
  Config config;
  config.transmit_queue = 4;
  make(config);
  learn_peers();
  EXPECT_EQ(send(packet(pattern(9'000))).error(), Error::kNoBuffers);
  EXPECT_TRUE(sent().empty());
  EXPECT_TRUE(send(packet(pattern(5'000))));
  EXPECT_EQ(sent().size(), 4U);
}

TEST_P(FragmentationTest, AnEmptyPoolEndsTheDatagram) {
  pkt::Packet* p = packet(pattern(3000), 1500);
  std::vector<pkt::Packet*> taken;
  while (pkt::Packet* q = cache_.frame()) taken.push_back(q);
  EXPECT_EQ(send(p).error(), Error::kNoBuffers);
  for (pkt::Packet* q : taken) cache_.free(q);
  EXPECT_TRUE(sent().empty());
}

TEST_P(FragmentationTest, ALargeDatagramToAnUnknownNeighbourWaitsWhole) {
  ASSERT_TRUE(ip_->remove_neighbour(if_, peer()));
  EXPECT_TRUE(send(packet(pattern(60'000))));
  EXPECT_EQ(sent().size(), 1U) << "the solicitation";
  ASSERT_TRUE(ip_->add_neighbour(if_, peer(), kPeerMac));
  EXPECT_EQ(join(sent(), 1500), pattern(60'000));
}

TEST_P(FragmentationTest, IdentificationsOfOneDestinationDiffer) {
  std::set<uint32_t> seen;
  for (int i = 0; i < 200; ++i) {
    EXPECT_TRUE(send(packet(pattern(1600))));
    seen.insert(parse(sent().front()).id);
  }
  EXPECT_EQ(seen.size(), 200U);
}

// RFC 1122 3.2.2.6, RFC 4443 4.1: ping -s 65507, in fragments both ways.
TEST_P(FragmentationTest, TheLargestEchoRequestGetsItsReply) {
  const uint32_t most = v6_ ? 65'535 : 65'515;
  for (const uint32_t size : {most, 1481U, 3000U, 65'507U}) {
    Frame echo = pattern(size);
    wire::store_u8(&echo[0], v6_ ? 128 : 8);
    wire::store_u8(&echo[1], 0);
    const IpAddr us = v6_ ? our6_ : our4_;
    if (v6_) {
      wire::seal_icmpv6(echo, peer(), us);
    } else {
      wire::store_be16(&echo[2], 0);
      wire::store_be16(&echo[2], wire::finish(wire::sum_bytes(echo)));
    }
    const uint8_t protocol = v6_ ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp;
    for (uint32_t at = 0; at < size; at += 1448) {
      const Frame data(echo.begin() + at, echo.begin() + std::min(at + 1448, size));
      const bool more = at + 1448 < size;
      Frame header(v6_ ? 48 : 20);
      if (v6_) {
        wire::Ipv6Header{0, 0, static_cast<uint16_t>(8 + data.size()), 44, 64, peer(), us}.emit(header);
        wire::Ipv6Fragment{protocol, static_cast<uint16_t>(at), more, size}.emit(
            wire::MutableBytes(header).subspan(40));
      } else {
        wire::Ipv4Header{0,
                         static_cast<uint16_t>(20 + data.size()),
                         static_cast<uint16_t>(size),
                         false,
                         more,
                         static_cast<uint16_t>(at),
                         64,
                         protocol,
                         peer(),
                         us}
            .emit(header);
      }
      EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, type_of(us), header + data)));
    }
    const Frame reply = join(sent(), 1500);
    ASSERT_EQ(reply.size(), size);
    EXPECT_EQ(wire::load_u8(reply.data()), v6_ ? 129 : 0);
    EXPECT_TRUE(std::equal(reply.begin() + 4, reply.end(), echo.begin() + 4));
    const uint64_t pseudo = v6_ ? wire::pseudo_sum(us, peer(), 58, size) : 0;
    EXPECT_TRUE(wire::is_valid(wire::add_sums(pseudo, wire::sum_bytes(reply))));
  }
}

// RFC 6864 4.3, RFC 7739 5.3
TEST(DatagramIdsTest, SequencesOfPairsStartAnywhereAndDoNotRepeatSoon) {
  DatagramIds ids(1);
  DatagramIds other(2);
  const IpAddr us = addr("192.0.2.1");
  const uint32_t first = ids.next(us, addr("192.0.2.9"), 17);
  EXPECT_NE(first, other.next(us, addr("192.0.2.9"), 17)) << "keyed";
  std::set<uint16_t> seen;
  for (int i = 0; i < 65'535; ++i) seen.insert(static_cast<uint16_t>(ids.next(us, addr("192.0.2.9"), 17)));
  EXPECT_EQ(seen.size(), 65'535U);
  const uint32_t a = ids.next(us, addr("192.0.2.10"), 17) - ids.next(us, addr("192.0.2.11"), 17);
  const uint32_t b = ids.next(us, addr("192.0.2.12"), 17) - ids.next(us, addr("192.0.2.13"), 17);
  EXPECT_NE(a, b) << "neighbouring destinations say nothing about each other";
}

}  // namespace
}  // namespace millrace::ip
