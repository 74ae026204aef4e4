// Default address selection: the rules of RFC 6724 one by one, the examples of its section 10.
#include "fixture.h"

#include "ip/selection.h"

namespace millrace::ip {
namespace {

constexpr IfIndex kHere{1};
constexpr IfIndex kThere{2};

Address own(const char* text, IfIndex interface = kHere, bool deprecated = false) {
  return {interface, prefix(text), deprecated, false};
}

/// Whether `a` is chosen over `b`, whichever stands first.
void expect_better(const Address& a, const Address& b, const char* destination, const char* next = "fe80::1") {
  const SourceQuestion q{addr(destination), addr(next), kHere};
  EXPECT_TRUE(better_source(a, b, q)) << a.prefix.to_string();
  EXPECT_FALSE(better_source(b, a, q)) << b.prefix.to_string();
}

TEST(SourceSelection, Rule1TheDestinationItself) {
  expect_better(own("2001:db8:1::1/64"), own("2001:db8:2::1/64"), "2001:db8:1::1");
}

TEST(SourceSelection, Rule2TheScopeThatFits) {
  expect_better(own("2001:db8:3::2/64"), own("fe80::1/64"), "2001:db8:1::1");
  expect_better(own("fe80::1/64"), own("2001:db8:3::2/64"), "fe80::9");
  expect_better(own("fe80::1/64"), own("2001:db8:3::2/64"), "ff02::1");
  expect_better(own("192.0.2.1/24"), own("169.254.1.1/16"), "198.51.100.1", "198.51.100.1");
}

TEST(SourceSelection, Rule3NoDeprecatedOnes) {
  expect_better(own("2001:db8:2::1/64"), own("2001:db8:1::2/64", kHere, true), "2001:db8:1::1");
  Address optimistic = own("2001:db8:1::2/64");
  optimistic.optimistic = true;
  expect_better(own("2001:db8:2::1/64"), optimistic, "2001:db8:1::1");
  expect_better(own("2001:db8:1::2/64", kHere, true), own("fe80::1/64"), "2001:db8:1::1");
}

TEST(SourceSelection, Rule5TheInterfaceThatItLeavesBy) {
  expect_better(own("2001:db8:2::1/64"), own("2001:db8:1::2/64", kThere), "2001:db8:1::1");
}

TEST(SourceSelection, Rule5Point5ThePrefixOfTheNextHop) {
  expect_better(own("192.0.2.1/24"), own("198.51.100.1/24"), "203.0.113.1", "192.0.2.254");
  expect_better(own("10.1.2.1/24"), own("10.0.0.1/8"), "10.1.2.9", "10.1.2.9");
}

TEST(SourceSelection, Rule6TheSameLabel) {
  expect_better(own("2002:c633:6401::d5e3/64"), own("2001:db8:1::2/64"), "2002:c633:6401::1");
  expect_better(own("fd00::1/64"), own("2001:db8:1::2/64"), "fd99::1");
}

TEST(SourceSelection, Rule8TheLongestSharedPrefix) {
  expect_better(own("2001:db8:1::2/64"), own("2001:db8:3::2/64"), "2001:db8:1::1");
  // Bits behind the source's own prefix do not count.
  const SourceQuestion q{addr("2001:db8::ff01"), addr("fe80::1"), kHere};
  EXPECT_FALSE(better_source(own("2001:db8::ff02/64"), own("2001:db8::1/64"), q));
}

std::vector<std::string> sorted(std::vector<Candidate> in) {
  sort_candidates(in);
  std::vector<std::string> out;
  out.reserve(in.size());
  for (const Candidate& c : in) out.push_back(c.destination.to_string());
  return out;
}
Candidate to(const char* destination, const char* source, bool preferred = true) {
  return {addr(destination), source[0] == 0 ? IpAddr() : addr(source), preferred};
}
using Order = std::vector<std::string>;

// RFC 6724 10.2
TEST(DestinationOrder, ExamplesOfTheRfc) {
  EXPECT_EQ(sorted({to("198.51.100.121", "169.254.13.78"), to("2001:db8:1::1", "2001:db8:1::2")}),
            (Order{"2001:db8:1::1", "198.51.100.121"}));
  EXPECT_EQ(sorted({to("2001:db8:1::1", "fe80::1"), to("198.51.100.121", "198.51.100.117")}),
            (Order{"198.51.100.121", "2001:db8:1::1"}));
  EXPECT_EQ(sorted({to("10.1.2.3", "10.1.2.4"), to("2001:db8:1::1", "2001:db8:1::2")}),
            (Order{"2001:db8:1::1", "10.1.2.3"}));
  EXPECT_EQ(sorted({to("2001:db8:1::1", "2001:db8:1::2"), to("fe80::1", "fe80::2")}),
            (Order{"fe80::1", "2001:db8:1::1"}));
  EXPECT_EQ(sorted({to("2001:db8:1::1", "2001:db8:1::2", false), to("2001:db8:5::1", "2001:db8:5::2")}),
            (Order{"2001:db8:5::1", "2001:db8:1::1"}));
  EXPECT_EQ(sorted({to("2002:c633:6401::1", "2002:c633:6401::2"), to("2001:db8:1::1", "2002:c633:6401::2")}),
            (Order{"2002:c633:6401::1", "2001:db8:1::1"}));
}

TEST(DestinationOrder, UnreachableOnesGoLastAndTiesStay) {
  EXPECT_EQ(sorted({to("2001:db8:1::1", ""), to("198.51.100.1", "198.51.100.9"), to("198.51.100.2", "198.51.100.9")}),
            (Order{"198.51.100.1", "198.51.100.2", "2001:db8:1::1"}));
  EXPECT_EQ(sorted({to("2001:db8:3ffe::1", "2001:db8:3f44::2"), to("2001:db8:3f44::1", "2001:db8:3f44::2")}),
            (Order{"2001:db8:3f44::1", "2001:db8:3ffe::1"}));
}

TEST(PolicyTable, HasTheDefaultsOfTheRfc) {
  const struct {
    const char* text;
    int precedence, label;
  } rows[] = {{"::1", 50, 0},     {"2001:db8::1", 40, 1}, {"192.0.2.1", 35, 4}, {"2002::1", 30, 2}, {"2001::1", 5, 5},
              {"fd00::1", 3, 13}, {"::7", 1, 3},          {"fec0::1", 1, 11},   {"3ffe::1", 1, 12}};
  for (const auto& row : rows) {
    EXPECT_EQ(policy_of(addr(row.text)).precedence, row.precedence) << row.text;
    EXPECT_EQ(policy_of(addr(row.text)).label, row.label) << row.text;
  }
}

TEST(CommonPrefix, CountsLeadingBits) {
  EXPECT_EQ(common_prefix(addr("192.0.2.1"), addr("192.0.2.1")), 32U);
  EXPECT_EQ(common_prefix(addr("192.0.2.1"), addr("192.0.3.1")), 23U);
  EXPECT_EQ(common_prefix(addr("2001:db8::"), addr("2001:db8:8000::")), 32U);
  EXPECT_EQ(common_prefix(addr("8000::"), addr("::")), 0U);
  EXPECT_EQ(common_prefix(addr("::1"), addr("::1")), 128U);
}

class SelectionTest : public IpTest {};

TEST_F(SelectionTest, DestinationsAreSortedByWhatTheHostHas) {
  std::vector<IpAddr> all = {addr("203.0.113.1"), addr("192.0.2.77"), addr("2001:db8::77"), addr("2001:db8:9::1")};
  ip_->sort_destinations(all, 0);
  EXPECT_EQ(all[0], addr("2001:db8::77"));
  EXPECT_EQ(all[1], addr("192.0.2.77"));
  ASSERT_TRUE(ip_->add_route(prefix("::/0"), if_, addr("fe80::9"), 0, 0));
  ip_->sort_destinations(all, 0);
  EXPECT_EQ(all[1], addr("2001:db8:9::1")) << "reachable now";
  EXPECT_EQ(all[3], addr("203.0.113.1")) << "still without a route";
}

}  // namespace
}  // namespace millrace::ip
