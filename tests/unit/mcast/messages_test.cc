// IGMP and MLD bytes.
#include "mcast/messages.h"

#include <gtest/gtest.h>

#include "wire/checksum.h"

namespace millrace::mcast {
namespace {

IpAddr addr(const char* text) { return *IpAddr::parse(text); }
std::vector<std::byte> bytes(std::initializer_list<int> list) {
  std::vector<std::byte> out;
  for (const int b : list) out.push_back(static_cast<std::byte>(b));
  return out;
}

// RFC 3376 7.1
TEST(IgmpQuery, VersionIsToldByLengthAndCode) {
  auto q = parse_igmp_query(bytes({0x11, 0, 0, 0, 0, 0, 0, 0}));
  ASSERT_TRUE(q);
  EXPECT_EQ(q->version, Version::k1);
  EXPECT_EQ(q->max_response, seconds(10));
  q = parse_igmp_query(bytes({0x11, 25, 0, 0, 239, 1, 2, 3}));
  ASSERT_TRUE(q);
  EXPECT_EQ(q->version, Version::k2);
  EXPECT_EQ(q->max_response, milliseconds(2'500));
  EXPECT_EQ(q->group, addr("239.1.2.3"));
  q = parse_igmp_query(bytes({0x11, 0x9a, 0, 0, 239, 1, 2, 3, 0x0b, 0x8a, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2}));
  ASSERT_TRUE(q);
  EXPECT_EQ(q->version, Version::k3);
  EXPECT_EQ(q->max_response, milliseconds(100) * (26 << 4)) << "4.1.1: exponent 1, mantissa 10";
  EXPECT_EQ(q->robustness, 3);
  EXPECT_EQ(q->interval, seconds(26 << 3));
  EXPECT_EQ(q->sources.size(), 2U);
}

TEST(IgmpQuery, NonsenseIsRefused) {
  EXPECT_FALSE(parse_igmp_query(bytes({0x11, 0, 0, 0, 0, 0, 0})));
  EXPECT_FALSE(parse_igmp_query(bytes({0x16, 0, 0, 0, 239, 1, 2, 3})));
  EXPECT_FALSE(parse_igmp_query(bytes({0x11, 0, 0, 0, 10, 1, 2, 3}))) << "no group";
  EXPECT_FALSE(parse_igmp_query(bytes({0x11, 1, 0, 0, 239, 1, 2, 3, 0}))) << "between the versions";
  EXPECT_FALSE(parse_igmp_query(bytes({0x11, 1, 0, 0, 239, 1, 2, 3, 0, 0, 0, 2, 10, 0, 0, 1})))
      << "a source is missing";
  EXPECT_FALSE(parse_igmp_query(bytes({0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 0, 0, 1})))
      << "sources of all groups";
}

TEST(MldQuery, VersionIsToldByLength) {
  std::vector<std::byte> m(24);
  m[0] = std::byte{130};
  wire::store_be16(&m[4], 5'000);
  auto q = parse_mld_query(m);
  ASSERT_TRUE(q);
  EXPECT_EQ(q->version, Version::k2);
  EXPECT_EQ(q->max_response, seconds(5));
  m.resize(28);
  wire::store_be16(&m[4], 0x8001);
  q = parse_mld_query(m);
  ASSERT_TRUE(q);
  EXPECT_EQ(q->version, Version::k3);
  EXPECT_EQ(q->max_response, milliseconds(0x1001 << 3));
  wire::store_be16(&m[26], 1);
  EXPECT_FALSE(parse_mld_query(m));
  m.resize(25);
  EXPECT_FALSE(parse_mld_query(m));
}

TEST(Reports, OthersReportsAreRead) {
  EXPECT_EQ(parse_igmp_report(bytes({0x16, 0, 0, 0, 239, 1, 2, 3})), addr("239.1.2.3"));
  EXPECT_EQ(parse_igmp_report(bytes({0x12, 0, 0, 0, 239, 1, 2, 3})), addr("239.1.2.3"));
  EXPECT_FALSE(parse_igmp_report(bytes({0x17, 0, 0, 0, 239, 1, 2, 3})));
  std::vector<std::byte> m(24);
  m[0] = std::byte{131};
  wire::store_v6(&m[8], addr("ff05::7"));
  EXPECT_EQ(parse_mld_report(m), addr("ff05::7"));
}

TEST(Reports, RecordsAreWrittenAsManyAsFit) {
  Report r;
  for (int i = 0; i < 3; ++i)
    r.records.push_back({RecordType::kToExclude, IpAddr::v4(0xef000000U + i), {addr("10.0.0.1")}});
  std::vector<std::byte> out(8 + 2 * 12 + 11);
  size_t first = 0;
  EXPECT_EQ(emit_igmp(r, first, out), 32U);
  EXPECT_EQ(first, 2U);
  EXPECT_EQ(wire::load_u8(out.data()), 0x22);
  EXPECT_EQ(wire::load_be16(&out[6]), 2);
  EXPECT_EQ(wire::load_be32(&out[8]), 0x04000001U);
  EXPECT_TRUE(wire::is_valid(wire::sum_bytes(wire::Bytes(out).first(32))));
  EXPECT_EQ(emit_igmp(r, first, out), 20U);
  EXPECT_EQ(first, 3U);
  EXPECT_EQ(destination_of(r, true), addr("224.0.0.22"));
  EXPECT_EQ(destination_of(r, false), addr("ff02::16"));
}

TEST(Reports, OlderOnesAreWritten) {
  std::vector<std::byte> out(24);
  size_t first = 0;
  const Report leave{Report::Kind::kLeave, addr("239.1.2.3"), {}};
  EXPECT_EQ(emit_igmp(leave, first, out), 8U);
  EXPECT_EQ(wire::load_u8(out.data()), 0x17);
  EXPECT_TRUE(wire::is_valid(wire::sum_bytes(wire::Bytes(out).first(8))));
  EXPECT_EQ(destination_of(leave, true), addr("224.0.0.2"));
  const Report report{Report::Kind::kReport2, addr("ff05::7"), {}};
  EXPECT_EQ(emit_mld(report, first, out), 24U);
  EXPECT_EQ(wire::load_u8(out.data()), 131);
  EXPECT_EQ(destination_of(report, false), addr("ff05::7"));
}

}  // namespace
}  // namespace millrace::mcast
