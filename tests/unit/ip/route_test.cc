// Longest-prefix match against a naive scan, metrics, tables, removal.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "ip/route/table.h"

namespace millrace::ip::route {
namespace {

constexpr IfIndex kIf1{1};
constexpr IfIndex kIf2{2};

Prefix prefix(const char* text) { return *Prefix::parse(text); }
IpAddr addr(const char* text) { return *IpAddr::parse(text); }

TEST(RouteTest, LongestPrefixWins) {
  Tables t(100);
  ASSERT_TRUE(t.add(prefix("0.0.0.0/0"), {kIf1, addr("10.0.0.1")}, 0));
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf1}, 0));
  ASSERT_TRUE(t.add(prefix("10.1.0.0/16"), {kIf2}, 0));
  ASSERT_TRUE(t.add(prefix("10.1.2.3/32"), {kIf1, addr("10.9.9.9")}, 0));
  EXPECT_EQ(t.lookup(addr("192.0.2.1"), 0)->gateway, addr("10.0.0.1"));
  EXPECT_EQ(t.lookup(addr("10.2.0.1"), 0)->interface, kIf1);
  EXPECT_EQ(t.lookup(addr("10.1.0.1"), 0)->interface, kIf2);
  EXPECT_EQ(t.lookup(addr("10.1.2.3"), 0)->gateway, addr("10.9.9.9"));
}

TEST(RouteTest, FamiliesAndTablesAreApart) {
  Tables t(100);
  ASSERT_TRUE(t.add(prefix("0.0.0.0/0"), {kIf1}, 0));
  EXPECT_EQ(t.lookup(addr("2001:db8::1"), 0), nullptr);
  EXPECT_EQ(t.lookup(addr("10.0.0.1"), 7), nullptr);
  ASSERT_TRUE(t.add(prefix("::/0"), {kIf2}, 7));
  EXPECT_EQ(t.lookup(addr("2001:db8::1"), 7)->interface, kIf2);
  EXPECT_EQ(t.lookup(addr("2001:db8::1"), 0), nullptr);
}

TEST(RouteTest, LowestMetricWinsAndUnusableInterfacesAreSkipped) {
  Tables t(100);
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf1, {}, 20}, 0));
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf2, {}, 10}, 0));
  ASSERT_TRUE(t.add(prefix("0.0.0.0/0"), {kIf1, {}, 0}, 0));
  EXPECT_EQ(t.lookup(addr("10.0.0.1"), 0)->interface, kIf2);
  EXPECT_EQ(t.lookup(addr("10.0.0.1"), 0, interface_bit(kIf1))->metric, 20U);
  ASSERT_TRUE(t.remove(prefix("10.0.0.0/8"), kIf1, 0));
  EXPECT_EQ(t.lookup(addr("10.0.0.1"), 0, interface_bit(kIf1))->metric, 0U);
  EXPECT_EQ(t.lookup(addr("10.0.0.1"), 0, 0), nullptr);
}

TEST(RouteTest, RefusesNonsenseDuplicatesAndOverflow) {
  Tables t(2);
  EXPECT_EQ(t.add({addr("10.0.0.0"), 33}, {kIf1}, 0).error(), Error::kInvalid);
  EXPECT_EQ(t.add(prefix("10.0.0.0/8"), {}, 0).error(), Error::kInvalid);
  EXPECT_EQ(t.add(prefix("10.0.0.0/8"), {kIf1, addr("fe80::1")}, 0).error(), Error::kInvalid);
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf1}, 0));
  EXPECT_EQ(t.add(prefix("10.7.0.0/8"), {kIf1}, 0).error(), Error::kAlreadyExists) << "host bits do not count";
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf1, addr("10.0.0.1")}, 0));
  EXPECT_EQ(t.add(prefix("11.0.0.0/8"), {kIf1}, 0).error(), Error::kTooMany);
}

TEST(RouteTest, RemovingTheUnknownFails) {
  Tables t(10);
  EXPECT_EQ(t.remove(prefix("10.0.0.0/8"), kIf1, 0).error(), Error::kNotFound);
  ASSERT_TRUE(t.add(prefix("10.0.0.0/8"), {kIf1}, 0));
  EXPECT_EQ(t.remove(prefix("10.0.0.0/9"), kIf1, 0).error(), Error::kNotFound);
  EXPECT_EQ(t.remove(prefix("10.0.0.0/8"), kIf2, 0).error(), Error::kNotFound);
  EXPECT_EQ(t.remove(prefix("10.0.0.0/8"), kIf1, 1).error(), Error::kNotFound);
  EXPECT_TRUE(t.remove(prefix("10.0.0.0/8"), kIf1, 0));
  EXPECT_EQ(t.size(), 0U);
  EXPECT_EQ(t.node_count(), 0U);
}

struct Naive {
  struct Row {
    Prefix prefix;
    uint32_t table;
    NextHop hop;
    uint64_t order;
  };
  std::vector<Row> rows;

  [[nodiscard]] const NextHop* lookup(const IpAddr& to, uint32_t table, uint64_t usable) const {
    const Row* best = nullptr;
    for (const Row& r : rows) {
      if (r.table != table || !r.prefix.contains(to) || (interface_bit(r.hop.interface) & usable) == 0) continue;
      if (best == nullptr || r.prefix.length > best->prefix.length ||
          (r.prefix.length == best->prefix.length &&
           std::pair(r.hop.metric, r.order) < std::pair(best->hop.metric, best->order))) {
        best = &r;
      }
    }
    return best == nullptr ? nullptr : &best->hop;
  }
};

class RandomRoutes : public ::testing::TestWithParam<bool> {
 protected:
  // Addresses that share many leading bits, so that prefixes nest and branch at all depths.
  IpAddr random_addr() {
    if (GetParam()) {
      return IpAddr::v4(0x0a000000U | static_cast<uint32_t>(rng_.next() & rng_.next() & 0xffffffU));
    }
    std::array<uint8_t, 16> b{0x20, 0x01, 0x0d, 0xb8};
    for (size_t i = 4; i < 16; ++i) b[i] = static_cast<uint8_t>(rng_.next() & rng_.next() & rng_.next());
    return IpAddr(b);
  }
  Prefix random_prefix() {
    Prefix p{random_addr(), static_cast<uint8_t>(rng_.below(GetParam() ? 33 : 129))};
    std::array<uint8_t, 16> b = p.addr.bytes();
    const unsigned bits = p.length + (GetParam() ? 96U : 0U);
    for (unsigned i = bits; i < 128; ++i) b[i / 8] = static_cast<uint8_t>(b[i / 8] & ~(0x80 >> (i % 8)));
    return {IpAddr(b), p.length};
  }
  base::Rng rng_{GetParam() ? 4U : 6U};
};

TEST_P(RandomRoutes, AgreesWithANaiveScan) {
  Tables t(1'000);
  Naive naive;
  uint64_t order = 0;
  for (int step = 0; step < 4'000; ++step) {
    const bool add = naive.rows.empty() || (naive.rows.size() < 400 && rng_.chance(3, 5));
    if (add) {
      const Prefix p = random_prefix();
      const auto table = static_cast<uint32_t>(rng_.below(2));
      const NextHop hop{static_cast<IfIndex>(rng_.between(1, 3)), {}, static_cast<uint32_t>(rng_.below(3))};
      const bool known = std::ranges::any_of(naive.rows, [&](const Naive::Row& r) {
        return r.prefix == p && r.table == table && r.hop.interface == hop.interface;
      });
      ASSERT_EQ(t.add(p, hop, table).has_value(), !known);
      if (!known) naive.rows.push_back({p, table, hop, order++});
    } else {
      const size_t i = rng_.below(naive.rows.size());
      const Naive::Row r = naive.rows[i];
      naive.rows.erase(naive.rows.begin() + static_cast<ptrdiff_t>(i));
      ASSERT_TRUE(t.remove(r.prefix, r.hop.interface, r.table));
    }
    ASSERT_EQ(t.size(), naive.rows.size());
    ASSERT_LE(t.node_count(), 2 * naive.rows.size());
    for (int i = 0; i < 20; ++i) {
      const IpAddr to = naive.rows.empty() || rng_.chance(1, 2) ? random_addr()
                                                                : naive.rows[rng_.below(naive.rows.size())].prefix.addr;
      const auto table = static_cast<uint32_t>(rng_.below(2));
      const uint64_t usable = rng_.chance(1, 2) ? ~uint64_t{0} : rng_.below(8);
      const NextHop* got = t.lookup(to, table, usable);
      const NextHop* want = naive.lookup(to, table, usable);
      ASSERT_EQ(got == nullptr, want == nullptr) << to.to_string();
      if (got != nullptr) {
        ASSERT_EQ(*got, *want) << to.to_string();
      }
    }
  }
  ASSERT_EQ(t.list().size(), naive.rows.size());
  for (const Naive::Row& r : naive.rows) ASSERT_TRUE(t.remove(r.prefix, r.hop.interface, r.table));
  EXPECT_EQ(t.node_count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Families, RandomRoutes, ::testing::Bool(),
                         [](const auto& i) { return i.param ? "v4" : "v6"; });

}  // namespace
}  // namespace millrace::ip::route
