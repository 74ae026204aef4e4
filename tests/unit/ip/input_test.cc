// What comes in: which frames and datagrams are for us, and under which name the others are dropped.
#include "fixture.h"

namespace millrace::ip {
namespace {

using wire::EtherType;

class InputTest : public IpTest {
 protected:
  // Feeds a frame that must be dropped under `name`.
  void expect_drop(const Frame& frame, const char* name, size_t piece = pkt::kFrameRoom) {
    const uint64_t before = count(name);
    EXPECT_FALSE(input(frame, piece).has_value()) << name;
    EXPECT_EQ(count(name), before + 1) << name;
  }
  Frame v4(const IpAddr& from, const IpAddr& to, uint8_t protocol = wire::kProtocolTcp) {
    return ethernet(kOurMac, kPeerMac, EtherType::kIpv4, datagram(from, to, protocol, tcp_header(1, 2, 3)));
  }
  Frame v6(const IpAddr& from, const IpAddr& to, const MacAddr& mac = kOurMac) {
    return ethernet(mac, kPeerMac, EtherType::kIpv6, datagram(from, to, wire::kProtocolTcp, tcp_header(1, 2, 3)));
  }
  // Changes an IPv4 header behind Ethernet and mends its checksum.
  template <class Change>
  Frame changed_v4(Change change) {
    Frame f = v4(peer4_, our4_);
    change(&f[14]);
    wire::store_be16(&f[24], 0);
    wire::store_be16(&f[24], wire::finish(wire::ipv4_base_sum(&f[14])));
    return f;
  }
};

TEST_F(InputTest, DeliversTcpOverIpv4) {
  const auto d = receive(peer4_, our4_, wire::kProtocolTcp, tcp_header(1, 2, 3) + bytes(5));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->source, peer4_);
  EXPECT_EQ(d->destination, our4_);
  EXPECT_EQ(d->protocol, wire::kProtocolTcp);
  EXPECT_EQ(d->ttl, 64);
  EXPECT_EQ(d->interface, if_);
  EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3) + bytes(5));
}

TEST_F(InputTest, DeliversTcpOverIpv6) {
  const auto d = receive(peer6_, our6_, wire::kProtocolTcp, tcp_header(1, 2, 3) + bytes(5));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->source, peer6_);
  EXPECT_EQ(d->destination, our6_);
  EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3) + bytes(5));
}

TEST_F(InputTest, EthernetPaddingIsCutOff) {
  const auto d = input(v4(peer4_, our4_) + bytes(6));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->packet->total, 20U);
  const auto d6 = input(v6(peer6_, our6_) + bytes(6));
  ASSERT_TRUE(d6);
  EXPECT_EQ(d6->packet->total, 20U);
}

TEST_F(InputTest, PaddingInFurtherSegmentsIsFreed) {
  const auto d = input(v4(peer4_, our4_) + bytes(100), 60);
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3));
  EXPECT_EQ(d->packet->segs, 1);
  EXPECT_EQ(d->packet->next, nullptr);
}

TEST_F(InputTest, HeadersScatteredOverSegmentsAreGathered) {
  for (const size_t piece : {1, 3, 7, 14, 20, 33, 34, 35}) {
    const Frame payload = tcp_header(1, 2, 3) + bytes(200);
    for (const bool v4 : {true, false}) {
      const IpAddr& from = v4 ? peer4_ : peer6_;
      const IpAddr& to = v4 ? our4_ : our6_;
      const auto d = input(ethernet(kOurMac, kPeerMac, type_of(to), datagram(from, to, 6, payload)), piece);
      ASSERT_TRUE(d) << piece;
      EXPECT_GE(d->packet->len, 60);
      EXPECT_EQ(content(*d->packet), payload);
    }
  }
}

TEST_F(InputTest, ReceiveFlagsSurvive) {
  pkt::Packet* p = packet(v4(peer4_, our4_));
  p->flags |= pkt::kRxL4ChecksumGood | pkt::kRxIpChecksumGood;
  const auto d = ip_->input(if_, p, now_);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->packet->flags & pkt::kRxL4ChecksumMask, pkt::kRxL4ChecksumGood);
  owned_.push_back(d->packet);
}

TEST_F(InputTest, FramesThatAreNotForUsAreDropped) {
  expect_drop(ethernet(kOtherMac, kPeerMac, EtherType::kIpv4, bytes(40)), "eth.drop.not_ours");
  expect_drop(ethernet(MacAddr{{0x33, 0x33, 0xff, 9, 9, 9}}, kPeerMac, EtherType::kIpv6, bytes(40)),
              "eth.drop.not_ours");
  expect_drop(ethernet(kOurMac, MacAddr{{3, 0, 0, 0, 0, 2}}, EtherType::kIpv4, bytes(40)), "eth.drop.bad_source");
  expect_drop(ethernet(kOurMac, kPeerMac, EtherType::kVlan, bytes(40)), "eth.drop.vlan");
  expect_drop(ethernet(kOurMac, kPeerMac, EtherType{0x1234}, bytes(40)), "eth.drop.unknown_type");
  expect_drop(bytes(13), "eth.drop.runt");
  expect_drop(bytes(13), "eth.drop.runt", 4);
}

TEST_F(InputTest, UnknownOrDownInterfaceDrops) {
  EXPECT_FALSE(ip_->input(IfIndex{9}, packet(v4(peer4_, our4_)), now_));
  EXPECT_EQ(count("eth.drop.no_interface"), 1U);
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  expect_drop(v4(peer4_, our4_), "eth.drop.link_down");
}

TEST_F(InputTest, MalformedIpv4IsDropped) {
  expect_drop(ethernet(kOurMac, kPeerMac, EtherType::kIpv4, bytes(19)), "ip.drop.truncated");
  expect_drop(changed_v4([](std::byte* h) { h[0] = std::byte{0x55}; }), "ip.drop.bad_header");
  expect_drop(changed_v4([](std::byte* h) { h[0] = std::byte{0x44}; }), "ip.drop.bad_header");
  expect_drop(changed_v4([](std::byte* h) { wire::store_be16(h + 2, 19); }), "ip.drop.bad_header");
  expect_drop(changed_v4([](std::byte* h) { wire::store_be16(h + 2, 41); }), "ip.drop.truncated");
  Frame bad = v4(peer4_, our4_);
  bad[24] ^= std::byte{1};
  expect_drop(bad, "ip.drop.bad_checksum");
}

TEST_F(InputTest, DeviceVerdictOnTheHeaderChecksumCounts) {
  pkt::Packet* bad = packet(v4(peer4_, our4_));
  bad->flags |= pkt::kRxIpChecksumBad;
  EXPECT_FALSE(ip_->input(if_, bad, now_));
  EXPECT_EQ(count("ip.drop.bad_checksum"), 1U);
  Frame f = v4(peer4_, our4_);
  f[24] ^= std::byte{1};
  pkt::Packet* good = packet(f);
  good->flags |= pkt::kRxIpChecksumGood;
  const auto d = ip_->input(if_, good, now_);
  ASSERT_TRUE(d);
  owned_.push_back(d->packet);
}

TEST_F(InputTest, MalformedIpv6IsDropped) {
  expect_drop(ethernet(kOurMac, kPeerMac, EtherType::kIpv6, bytes(39)), "ip.drop.truncated");
  Frame f = v6(peer6_, our6_);
  f[14] = std::byte{0x40};
  expect_drop(f, "ip.drop.bad_header");
  f = v6(peer6_, our6_);
  wire::store_be16(&f[18], 21);
  expect_drop(f, "ip.drop.truncated");
}

TEST_F(InputTest, Ipv4MappedAddressesOnTheWireAreRefused) {
  Frame f = v6(peer6_, our6_);
  wire::store_v6(&f[22], our4_);
  expect_drop(f, "ip.drop.bad_header");
}

TEST_F(InputTest, MartianSourcesAreDropped) {
  for (const char* from : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                           "192.0.2.255", "192.0.2.1"}) {
    SCOPED_TRACE(from);
    expect_drop(v4(addr(from), our4_), "ip.drop.martian_source");
  }
  for (const char* from : {"::", "::1", "ff02::1", "2001:db8::1"}) {
    SCOPED_TRACE(from);
    expect_drop(v6(addr(from), our6_), "ip.drop.martian_source");
  }
}

TEST_F(InputTest, NothingIsForwarded) {
  expect_drop(v4(peer4_, addr("192.0.2.77")), "ip.drop.not_for_us");
  expect_drop(v6(peer6_, addr("2001:db8::77")), "ip.drop.not_for_us");
  EXPECT_TRUE(sent().empty());
}

TEST_F(InputTest, LinkLocalAddressOfAnotherInterfaceIsNotReachedHere) {
  ASSERT_TRUE(ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {}}));
  EXPECT_TRUE(input(v6(addr("fe80::9"), addr("fe80::ff:fe00:1"))));
  expect_drop(v6(addr("fe80::9"), addr("fe80::ff:fe00:3")), "ip.drop.not_for_us");
}

TEST_F(InputTest, LoopbackAddressesDoNotComeFromTheWire) {
  add_loopback();
  expect_drop(v4(peer4_, addr("127.0.0.1")), "ip.drop.not_for_us");
  expect_drop(v6(peer6_, addr("::1")), "ip.drop.not_for_us");
}

TEST_F(InputTest, GroupsAreDropped) {
  expect_drop(v4(peer4_, addr("255.255.255.255")), "ip.drop.broadcast");
  expect_drop(v4(peer4_, addr("192.0.2.255")), "ip.drop.broadcast");
  expect_drop(v4(peer4_, addr("224.0.0.1")), "ip.drop.multicast");
  expect_drop(v6(peer6_, addr("ff02::2")), "ip.drop.multicast");
  expect_drop(v6(peer6_, addr("ff02::1")), "ip.drop.multicast");  // no TCP to a group
}

TEST_F(InputTest, UnicastInABroadcastFrameIsDropped) {
  Frame f = v4(peer4_, our4_);
  wire::store_mac(f.data(), kBroadcastMac);
  expect_drop(f, "ip.drop.link_broadcast");
  expect_drop(v6(peer6_, our6_, MacAddr{{0x33, 0x33, 0, 0, 0, 1}}), "ip.drop.link_broadcast");
}

// RFC 1122 3.2.1.8
TEST_F(InputTest, Ipv4OptionsAreSkippedAndSourceRoutesRefused) {
  const auto with_options = [&](std::initializer_list<int> options) {
    Frame f = v4(peer4_, our4_);
    Frame o;
    for (const int b : options) o.push_back(static_cast<std::byte>(b));
    f.insert(f.begin() + 34, o.begin(), o.end());
    f[14] = static_cast<std::byte>(0x45 + o.size() / 4);
    wire::store_be16(&f[16], static_cast<uint16_t>(40 + o.size()));
    wire::store_be16(&f[24], 0);
    wire::store_be16(&f[24], wire::finish(wire::sum_bytes(&f[14], 20 + o.size())));
    return f;
  };
  const auto d = input(with_options({1, 148, 4, 0, 0, 1, 0, 0}));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3));
  expect_drop(with_options({131, 7, 4, 10, 0, 0, 1, 0}), "ip.drop.source_route");
  expect_drop(with_options({137, 7, 4, 10, 0, 0, 1, 0}), "ip.drop.source_route");
  EXPECT_TRUE(sent().empty());
  learn_peers();
  expect_drop(with_options({1, 7, 40, 4}), "ip.drop.bad_options");
  const Frame error = sent_one();
  EXPECT_EQ(wire::load_u8(&error[34]), 12);
  EXPECT_EQ(wire::load_u8(&error[38]), 21) << "the pointer is at the malformed option";
}

TEST_F(InputTest, HooksMayDropAndSeeTheIpHeader) {
  struct Seen {
    int calls = 0;
    HookVerdict verdict = HookVerdict::kAccept;
    uint8_t version = 0;
  } seen;
  const Hook hook = [](void* context, IfIndex, pkt::Packet& p) {
    auto& s = *static_cast<Seen*>(context);
    ++s.calls;
    s.version = static_cast<uint8_t>(wire::load_u8(p.data()) >> 4);
    return s.verdict;
  };
  ip_->set_hook(HookPoint::kInput, hook, &seen);
  EXPECT_TRUE(ip_->has_hook(HookPoint::kInput));
  EXPECT_TRUE(input(v6(peer6_, our6_)));
  EXPECT_EQ(seen.version, 6);
  seen.verdict = HookVerdict::kDrop;
  expect_drop(v4(peer4_, our4_), "ip.drop.hook_input");
  EXPECT_EQ(seen.version, 4);
  ip_->set_hook(HookPoint::kInput, nullptr, nullptr);
  EXPECT_TRUE(input(v4(peer4_, our4_)));
  EXPECT_EQ(seen.calls, 2);
}

TEST_F(InputTest, ExtensionHeadersAreWalked) {
  const Frame pad = {std::byte{wire::kProtocolTcp}, std::byte{0}, std::byte{1}, std::byte{4},
                     std::byte{0},                  std::byte{0}, std::byte{0}, std::byte{0}};
  for (const size_t piece : {size_t{2048}, size_t{50}}) {
    const Frame whole = datagram(peer6_, our6_, wire::kProtocolDestinationOptions, pad + tcp_header(1, 2, 3));
    const auto d = input(ethernet(kOurMac, kPeerMac, EtherType::kIpv6, whole), piece);
    ASSERT_TRUE(d);
    EXPECT_EQ(content(*d->packet), tcp_header(1, 2, 3));
  }
}

}  // namespace
}  // namespace millrace::ip
