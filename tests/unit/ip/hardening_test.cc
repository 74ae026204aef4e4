// Attacks with addresses: forged sources, the wrong interface, exhaustion of the neighbour table. Each shows its bound.
#include "fixture.h"

namespace millrace::ip {
namespace {

class HardeningTest : public IpTest {
 protected:
  void settings(const Settings& s) {
    Config config;
    config.settings = s;
    config.max_neighbours = 64;
    make(config);
    other_ = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOurMac, {}});
    ASSERT_TRUE(ip_->add_address(other_, prefix("198.51.100.1/24"), now_));
    ASSERT_TRUE(ip_->add_address(other_, prefix("2001:db8:1::1/64"), now_));
  }
  bool arrives(IfIndex interface, const char* from, const char* to) {
    const Frame f = ethernet(kOurMac, kPeerMac, type_of(addr(to)),
                             datagram(addr(from), addr(to), wire::kProtocolTcp, tcp_header(1, 2, 3)));
    const auto d = ip_->input(interface, packet(f), now_);
    if (d) owned_.push_back(d->packet);
    EXPECT_EQ(d.has_value(), ip_->accepts(addr(from), addr(to), interface)) << "the fast path's question agrees";
    return d.has_value();
  }
  IfIndex other_{};
};

TEST_F(HardeningTest, LandIsRefused) {
  settings({});
  EXPECT_FALSE(arrives(if_, "192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(arrives(if_, "198.51.100.1", "192.0.2.1"));
  EXPECT_FALSE(arrives(if_, "2001:db8::1", "2001:db8::1"));
  EXPECT_EQ(count("ip.drop.martian_source"), 3U);
  (void)sent();
}

TEST_F(HardeningTest, ForgedSourcesAreRefused) {
  settings({});
  for (const char* from : {"0.0.0.0", "0.9.9.9", "127.0.0.1", "224.0.0.5", "240.0.0.1", "255.255.255.255",
                           "192.0.2.255", "198.51.100.255"}) {
    EXPECT_FALSE(arrives(if_, from, "192.0.2.1")) << from;
  }
  for (const char* from : {"::", "::1", "ff02::1"}) EXPECT_FALSE(arrives(if_, from, "2001:db8::1")) << from;
}

// RFC 1122 3.3.4.2
TEST_F(HardeningTest, StrongHostRefusesTheAddressesOfOtherInterfaces) {
  settings({});
  EXPECT_TRUE(arrives(if_, "192.0.2.9", "198.51.100.1"));
  Settings strong;
  strong.strong_host = 1;
  settings(strong);
  EXPECT_FALSE(arrives(if_, "192.0.2.9", "198.51.100.1"));
  EXPECT_FALSE(arrives(if_, "2001:db8::9", "2001:db8:1::1"));
  EXPECT_EQ(count("ip.drop.not_for_us"), 2U);
  EXPECT_TRUE(arrives(other_, "198.51.100.9", "198.51.100.1"));
  EXPECT_TRUE(arrives(other_, "2001:db8:1::9", "2001:db8:1::1"));
}

// RFC 3704 2.2, 2.3
TEST_F(HardeningTest, ReversePathIsStrictOrLoose) {
  Settings s;
  s.reverse_path = 1;
  settings(s);
  EXPECT_TRUE(arrives(if_, "192.0.2.9", "192.0.2.1"));
  EXPECT_FALSE(arrives(if_, "198.51.100.9", "192.0.2.1")) << "answers would leave by the other interface";
  EXPECT_FALSE(arrives(if_, "203.0.113.9", "192.0.2.1"));
  EXPECT_FALSE(arrives(if_, "2001:db8:1::9", "2001:db8::1"));
  EXPECT_TRUE(arrives(if_, "fe80::9", "2001:db8::1"));
  EXPECT_EQ(count("ip.drop.reverse_path"), 3U);
  s.reverse_path = 2;
  settings(s);
  EXPECT_TRUE(arrives(if_, "198.51.100.9", "192.0.2.1"));
  EXPECT_FALSE(arrives(if_, "203.0.113.9", "192.0.2.1"));
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), other_, addr("198.51.100.254"), 0, 0));
  EXPECT_TRUE(arrives(if_, "203.0.113.9", "192.0.2.1"));
}

TEST_F(HardeningTest, SourceRoutesThatEndHereAreTakenOnlyIfAsked) {
  const auto routed = [&](uint8_t pointer) {
    Frame header(28);
    wire::Ipv4Header{0, 48, 0, false, false, 0, 64, 6, peer4_, our4_}.emit(header);
    header[0] = std::byte{0x47};
    const uint8_t option[8] = {131, 7, pointer, 10, 0, 0, 1, 0};
    std::memcpy(&header[20], option, 8);
    wire::store_be16(&header[10], 0);
    wire::store_be16(&header[10], wire::finish(wire::sum_bytes(header)));
    return input(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, header + tcp_header(1, 2, 3))).has_value();
  };
  settings({});
  EXPECT_FALSE(routed(8));
  Settings s;
  s.source_route = 1;
  settings(s);
  EXPECT_TRUE(routed(8));
  EXPECT_FALSE(routed(4)) << "somebody else is next, and we forward nothing";
  EXPECT_EQ(count("ip.drop.source_route"), 1U);
}

// Scans of a whole prefix, from outside and from here, cost no more than the table holds.
TEST_F(HardeningTest, NeighbourExhaustionIsBounded) {
  settings({});
  for (uint32_t i = 0; i < 5'000; ++i) {
    const IpAddr from4 = IpAddr::v4(0xc0000200U + 2 + i % 250);
    std::array<uint8_t, 16> b = peer6_.bytes();
    b[14] = static_cast<uint8_t>(i >> 8);
    b[15] = static_cast<uint8_t>(i | 2);
    for (const auto& d : {receive(from4, our4_, wire::kProtocolUdp, bytes(8)),
                          receive(IpAddr(b), our6_, wire::kProtocolUdp, bytes(8))}) {
      if (d) ip_->port_unreachable(*d, now_);
    }
    for (pkt::Packet* p : owned_) cache_.free(p);
    owned_.clear();
    (void)input(arp_frame({wire::ArpOperation::kRequest, kPeerMac, from4, {}, our4_}, kBroadcastMac));
    now_ = now_ + milliseconds(50);
    ASSERT_LE(ip_->neighbours().size(), 64U);
    ASSERT_LE(ip_->packets_held(), 64U * 64U);
    (void)sent();
  }
  EXPECT_EQ(ip_->neighbours().size(), 64U);
  EXPECT_TRUE(arrives(if_, "192.0.2.9", "192.0.2.1")) << "input needs no entry";
}

}  // namespace
}  // namespace millrace::ip
