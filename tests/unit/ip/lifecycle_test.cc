// Duplicate detection, defence and announcements on the wire: RFC 4862 5.4, RFC 4429, RFC 7527, RFC 5227.
#include "fixture.h"

namespace millrace::ip {
namespace {

const IpAddr kAllNodes = addr("ff02::1");
const IpAddr kNew6 = addr("2001:db8::77");
const IpAddr kNew4 = addr("192.0.2.77");

class LifecycleTest : public WithoutReports {
 protected:
  LifecycleTest() {
    InterfaceOptions options;
    options.detect_duplicates = true;
    EXPECT_TRUE(ip_->set_options(if_, options, now_));
    settle();
  }
  void settle() {
    for (int i = 0; i < 200; ++i) advance(milliseconds(100));
    (void)sent();
  }
  std::string state(const IpAddr& a) {
    for (const auto& info : ip_->addresses()) {
      if (info.prefix.addr == a) return info.state;
    }
    return "none";
  }
  template <class Message>
  void hear(const Message& m, const IpAddr& from, const IpAddr& to) {
    Frame out(Message::kMaxSize);
    out.resize(m.emit(out, from, to));
    const MacAddr mac = to.is_multicast() ? wire::multicast_mac_v6(to) : kOurMac;
    EXPECT_FALSE(input(ethernet(mac, kPeerMac, wire::EtherType::kIpv6,
                                datagram(from, to, wire::kProtocolIcmpv6, out, 255))));
  }
  void hear_arp(const IpAddr& sender, const IpAddr& target, const MacAddr& mac = kPeerMac) {
    EXPECT_FALSE(input(arp_frame({wire::ArpOperation::kRequest, mac, sender, {}, target}, kBroadcastMac)));
  }
  static wire::ArpMessage arp_of(const Frame& f) {
    return wire::ArpMessage::parse(*wire::ArpView::check(wire::Bytes(f).subspan(14)));
  }
  static wire::Ipv6Header ip6_of(const Frame& f) {
    return wire::Ipv6Header::parse(*wire::Ipv6View::check(wire::Bytes(f).subspan(14)));
  }
  static wire::NdView nd_of(const Frame& f) { return *wire::NdView::check(wire::Bytes(f).subspan(54)); }
};

TEST_F(LifecycleTest, ConfiguredIpv6AddressIsUsedAtOnceAndTestedMeanwhile) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  EXPECT_TRUE(ip_->is_local(kNew6));
  EXPECT_EQ(state(kNew6), "optimistic");
  advance({});
  const Frame probe = sent_one();
  EXPECT_EQ(ip6_of(probe).source, IpAddr());
  EXPECT_EQ(ip6_of(probe).destination, wire::solicited_node(kNew6));
  const auto ns = wire::NeighbourSolicitation::parse(nd_of(probe));
  EXPECT_EQ(ns.target, kNew6);
  EXPECT_FALSE(ns.source_link);
  EXPECT_NE(ns.nonce, 0U) << "RFC 7527 4.1";
  advance(seconds(1));
  EXPECT_EQ(state(kNew6), "preferred");
  const Frame announcement = sent_one();
  EXPECT_EQ(wire::NeighbourAdvertisement::parse(nd_of(announcement)).target, kNew6);
}

// RFC 4429 3.2, 3.3
TEST_F(LifecycleTest, OptimisticAddressOverridesNobody) {
  ASSERT_TRUE(ip_->remove_address(if_, our6_, now_));
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  hear(wire::NeighbourSolicitation{kNew6, kPeerMac}, peer6_, wire::solicited_node(kNew6));
  const Frame answer = sent_one();
  EXPECT_FALSE(wire::NeighbourAdvertisement::parse(nd_of(answer)).override_cache);
  send_tcp(addr("2001:db8::99"));
  const Frame ask = sent_one();
  EXPECT_EQ(ip6_of(ask).source, kNew6);
  EXPECT_FALSE(wire::NeighbourSolicitation::parse(nd_of(ask)).source_link);
}

TEST_F(LifecycleTest, AdvertisementDuringTheTestTakesTheIpv6AddressAway) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  hear(wire::NeighbourAdvertisement{kNew6, false, false, true, kPeerMac}, kNew6, kAllNodes);
  EXPECT_EQ(state(kNew6), "duplicated") << "it comes from the very address";
  EXPECT_FALSE(ip_->is_local(kNew6));
  EXPECT_EQ(count("address.lost"), 1U);
  (void)sent();
  advance(seconds(5));
  EXPECT_TRUE(sent().empty());
}

// As Linux answers: the source is the address in question.
TEST_F(LifecycleTest, AdvertisementFromTheTestedAddressItselfTakesItAway) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  hear(wire::NeighbourAdvertisement{kNew6, false, false, true, kPeerMac}, kNew6, kAllNodes);
  EXPECT_EQ(state(kNew6), "duplicated");
  EXPECT_EQ(count("address.lost"), 1U);
}

TEST_F(LifecycleTest, NothingElseFromATestedAddressIsHeard) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  hear(wire::NeighbourSolicitation{peer6_, kPeerMac}, kNew6, kAllNodes);
  hear(wire::NeighbourAdvertisement{kNew6, true, false, true, kPeerMac}, kNew6, kNew6);
  EXPECT_EQ(count("ip.drop.martian_source"), 2U);
  EXPECT_NE(state(kNew6), "duplicated");
}

// RFC 4862 5.4.3
TEST_F(LifecycleTest, ProbeOfAnotherStationDuringTheTestTakesTheIpv6AddressAway) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  advance({});
  hear(wire::NeighbourSolicitation{kNew6, std::nullopt, 0x1234}, IpAddr(), wire::solicited_node(kNew6));
  EXPECT_EQ(state(kNew6), "duplicated");
}

// RFC 7527 4.2
TEST_F(LifecycleTest, OwnProbeThatComesBackIsNoConflict) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  advance({});
  const auto ns = wire::NeighbourSolicitation::parse(nd_of(sent_one()));
  hear(ns, IpAddr(), wire::solicited_node(kNew6));
  EXPECT_EQ(state(kNew6), "optimistic");
  EXPECT_EQ(count("nd.drop.looped"), 1U);
  advance(seconds(1));
  EXPECT_EQ(state(kNew6), "preferred");
}

TEST_F(LifecycleTest, DuplicatedAddressCanBeTakenAwayAndGivenAgain) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  hear(wire::NeighbourAdvertisement{kNew6, false, false, true, kPeerMac}, peer6_, kAllNodes);
  EXPECT_EQ(ip_->add_address(if_, {kNew6, 64}, now_).error(), Error::kAlreadyExists);
  ASSERT_TRUE(ip_->remove_address(if_, kNew6, now_));
  EXPECT_EQ(state(kNew6), "none");
  ASSERT_TRUE(ip_->add_address(if_, {kNew6, 64}, now_));
  EXPECT_TRUE(ip_->is_local(kNew6));
}

// RFC 5227 2.1.1, 2.3
TEST_F(LifecycleTest, Ipv4AddressIsProbedThreeTimesThenAnnouncedTwice) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew4, 24}, now_));
  EXPECT_TRUE(ip_->is_local(kNew4));
  std::vector<wire::ArpMessage> seen;
  for (int i = 0; i < 120; ++i) {
    advance(milliseconds(100));
    for (const Frame& f : sent()) seen.push_back(arp_of(f));
  }
  ASSERT_EQ(seen.size(), 5U);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(seen[i].operation, wire::ArpOperation::kRequest);
    EXPECT_EQ(seen[i].sender, i < 3 ? IpAddr::any_v4() : kNew4);
    EXPECT_EQ(seen[i].target, kNew4);
    EXPECT_EQ(seen[i].sender_mac, kOurMac);
    EXPECT_EQ(seen[i].target_mac, MacAddr{});
  }
}

TEST_F(LifecycleTest, ArpOfAnotherStationDuringTheTestTakesTheIpv4AddressAway) {
  ASSERT_TRUE(ip_->add_address(if_, {kNew4, 24}, now_));
  hear_arp(IpAddr::any_v4(), kNew4);
  EXPECT_EQ(state(kNew4), "optimistic") << "another's question is answered: the address is in use";
  EXPECT_EQ(arp_of(sent_one()).operation, wire::ArpOperation::kReply);
  hear_arp(kNew4, peer4_);
  EXPECT_EQ(state(kNew4), "duplicated");
  EXPECT_FALSE(ip_->is_local(kNew4));
  EXPECT_TRUE(ip_->route(peer4_, {}, 0)) << "the prefix still belongs to the other address";
}

// RFC 5227 2.4 b
TEST_F(LifecycleTest, SettledAddressIsDefendedOnceThenGivenUp) {
  hear_arp(our4_, peer4_);
  const auto defence = arp_of(sent_one());
  EXPECT_EQ(defence.sender, our4_);
  EXPECT_EQ(defence.target, our4_);
  EXPECT_EQ(state(our4_), "preferred");
  advance(seconds(3));
  hear_arp(our4_, peer4_);
  EXPECT_EQ(state(our4_), "duplicated");
  EXPECT_FALSE(ip_->is_local(our4_));
  EXPECT_FALSE(ip_->route(peer4_, {}, 0)) << "the connected route went with it";
  EXPECT_EQ(count("address.defended"), 1U);
}

// RFC 5227 2.4 c
TEST_F(LifecycleTest, KeptAddressIsDefendedEveryTenSecondsAtMost) {
  ASSERT_TRUE(ip_->set_options(if_, {.detect_duplicates = true, .keep_address = true}, now_));
  for (int i = 0; i < 50; ++i) {
    hear_arp(our4_, peer4_);
    advance(milliseconds(500));
  }
  EXPECT_EQ(state(our4_), "preferred");
  EXPECT_EQ(count("address.defended"), 3U);
}

TEST_F(LifecycleTest, ProbeOfAnotherStationForASettledAddressIsAnswered) {
  hear_arp(IpAddr::any_v4(), our4_);
  const auto answer = arp_of(sent_one());
  EXPECT_EQ(answer.operation, wire::ArpOperation::kReply);
  EXPECT_EQ(answer.sender, our4_);
  EXPECT_EQ(state(our4_), "preferred");
}

TEST_F(LifecycleTest, LinkThatComesBackIsAskedAgain) {
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  ASSERT_TRUE(ip_->set_link(if_, true, now_));
  EXPECT_EQ(state(our6_), "optimistic");
  EXPECT_TRUE(ip_->is_local(our6_));
  advance({});
  EXPECT_EQ(sent().size(), 3U) << "two IPv6 addresses and one IPv4 address are probed";
  settle();
  EXPECT_EQ(state(our6_), "preferred");
}

TEST_F(LifecycleTest, OptionsOfLoopbackAndOfNoInterfaceAreRefused) {
  const IfIndex lo = add_loopback();
  EXPECT_EQ(ip_->set_options(lo, {}, now_).error(), Error::kInvalid);
  EXPECT_EQ(ip_->set_options(static_cast<IfIndex>(9), {}, now_).error(), Error::kNotFound);
}

}  // namespace
}  // namespace millrace::ip
