// What a path reads from frames and writes into them.
#include "impair/frame.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire/bytes.h"
#include "wire/checksum.h"

namespace millrace::impair {
namespace {

std::vector<std::byte> ipv4(uint8_t ecn, uint16_t length = 40) {
  std::vector<std::byte> frame(54);
  wire::store_be16(&frame[12], 0x0800);
  frame[14] = std::byte{0x45};
  frame[15] = static_cast<std::byte>(0xb8 | ecn);  // expedited forwarding must survive
  wire::store_be16(&frame[16], length);
  frame[22] = std::byte{64};
  frame[23] = std::byte{6};
  wire::store_be16(&frame[24], wire::finish(wire::sum_bytes(&frame[14], 20)));
  return frame;
}

std::vector<std::byte> ipv6(uint8_t ecn, uint16_t payload = 20) {
  std::vector<std::byte> frame(74);
  wire::store_be16(&frame[12], 0x86dd);
  wire::store_be16(&frame[14], static_cast<uint16_t>(0x6000 | 0x0b80 | ecn << 4 | 0x5));
  wire::store_be16(&frame[18], payload);
  return frame;
}

TEST(MarkCongestion, MarksWhoIsReadyForItAndKeepsTheChecksumRight) {  // RFC 3168 5, RFC 1624
  for (const uint8_t ecn : {1, 2}) {
    auto four = ipv4(ecn);
    EXPECT_TRUE(mark_congestion(four));
    EXPECT_EQ(four[15], std::byte{0xbb});
    EXPECT_TRUE(wire::is_valid(wire::sum_bytes(&four[14], 20)));
    auto six = ipv6(ecn);
    EXPECT_TRUE(mark_congestion(six));
    EXPECT_EQ(wire::load_be16(&six[14]), 0x6bb5);
  }
}

TEST(MarkCongestion, LeavesEverythingElseAlone) {
  std::vector<std::byte> arp(60);
  wire::store_be16(&arp[12], 0x0806);
  arp[15] = std::byte{1};
  for (const auto& frame : {ipv4(0), ipv4(3), ipv6(0), ipv6(3), arp, std::vector<std::byte>(20)}) {
    auto after = frame;
    EXPECT_FALSE(mark_congestion(after));
    EXPECT_EQ(after, frame);
  }
}

TEST(LengthByHeader, IsTheWholePackets) {
  EXPECT_EQ(length_by_header(ipv4(0, 1'500)), 1'514u);
  EXPECT_EQ(length_by_header(ipv6(0, 1'460)), 1'514u);
  EXPECT_EQ(length_by_header(ipv4(0, 0)), 65'550u) << "a super-segment whose length does not fit its field";
  EXPECT_EQ(length_by_header(std::vector<std::byte>(60)), 0u);
}

}  // namespace
}  // namespace millrace::impair
