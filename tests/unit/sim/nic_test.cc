// The simulated NIC against hand-made packets: what it enforces, how it cuts, merges and splits.
#include "sim/nic.h"

#include <gtest/gtest.h>

#include <cstring>

namespace millrace::sim {
namespace {

constexpr MacAddr kMac{{2, 0, 0, 0, 0, 1}};

class NicTest : public ::testing::TestWithParam<bool> {
 protected:
  void make(NicConfig config) {
    config.mac = kMac;
    Nic::Hooks hooks;
    hooks.wire = [this](Frame* f) { wire.push_back(f->bytes); };
    hooks.sent = [](const Bytes&) {};
    hooks.received = [](const Frame&) {};
    hooks.wake = [] {};
    hooks.completed = [](pkt::Packet*) {};
    hooks.fail = [this](const std::string& what) { failures.push_back(what); };
    nic = std::make_unique<Nic>(heap, frames, packets, references, config, std::move(hooks));
  }
  static NicConfig capable() {
    NicConfig config;
    config.limits.max_segments = 8;
    config.limits.max_tso_bytes = 60'000;
    config.limits.tso_v4 = config.limits.tso_v6 = true;
    config.limits.tx_checksum_v4 = config.limits.tx_checksum_v6 = config.limits.tx_ip_checksum = true;
    return config;
  }
  TcpSpec spec(size_t payload, uint32_t seq = 100) const {
    TcpSpec s;
    s.destination_mac = kMac;
    s.source = {GetParam() ? *IpAddr::parse("fd00::1") : IpAddr::v4(10, 0, 0, 1), 1000};
    s.destination = {GetParam() ? *IpAddr::parse("fd00::2") : IpAddr::v4(10, 0, 0, 2), 2000};
    s.seq = seq;
    s.flags = kAck;
    s.options = timestamp_option(1, 2);
    for (size_t i = 0; i < payload; ++i) s.payload.push_back(static_cast<uint8_t>(i * 7 + seq));
    return s;
  }
  pkt::Packet* packet(const Bytes& bytes, size_t piece = 2'000) {
    pkt::Packet* head = nullptr;
    for (size_t at = 0; at < bytes.size();) {
      pkt::Packet* p = nullptr;
      EXPECT_EQ(packets.allocate({&p, 1}), 1u);
      const size_t n = std::min(piece, bytes.size() - at);
      p->off = pkt::kHeadroom;
      p->len = static_cast<uint16_t>(n);
      p->total = p->len;
      p->flags = 0;
      p->tx_offload = 0;
      std::memcpy(p->data(), bytes.data() + at, n);
      at += n;
      if (head == nullptr) head = p;
      else pkt::chain(*head, p);
    }
    return head;
  }
  // As the core hands over a large segment.
  pkt::Packet* tso_packet(Bytes bytes, uint32_t seg_size) {
    const auto view = parse_tcp(bytes);
    store16(&bytes[view->l4 + 16], pseudo_sum(&bytes[14], GetParam(), 6, 0));
    pkt::Packet* p = packet(bytes);
    p->flags = pkt::kTxTcpSeg | pkt::kTxTcpChecksum | (GetParam() ? pkt::kTxIpv6 : pkt::kTxIpv4 | pkt::kTxIpChecksum);
    p->set_tx_lengths(14, static_cast<uint32_t>(view->l4 - 14), static_cast<uint32_t>(view->payload - view->l4),
                      seg_size);
    return p;
  }
  void transmit(pkt::Packet* p) {
    nic->transmit({&p, 1});
    while (heap.step()) {
    }
  }

  EventHeap heap;
  FrameStore frames;
  pkt::HeapPacketPool packets{256};
  pkt::HeapPacketPool references{64, 0};
  std::vector<Bytes> wire;
  std::vector<std::string> failures;
  std::unique_ptr<Nic> nic;
};
INSTANTIATE_TEST_SUITE_P(Families, NicTest, ::testing::Bool());

TEST_P(NicTest, CutsALargeSegmentIntoCorrectOnes) {
  make(capable());
  TcpSpec s = spec(5'000);
  s.flags = kAck | kPsh | kFin | kCwr;
  transmit(tso_packet(build_tcp(s), 1'400));
  EXPECT_TRUE(failures.empty());
  ASSERT_EQ(wire.size(), 4u);
  Bytes payload;
  for (size_t i = 0; i < wire.size(); ++i) {
    EXPECT_EQ(check_ip_frame(wire[i]), "");
    const auto view = parse_tcp(wire[i]);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->seq, 100 + 1'400 * i);
    EXPECT_EQ(view->has(kFin), i == 3);
    EXPECT_EQ(view->has(kPsh), i == 3);
    EXPECT_EQ(view->has(kCwr), i == 0);
    payload.insert(payload.end(), wire[i].begin() + static_cast<long>(view->payload),
                   wire[i].begin() + static_cast<long>(view->payload + view->payload_len));
  }
  EXPECT_EQ(payload, s.payload);
  EXPECT_EQ(packets.available(), packets.capacity());
}

TEST_P(NicTest, FinishesAChecksumFromThePseudoHeaderSum) {
  make(capable());
  Bytes bytes = build_tcp(spec(333));
  const auto view = parse_tcp(bytes);
  store16(&bytes[view->l4 + 16], pseudo_sum(&bytes[14], GetParam(), 6, static_cast<uint32_t>(bytes.size() - view->l4)));
  pkt::Packet* p = packet(bytes, 100);
  p->flags = pkt::kTxTcpChecksum | (GetParam() ? pkt::kTxIpv6 : pkt::kTxIpv4);
  p->set_tx_lengths(14, static_cast<uint32_t>(view->l4 - 14), 32, 0);
  transmit(p);
  EXPECT_TRUE(failures.empty());
  ASSERT_EQ(wire.size(), 1u);
  EXPECT_EQ(check_ip_frame(wire[0]), "");
}

TEST_P(NicTest, RefusesWhatTheDeviceDidNotOffer) {
  NicConfig config;
  config.limits.max_segments = 2;
  make(config);
  transmit(packet(build_tcp(spec(1'000)), 300));
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_NE(failures[0].find("segments"), std::string::npos);
  transmit(packet(build_tcp(spec(1'600))));
  EXPECT_EQ(failures.size(), 2u);
  transmit(tso_packet(build_tcp(spec(1'000)), 500));
  EXPECT_EQ(failures.size(), 3u);
}

TEST_P(NicTest, NoticesBytesThatChangeWhileTheDeviceReads) {
  make(capable());
  pkt::Packet* p = packet(build_tcp(spec(100)));
  nic->transmit({&p, 1});
  p->data()[90] ^= std::byte{1};
  while (heap.step()) {
  }
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_NE(failures[0].find("changed"), std::string::npos);
}

TEST_P(NicTest, MergesSegmentsInOrderAndOnlyThose) {
  NicConfig config = capable();
  config.lro = true;
  config.rx_checksum = RxChecksum::kPartial;
  make(config);
  for (const uint32_t seq : {100u, 600u, 1'100u, 9'000u}) nic->receive(frames.make(build_tcp(spec(500, seq))));
  pkt::Packet* out[8];
  ASSERT_EQ(nic->poll(0, out), 2u);
  EXPECT_EQ(out[0]->total, build_tcp(spec(1'500)).size());
  EXPECT_NE(out[0]->flags & pkt::kRxMerged, 0u);
  EXPECT_EQ(out[0]->seg_size(), 500u);
  EXPECT_EQ(out[0]->flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumNone);
  EXPECT_EQ(out[1]->flags & pkt::kRxMerged, 0u);
  for (pkt::Packet* p : {out[0], out[1]}) free_chain(p, packets, references);
  EXPECT_EQ(packets.available(), packets.capacity());
}

TEST_P(NicTest, SaysWhichChecksumsAreBad) {
  NicConfig config = capable();
  config.rx_checksum = RxChecksum::kVerified;
  make(config);
  Bytes bad = build_tcp(spec(100));
  bad.back() ^= 1;
  nic->receive(frames.make(bad));
  nic->receive(frames.make(build_tcp(spec(100))));
  pkt::Packet* out[8];
  ASSERT_EQ(nic->poll(0, out), 2u);
  EXPECT_EQ(out[0]->flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumBad);
  EXPECT_EQ(out[1]->flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumGood);
  for (pkt::Packet* p : {out[0], out[1]}) free_chain(p, packets, references);
}

TEST_P(NicTest, SplitsFramesBehindTheirHeaders) {
  NicConfig config = capable();
  config.odd_splits = true;
  make(config);
  const Bytes bytes = build_tcp(spec(1'000));
  const auto view = parse_tcp(bytes);
  int split = 0;
  for (int i = 0; i < 50; ++i) {
    nic->receive(frames.make(bytes));
    pkt::Packet* p = nullptr;
    ASSERT_EQ(nic->poll(0, {&p, 1}), 1u);
    EXPECT_GE(p->len, view->payload);
    EXPECT_EQ(gather(*p), bytes);
    split += p->segs > 1 ? 1 : 0;
    free_chain(p, packets, references);
  }
  EXPECT_GT(split, 10);
}

TEST_P(NicTest, KeepsAFlowOnOneQueueAndSpreadsFlows) {
  NicConfig config = capable();
  config.rx_queues = 4;
  make(config);
  std::array<int, 4> used{};
  for (uint16_t port = 1; port <= 64; ++port) {
    TcpSpec s = spec(10);
    s.source.port = port;
    nic->receive(frames.make(build_tcp(s)));
    nic->receive(frames.make(build_tcp(s)));
    for (uint32_t q = 0; q < 4; ++q) {
      pkt::Packet* out[4];
      const size_t n = nic->poll(q, out);
      EXPECT_TRUE(n == 0 || n == 2);
      for (size_t i = 0; i < n; ++i) {
        EXPECT_NE(out[i]->flags & pkt::kRxRssHash, 0u);
        free_chain(out[i], packets, references);
      }
      used[q] += static_cast<int>(n);
    }
  }
  for (const int n : used) EXPECT_GT(n, 0);
}

}  // namespace
}  // namespace millrace::sim
