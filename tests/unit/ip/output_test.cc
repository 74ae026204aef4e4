// Routes and source addresses, framing, sending, loopback, queues, limits.
#include "fixture.h"

#include "ip/ratelimit.h"

namespace millrace::ip {
namespace {

class OutputTest : public IpTest {
 protected:
  Result<Route> route(const char* to, const char* from = nullptr, uint32_t table = 0) {
    return ip_->route(addr(to), from == nullptr ? IpAddr() : addr(from), table);
  }
  std::string source(const char* to) {
    const auto r = route(to);
    return r ? r->source.to_string() : describe(r.error());
  }
};

TEST_F(OutputTest, RouteFollowsTheLongestPrefixAndTheTable) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {.mtu = 9000}});
  ASSERT_TRUE(ip_->add_address(other, prefix("10.0.0.1/8"), now_));
  EXPECT_EQ(route("203.0.113.1").error(), Error::kNetUnreachable);
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), if_, addr("192.0.2.254"), 0, 0));
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), other, addr("10.0.0.254"), 5, 0));
  EXPECT_EQ(route("203.0.113.1")->interface, if_);
  EXPECT_EQ(route("203.0.113.1")->source, our4_);
  EXPECT_EQ(route("203.0.113.1", nullptr, 5)->interface, other);
  EXPECT_EQ(route("203.0.113.1", nullptr, 5)->source, addr("10.0.0.1"));
  EXPECT_EQ(route("10.7.0.1")->interface, other);
  EXPECT_EQ(route("10.7.0.1")->mtu, 9000);
  EXPECT_EQ(route("203.0.113.1")->hop, route("203.0.113.2")->hop) << "one hop for all behind a gateway";
  EXPECT_NE(route("203.0.113.1")->hop, route("192.0.2.7")->hop);
  EXPECT_EQ(ip_->hop_interface(route("10.7.0.1")->hop), other);
}

TEST_F(OutputTest, SourceIsChosenByPrefixThenFamily) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {}});
  ASSERT_TRUE(ip_->add_address(if_, prefix("198.51.100.1/24"), now_));
  ASSERT_TRUE(ip_->add_route(prefix("203.0.113.0/24"), if_, addr("198.51.100.254"), 0, 0));
  EXPECT_EQ(source("192.0.2.9"), "192.0.2.1");
  EXPECT_EQ(source("198.51.100.9"), "198.51.100.1");
  EXPECT_EQ(source("203.0.113.9"), "198.51.100.1") << "that of the gateway's prefix";
  ASSERT_TRUE(ip_->add_route(prefix("172.16.0.0/12"), other, {}, 0, 0));
  EXPECT_EQ(source("172.16.0.1"), "192.0.2.1") << "the first of the family, on another interface";
  EXPECT_EQ(source("2001:db8::9"), "2001:db8::1");
  EXPECT_EQ(source("fe80::9"), "fe80::ff:fe00:1");
}

// Whatever route_back() remembers of the last answer, it says what route() says.
TEST_F(OutputTest, AnswersGoWhereTheRouteSaysAtTheMoment) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {.mtu = 1'400}});
  const IfIndex lo = add_loopback();
  const auto agrees = [&](const char* what) {
    const auto same = [&](const IpAddr& to, const IpAddr& from, IfIndex interface) {
      const auto wanted = ip_->route(to, from, 0);
      const auto got = ip_->route_back(to, from, interface);
      ASSERT_EQ(got.has_value(), wanted.has_value()) << what << ": " << to.to_string();
      if (!wanted) return;
      EXPECT_EQ(got->hop, wanted->hop) << what << ": " << to.to_string();
      EXPECT_EQ(got->interface, wanted->interface);
      EXPECT_EQ(got->source, wanted->source);
      EXPECT_EQ(got->mtu, wanted->mtu);
    };
    for (const char* to : {"198.51.100.7", "198.51.100.8", "203.0.113.9", "192.0.2.77", "198.51.100.7"}) {
      same(addr(to), our4_, if_);
    }
    for (const char* to : {"2001:db8:9::1", "2001:db8:9::2", "2001:db8::77", "fe80::7"}) same(addr(to), our6_, if_);
    same(addr("127.0.0.1"), addr("127.0.0.1"), lo);
    same(our4_, our4_, lo);
  };
  agrees("no way out");
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), if_, peer4_, 0, 0));
  ASSERT_TRUE(ip_->add_route(prefix("::/0"), if_, peer6_, 0, 0));
  agrees("default gateways");
  ASSERT_TRUE(ip_->add_route(prefix("198.51.100.0/24"), other, addr("203.0.113.1"), 0, 0));
  agrees("a longer prefix");
  (void)ip_->learn_mtu(addr("198.51.100.8"), 1'280, now_);
  agrees("a small path");
  ASSERT_TRUE(ip_->remove_route(prefix("198.51.100.0/24"), other, 0));
  ASSERT_TRUE(ip_->add_route(prefix("198.51.100.0/24"), if_, addr("192.0.2.3"), 0, 0));
  agrees("another gateway in its place");
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  agrees("the link is down");
  (void)sent();
  (void)sent(other);
}

TEST_F(OutputTest, GivenSourceMustBeOurs) {
  EXPECT_EQ(route("192.0.2.9", "192.0.2.1")->source, our4_);
  EXPECT_EQ(route("192.0.2.9", "192.0.2.3").error(), Error::kAddressNotHere);
  EXPECT_EQ(route("192.0.2.9", "2001:db8::1").error(), Error::kAddressNotHere);
}

TEST_F(OutputTest, LinkLocalDestinationUsesTheInterfaceOfItsSource) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {}});
  EXPECT_EQ(route("fe80::9")->interface, if_);
  EXPECT_EQ(route("fe80::9", "fe80::ff:fe00:3")->interface, other);
}

TEST_F(OutputTest, NoRouteToGroupsAndNowhere) {
  ASSERT_TRUE(ip_->add_route(prefix("0.0.0.0/0"), if_, addr("192.0.2.254"), 0, 0));
  ASSERT_TRUE(ip_->add_route(prefix("::/0"), if_, addr("fe80::2"), 0, 0));
  for (const char* to :
       {"0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.255", "127.0.0.1", "::", "::1", "ff02::1"}) {
    EXPECT_EQ(route(to).error(), Error::kNetUnreachable) << to;
  }
  EXPECT_EQ(route("2001:db8:7::1")->source, our6_);
}

TEST_F(OutputTest, EveryChangeMovesTheEpoch) {
  uint16_t before = ip_->epoch();
  const auto moved = [&] {
    const bool m = ip_->epoch() != before;
    before = ip_->epoch();
    return m;
  };
  ASSERT_TRUE(ip_->add_address(if_, prefix("192.0.2.7/24"), now_));
  EXPECT_TRUE(moved());
  ASSERT_TRUE(ip_->add_route(prefix("10.0.0.0/8"), if_, addr("192.0.2.254"), 0, 0));
  EXPECT_TRUE(moved());
  ASSERT_TRUE(ip_->remove_route(prefix("10.0.0.0/8"), if_, 0));
  EXPECT_TRUE(moved());
  ASSERT_TRUE(ip_->remove_address(if_, addr("192.0.2.7"), now_));
  EXPECT_TRUE(moved());
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  EXPECT_TRUE(moved());
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  EXPECT_FALSE(moved()) << "nothing changed";
}

TEST_F(OutputTest, OperatorsGetNamedErrors) {
  EXPECT_EQ(ip_->add_interface({"eth0", link::LinkKind::kEthernet, kOtherMac, {}}).error(), Error::kAlreadyExists);
  EXPECT_EQ(ip_->add_interface({"x", link::LinkKind::kEthernet, kBroadcastMac, {}}).error(), Error::kInvalid);
  EXPECT_EQ(ip_->add_address(IfIndex{9}, prefix("10.0.0.1/8"), now_).error(), Error::kNotFound);
  EXPECT_EQ(ip_->add_address(if_, prefix("192.0.2.1/24"), now_).error(), Error::kAlreadyExists);
  EXPECT_EQ(ip_->add_address(if_, prefix("224.0.0.1/24"), now_).error(), Error::kInvalid);
  EXPECT_EQ(ip_->add_address(if_, prefix("127.0.0.1/8"), now_).error(), Error::kInvalid);
  EXPECT_EQ(ip_->add_address(if_, {addr("10.0.0.1"), 33}, now_).error(), Error::kInvalid);
  EXPECT_EQ(ip_->remove_address(if_, addr("10.0.0.1"), now_).error(), Error::kNotFound);
  EXPECT_EQ(ip_->add_route(prefix("10.0.0.0/8"), IfIndex{9}, {}, 0, 0).error(), Error::kNotFound);
  EXPECT_EQ(ip_->add_route(prefix("10.0.0.0/8"), if_, our4_, 0, 0).error(), Error::kInvalid);
  EXPECT_EQ(ip_->remove_route(prefix("10.0.0.0/8"), if_, 0).error(), Error::kNotFound);
  EXPECT_EQ(ip_->add_neighbour(if_, our4_, kPeerMac).error(), Error::kInvalid);
  EXPECT_EQ(ip_->add_neighbour(IfIndex{9}, peer4_, kPeerMac).error(), Error::kNotFound);
  EXPECT_EQ(ip_->remove_neighbour(if_, peer4_).error(), Error::kNotFound);
  EXPECT_EQ(ip_->set_link(IfIndex{9}, true, now_).error(), Error::kNotFound);
  for (int i = 1; i < 64; ++i) {
    ASSERT_TRUE(ip_->add_interface({"e" + std::to_string(i), link::LinkKind::kEthernet, kOtherMac, {}})) << i;
  }
  EXPECT_EQ(ip_->add_interface({"last", link::LinkKind::kEthernet, kOtherMac, {}}).error(), Error::kTooMany);
}

TEST_F(OutputTest, ConnectedRouteGoesWithTheLastAddressOfItsPrefix) {
  ASSERT_TRUE(ip_->add_address(if_, prefix("192.0.2.7/24"), now_));
  ASSERT_TRUE(ip_->remove_address(if_, our4_, now_));
  EXPECT_FALSE(ip_->is_local(our4_));
  EXPECT_EQ(source("192.0.2.9"), "192.0.2.7");
  ASSERT_TRUE(ip_->remove_address(if_, addr("192.0.2.7"), now_));
  EXPECT_EQ(route("192.0.2.9").error(), Error::kNetUnreachable);
}

TEST_F(OutputTest, FrameIsReadyAtOnceForAKnownNeighbour) {
  learn_peers();
  for (const IpAddr& to : {peer4_, peer6_}) {
    const Route r = *ip_->route(to, {}, 0);
    for (int i = 0; i < 2; ++i) {
      pkt::Packet* p = packet(datagram(r.source, to, 6, tcp_header(1, 2, 3)));
      ASSERT_TRUE(ip_->frame(r.hop, p, now_));
      EXPECT_EQ(content(*p), ethernet(kPeerMac, kOurMac, type_of(to), datagram(r.source, to, 6, tcp_header(1, 2, 3))));
      ip_->transmit(r.interface, p, Lane::kFirst);
    }
    EXPECT_EQ(sent().size(), 2U);
  }
}

TEST_F(OutputTest, FrameWithoutAHopIsDropped) {
  EXPECT_FALSE(ip_->frame(HopId::kNone, packet(bytes(40)), now_));
  EXPECT_EQ(count("ip.drop.no_hop"), 1U);
}

TEST_F(OutputTest, OutputHookSeesEveryDatagramAndMayDrop) {
  learn_peers();
  const Route r = *ip_->route(peer4_, {}, 0);
  send_tcp(peer4_);
  int calls = 0;
  const Hook drop_second = [](void* context, IfIndex, pkt::Packet& p) {
    EXPECT_EQ(wire::load_u8(p.data()), 0x45);
    return ++*static_cast<int*>(context) == 2 ? HookVerdict::kDrop : HookVerdict::kAccept;
  };
  ip_->set_hook(HookPoint::kOutput, drop_second, &calls);
  for (int i = 0; i < 3; ++i) send_tcp(peer4_);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(count("ip.drop.hook_output"), 1U);
  EXPECT_EQ(sent().size(), 3U);
  ip_->set_hook(HookPoint::kOutput, nullptr, nullptr);
  send_tcp(peer4_);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(ip_->route(peer4_, {}, 0)->hop, r.hop);
}

TEST_F(OutputTest, HeaderSaysDontFragmentAndHasItsChecksum) {
  learn_peers();
  send_tcp(peer4_);
  const Frame f = sent_one();
  const auto view = wire::Ipv4View::check(wire::Bytes(f).subspan(14));
  ASSERT_TRUE(view && view->checksum_ok());
  EXPECT_TRUE(view->dont_fragment());
  EXPECT_EQ(view->ttl(), 64);
  EXPECT_EQ(view->total_length(), 40);
}

TEST_F(OutputTest, DeviceThatSumsHeadersGetsFlagsAndLengths) {
  limits_.tx_ip_checksum = true;
  make({});
  learn_peers();
  send_tcp(peer4_);
  pkt::Packet* p = nullptr;
  ASSERT_EQ(ip_->drain(if_, {&p, 1}), 1U);
  EXPECT_EQ(p->flags, pkt::kTxIpChecksum | pkt::kTxIpv4);
  EXPECT_EQ(p->l2_len(), 14U);
  EXPECT_EQ(p->l3_len(), 20U);
  EXPECT_EQ(wire::load_be16(p->at(24)), 0);
  cache_.free(p);
}

TEST_F(OutputTest, TransportOffloadFlagsGetTheHeaderLengths) {
  learn_peers();
  const Route r = *ip_->route(peer6_, {}, 0);
  pkt::Packet* p = packet(tcp_header(1, 2, 3));
  p->flags |= pkt::kTxTcpChecksum;
  p->set_tx_lengths(0, 0, 20, 0);
  ip_->send({r.source, peer6_, 6, 64, 0, r}, p, now_);
  ASSERT_EQ(ip_->drain(if_, {&p, 1}), 1U);
  EXPECT_EQ(p->flags, pkt::kTxTcpChecksum | pkt::kTxIpv6);
  EXPECT_EQ(p->l2_len(), 14U);
  EXPECT_EQ(p->l3_len(), 40U);
  EXPECT_EQ(p->l4_len(), 20U);
  cache_.free(p);
}

TEST_F(OutputTest, LinearCopyKeepsFlagsAndLengths) {
  learn_peers();
  const Route r = *ip_->route(peer4_, {}, 0);
  pkt::Packet* p = packet(tcp_header(1, 2, 3) + bytes(100), 50);
  p->flags |= pkt::kTxTcpChecksum;
  p->set_tx_lengths(0, 0, 20, 0);
  ip_->send({r.source, peer4_, 6, 64, 0, r}, p, now_);
  ASSERT_EQ(ip_->drain(if_, {&p, 1}), 1U);
  EXPECT_EQ(p->segs, 1);
  EXPECT_EQ(p->flags, pkt::kTxTcpChecksum | pkt::kTxIpv4);
  EXPECT_EQ(p->l3_len(), 20U);
  EXPECT_EQ(p->l4_len(), 20U);
  cache_.free(p);
}

TEST_F(OutputTest, DatagramsAboveTheMtuAreDropped) {
  learn_peers();
  const Route r = *ip_->route(peer4_, {}, 0);
  ip_->send({r.source, peer4_, 6, 64, 0, r}, packet(bytes(1480)), now_);
  EXPECT_EQ(sent().size(), 1U);
  ip_->send({r.source, peer4_, 6, 64, 0, r}, packet(bytes(1481)), now_);
  EXPECT_EQ(count("ip.drop.too_big"), 1U);
}

TEST_F(OutputTest, FullQueueDropsTheNewFrame) {
  Config config;
  config.transmit_queue = 3;
  make(config);
  learn_peers();
  for (uint32_t i = 0; i < 5; ++i) send_tcp(peer4_, i);
  EXPECT_EQ(count("ip.drop.transmit_queue_full"), 2U);
  const auto out = sent();
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(wire::load_be32(&out[2][38]), 2U);
  EXPECT_FALSE(ip_->has_output(if_));
}

TEST_F(OutputTest, EmptyPoolIsCountedNotFatal) {
  std::vector<pkt::Packet*> all;
  while (pkt::Packet* p = cache_.frame()) all.push_back(p);
  pkt::Packet* last = all.back();
  all.pop_back();
  std::memcpy(last->append(20), tcp_header(1, 2, 3).data(), 20);
  const Route r = *ip_->route(peer4_, {}, 0);
  ip_->send({r.source, peer4_, 6, 64, 0, r}, last, now_);  // its ARP request has no packet
  EXPECT_EQ(count("ip.drop.no_packet"), 1U);
  EXPECT_EQ(ip_->packets_held(), 1U);
  for (pkt::Packet* p : all) cache_.free(p);
  advance(seconds(1));
  EXPECT_EQ(sent().size(), 1U) << "asked again when there is one";
}

TEST_F(OutputTest, OwnAddressesNeedALoopbackInterface) {
  EXPECT_EQ(route("192.0.2.1").error(), Error::kNetUnreachable);
  const IfIndex lo = add_loopback();
  EXPECT_EQ(route("192.0.2.1")->interface, lo);
  EXPECT_EQ(route("192.0.2.1")->source, our4_);
  EXPECT_EQ(route("192.0.2.1", "127.0.0.1")->source, addr("127.0.0.1"));
  EXPECT_EQ(route("127.8.9.10")->source, addr("127.8.9.10"));
  EXPECT_EQ(route("::1")->mtu, 65'535);
  EXPECT_EQ(route("192.0.2.9", "127.0.0.1").error(), Error::kAddressNotHere);
  ASSERT_TRUE(ip_->set_link(lo, false, now_));
  EXPECT_EQ(route("192.0.2.1").error(), Error::kNetUnreachable);
}

TEST_F(OutputTest, LoopbackFramesComeBackVerified) {
  const IfIndex lo = add_loopback();
  for (const IpAddr& to : {our4_, addr("127.0.0.1"), our6_, addr("::1")}) {
    SCOPED_TRACE(to.to_string());
    const Route r = *ip_->route(to, {}, 0);
    pkt::Packet* p = packet(tcp_header(1, 2, 3));
    p->flags |= pkt::kTxTcpChecksum | pkt::kTxTcpSeg;
    p->set_tx_lengths(0, 0, 20, 1000);
    ip_->send({r.source, to, 6, 64, 0, r}, p, now_);
    EXPECT_TRUE(ip_->has_output(lo));
    ASSERT_EQ(ip_->drain(lo, {&p, 1}), 1U);
    EXPECT_EQ(p->flags, pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumNone | pkt::kRxMerged);
    EXPECT_EQ(p->seg_size(), 1000U);
    const auto d = ip_->input(lo, p, now_);
    ASSERT_TRUE(d);
    owned_.push_back(d->packet);
    EXPECT_EQ(d->source, to);
    EXPECT_EQ(d->destination, to);
    EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3));
  }
}

TEST_F(OutputTest, EchoToOurselvesWorksOverLoopback) {
  const IfIndex lo = add_loopback();
  const Route r = *ip_->route(our4_, {}, 0);
  Frame m = Frame(8) + bytes(8);
  wire::Icmpv4Header::echo_request(1, 1).emit(m);
  ip_->send({r.source, our4_, wire::kProtocolIcmp, 64, 0, r}, packet(m), now_);
  pkt::Packet* p = nullptr;
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(ip_->drain(lo, {&p, 1}), 1U);
    EXPECT_FALSE(ip_->input(lo, p, now_));
  }
  EXPECT_EQ(count("icmp.out.echo_replies"), 1U);
  EXPECT_EQ(count("icmp.drop.echo_reply"), 1U);
}

TEST(TokenBucketTest, GivesBurstThenRate) {
  TokenBucket b(10, 3);
  Instant now{1};
  EXPECT_TRUE(b.take(now) && b.take(now) && b.take(now));
  EXPECT_FALSE(b.take(now));
  EXPECT_FALSE(b.take(now + milliseconds(99)));
  EXPECT_TRUE(b.take(now + milliseconds(100)));
  EXPECT_FALSE(b.take(now + milliseconds(100)));
  now = now + seconds(1'000'000);
  int passed = 0;
  for (int i = 0; i < 10; ++i) passed += b.take(now) ? 1 : 0;
  EXPECT_EQ(passed, 3);
}

}  // namespace
}  // namespace millrace::ip
