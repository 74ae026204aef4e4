// Routers, formed addresses, redirects and DHCP as the link sees them.
#include "../autoconf/ra_builder.h"
#include "autoconf/redirects.h"
#include "fixture.h"
#include "wire/dhcp.h"
#include "wire/udp.h"

namespace millrace::ip {
namespace {

using autoconf::Ra;

const IpAddr kRouter = addr("fe80::77");
const IpAddr kRouter2 = addr("fe80::78");
const IpAddr kAllNodes = addr("ff02::1");
const IpAddr kFar = addr("2001:db8:ffff::1");

class AutoconfTest : public WithoutReports {
 protected:
  AutoconfTest() {
    settle({.detect_duplicates = true, .accept_ra = true, .autoconf = true, .redirects_v6 = true, .secret = 5});
  }
  void settle(const InterfaceOptions& options) {
    EXPECT_TRUE(ip_->set_options(if_, options, now_));
    run(seconds(20));
    (void)sent();
  }
  void run(Duration d) {
    for (int i = 0; i < 100; ++i) advance(d / 100);
  }
  void icmp6(std::vector<std::byte> message, const IpAddr& from, const IpAddr& to, uint8_t hops = 255) {
    wire::store_be16(&message[2], 0);
    wire::seal_icmpv6(message, from, to);
    const MacAddr mac = to.is_multicast() ? wire::multicast_mac_v6(to) : kOurMac;
    EXPECT_FALSE(input(ethernet(mac, kPeerMac, wire::EtherType::kIpv6,
                                datagram(from, to, wire::kProtocolIcmpv6, message, hops))));
  }
  void hear(const Ra& ra, const IpAddr& from = kRouter) { icmp6(ra.bytes(), from, kAllNodes); }
  std::string state_in(const char* network) {
    for (const auto& info : ip_->addresses()) {
      if (info.origin == "slaac" && prefix(network).contains(info.prefix.addr)) return info.state;
    }
    return "none";
  }
  std::string route_to(const Prefix& p) {
    std::string out;
    for (const auto& r : ip_->routes()) {
      if (r.prefix == p) out += r.gateway.is_unspecified() ? "link " : r.gateway.to_string() + " ";
    }
    return out;
  }
  static wire::Ipv6Header ip6_of(const Frame& f) {
    return wire::Ipv6Header::parse(*wire::Ipv6View::check(wire::Bytes(f).subspan(14)));
  }
  void redirect(const IpAddr& from, const IpAddr& target, const IpAddr& destination) {
    std::vector<std::byte> out(wire::Redirect::kMaxSize);
    out.resize(wire::Redirect{target, destination, std::nullopt}.emit(out, from, our6_));
    icmp6(out, from, our6_);
  }
};

TEST_F(AutoconfTest, RoutersAreAskedFor) {
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  ASSERT_TRUE(ip_->set_link(if_, true, now_));
  run(seconds(1));
  run(seconds(8));
  size_t asked = 0;
  for (const Frame& f : sent()) {
    const auto ip6 = wire::Ipv6View::check(wire::Bytes(f).subspan(14));
    if (!ip6 || ip6->destination() != addr("ff02::2")) continue;
    ++asked;
    const auto view = wire::NdView::check(ip6->payload());
    ASSERT_TRUE(view && view->acceptable(ip6->source(), ip6->destination()));
    EXPECT_EQ(view->type(), wire::Icmpv6Type::kRouterSolicitation);
    EXPECT_EQ(ip6->hop_limit(), 255);
  }
  EXPECT_EQ(asked, 2U);
}

TEST_F(AutoconfTest, AdvertisedPrefixBecomesATestedAddressARouteAndADefaultRouter) {
  hear(Ra().prefix("2001:db8:1::/64", "LA", 3'600, 1'800));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "tentative");
  EXPECT_EQ(route_to(prefix("2001:db8:1::/64")), "link ");
  EXPECT_EQ(route_to(prefix("::/0")), "fe80::77 ");
  run(seconds(3));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "preferred");
  bool probed = false;
  for (const Frame& f : sent()) probed = probed || ip6_of(f).source.is_unspecified();
  EXPECT_TRUE(probed);
  ASSERT_TRUE(ip_->route(kFar, {}, 0));
}

// RFC 4862 5.1
TEST_F(AutoconfTest, AFormedAddressIsTestedForAsLongAsTheRouterSays) {
  hear(Ra(1'800, 0, 0, 0, 4'000).prefix("2001:db8:1::/64", "LA", 3'600, 1'800));
  run(seconds(4));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "tentative");
  run(seconds(2));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "preferred");
  settle({.detect_duplicates = true, .secret = 5});
  settle({.detect_duplicates = true, .accept_ra = true, .autoconf = true, .secret = 5});
  hear(Ra().prefix("2001:db8:2::/64", "LA", 3'600, 1'800));
  run(seconds(3));
  EXPECT_EQ(state_in("2001:db8:2::/64"), "preferred") << "nobody says so any more";
}

TEST_F(AutoconfTest, FormedAddressThatSomebodyHasIsReplaced) {
  hear(Ra().prefix("2001:db8:1::/64", "LA", 3'600, 1'800));
  IpAddr first;
  for (const auto& info : ip_->addresses()) {
    if (info.origin == "slaac") first = info.prefix.addr;
  }
  std::vector<std::byte> out(wire::NeighbourAdvertisement::kMaxSize);
  out.resize(wire::NeighbourAdvertisement{first, false, false, true, kPeerMac}.emit(out, kRouter, kAllNodes));
  icmp6(out, kRouter, kAllNodes);
  EXPECT_EQ(count("address.lost"), 1U);
  EXPECT_FALSE(ip_->is_local(first));
  run(seconds(3));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "preferred");
  EXPECT_FALSE(ip_->is_local(first));
}

TEST_F(AutoconfTest, RenumberedHostPrefersTheNewPrefixAndKeepsTheOldForAWhile) {
  ASSERT_TRUE(ip_->remove_address(if_, our6_, now_));
  hear(Ra(9'000).prefix("2001:db8:1::/64", "LA", 7'300, 7'300));
  run(seconds(3));
  const IpAddr old = ip_->route(kFar, {}, 0)->source;
  EXPECT_TRUE(prefix("2001:db8:1::/64").contains(old));
  hear(Ra(9'000).prefix("2001:db8:1::/64", "LA", 7'200, 0).prefix("2001:db8:2::/64", "LA", 9'000, 9'000));
  run(seconds(3));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "deprecated");
  EXPECT_TRUE(prefix("2001:db8:2::/64").contains(ip_->route(kFar, {}, 0)->source));
  EXPECT_EQ(ip_->route(kFar, old, 0)->source, old) << "what uses the old one goes on";
  run(seconds(7'300));
  EXPECT_EQ(state_in("2001:db8:1::/64"), "none");
  EXPECT_EQ(ip_->route(kFar, old, 0).error(), Error::kAddressNotHere);
  EXPECT_EQ(route_to(prefix("2001:db8:1::/64")), "");
}

TEST_F(AutoconfTest, OnlyValidAdvertisementsCount) {
  icmp6(Ra().bytes(), kRouter, kAllNodes, 254);
  icmp6(Ra().bytes(), peer6_, kAllNodes);
  EXPECT_EQ(count("nd.drop.invalid"), 2U);
  EXPECT_EQ(route_to(prefix("::/0")), "");
  settle({.detect_duplicates = true});
  hear(Ra().prefix("2001:db8:1::/64", "LA", 3'600, 1'800));
  EXPECT_EQ(route_to(prefix("::/0")), "") << "the interface does not listen to routers";
  EXPECT_EQ(count("nd.drop.router"), 1U);
}

TEST_F(AutoconfTest, OperatorsRouteAndAddressStandBesideALearnedOne) {
  ASSERT_TRUE(ip_->add_route(prefix("::/0"), if_, addr("fe80::99"), 0, 0));
  hear(Ra(100).prefix("2001:db8::/64", "LA", 50, 50));
  EXPECT_EQ(route_to(prefix("::/0")), "fe80::99 fe80::77 ");
  run(seconds(100));
  EXPECT_EQ(route_to(prefix("::/0")), "fe80::99 ");
  EXPECT_EQ(route_to(prefix("2001:db8::/64")), "link ") << "our own address still brings it";
}

TEST_F(AutoconfTest, TurningItOffTakesEverythingAway) {
  hear(Ra().prefix("2001:db8:1::/64", "LA", 3'600, 1'800).mtu(1'400));
  run(seconds(3));
  EXPECT_EQ(ip_->route(kFar, {}, 0)->mtu, 1'400);
  settle({});
  EXPECT_EQ(state_in("2001:db8:1::/64"), "none");
  EXPECT_EQ(route_to(prefix("::/0")), "");
}

// RFC 4861 6.3.4; RFC 8106 5.1
TEST_F(AutoconfTest, HopLimitAndTimesOfRoutersAreObeyed) {
  const auto solicitations = [&] {  // in 450 ms, of a router that does not answer
    send_tcp(kFar);
    for (int i = 0; i < 9; ++i) advance(milliseconds(50));
    size_t n = 0;
    for (const Frame& f : sent()) n += wire::load_u8(&f[54]) == 135 ? 1 : 0;
    run(seconds(10));
    (void)sent();
    return n;
  };
  const auto hops = [&] {
    const auto route = ip_->route(kFar, {}, 0);
    EXPECT_TRUE(ip_->send({route->source, kFar, wire::kProtocolTcp, 0, 0, *route}, packet(tcp_header(1, 2, 3)), now_));
    const auto frames = sent();
    return frames.size() == 1 ? ip6_of(frames[0]).hop_limit : 0;
  };
  hear(Ra());
  EXPECT_EQ(solicitations(), 1U);
  hear(Ra(1'800, 0, 77, 10'000, 200).resolvers({"2001:db8::53"}, 600));
  EXPECT_EQ(solicitations(), 3U);
  ASSERT_TRUE(ip_->add_neighbour(if_, kRouter, kPeerMac));
  EXPECT_EQ(hops(), 77);
  EXPECT_EQ(ip_->default_hop_limit(if_, true), 64) << "routers of IPv6 say nothing about IPv4";
  hear(Ra(1'800, 0, 0, 0, 0));
  EXPECT_EQ(hops(), 77) << "zero says nothing";
  std::string told;
  for (const auto& l : ip_->learned()) told += l.what + " " + l.value + ", ";
  EXPECT_EQ(told, "router fe80::77, resolver 2001:db8::53, hop limit 77, reachable 10000 ms, retransmit 200 ms, ");
  settle({});
  EXPECT_EQ(ip_->default_hop_limit(if_, false), 64) << "nobody says otherwise any more";
}

TEST_F(AutoconfTest, SilentRouterGivesWayToAnother) {
  hear(Ra(9'000, 1 << 3), kRouter);
  hear(Ra(9'000), kRouter2);
  send_tcp(kFar);
  run(seconds(5));
  EXPECT_EQ(route_to(prefix("::/0")), "fe80::78 ");
}

// RFC 4861 8.1, 8.3
TEST_F(AutoconfTest, RedirectOfTheFirstHopIsFollowedForAWhile) {
  hear(Ra(9'000), kRouter);
  redirect(kRouter2, kRouter2, kFar);
  EXPECT_EQ(count("ip.drop.redirect_refused"), 1U) << "not of the first hop";
  redirect(kRouter, kRouter2, kFar);
  EXPECT_EQ(count("ip.in.redirects"), 1U);
  EXPECT_EQ(route_to({kFar, 128}), "fe80::78 ");
  redirect(kRouter2, kFar, kFar);
  EXPECT_EQ(route_to({kFar, 128}), "link ") << "the new first hop may redirect in turn";
  run(seconds(601));
  EXPECT_EQ(route_to({kFar, 128}), "");
}

TEST_F(AutoconfTest, RedirectsAreRefusedWhereTheyAreOff) {
  settle({.accept_ra = true});
  hear(Ra(9'000), kRouter);
  redirect(kRouter, kRouter2, kFar);
  EXPECT_EQ(route_to({kFar, 128}), "");
  EXPECT_EQ(count("ip.drop.redirect_refused"), 1U);
}

TEST_F(AutoconfTest, FullRedirectTableForgetsTheOldest) {
  hear(Ra(9'000), kRouter);
  for (uint32_t i = 0; i < autoconf::kMaxRedirects + 6; ++i) {
    redirect(kRouter, kRouter2, addr(("2001:db8:ffff::" + std::to_string(i + 1)).c_str()));
  }
  size_t held = 0;
  for (const auto& r : ip_->routes())
    held += r.prefix.length == 128 && prefix("2001:db8:ffff::/48").contains(r.prefix.addr);
  EXPECT_EQ(held, autoconf::kMaxRedirects);
  EXPECT_EQ(route_to({kFar, 128}), "");
}

TEST_F(AutoconfTest, Ipv4RedirectIsFollowedOnlyIfAsked) {
  const IpAddr far = addr("198.51.100.1");
  const IpAddr gateway = addr("192.0.2.254");
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), if_, gateway, 0, 0));
  const auto hear4 = [&](const IpAddr& from, const IpAddr& better) {
    Frame message(8);
    const Frame quoted = datagram(our4_, far, wire::kProtocolTcp, tcp_header(1000, 80, 7));
    message = message + quoted;
    wire::Icmpv4Header{wire::Icmpv4Type::kRedirect, 1, better.v4_value()}.emit(message);
    EXPECT_FALSE(receive(from, our4_, wire::kProtocolIcmp, message));
  };
  hear4(gateway, peer4_);
  EXPECT_EQ(route_to({far, 32}), "");
  settle({.redirects_v4 = true});
  hear4(peer4_, peer4_);
  EXPECT_EQ(route_to({far, 32}), "") << "not of the first hop";
  hear4(gateway, addr("203.0.113.1"));
  EXPECT_EQ(route_to({far, 32}), "") << "the better hop is not on the link";
  hear4(gateway, peer4_);
  EXPECT_EQ(route_to({far, 32}), "192.0.2.9 ");
}

class DhcpGlueTest : public WithoutReports {
 protected:
  DhcpGlueTest() { EXPECT_TRUE(ip_->set_options(if_, {.detect_duplicates = true, .dhcp4 = true}, now_)); }

  // The newest DHCP message sent within a while, as its UDP payload.
  Frame dhcp_sent(Duration within) {
    Frame out;
    for (int i = 0; i < 100; ++i) {
      advance(within / 100);
      for (const Frame& f : sent()) {
        const auto ip4 = wire::Ipv4View::check(wire::Bytes(f).subspan(14));
        if (!ip4 || ip4->protocol() != wire::kProtocolUdp) continue;
        EXPECT_EQ(ip4->destination(), addr("255.255.255.255"));
        EXPECT_TRUE(ip4->source().is_unspecified());
        EXPECT_EQ(wire::load_mac(f.data()), kBroadcastMac);
        const auto udp = wire::UdpView::check(ip4->payload());
        EXPECT_TRUE(udp && udp->checksum_ok(ip4->source(), ip4->destination()));
        out = Frame(udp->payload().begin(), udp->payload().end());
      }
      if (!out.empty()) break;
    }
    return out;
  }
  void answer(const Frame& asked, uint8_t type, bool in_fragments = false) {
    ASSERT_GE(asked.size(), 8U);
    Frame m(240);
    wire::store_be32(m.data(), 0x0201'0600);
    std::copy_n(asked.begin() + 4, 4, m.begin() + 4);
    wire::store_v4(&m[16], leased_);
    wire::store_mac(&m[28], kOurMac);
    wire::store_be32(&m[236], 0x6382'5363);
    for (const int b : {53, 1, int{type}, 54, 4, 203, 0, 113, 1, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 1, 0, 3, 4,
                        203, 0, 113, 1, 255}) {
      m.push_back(static_cast<std::byte>(b));
    }
    Frame udp(8);
    wire::UdpHeader{67, 68, static_cast<uint16_t>(8 + m.size()), 0}.emit(udp);
    const Frame all = udp + m;
    constexpr size_t kCut = 200;
    for (const auto& [start, end] : std::vector<std::pair<size_t, size_t>>{{0, kCut}, {kCut, all.size()}}) {
      const Frame part = in_fragments ? Frame(all.begin() + long(start), all.begin() + long(end)) : all;
      Frame ip4 = datagram(server_, addr("255.255.255.255"), wire::kProtocolUdp, part);
      if (in_fragments) {
        wire::store_be16(&ip4[6], static_cast<uint16_t>(start / 8 | (start == 0 ? 0x2000 : 0)));
        wire::store_be16(&ip4[10], 0);
        wire::store_be16(&ip4[10], wire::finish(wire::ipv4_base_sum(ip4.data())));
      }
      EXPECT_FALSE(input(ethernet(kBroadcastMac, kPeerMac, wire::EtherType::kIpv4, ip4)));
      if (!in_fragments) break;
    }
  }
  std::string state() {
    for (const auto& info : ip_->addresses()) {
      if (info.prefix.addr == leased_) return info.state + " " + info.origin;
    }
    return "none";
  }

  IpAddr leased_ = addr("203.0.113.50");
  IpAddr server_ = addr("203.0.113.1");
};

TEST_F(DhcpGlueTest, LeasedAddressIsTestedThenUsed) {
  const Frame discover = dhcp_sent(seconds(2));
  ASSERT_FALSE(discover.empty());
  answer(discover, 2);
  const Frame request = dhcp_sent({});
  ASSERT_FALSE(request.empty());
  answer(request, 5);
  EXPECT_EQ(state(), "tentative dhcp");
  EXPECT_FALSE(ip_->is_local(leased_));
  for (int i = 0; i < 100; ++i) advance(milliseconds(100));
  EXPECT_EQ(state(), "preferred dhcp");
  ASSERT_TRUE(ip_->route(addr("198.51.100.1"), {}, 0));
  EXPECT_EQ(ip_->route(addr("198.51.100.1"), {}, 0)->source, leased_);
  (void)sent();
  for (int i = 0; i < 3'000; ++i) advance(milliseconds(100));
  EXPECT_EQ(state(), "none") << "a lease of 256 seconds that nobody renews";
  EXPECT_FALSE(ip_->route(addr("198.51.100.1"), {}, 0));
}

TEST_F(DhcpGlueTest, RepliesInFragmentsAreHeard) {
  answer(dhcp_sent(seconds(2)), 2, true);
  answer(dhcp_sent({}), 5, true);
  EXPECT_EQ(state(), "tentative dhcp");
}

TEST_F(DhcpGlueTest, LeasedAddressThatSomebodyHasIsDeclined) {
  answer(dhcp_sent(seconds(2)), 2);
  answer(dhcp_sent({}), 5);
  (void)input(arp_frame({wire::ArpOperation::kReply, kOtherMac, leased_, kOurMac, IpAddr::any_v4()}, kOurMac));
  const Frame decline = dhcp_sent({});
  ASSERT_GT(decline.size(), 243U);
  EXPECT_EQ(decline[242], std::byte{4});
  EXPECT_EQ(state(), "none");
}

// RFC 5227 2.1.1
TEST_F(DhcpGlueTest, RivalProbeOfATentativeAddressIsAConflict) {
  answer(dhcp_sent(seconds(2)), 2);
  answer(dhcp_sent({}), 5);
  (void)input(arp_frame({wire::ArpOperation::kRequest, kOtherMac, IpAddr::any_v4(), {}, leased_}, kBroadcastMac));
  EXPECT_EQ(state(), "none");
}

TEST_F(DhcpGlueTest, NonsenseToTheClientIsIgnored) {
  (void)dhcp_sent(seconds(2));
  Frame udp(8);
  wire::UdpHeader{67, 68, 12, 0}.emit(udp);
  EXPECT_FALSE(input(ethernet(kBroadcastMac, kPeerMac, wire::EtherType::kIpv4,
                              datagram(server_, addr("255.255.255.255"), wire::kProtocolUdp, udp + bytes(4)))));
  EXPECT_EQ(count("dhcp.drop.ignored"), 1U);
}

}  // namespace
}  // namespace millrace::ip
