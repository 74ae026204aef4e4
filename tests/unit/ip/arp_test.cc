// ARP: answering, learning (RFC 826), announcing, and packets that wait for an answer.
#include "fixture.h"

namespace millrace::ip {
namespace {

using wire::ArpMessage;
using wire::ArpOperation;

class ArpTest : public IpTest {
 protected:
  ArpMessage request(const IpAddr& target) { return {ArpOperation::kRequest, kPeerMac, peer4_, {}, target}; }
  ArpMessage reply(const MacAddr& mac) { return {ArpOperation::kReply, mac, peer4_, kOurMac, our4_}; }
  void hear(const ArpMessage& m) { EXPECT_FALSE(input(arp_frame(m, kOurMac) + Frame(18))); }
  static ArpMessage parse(const Frame& f) {
    const auto view = wire::ArpView::check(wire::Bytes(f).subspan(14));
    EXPECT_TRUE(view);
    return ArpMessage::parse(*view);
  }
  static MacAddr to(const Frame& f) { return wire::load_mac(f.data()); }
  std::string state() {
    for (const auto& n : ip_->neighbours()) {
      if (n.addr == peer4_) return n.state + " " + n.mac.to_string();
    }
    return "none";
  }
};

TEST_F(ArpTest, AnswersRequestsForOurAddressAndLearnsTheAsker) {
  hear(request(our4_));
  const Frame f = sent_one();
  EXPECT_EQ(to(f), kPeerMac);
  EXPECT_EQ(parse(f), (ArpMessage{ArpOperation::kReply, kOurMac, our4_, kPeerMac, peer4_}));
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:02");
}

TEST_F(ArpTest, RequestsForOthersAreIgnoredAndTeachNothingNew) {
  hear(request(addr("192.0.2.50")));
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(state(), "none");
  EXPECT_EQ(count("arp.drop.not_ours"), 1U);
}

TEST_F(ArpTest, RequestsForOthersUpdateAKnownNeighbour) {
  hear(request(our4_));
  auto moved = request(addr("192.0.2.50"));
  moved.sender_mac = kOtherMac;
  hear(moved);
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:03");
}

TEST_F(ArpTest, RepliesToOthersConfirmNothing) {
  hear(request(our4_));
  auto other = reply(kPeerMac);
  other.target = addr("192.0.2.50");
  hear(other);
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:02");
  hear(reply(kPeerMac));
  EXPECT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
}

TEST_F(ArpTest, AnAddressThatBecomesOursIsNoNeighbourAnyMore) {
  hear(request(our4_));
  ASSERT_TRUE(ip_->add_address(if_, {peer4_, 24}, now_));
  EXPECT_TRUE(ip_->neighbours().empty());
}

// RFC 5227 2.1.1: a probe has no sender address.
TEST_F(ArpTest, ProbesAreAnsweredAndTeachNothing) {
  auto probe = request(our4_);
  probe.sender = IpAddr::any_v4();
  hear(probe);
  EXPECT_EQ(parse(sent_one()).operation, ArpOperation::kReply);
  EXPECT_TRUE(ip_->neighbours().empty());
}

TEST_F(ArpTest, AddressOfAnotherInterfaceIsNotAnsweredHere) {
  const IfIndex other = *ip_->add_interface({"eth1", link::LinkKind::kEthernet, kOtherMac, {}});
  ASSERT_TRUE(ip_->add_address(other, prefix("198.51.100.1/24"), now_));
  hear(request(addr("198.51.100.1")));
  EXPECT_TRUE(sent().empty());
}

TEST_F(ArpTest, NonsenseIsDroppedByName) {
  const auto expect = [&](ArpMessage m, const char* name) {
    const uint64_t before = count(name);
    hear(m);
    EXPECT_EQ(count(name), before + 1) << name;
  };
  auto m = request(our4_);
  m.sender_mac = kBroadcastMac;
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kArp, [&] {
    Frame f(wire::kArpSize);
    m.emit(f);
    return f;
  }())));
  EXPECT_EQ(count("arp.drop.bad_sender"), 1U);
  m = request(our4_);
  m.sender = addr("224.0.0.1");
  expect(m, "arp.drop.bad_sender");
  m = request(our4_);
  m.sender_mac = kOurMac;
  expect(m, "arp.drop.bad_sender");
  m = request(our4_);
  m.operation = ArpOperation{9};
  expect(m, "arp.drop.bad_operation");
  m = request(our4_);
  m.sender = our4_;
  expect(m, "arp.drop.conflict");
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kArp, bytes(27))));
  EXPECT_EQ(count("arp.drop.malformed"), 1U);
  EXPECT_TRUE(sent().empty());
  EXPECT_TRUE(ip_->neighbours().empty());
}

TEST_F(ArpTest, NewAddressIsAnnounced) {
  ASSERT_TRUE(ip_->add_address(if_, prefix("192.0.2.2/24"), now_));
  const Frame f = sent_one();
  EXPECT_EQ(to(f), kBroadcastMac);
  EXPECT_EQ(parse(f), (ArpMessage{ArpOperation::kRequest, kOurMac, addr("192.0.2.2"), {}, addr("192.0.2.2")}));
}

TEST_F(ArpTest, FirstPacketAsksAndWaitsForTheAnswer) {
  send_tcp(peer4_);
  const Frame ask = sent_one();
  EXPECT_EQ(to(ask), kBroadcastMac);
  EXPECT_EQ(parse(ask), (ArpMessage{ArpOperation::kRequest, kOurMac, our4_, {}, peer4_}));
  EXPECT_EQ(ip_->packets_held(), 1U);
  hear(reply(kPeerMac));
  const Frame f = sent_one();
  EXPECT_EQ(to(f), kPeerMac);
  EXPECT_EQ(wire::load_mac(&f[6]), kOurMac);
  EXPECT_EQ(Frame(f.begin() + 14, f.end()), datagram(our4_, peer4_, 6, tcp_header(1000, 80, 7)));
  EXPECT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
}

TEST_F(ArpTest, ARequestFromTheNeighbourServesAsTheAnswer) {
  send_tcp(peer4_);
  (void)sent();
  hear(request(our4_));
  EXPECT_EQ(sent().size(), 2U) << "the waiting packet and the reply";
  EXPECT_EQ(state(), "DELAY 02:00:00:00:00:02") << "it was used at once";
}

TEST_F(ArpTest, OnlyTheNewestPacketsWait) {
  for (uint32_t i = 0; i < 68; ++i) send_tcp(peer4_, i);
  EXPECT_EQ(count("neigh.drop.queue_full"), 4U);
  (void)sent();
  hear(reply(kPeerMac));
  const auto out = sent();
  ASSERT_EQ(out.size(), 64U);
  EXPECT_EQ(wire::load_be32(&out.front()[38]), 4U) << "the oldest four are gone";
  EXPECT_EQ(wire::load_be32(&out.back()[38]), 67U);
}

TEST_F(ArpTest, SilenceFailsEachWaitingSegment) {
  send_tcp(peer4_, 1);
  send_tcp(peer4_, 2);
  for (int i = 0; i < 29; ++i) advance(milliseconds(100));
  EXPECT_TRUE(ip_->errors().empty());
  EXPECT_EQ(sent().size(), 3U);
  advance(milliseconds(100));
  ASSERT_EQ(ip_->errors().size(), 2U);
  const PathError& e = ip_->errors()[1];
  EXPECT_EQ(e.kind, PathError::Kind::kNeighbourFailed);
  EXPECT_EQ(e.source, our4_);
  EXPECT_EQ(e.destination, peer4_);
  EXPECT_EQ(e.source_port, 1000);
  EXPECT_EQ(e.destination_port, 80);
  EXPECT_EQ(e.sequence, 2U);
  EXPECT_EQ(ip_->packets_held(), 0U);
  EXPECT_EQ(count("ip.drop.unresolved"), 2U);
  EXPECT_EQ(ip_->next_deadline(), kNever);
  // The next use asks again.
  send_tcp(peer4_, 3);
  EXPECT_EQ(parse(sent_one()).operation, ArpOperation::kRequest);
}

TEST_F(ArpTest, UnusedNeighbourGoesStaleAndIsProbedOnUse) {
  send_tcp(peer4_);
  hear(reply(kPeerMac));
  (void)sent();
  advance(seconds(46));
  EXPECT_EQ(state(), "STALE 02:00:00:00:00:02");
  send_tcp(peer4_);
  EXPECT_EQ(to(sent_one()), kPeerMac) << "sent at once, while doubting";
  EXPECT_EQ(state(), "DELAY 02:00:00:00:00:02");
  advance(seconds(5));
  const Frame probe = sent_one();
  EXPECT_EQ(to(probe), kPeerMac) << "asked by unicast";
  EXPECT_EQ(parse(probe).operation, ArpOperation::kRequest);
  send_tcp(peer4_);
  EXPECT_EQ(to(sent_one()), kPeerMac);
  hear(reply(kPeerMac));
  EXPECT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
}

TEST_F(ArpTest, ConfirmationKeepsTheNeighbourReachableWithoutProbes) {
  send_tcp(peer4_);
  hear(reply(kPeerMac));
  (void)sent();
  const HopId hop = ip_->route(peer4_, {}, 0)->hop;
  for (int i = 0; i < 100; ++i) {
    advance(seconds(2));
    ASSERT_EQ(state(), "REACHABLE 02:00:00:00:00:02") << i;
    ip_->confirm(hop, now_);
  }
  EXPECT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
  EXPECT_TRUE(sent().empty());
}

TEST_F(ArpTest, DoubtedNeighbourIsAskedAtOnceAndGivenUpWithoutAnAnswer) {  // RFC 1122 3.3.1.4
  send_tcp(peer4_);
  hear(reply(kPeerMac));
  (void)sent();
  ip_->suspect(ip_->route(peer4_, {}, 0)->hop, now_);
  advance(milliseconds(1));
  EXPECT_EQ(sent().size(), 1u);
  EXPECT_EQ(state(), "PROBE 02:00:00:00:00:02");
  for (int i = 0; i < 4; ++i) advance(seconds(1));
  EXPECT_EQ(state().substr(0, 6), "FAILED");
}

TEST_F(ArpTest, ConfirmationOfAnUnknownHopIsHarmless) {
  const HopId hop = ip_->route(peer4_, {}, 0)->hop;
  ip_->suspect(hop, now_);
  ip_->suspect(HopId::kNone, now_);
  ip_->confirm(hop, now_);
  ip_->confirm(HopId::kNone, now_);
  EXPECT_EQ(state(), "none");
}

// RFC 6583 2: a scan of the prefix does not shut newcomers out.
TEST_F(ArpTest, FullTableGivesUpTheNeighbourThatIsResolvedForLongest) {
  Config config;
  config.max_neighbours = 2;
  make(config);
  for (int i = 10; i < 12; ++i) send_tcp(IpAddr::v4(192, 0, 2, static_cast<uint8_t>(i)));
  send_tcp(peer4_);
  EXPECT_EQ(count("neigh.given_up"), 1U);
  EXPECT_EQ(count("ip.drop.neighbour_table_full"), 1U) << "what waited for it";
  EXPECT_EQ(ip_->neighbours().size(), 2U);
  (void)sent();
  hear(reply(kPeerMac));
  EXPECT_EQ(to(sent_one()), kPeerMac);
  advance(seconds(1)), advance(seconds(1)), advance(seconds(1));
  send_tcp(addr("192.0.2.12"));
  EXPECT_EQ(count("neigh.evicted"), 1U) << "one that failed goes first";
  EXPECT_EQ(count("neigh.given_up"), 1U);
}

TEST_F(ArpTest, FullTableOfUsedNeighboursRefusesNewOnes) {
  Config config;
  config.max_neighbours = 2;
  make(config);
  for (int i = 10; i < 12; ++i) {
    ASSERT_TRUE(ip_->add_neighbour(if_, IpAddr::v4(192, 0, 2, static_cast<uint8_t>(i)), kOtherMac));
  }
  send_tcp(peer4_);
  EXPECT_EQ(count("neigh.table_full"), 1U);
  EXPECT_EQ(count("ip.drop.neighbour_table_full"), 1U);
}

TEST_F(ArpTest, HopNumbersAreRecycledWhenTheTableIsFull) {
  Config config;
  config.max_neighbours = 2;
  make(config);
  ASSERT_TRUE(ip_->add_neighbour(if_, peer4_, kPeerMac));
  const Route kept = *ip_->route(peer4_, {}, 0);
  send_tcp(peer4_);
  const uint16_t epoch = ip_->epoch();
  for (int i = 10; i < 200; ++i) {
    ASSERT_TRUE(ip_->route(IpAddr::v4(192, 0, 2, static_cast<uint8_t>(i)), {}, 0).has_value()) << i;
  }
  EXPECT_NE(ip_->epoch(), epoch);
  EXPECT_GT(count("ip.hops_recycled"), 100U);
  EXPECT_EQ(ip_->route(peer4_, {}, 0)->hop, kept.hop) << "a hop with a neighbour keeps its number";
  (void)sent();
  send_tcp(peer4_);
  EXPECT_EQ(to(sent_one()), kPeerMac);
}

TEST_F(ArpTest, NeighbourThatLostItsHopDoesNotTouchTheNextOwner) {
  Config config;
  config.max_neighbours = 2;
  make(config);
  for (int i = 10; i < 15; ++i) ASSERT_TRUE(ip_->route(IpAddr::v4(192, 0, 2, static_cast<uint8_t>(i)), {}, 0));
  const HopId last = ip_->route(peer4_, {}, 0)->hop;
  send_tcp(peer4_);
  for (int i = 0; i < 3; ++i) advance(seconds(1));
  const IpAddr heir = addr("192.0.2.77");
  ASSERT_EQ(ip_->route(heir, {}, 0)->hop, last) << "the hop of the neighbour that failed has a new owner";
  ASSERT_TRUE(ip_->add_neighbour(if_, heir, kOtherMac));
  send_tcp(heir);
  hear(request(our4_));
  hear(reply(kPeerMac));
  ASSERT_EQ(state(), "REACHABLE 02:00:00:00:00:02");
  (void)sent();
  send_tcp(heir);
  EXPECT_EQ(to(sent_one()), kOtherMac);
}

TEST_F(ArpTest, StaticNeighbourReleasesWhatWaits) {
  send_tcp(peer4_);
  (void)sent();
  ASSERT_TRUE(ip_->add_neighbour(if_, peer4_, kOtherMac));
  EXPECT_EQ(to(sent_one()), kOtherMac);
  hear(reply(kPeerMac));
  EXPECT_EQ(state(), "PERMANENT 02:00:00:00:00:03");
  ASSERT_TRUE(ip_->remove_neighbour(if_, peer4_));
  send_tcp(peer4_);
  EXPECT_EQ(parse(sent_one()).operation, ArpOperation::kRequest);
}

TEST_F(ArpTest, LinkDownForgetsNeighboursAndDropsWhatWaits) {
  send_tcp(peer4_);
  ASSERT_TRUE(ip_->set_link(if_, false, now_));
  EXPECT_EQ(ip_->packets_held(), 0U);
  EXPECT_EQ(state(), "none");
  EXPECT_FALSE(ip_->route(peer4_, {}, 0));
  ASSERT_TRUE(ip_->set_link(if_, true, now_));
  EXPECT_EQ(sent().size(), 3U) << "the addresses are announced again";
  send_tcp(peer4_);
  EXPECT_EQ(parse(sent_one()).target, peer4_);
}

}  // namespace
}  // namespace millrace::ip
