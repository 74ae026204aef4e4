// What a client remembers of servers (RFC 7413 4.1.3), and its bound.
#include "tcp/known_servers.h"

#include <gtest/gtest.h>

namespace millrace::tcp {
namespace {

IpAddr server(uint32_t n) { return IpAddr::v4(0x0a000000U + n); }

TEST(KnownServersTest, RemembersWhatItWasTold) {
  KnownServers known({1, 2});
  EXPECT_EQ(known.find(server(1)), nullptr);
  known.obtain(server(1)).mss = 1'000;
  ASSERT_NE(known.find(server(1)), nullptr);
  EXPECT_EQ(known.find(server(1))->mss, 1'000);
  EXPECT_EQ(&known.obtain(server(1)), known.find(server(1)));
  EXPECT_EQ(known.find(server(2)), nullptr);
}

TEST(KnownServersTest, IsBoundedAndKeepsWhatIsUsed) {
  KnownServers known({1, 2});
  known.obtain(server(0)).mss = 500;
  constexpr uint32_t kMany = 100'000;
  for (uint32_t n = 1; n < kMany; ++n) {
    known.obtain(server(n)).mss = 1'000;
    ASSERT_NE(known.find(server(0)), nullptr) << n;
  }
  uint32_t left = 0;
  for (uint32_t n = 0; n < kMany; ++n) left += known.find(server(n)) != nullptr ? 1 : 0;
  EXPECT_EQ(left, KnownServers::kSets * KnownServers::kWays);
}

}  // namespace
}  // namespace millrace::tcp
