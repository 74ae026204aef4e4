// The set of our own addresses against a list of them.
#include "ip/addresses.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace millrace::ip {
namespace {

constexpr IfIndex kIf1{1};
constexpr IfIndex kIf2{2};
IpAddr addr(const char* text) { return *IpAddr::parse(text); }
Prefix prefix(const char* text) { return *Prefix::parse(text); }

TEST(AddressesTest, AgreesWithAListUnderRandomChanges) {
  Addresses set;
  std::vector<IpAddr> model;
  base::Rng rng(5);
  const auto random_addr = [&] {
    const auto n = static_cast<uint32_t>(rng.below(200));
    return rng.chance(1, 2) ? IpAddr::v4(0x0a000000U + n)
                            : IpAddr({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(n)});
  };
  for (int i = 0; i < 20'000; ++i) {
    const IpAddr a = random_addr();
    const auto at = std::ranges::find(model, a);
    const bool known = at != model.end();
    ASSERT_EQ(set.contains(a), known);
    ASSERT_EQ(set.find(a) != nullptr, known);
    ASSERT_EQ(set.on_interface(kIf1, a), known);
    ASSERT_FALSE(set.on_interface(kIf2, a));
    if (known && rng.chance(1, 2)) {
      ASSERT_TRUE(set.remove(kIf1, a));
      model.erase(at);
    } else if (!known && model.size() < 60) {
      set.add(kIf1, {a, 24});
      model.push_back(a);
    }
  }
  EXPECT_EQ(set.all().size(), model.size());
  EXPECT_FALSE(set.remove(kIf2, model.front()));
}

TEST(AddressesTest, AllOfALoopbackPrefixIsOurs) {
  Addresses set;
  EXPECT_FALSE(set.contains(addr("127.0.0.1")));
  set.add(kIf1, prefix("127.0.0.1/8"));
  EXPECT_TRUE(set.contains(addr("127.255.0.9")));
  EXPECT_FALSE(set.contains(addr("::1")));
  EXPECT_EQ(set.find(addr("127.255.0.9")), nullptr);
}

TEST(AddressesTest, DirectedBroadcast) {
  EXPECT_TRUE(is_directed_broadcast(prefix("192.0.2.1/24"), addr("192.0.2.255")));
  EXPECT_FALSE(is_directed_broadcast(prefix("192.0.2.1/24"), addr("192.0.2.254")));
  EXPECT_FALSE(is_directed_broadcast(prefix("192.0.2.1/24"), addr("192.0.3.255")));
  EXPECT_TRUE(is_directed_broadcast(prefix("192.0.2.1/30"), addr("192.0.2.3")));
  EXPECT_FALSE(is_directed_broadcast(prefix("192.0.2.2/31"), addr("192.0.2.3")));
  EXPECT_FALSE(is_directed_broadcast(prefix("192.0.2.3/32"), addr("192.0.2.3")));
  EXPECT_TRUE(is_directed_broadcast(prefix("10.0.0.1/0"), addr("255.255.255.255")));
  EXPECT_FALSE(is_directed_broadcast(prefix("2001:db8::/64"), addr("2001:db8::ffff:ffff:ffff:ffff")));
}

TEST(AddressesTest, BroadcastAddressesGoWithTheirPrefix) {
  Addresses a;
  a.add(IfIndex{1}, prefix("192.0.2.1/24"));
  a.add(IfIndex{1}, prefix("198.51.100.1/31"));
  a.add(IfIndex{1}, prefix("2001:db8::1/64"));
  EXPECT_TRUE(a.is_broadcast(addr("192.0.2.255")));
  EXPECT_FALSE(a.is_broadcast(addr("192.0.2.1")));
  EXPECT_FALSE(a.is_broadcast(addr("198.51.100.1")));
  EXPECT_FALSE(a.is_broadcast(addr("2001:db8::ffff:ffff:ffff:ffff")));
  ASSERT_TRUE(a.remove(IfIndex{1}, addr("192.0.2.1")));
  EXPECT_FALSE(a.is_broadcast(addr("192.0.2.255")));
}

TEST(AddressesTest, SourceIsThatOfTheInterfaceAndLinkLocalStaysOnItsLink) {
  Addresses set;
  set.add(kIf2, prefix("10.0.0.1/8"));
  set.add(kIf1, prefix("192.0.2.1/24"));
  set.add(kIf2, prefix("fe80::2/64"));
  EXPECT_EQ(set.select_source(kIf1, addr("203.0.113.1"), addr("203.0.113.1"))->prefix.addr, addr("192.0.2.1"));
  EXPECT_EQ(set.select_source(kIf2, addr("203.0.113.1"), addr("203.0.113.1"))->prefix.addr, addr("10.0.0.1"));
  EXPECT_EQ(set.select_source(kIf1, addr("fe80::9"), addr("fe80::9")), nullptr);
  EXPECT_EQ(set.select_source(kIf1, addr("fe80::9"), addr("2001:db8::9")), nullptr);
  EXPECT_EQ(set.select_source(kIf2, addr("fe80::9"), addr("2001:db8::9"))->prefix.addr, addr("fe80::2"));
}

TEST(AddressesTest, SolicitedNodeBitsAreLookedUpPerInterface) {
  Addresses set;
  set.add(kIf1, prefix("2001:db8::12:3456/64"));
  EXPECT_TRUE(set.has_low24(kIf1, 0x123456));
  EXPECT_FALSE(set.has_low24(kIf2, 0x123456));
  EXPECT_FALSE(set.has_low24(kIf1, 0x123457));
}

}  // namespace
}  // namespace millrace::ip
