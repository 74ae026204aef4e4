// Packet flags to virtio-net headers and back.
#include "drivers/tap/virtio.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

#include "pkt/pool.h"

namespace millrace::drivers::tap {
namespace {

class TapVirtio : public testing::Test {
 protected:
  pkt::Packet& frame(uint64_t flags, uint32_t bytes, uint32_t seg_size, uint32_t l3 = 20) {
    packet_ = cache_.frame();
    packet_->append(static_cast<uint16_t>(bytes));
    std::memset(packet_->data(), 0, bytes);
    packet_->flags = flags;
    packet_->set_tx_lengths(14, l3, 32, seg_size);
    return *packet_;
  }
  void TearDown() override { cache_.free(packet_); }

  pkt::HeapPacketPool frames_{64};
  pkt::HeapPacketPool references_{64, 0};
  pkt::PacketCache cache_{frames_, references_};
  pkt::Packet* packet_ = nullptr;
};

TEST_F(TapVirtio, AFinishedFrameGetsAnEmptyHeader) {
  const Header header = header_for(frame(0, 100, 0));
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.gso_type, Header::kGsoNone);
  EXPECT_EQ(header.csum_start, 0);
}

TEST_F(TapVirtio, AnUnfinishedTcpChecksumIsPlaced) {
  const Header header = header_for(frame(pkt::kTxTcpChecksum | pkt::kTxIpv4, 100, 0));
  EXPECT_EQ(header.flags, Header::kNeedsChecksum);
  EXPECT_EQ(header.csum_start, 34);
  EXPECT_EQ(header.csum_offset, 16);
  EXPECT_EQ(header.gso_type, Header::kGsoNone);
}

TEST_F(TapVirtio, AnUnfinishedUdpChecksumIsPlaced) {
  const Header header = header_for(frame(pkt::kTxUdpChecksum | pkt::kTxIpv6, 100, 0, 40));
  EXPECT_EQ(header.csum_start, 54);
  EXPECT_EQ(header.csum_offset, 6);
}

TEST_F(TapVirtio, ASuperFrameSaysHowToCutIt) {
  const uint64_t flags = pkt::kTxTcpSeg | pkt::kTxTcpChecksum;
  Header header = header_for(frame(flags | pkt::kTxIpv4, 2000, 1448));
  EXPECT_EQ(header.flags, Header::kNeedsChecksum);
  EXPECT_EQ(header.gso_type, Header::kGsoTcp4);
  EXPECT_EQ(header.gso_size, 1448);
  EXPECT_EQ(header.hdr_len, 66);
  cache_.free(packet_);
  header = header_for(frame(flags | pkt::kTxIpv6, 2000, 1428, 40));
  EXPECT_EQ(header.gso_type, Header::kGsoTcp6);
  EXPECT_EQ(header.hdr_len, 86);
}

TEST_F(TapVirtio, ASuperFrameOfOneSegmentIsNotCut) {
  const Header header = header_for(frame(pkt::kTxTcpSeg | pkt::kTxTcpChecksum | pkt::kTxIpv4, 66 + 1448, 1448));
  EXPECT_EQ(header.gso_type, Header::kGsoNone);
  EXPECT_EQ(header.flags, Header::kNeedsChecksum);
}

TEST_F(TapVirtio, ReceiveFlagsFollowTheHeader) {
  pkt::Packet& p = frame(0, 1000, 0);
  Header header{};
  apply_header(header, p);
  EXPECT_EQ(p.flags, 0u);
  header.flags = Header::kDataValid;
  apply_header(header, p);
  EXPECT_EQ(p.flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumGood);
  p.flags = 0;
  header.flags = Header::kNeedsChecksum;
  header.gso_type = Header::kGsoTcp4 | Header::kGsoEcn;
  header.gso_size = 1448;
  apply_header(header, p);
  EXPECT_EQ(p.flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumNone);
  EXPECT_NE(p.flags & pkt::kRxMerged, 0u);
  EXPECT_EQ(p.seg_size(), 1448u);
}

TEST_F(TapVirtio, AnIpChecksumLeftToTheDeviceIsFilled) {
  // The header of RFC 1071's usual example: its checksum is b861.
  static constexpr uint8_t kHeader[] = {0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xff, 0xff,
                                        0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7};
  pkt::Packet& p = frame(pkt::kTxIpv4, 100, 0);
  std::memcpy(p.data() + 14, kHeader, sizeof kHeader);
  fill_ip_checksum(p);
  EXPECT_EQ(p.data()[24], std::byte{0xff});  // not asked for
  p.flags |= pkt::kTxIpChecksum;
  for (int twice = 0; twice < 2; ++twice) {
    fill_ip_checksum(p);
    EXPECT_EQ(p.data()[24], std::byte{0xb8});
    EXPECT_EQ(p.data()[25], std::byte{0x61});
  }
}

TEST_F(TapVirtio, TheLengthJoinsThePseudoHeaderSumOnlyForCutting) {
  pkt::Packet& plain = frame(pkt::kTxTcpChecksum | pkt::kTxIpv4, 2000, 0);
  const uint16_t sum = htons(0xfffe);
  std::memcpy(plain.data() + 34 + 16, &sum, 2);
  LengthInChecksum none(plain);
  EXPECT_EQ(std::memcmp(plain.data() + 34 + 16, &sum, 2), 0);

  plain.flags |= pkt::kTxTcpSeg;
  plain.set_tx_lengths(14, 20, 32, 1448);
  LengthInChecksum length(plain);
  uint16_t after;
  std::memcpy(&after, plain.data() + 34 + 16, 2);
  EXPECT_EQ(ntohs(after), (0xfffe + (2000 - 34)) % 0xffff);
  length.undo();
  EXPECT_EQ(std::memcmp(plain.data() + 34 + 16, &sum, 2), 0);
}

}  // namespace
}  // namespace millrace::drivers::tap
