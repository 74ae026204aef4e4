// The verification suite that NIC vendors publish for receive-side scaling.
#include "sim/toeplitz.h"

#include <gtest/gtest.h>

namespace millrace::sim {
namespace {

constexpr RssKey kKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                         0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                         0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

TcpView view(const char* source, uint16_t source_port, const char* destination, uint16_t destination_port) {
  TcpView v;
  v.source = *IpAddr::parse(source);
  v.destination = *IpAddr::parse(destination);
  v.v6 = v.source.is_v6();
  v.source_port = source_port;
  v.destination_port = destination_port;
  return v;
}

TEST(Toeplitz, MatchesThePublishedVectors) {
  EXPECT_EQ(rss_hash(kKey, view("66.9.149.187", 2794, "161.142.100.80", 1766)), 0x51ccc178u);
  EXPECT_EQ(rss_hash(kKey, view("199.92.111.2", 14230, "65.69.140.83", 4739)), 0xc626b0eau);
  EXPECT_EQ(rss_hash(kKey, view("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766)), 0x40207d3du);
}

}  // namespace
}  // namespace millrace::sim
