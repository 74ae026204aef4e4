// Local addresses: conflicts, sharing, exhaustion.
#include "posix/ports.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace::posix {
namespace {

const IpAddr kAny4 = IpAddr::any_v4();
const IpAddr kAny6 = IpAddr();
const IpAddr kHere4 = IpAddr::v4(198, 18, 0, 2);
const IpAddr kHere6 = *IpAddr::parse("fd00::2");

Transport::Claim claim(const IpAddr& a, uint16_t port = 80, bool reuse = false, bool v6_only = false) {
  Transport::Claim c;
  c.local = {a, port};
  c.reuse_address = reuse;
  c.v6_only = v6_only;
  return c;
}

TEST(Ports, AddressesThatOverlapConflict) {
  const auto both = [](const Transport::Claim& first, const Transport::Claim& second) {
    Ports ports(1);
    EXPECT_TRUE(ports.reserve(first));
    return ports.reserve(second).has_value();
  };
  EXPECT_FALSE(both(claim(kAny4), claim(kHere4)));
  EXPECT_FALSE(both(claim(kHere4), claim(kAny4)));
  EXPECT_FALSE(both(claim(kHere4), claim(kHere4)));
  EXPECT_FALSE(both(claim(kAny6), claim(kHere4))) << "`::` takes both families";
  EXPECT_FALSE(both(claim(kHere4), claim(kAny6)));
  EXPECT_FALSE(both(claim(kAny6), claim(kHere6)));
  EXPECT_TRUE(both(claim(kAny6, 80, false, true), claim(kAny4))) << "but not with IPV6_V6ONLY";
  EXPECT_TRUE(both(claim(kHere4), claim(kHere6)));
  EXPECT_TRUE(both(claim(kHere4), claim(IpAddr::v4(198, 18, 0, 3))));
  EXPECT_TRUE(both(claim(kHere4), claim(kHere4, 81)));
}

TEST(Ports, ReuseSharesUntilSomebodyListens) {
  Ports ports(1);
  const auto first = ports.reserve(claim(kHere4, 80, true));
  const auto second = ports.reserve(claim(kHere4, 80, true));
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(ports.reserve(claim(kHere4, 80, false)));
  EXPECT_TRUE(ports.listen(first->id));
  EXPECT_EQ(ports.listen(second->id).error(), Error::kAddressInUse);
  EXPECT_FALSE(ports.reserve(claim(kHere4, 80, true)));
  ports.unlisten(first->id);
  EXPECT_TRUE(ports.listen(second->id));
}

Transport::Claim shared(const IpAddr& a) {
  Transport::Claim c = claim(a);
  c.reuse_port = true;
  return c;
}

TEST(Ports, ReusePortSharesWithOthersThatHaveItListeningOrNot) {
  Ports ports(1);
  const auto first = ports.reserve(shared(kHere4));
  ASSERT_TRUE(first && ports.listen(first->id));
  const auto second = ports.reserve(shared(kHere4));
  ASSERT_TRUE(second);
  EXPECT_TRUE(ports.listen(second->id));
  EXPECT_TRUE(ports.reserve(shared(kAny4)));
  EXPECT_FALSE(ports.reserve(claim(kHere4, 80, true)));
  EXPECT_FALSE(ports.reserve(claim(kHere4)));
}

TEST(Ports, ConnectionsThatRemainHoldAPortUnlessBothReuseIt) {
  bool remains = true;
  int asked = 0;
  const auto end_of = [&](const Transport::Claim& first) {
    Ports ports(1);
    ports.ask_for_remains([&](const Endpoint& local) {
      ++asked;
      EXPECT_EQ(local.port, 80);
      return remains;
    });
    ports.release(ports.reserve(first)->id);
    return ports;
  };
  Ports plain = end_of(claim(kHere4));
  EXPECT_FALSE(plain.reserve(claim(kHere4)));
  EXPECT_FALSE(plain.reserve(claim(kHere4, 80, true))) << "the first had no SO_REUSEADDR";
  EXPECT_TRUE(plain.reserve(claim(kHere4, 81)));
  Ports reused = end_of(claim(kHere4, 80, true));
  EXPECT_FALSE(reused.reserve(claim(kHere4)));
  EXPECT_TRUE(reused.reserve(claim(kHere4, 80, true)));
  EXPECT_TRUE(end_of(shared(kHere4)).reserve(shared(kHere4)));
  remains = false;
  EXPECT_TRUE(plain.reserve(claim(kAny4)));
  asked = 0;
  EXPECT_FALSE(plain.reserve(claim(kAny4))) << "taken";
  EXPECT_EQ(asked, 0) << "forgotten once nothing was left";
}

TEST(Ports, ClaimLastsAsLongAsItsLastHolder) {
  Ports ports(1);
  const auto held = ports.reserve(claim(kHere4));
  ports.hold(held->id);
  ports.release(held->id);
  EXPECT_FALSE(ports.reserve(claim(kHere4)));
  ports.release(held->id);
  EXPECT_EQ(ports.size(), 0u);
  EXPECT_TRUE(ports.reserve(claim(kHere4)));
  ports.release(held->id);  // of a claim that is gone: nothing
  EXPECT_EQ(ports.size(), 1u);
}

TEST(Ports, ChosenPortsAreAllDifferentAndEndWithTheRange) {
  Ports ports(1);
  std::set<uint16_t> seen;
  for (int i = 0; i < 2'000; ++i) {
    const auto got = ports.reserve(claim(kHere4, 0));
    ASSERT_TRUE(got);
    EXPECT_GE(got->local.port, 32'768);
    EXPECT_LE(got->local.port, 60'999);
    EXPECT_TRUE(seen.insert(got->local.port).second);
  }
  for (uint32_t port = 32'768; port <= 60'999; ++port) {
    if (!seen.contains(static_cast<uint16_t>(port))) {
      ASSERT_TRUE(ports.reserve(claim(kHere4, static_cast<uint16_t>(port))));
    }
  }
  EXPECT_EQ(ports.reserve(claim(kHere4, 0)).error(), Error::kAddressInUse);
}

}  // namespace
}  // namespace millrace::posix
