// Text forms of addresses: RFC 4291 2.2 for input, RFC 5952 for output.
#include "millrace/address.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::string canonical(const char* text) {
  const auto a = IpAddr::parse(text);
  return a ? a->to_string() : "nothing";
}

TEST(Address, Rfc5952TextIsCanonical) {
  EXPECT_EQ(canonical("2001:0db8:0000:0000:0001:0000:0000:0001"), "2001:db8::1:0:0:1");  // 4.2.3, the first of two
  EXPECT_EQ(canonical("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");                  // 4.2.2, one group stays
  EXPECT_EQ(canonical("2001:db8:0:0:1:0:0:0"), "2001:db8:0:0:1::");                      // 4.2.3, the longest
  EXPECT_EQ(canonical("2001:DB8::A"), "2001:db8::a");                                    // 4.3
  EXPECT_EQ(canonical("::"), "::");
  EXPECT_EQ(canonical("::1"), "::1");
  EXPECT_EQ(canonical("1::"), "1::");
  EXPECT_EQ(canonical("0:0:0:0:0:0:0:1"), "::1");
  EXPECT_EQ(canonical("64:ff9b::192.0.2.33"), "64:ff9b::c000:221");
  EXPECT_EQ(canonical("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(canonical("::ffff:192.0.2.1"), "192.0.2.1");  // one value for both spellings
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.-4", "1.2.3.4 ", "0001.2.3.4", "a.b.c.d", ":",
                           ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", "::1%eth0",
                           "1:2:3:4:5:6:7:8::", "::1.2.3", "1.2.3.4::", ":1:2:3:4:5:6:7"}) {
    EXPECT_EQ(canonical(text), "nothing") << text;
  }
}

TEST(Address, KnowsItsKind) {
  const auto is = [](const char* text) { return *IpAddr::parse(text); };
  EXPECT_TRUE(is("192.0.2.1").is_v4());
  EXPECT_TRUE(is("::1").is_v6());
  EXPECT_TRUE(is("0.0.0.0").is_unspecified() && is("::").is_unspecified() && !is("::1").is_unspecified());
  EXPECT_TRUE(is("224.0.0.1").is_multicast() && is("239.1.1.1").is_multicast() && is("ff02::1").is_multicast());
  EXPECT_FALSE(is("240.0.0.1").is_multicast());
  EXPECT_TRUE(is("255.255.255.255").is_limited_broadcast());
  EXPECT_TRUE(is("127.3.4.5").is_loopback() && is("::1").is_loopback() && !is("::2").is_loopback());
  EXPECT_TRUE(is("169.254.1.1").is_link_local() && is("fe80::1").is_link_local() && is("febf::").is_link_local());
  EXPECT_FALSE(is("fec0::1").is_link_local());
  EXPECT_EQ(is("192.0.2.1").v4_value(), 0xc0000201u);
}

TEST(Prefix, ParsesAndContains) {
  const auto p = Prefix::parse("198.18.0.0/15");
  ASSERT_TRUE(p);
  EXPECT_EQ(p->to_string(), "198.18.0.0/15");
  EXPECT_TRUE(p->contains(IpAddr::v4(198, 19, 255, 255)));
  EXPECT_FALSE(p->contains(IpAddr::v4(198, 20, 0, 0)));
  EXPECT_FALSE(p->contains(IpAddr()));
  EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(IpAddr::v4(1, 2, 3, 4)));
  EXPECT_TRUE(Prefix::parse("::/0")->contains(*IpAddr::parse("2001:db8::1")));
  EXPECT_TRUE(Prefix::parse("fd00::/65")->contains(*IpAddr::parse("fd00::7fff:0:0:1")));
  EXPECT_FALSE(Prefix::parse("fd00::/65")->contains(*IpAddr::parse("fd00::8000:0:0:1")));
  EXPECT_EQ(Prefix::parse("192.0.2.1")->length, 32);
  EXPECT_EQ(Prefix::parse("fd00::1")->length, 128);
  for (const char* text : {"192.0.2.1/33", "fd00::/129", "192.0.2.1/", "192.0.2.1/a", "/24", "192.0.2.1/-1"}) {
    EXPECT_FALSE(Prefix::parse(text)) << text;
  }
}

TEST(Endpoint, ParsesBothFamilies) {
  EXPECT_EQ(Endpoint::parse("192.0.2.1:80")->to_string(), "192.0.2.1:80");
  EXPECT_EQ(Endpoint::parse("[2001:DB8::1]:65535")->to_string(), "[2001:db8::1]:65535");
  for (const char* text : {"192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "[192.0.2.1]:80", "2001:db8::1:80",
                           "[2001:db8::1]", "[]:80", ":80", "[2001:db8::1]80"}) {
    EXPECT_FALSE(Endpoint::parse(text)) << text;
  }
}

TEST(MacAddr, ParsesAndPrints) {
  EXPECT_EQ(MacAddr::parse("02:00:5E:0:0:1")->to_string(), "02:00:5e:00:00:01");
  EXPECT_TRUE(MacAddr::parse("01:00:5e:00:00:01")->is_group());
  EXPECT_TRUE(kBroadcastMac.is_group());
  for (const char* text : {"", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "002:0:0:0:0:0"}) {
    EXPECT_FALSE(MacAddr::parse(text)) << text;
  }
}

}  // namespace
}  // namespace millrace
