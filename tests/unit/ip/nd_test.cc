// Neighbour discovery: answering, learning by the rules of RFC 4861 7.2.5, solicitations.
#include "fixture.h"

namespace millrace::ip {
namespace {

const IpAddr kAllNodes = addr("ff02::1");

class NdTest : public IpTest {
 protected:
  NdTest() : link_local_(addr("fe80::ff:fe00:1")) {}

  template <class Message>
  Frame message(const Message& m, const IpAddr& from, const IpAddr& to) {
    Frame out(Message::kMaxSize);
    out.resize(m.emit(out, from, to));
    return out;
  }
  template <class Message>
  void hear(const Message& m, const IpAddr& from, const IpAddr& to, uint8_t hops = 255) {
    const MacAddr mac = to.is_multicast() ? wire::multicast_mac_v6(to) : kOurMac;
    EXPECT_FALSE(input(ethernet(mac, kPeerMac, wire::EtherType::kIpv6,
                                datagram(from, to, wire::kProtocolIcmpv6, message(m, from, to), hops))));
  }
  void advert(std::optional<MacAddr> mac, bool solicited, bool override_cache) {
    hear(wire::NeighbourAdvertisement{peer6_, false, solicited, override_cache, mac}, peer6_,
         solicited ? our6_ : kAllNodes);
  }
  struct Sent {
    MacAddr mac;
    wire::Ipv6Header ip;
    wire::NdView nd;
    bool checksum_ok;
  };
  // Reads a frame that must be a neighbour discovery message.
  static Sent parse(const Frame& f) {
    const auto ip = wire::Ipv6View::check(wire::Bytes(f).subspan(14));
    EXPECT_TRUE(ip);
    const auto nd = wire::NdView::check(ip->payload());
    EXPECT_TRUE(nd);
    const auto icmp = wire::Icmpv6View::check(ip->payload());
    return {wire::load_mac(f.data()), wire::Ipv6Header::parse(*ip), *nd,
            icmp->checksum_ok(ip->source(), ip->destination())};
  }
  std::string state() {
    for (const auto& n : ip_->neighbours()) {
      if (n.addr == peer6_) return n.state + " " + n.mac.to_string();
    }
    return "none";
  }
  void reachable() {
    send_tcp(peer6_);
    advert(kPeerMac, true, true);
    (void)sent();
    ASSERT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
  }

  IpAddr link_local_;
};

TEST_F(NdTest, LinkLocalAddressIsMadeFromTheMac) {
  EXPECT_TRUE(ip_->is_local(link_local_));
  EXPECT_EQ(ip_->addresses().front().prefix, prefix("fe80::ff:fe00:1/64"));
}

TEST_F(NdTest, AnswersSolicitationsForEachOfOurAddresses) {
  for (const IpAddr& target : {our6_, link_local_}) {
    hear(wire::NeighbourSolicitation{target, kPeerMac}, peer6_, wire::solicited_node(target));
    const Frame f = sent_one();
    const Sent s = parse(f);
    EXPECT_EQ(s.mac, kPeerMac);
    EXPECT_EQ(s.ip.source, target);
    EXPECT_EQ(s.ip.destination, peer6_);
    EXPECT_EQ(s.ip.hop_limit, 255);
    EXPECT_TRUE(s.checksum_ok);
    EXPECT_EQ(wire::NeighbourAdvertisement::parse(s.nd),
              (wire::NeighbourAdvertisement{target, false, true, true, kOurMac}));
  }
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:02");
}

TEST_F(NdTest, UnicastProbeWithoutLinkAddressIsAnsweredThroughTheTable) {
  reachable();
  hear(wire::NeighbourSolicitation{our6_, std::nullopt}, peer6_, our6_);
  const Frame f = sent_one();
  const Sent s = parse(f);
  EXPECT_EQ(s.mac, kPeerMac);
  EXPECT_EQ(s.ip.hop_limit, 255);
  EXPECT_TRUE(s.checksum_ok);
  EXPECT_TRUE(wire::NeighbourAdvertisement::parse(s.nd).solicited);
}

// RFC 4861 7.2.4: duplicate address detection is answered to all nodes, unsolicited.
TEST_F(NdTest, DuplicateAddressDetectionIsAnsweredToAllNodes) {
  hear(wire::NeighbourSolicitation{our6_, std::nullopt}, IpAddr(), wire::solicited_node(our6_));
  const Frame f = sent_one();
  const Sent s = parse(f);
  EXPECT_EQ(s.ip.destination, kAllNodes);
  EXPECT_EQ(s.mac, (MacAddr{{0x33, 0x33, 0, 0, 0, 1}}));
  EXPECT_FALSE(wire::NeighbourAdvertisement::parse(s.nd).solicited);
  EXPECT_TRUE(ip_->neighbours().empty());
}

TEST_F(NdTest, SolicitationsForOthersAreIgnored) {
  const IpAddr twin = addr("2001:db8:1::1");  // shares our solicited-node group
  hear(wire::NeighbourSolicitation{twin, kPeerMac}, peer6_, wire::solicited_node(twin));
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(count("nd.drop.not_ours"), 1U);
  EXPECT_EQ(state(), "none");
}

TEST_F(NdTest, AddressOfAnotherInterfaceIsNotAnsweredHere) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {}});
  const IpAddr target = addr("2001:db8:7::1");  // shares the group of our6_
  ASSERT_TRUE(ip_->add_address(other, {target, 64}, now_));
  hear(wire::NeighbourSolicitation{target, kPeerMac}, peer6_, wire::solicited_node(target));
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(count("nd.drop.not_ours"), 1U);
}

// RFC 4861 7.1.1, 7.1.2
TEST_F(NdTest, MessagesThatFailTheChecksAreDropped) {
  const auto solicited = wire::solicited_node(our6_);
  hear(wire::NeighbourSolicitation{our6_, kPeerMac}, peer6_, solicited, 254);
  EXPECT_EQ(count("nd.drop.invalid"), 1U);
  hear(wire::NeighbourSolicitation{our6_, kPeerMac}, IpAddr(), solicited);
  EXPECT_EQ(count("nd.drop.invalid"), 2U) << "unspecified source with a link address";
  send_tcp(peer6_);
  (void)sent();
  hear(wire::NeighbourAdvertisement{peer6_, false, true, true, kPeerMac}, peer6_, kAllNodes);
  EXPECT_EQ(count("nd.drop.invalid"), 3U) << "solicited but to a group";
  Frame bad = message(wire::NeighbourAdvertisement{peer6_, false, true, true, kPeerMac}, peer6_, our6_);
  bad[2] ^= std::byte{1};
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6, bad, 255));
  EXPECT_EQ(count("icmp.drop.bad_checksum"), 1U);
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(state(), "INCOMPLETE 00:00:00:00:00:00");
}

TEST_F(NdTest, RouterMessagesAreLeftForLater) {
  hear(wire::RouterSolicitation{kPeerMac}, peer6_, kAllNodes);
  EXPECT_EQ(count("nd.drop.router"), 1U);
}

TEST_F(NdTest, FirstPacketSolicitsByMulticastAndWaits) {
  send_tcp(peer6_);
  const Frame ask = sent_one();
  const Sent s = parse(ask);
  EXPECT_EQ(s.mac, (MacAddr{{0x33, 0x33, 0xff, 0, 0, 9}}));
  EXPECT_EQ(s.ip.source, our6_);
  EXPECT_EQ(s.ip.destination, wire::solicited_node(peer6_));
  EXPECT_EQ(s.ip.hop_limit, 255);
  EXPECT_TRUE(s.checksum_ok);
  EXPECT_EQ(wire::NeighbourSolicitation::parse(s.nd), (wire::NeighbourSolicitation{peer6_, kOurMac}));
  advert(kPeerMac, true, true);
  const Frame f = sent_one();
  EXPECT_EQ(wire::load_mac(f.data()), kPeerMac);
  EXPECT_EQ(Frame(f.begin() + 14, f.end()), datagram(our6_, peer6_, 6, tcp_header(1000, 80, 7)));
}

TEST_F(NdTest, LinkLocalDestinationsAreSolicitedFromOurLinkLocalAddress) {
  send_tcp(addr("fe80::9"));
  const Frame ask = sent_one();
  EXPECT_EQ(parse(ask).ip.source, link_local_);
}

TEST_F(NdTest, SilenceFailsTheWaitingSegment) {
  send_tcp(peer6_, 5);
  for (int i = 0; i < 3; ++i) advance(seconds(1));
  EXPECT_EQ(sent().size(), 3U);
  ASSERT_EQ(ip_->errors().size(), 1U);
  EXPECT_EQ(ip_->errors()[0].kind, PathError::Kind::kNeighbourFailed);
  EXPECT_EQ(ip_->errors()[0].destination, peer6_);
  EXPECT_EQ(ip_->errors()[0].sequence, 5U);
}

TEST_F(NdTest, AdvertisementOfAnUnknownNeighbourMakesNoEntry) {
  advert(kPeerMac, false, true);
  EXPECT_EQ(count("nd.drop.unknown_neighbour"), 1U);
  EXPECT_EQ(state(), "none");
}

TEST_F(NdTest, SpoofedUnsolicitedAdvertWithoutOverrideDoesNotReplaceTheAddress) {
  reachable();
  advert(kOtherMac, false, false);
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:02");
  send_tcp(peer6_);
  EXPECT_EQ(wire::load_mac(sent_one().data()), kPeerMac);
}

TEST_F(NdTest, UnsolicitedAdvertWithOverrideReplacesButIsNotTrustedAsReachable) {
  reachable();
  advert(kOtherMac, false, true);
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:03");
  send_tcp(peer6_);
  EXPECT_EQ(state(), "DELAY 02:00:00:00:00:03");
  (void)sent();
  advance(seconds(5));
  const Frame probe = sent_one();
  EXPECT_EQ(parse(probe).mac, kOtherMac) << "and is probed by unicast";
  EXPECT_EQ(parse(probe).ip.destination, peer6_);
}

TEST_F(NdTest, UnsolicitedAdvertOfTheKnownAddressChangesNothing) {
  reachable();
  advert(kPeerMac, false, true);
  EXPECT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
}

TEST_F(NdTest, AdvertOfOurOwnAddressIsAConflict) {
  hear(wire::NeighbourAdvertisement{our6_, false, false, true, kOtherMac}, peer6_, kAllNodes);
  EXPECT_EQ(count("nd.drop.conflict"), 1U);
  EXPECT_TRUE(ip_->neighbours().empty());
}

TEST_F(NdTest, NewAddressIsAdvertised) {
  ASSERT_TRUE(ip_->add_address(if_, prefix("2001:db8::2/64"), now_));
  const Frame f = sent_one();
  const Sent s = parse(f);
  EXPECT_EQ(s.ip.destination, kAllNodes);
  EXPECT_TRUE(s.checksum_ok);
  EXPECT_EQ(wire::NeighbourAdvertisement::parse(s.nd),
            (wire::NeighbourAdvertisement{addr("2001:db8::2"), false, false, true, kOurMac}));
}

}  // namespace
}  // namespace millrace::ip
