// IGMP and MLD as the link sees them.
#include "fixture.h"
#include "mcast/messages.h"

namespace millrace::ip {
namespace {

class MembershipsTest : public IpTest {
 protected:
  MembershipsTest() { EXPECT_TRUE(ip_->set_options(if_, {.detect_duplicates = true}, now_)); }

  struct Sent {
    IpAddr source;
    IpAddr to;
    uint8_t type;
    std::vector<IpAddr> groups;
  };
  // MLD frames that wait; checks what all of them have in common.
  std::vector<Sent> reports() {
    std::vector<Sent> out;
    for (const Frame& f : sent()) {
      const auto ip6 = wire::Ipv6View::check(wire::Bytes(f).subspan(14));
      if (!ip6 || wire::load_u8(&f[20]) != wire::kProtocolHopByHop) continue;
      EXPECT_EQ(ip6->hop_limit(), 1);
      EXPECT_EQ(wire::load_be64(&f[54]), 0x3a00'0502'0000'0100U) << "router alert: MLD";
      const wire::Bytes m = wire::Bytes(f).subspan(62);
      EXPECT_TRUE(wire::Icmpv6View::check(m)->checksum_ok(ip6->source(), ip6->destination()));
      EXPECT_EQ(wire::load_mac(f.data()), wire::multicast_mac_v6(ip6->destination()));
      Sent s{ip6->source(), ip6->destination(), wire::load_u8(m.data()), {}};
      if (s.type != 143) {
        s.groups.push_back(wire::load_v6(&m[8]));
      } else {
        for (size_t i = 0, at = 8; i < wire::load_be16(&m[6]); ++i, at += 20)
          s.groups.push_back(wire::load_v6(&m[at + 4]));
      }
      out.push_back(s);
    }
    return out;
  }
  void run(Duration d) {
    for (int i = 0; i < 50; ++i) advance(d / 50);
  }
  void settle() {
    run(seconds(20));
    (void)sent();
  }
  void mld(std::vector<std::byte> m, uint8_t hops = 1) {
    const IpAddr from = addr("fe80::77");
    const IpAddr to = addr("ff02::1");
    wire::seal_icmpv6(m, from, to);
    EXPECT_FALSE(input(ethernet(wire::multicast_mac_v6(to), kPeerMac, wire::EtherType::kIpv6,
                                datagram(from, to, wire::kProtocolIcmpv6, m, hops))));
  }
};

// RFC 4862 5.4.2: the group is reported in front of the first probe.
TEST_F(MembershipsTest, SolicitedNodeGroupsAreReportedBeforeAddressesAreTested) {
  advance({});
  const auto all = sent();
  ASSERT_GE(all.size(), 2U);
  EXPECT_EQ(wire::load_u8(&all[0][20]), wire::kProtocolHopByHop);
  settle();
  ASSERT_TRUE(ip_->add_address(if_, prefix("2001:db8::77/64"), now_));
  advance({});
  const auto told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].to, addr("ff02::16"));
  EXPECT_EQ(told[0].source, addr("fe80::ff:fe00:1"));
  EXPECT_EQ(told[0].groups, std::vector<IpAddr>{addr("ff02::1:ff00:77")});
  settle();
  ASSERT_TRUE(ip_->remove_address(if_, addr("2001:db8::77"), now_));
  advance({});
  ASSERT_EQ(reports().size(), 1U) << "left again";
}

// RFC 3590 4
TEST_F(MembershipsTest, ReportsComeFromNobodyWhileTheLinkLocalAddressIsTested) {
  advance({});
  const auto told = reports();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0].source.is_unspecified());
  EXPECT_EQ(told[0].groups.size(), 1U) << "both addresses end in the same 24 bits";
}

TEST_F(MembershipsTest, QueriesAreAnswered) {
  settle();
  std::vector<std::byte> query(28);
  query[0] = std::byte{130};
  wire::store_be16(&query[4], 100);
  mld(query, 2);
  run(seconds(1));
  EXPECT_TRUE(reports().empty()) << "it passed a router";
  EXPECT_EQ(count("mcast.drop.invalid"), 1U);
  mld(query);
  run(seconds(1));
  ASSERT_EQ(reports().size(), 1U);
  query.resize(24);
  mld(query);
  run(seconds(1));
  const auto old = reports();
  ASSERT_EQ(old.size(), 1U);
  EXPECT_EQ(old[0].type, 131) << "RFC 2710 to a querier of that version";
  EXPECT_EQ(old[0].to, old[0].groups[0]);
}

TEST_F(MembershipsTest, GroupsOfSocketsAreReportedWhenJoinedAndLeft) {
  settle();
  const IpAddr group = addr("239.1.2.3");
  const auto igmp = [&] {
    std::vector<Frame> out;
    for (const Frame& f : sent()) {
      if (wire::load_be16(&f[12]) == 0x0800 && wire::load_u8(&f[23]) == wire::kProtocolIgmp) out.push_back(f);
    }
    return out;
  };
  for (const uint8_t type : {4, 3}) {  // TO_EXCLUDE, TO_INCLUDE
    ASSERT_TRUE(type == 4 ? ip_->join(if_, group) : ip_->leave(if_, group));
    EXPECT_LE(ip_->next_deadline(), now_);
    advance({});
    const auto frames = igmp();
    ASSERT_EQ(frames.size(), 1U);
    const Frame& f = frames[0];
    EXPECT_EQ(wire::load_mac(f.data()), (MacAddr{{0x01, 0, 0x5e, 0, 0, 22}}));
    EXPECT_EQ(wire::load_be32(&f[14]), 0x46c0'0028U) << "24 bytes of header, 16 of report";
    EXPECT_TRUE(wire::is_valid(wire::sum_bytes(&f[14], 24)));
    EXPECT_EQ(wire::load_u8(&f[22]), 1) << "TTL";
    EXPECT_EQ(wire::load_v4(&f[26]), our4_);
    EXPECT_EQ(wire::load_v4(&f[30]), addr("224.0.0.22"));
    EXPECT_EQ(wire::load_be32(&f[34]), 0x9404'0000U) << "router alert";
    EXPECT_EQ(wire::load_be32(&f[46]), uint32_t{type} << 24);
    EXPECT_EQ(wire::load_v4(&f[50]), group);
    settle();
  }
}

TEST_F(MembershipsTest, IgmpQueriesAreTakenAndNonsenseIsNot) {
  const auto hear = [&](Frame m) {
    wire::store_be16(&m[2], wire::finish(wire::sum_bytes(m)));
    EXPECT_FALSE(input(ethernet({{0x01, 0, 0x5e, 0, 0, 1}}, kPeerMac, wire::EtherType::kIpv4,
                                datagram(peer4_, addr("224.0.0.1"), wire::kProtocolIgmp, m, 1))));
  };
  Frame query(8);
  query[0] = std::byte{0x11};
  query[1] = std::byte{100};
  hear(query);
  EXPECT_EQ(count("mcast.drop.invalid"), 0U);
  query.resize(9);
  hear(query);
  EXPECT_EQ(count("mcast.drop.invalid"), 1U);
  settle();
}

}  // namespace
}  // namespace millrace::ip
