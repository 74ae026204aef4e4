// Two workers' tables: the control worker's and a replica's, with the messages between them in the test's hands.
#include "ip/replica.h"

#include "fixture.h"

namespace millrace::ip {
namespace {

const IpAddr kPeer = addr("192.0.2.9");

class Replica : public ::testing::Test {
 protected:
  struct Side {
    explicit Side(uint32_t worker, const Config& base) {
      Config config = base;
      config.packets = &cache;
      config.seed = 7 + worker;
      config.worker = worker;
      ip = std::make_unique<Ip>(config);
      interface = *ip->add_interface({"eth0", link::LinkKind::kEthernet, kOurMac, {}});
    }
    ~Side() {
      ip.reset();
      cache.drain();
      EXPECT_EQ(frames.available(), frames.capacity()) << "leaked packets";
    }
    std::vector<Frame> sent() {
      std::vector<Frame> out;
      pkt::Packet* p = nullptr;
      while (ip->drain(interface, {&p, 1}) == 1) {
        Frame frame(p->total);
        (void)pkt::copy_out(*p, 0, frame);
        out.push_back(frame);
        cache.free(p);
      }
      return out;
    }
    pkt::HeapPacketPool frames{256};
    pkt::HeapPacketPool references{8, 0};
    pkt::PacketCache cache{frames, references};
    std::unique_ptr<Ip> ip;
    IfIndex interface{};
  };

  Replica() { make({}); }
  void make(Config config) {
    config.workers = 2;
    control_ = std::make_unique<Side>(0, config);
    replica_ = std::make_unique<Side>(1, config);
    ASSERT_TRUE(control_->ip->add_address(control_->interface, prefix("192.0.2.1/24"), now_));
    ASSERT_TRUE(control_->ip->add_route(prefix("0.0.0.0/0"), control_->interface, addr("192.0.2.254"), 0, 0));
    (void)control_->sent();
    talk();
  }

  /// Carries everything both ways until nobody has anything to say; returns how many messages went to the replica.
  size_t talk(size_t at_a_time = 16) {
    size_t told = 0;
    std::vector<TableMessage> room(at_a_time);
    for (bool more = true; more;) {
      more = false;
      for (const bool down : {true, false}) {
        Ip& from = *(down ? control_ : replica_)->ip;
        Ip& to = *(down ? replica_ : control_)->ip;
        while (from.has_news(down ? 1 : 0)) {
          const size_t n = from.tell(down ? 1 : 0, room);
          to.hear(down ? 0 : 1, {room.data(), n}, now_);
          if (down) told += n;
          more = true;
        }
      }
    }
    return told;
  }

  /// A TCP segment to `to` leaves the replica; whether it became a frame at once.
  bool send(const IpAddr& to) {
    const auto route = replica_->ip->route(to, {}, 0);
    EXPECT_TRUE(route);
    if (!route) return false;
    pkt::Packet* p = replica_->cache.frame();
    const Frame bytes = datagram(route->source, to, 6, tcp_header(1, 2, 3));
    std::memcpy(p->append(static_cast<uint16_t>(bytes.size())), bytes.data(), bytes.size());
    const bool framed = replica_->ip->frame(route->hop, p, now_);
    hop_ = route->hop;
    if (framed) {
      last_ = wire::load_mac(p->data());
      replica_->cache.free(p);
    }
    return framed;
  }
  void arp_reply(const IpAddr& from, const MacAddr& mac) {
    wire::ArpMessage m{wire::ArpOperation::kReply, mac, from, kOurMac, addr("192.0.2.1")};
    const Frame frame = arp_frame(m, kOurMac);
    pkt::Packet* p = control_->cache.frame();
    std::memcpy(p->append(static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
    EXPECT_FALSE(control_->ip->input(control_->interface, p, now_));
  }
  void pass(Duration d) {
    now_ = now_ + d;
    control_->ip->advance(now_);
    replica_->ip->advance(now_);
  }
  std::string control_state(const IpAddr& of) {
    for (const auto& n : control_->ip->neighbours()) {
      if (n.addr == of) return n.state;
    }
    return "none";
  }

  Instant now_{1'000'000'000};
  std::unique_ptr<Side> control_;
  std::unique_ptr<Side> replica_;
  HopId hop_{};
  MacAddr last_{};
};

TEST_F(Replica, TablesArriveWhole) {
  EXPECT_TRUE(replica_->ip->is_local(addr("192.0.2.1")));
  EXPECT_EQ(replica_->ip->routes().size(), control_->ip->routes().size());
  const uint16_t epoch = replica_->ip->epoch();

  ASSERT_TRUE(control_->ip->add_address(control_->interface, prefix("198.51.100.1/24"), now_));
  ASSERT_TRUE(control_->ip->remove_address(control_->interface, addr("192.0.2.1"), now_));
  // Before the last message nothing is seen.
  std::vector<TableMessage> one(1);
  while (control_->ip->has_news(1)) {
    EXPECT_TRUE(replica_->ip->is_local(addr("192.0.2.1")));
    EXPECT_FALSE(replica_->ip->is_local(addr("198.51.100.1")));
    EXPECT_EQ(replica_->ip->epoch(), epoch);
    ASSERT_EQ(control_->ip->tell(1, one), 1u);
    replica_->ip->hear(0, one, now_);
  }
  EXPECT_FALSE(replica_->ip->is_local(addr("192.0.2.1")));
  EXPECT_TRUE(replica_->ip->is_local(addr("198.51.100.1")));
  EXPECT_NE(replica_->ip->epoch(), epoch) << "cached routes must be looked up again";
}

TEST_F(Replica, AChangeInTheMiddleOfASeriesStartsItAnew) {
  ASSERT_TRUE(control_->ip->add_address(control_->interface, prefix("198.51.100.1/24"), now_));
  std::vector<TableMessage> two(2);
  replica_->ip->hear(0, {two.data(), control_->ip->tell(1, two)}, now_);
  ASSERT_TRUE(control_->ip->remove_address(control_->interface, addr("198.51.100.1"), now_));
  talk(1);
  EXPECT_FALSE(replica_->ip->is_local(addr("198.51.100.1")));
  EXPECT_TRUE(replica_->ip->is_local(addr("192.0.2.1")));
}

// RFC 3376 3.2, RFC 3810 4.2
TEST_F(Replica, RoutersAreAskedForWhatTheSocketsOfAllWorkersWant) {
  for (const IpAddr& group : {addr("239.1.2.3"), addr("ff05::1234")}) {
    const bool v4 = group.is_v4();
    const IpAddr s1 = addr(v4 ? "10.0.0.1" : "fd00::1");
    const IpAddr s2 = addr(v4 ? "10.0.0.2" : "fd00::2");
    const auto asked = [&](size_t at_a_time = 16) -> std::optional<mcast::Filter> {
      talk(at_a_time);
      for (const auto& g : control_->ip->groups()) {
        if (g.group == group) return g.filter;
      }
      return std::nullopt;
    };
    using Filter = mcast::Filter;
    Ip& own = *control_->ip;
    Ip& other = *replica_->ip;
    const IfIndex nif = control_->interface;
    ASSERT_TRUE(other.join(nif, group));
    EXPECT_EQ(asked(), (Filter{true, {}}));
    other.set_sources(nif, group, {false, {s1}});
    EXPECT_EQ(asked(1), (Filter{false, {s1}})) << "message by message";
    ASSERT_TRUE(own.join(nif, group));
    EXPECT_EQ(asked(), (Filter{true, {}})) << "here every source is wanted";
    own.set_sources(nif, group, {false, {s2}});
    EXPECT_EQ(asked(), (Filter{false, {s1, s2}}));
    other.set_sources(nif, group, {true, {s1, s2}});
    EXPECT_EQ(asked(), (Filter{true, {s1}})) << "one of the blocked is wanted here";
    ASSERT_TRUE(other.leave(nif, group));
    EXPECT_EQ(asked(), (Filter{false, {s2}})) << "the other's wish went with it";
    ASSERT_TRUE(other.join(nif, group));
    other.set_sources(nif, group, {false, {s1}});
    EXPECT_EQ(asked(), (Filter{false, {s1, s2}}));
    ASSERT_TRUE(own.leave(nif, group));
    EXPECT_EQ(asked(), (Filter{false, {s1}})) << "so did ours";
    ASSERT_TRUE(own.join(nif, group));
    EXPECT_EQ(asked(), (Filter{true, {}})) << "a new member begins anew";
    ASSERT_TRUE(own.leave(nif, group));
    ASSERT_TRUE(other.leave(nif, group));
    EXPECT_EQ(asked(), std::nullopt);
  }
}

TEST_F(Replica, MoreSourcesThanRoutersAreToldMeanAllAcrossWorkersToo) {
  const IpAddr group = addr("239.1.2.3");
  const IfIndex nif = control_->interface;
  const auto sources = [](uint8_t net) {
    mcast::Filter f;
    for (uint32_t i = 0; i < mcast::kMaxSources; ++i) f.sources.push_back(IpAddr::v4(10, 0, net, uint8_t(i)));
    return f;
  };
  ASSERT_TRUE(replica_->ip->join(nif, group));
  replica_->ip->set_sources(nif, group, sources(1));
  talk();
  EXPECT_EQ(control_->ip->groups().at(0).filter, sources(1));
  ASSERT_TRUE(control_->ip->join(nif, group));
  control_->ip->set_sources(nif, group, sources(2));
  EXPECT_EQ(control_->ip->groups().at(0).filter, (mcast::Filter{true, {}}));
}

TEST_F(Replica, PacketsWaitUntilTheControlWorkerHasResolved) {
  EXPECT_FALSE(send(kPeer));
  talk();
  EXPECT_TRUE(replica_->sent().empty()) << "a replica asks no neighbour";
  ASSERT_EQ(control_->sent().size(), 1u);  // the request
  arp_reply(kPeer, kPeerMac);
  talk();
  const auto frames = replica_->sent();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(wire::load_mac(frames[0].data()), kPeerMac);
  EXPECT_TRUE(send(kPeer));
  EXPECT_EQ(last_, kPeerMac);
}

TEST_F(Replica, WhatTheControlWorkerKnowsAlreadyIsAnsweredAtOnce) {
  ASSERT_TRUE(control_->ip->add_neighbour(control_->interface, kPeer, kOtherMac));
  talk();
  EXPECT_FALSE(send(kPeer));
  talk();
  EXPECT_EQ(replica_->sent().size(), 1u);
  EXPECT_TRUE(send(kPeer));
  EXPECT_EQ(last_, kOtherMac);
}

TEST_F(Replica, AnUnansweredNeighbourFailsWhatWaited) {
  EXPECT_FALSE(send(kPeer));
  talk();
  for (int i = 0; i < 5; ++i) {
    pass(seconds(1));
    talk();
  }
  ASSERT_EQ(replica_->ip->errors().size(), 1u);
  EXPECT_EQ(replica_->ip->errors()[0].kind, PathError::Kind::kNeighbourFailed);
  EXPECT_EQ(replica_->ip->packets_held(), 0u);
  // The next packet asks again.
  (void)control_->sent();
  EXPECT_FALSE(send(kPeer));
  talk();
  EXPECT_EQ(control_->sent().size(), 1u);
}

TEST_F(Replica, AFullTableAtTheControlWorkerFailsWhatWaited) {
  make({.max_neighbours = 1});
  ASSERT_TRUE(control_->ip->add_neighbour(control_->interface, addr("192.0.2.8"), kOtherMac));
  EXPECT_FALSE(send(kPeer));
  talk();
  EXPECT_EQ(replica_->ip->errors().size(), 1u);
  EXPECT_EQ(replica_->ip->packets_held(), 0u);
}

TEST_F(Replica, UseOfAStaleNeighbourMakesTheControlWorkerProbe) {
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  pass(seconds(60));
  EXPECT_EQ(control_state(kPeer), "STALE");
  talk();
  (void)control_->sent();
  EXPECT_TRUE(send(kPeer)) << "the address that is known is used meanwhile";
  talk();
  EXPECT_EQ(control_state(kPeer), "DELAY");
  pass(seconds(6));
  EXPECT_EQ(control_state(kPeer), "PROBE");
  EXPECT_EQ(control_->sent().size(), 1u);
  talk();
  EXPECT_TRUE(send(kPeer));
}

TEST_F(Replica, ProgressAtTheReplicaKeepsTheNeighbourReachable) {
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  for (int i = 0; i < 40; ++i) {
    pass(seconds(5));
    EXPECT_TRUE(send(kPeer));
    replica_->ip->confirm(hop_, now_);
    replica_->ip->confirm(hop_, now_);  // within a second: not told again
    talk();
    ASSERT_EQ(control_state(kPeer), "REACHABLE");
  }
}

TEST_F(Replica, DoubtAtTheReplicaMakesTheControlWorkerAsk) {
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  ASSERT_EQ(control_state(kPeer), "REACHABLE");
  replica_->ip->suspect(hop_, now_);
  talk();
  pass(milliseconds(1));
  EXPECT_EQ(control_state(kPeer), "PROBE");
}

TEST_F(Replica, ANewAddressOfTheNeighbourReachesTheReplica) {
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  arp_reply(kPeer, kOtherMac);
  talk();
  EXPECT_TRUE(send(kPeer));
  EXPECT_EQ(last_, kOtherMac);
}

TEST_F(Replica, ASlowReplicaHearsTheNewestStateOnce) {
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  for (int i = 0; i < 100; ++i) arp_reply(kPeer, i % 2 == 0 ? kOtherMac : kPeerMac);
  EXPECT_EQ(talk(), 1u);
  EXPECT_TRUE(send(kPeer));
  EXPECT_EQ(last_, kPeerMac);
}

// More changes than the table has entries, and nobody listens: the replica asks again for what it uses.
TEST_F(Replica, LostChangesEndInDoubtAndNotInAWrongAddress) {
  make({.max_neighbours = 4});
  EXPECT_FALSE(send(kPeer));
  talk();
  arp_reply(kPeer, kPeerMac);
  talk();
  EXPECT_TRUE(send(kPeer));
  for (uint32_t i = 20; i < 60; ++i) {
    ASSERT_TRUE(control_->ip->add_neighbour(control_->interface, IpAddr::v4(0xc0000200 + i), kOtherMac));
    ASSERT_TRUE(control_->ip->remove_neighbour(control_->interface, IpAddr::v4(0xc0000200 + i)));
  }
  arp_reply(kPeer, kOtherMac);
  talk();
  (void)send(kPeer);
  talk();
  EXPECT_TRUE(send(kPeer));
  EXPECT_EQ(last_, kOtherMac);
}

TEST_F(Replica, TheMtuOfAnInterfaceReachesAll) {
  ASSERT_TRUE(control_->ip->set_mtu(control_->interface, 1'300));
  talk();
  EXPECT_EQ(replica_->ip->limits(replica_->interface).mtu, 1'300);
  EXPECT_EQ(replica_->ip->limits(replica_->interface).hop_limit, 64);
}

TEST_F(Replica, APathMtuLearnedAnywhereIsKnownEverywhere) {
  const IpAddr far = addr("203.0.113.9");
  EXPECT_EQ(replica_->ip->learn_mtu(far, 1'300, now_), 1'300);
  EXPECT_EQ(control_->ip->route(far, {}, 0)->mtu, 1'500);
  talk();
  EXPECT_EQ(control_->ip->route(far, {}, 0)->mtu, 1'300);
  EXPECT_EQ(control_->ip->learn_mtu(far, 1'280, now_), 1'280);
  const uint16_t epoch = replica_->ip->epoch();
  talk();
  EXPECT_EQ(replica_->ip->route(far, {}, 0)->mtu, 1'280);
  EXPECT_NE(replica_->ip->epoch(), epoch);
}

TEST_F(Replica, ALinkThatGoesDownIsForgottenEverywhere) {
  EXPECT_FALSE(send(kPeer));
  ASSERT_TRUE(control_->ip->set_link(control_->interface, false, now_));
  talk();
  EXPECT_EQ(replica_->ip->packets_held(), 0u);
  EXPECT_FALSE(replica_->ip->route(kPeer, {}, 0));
  ASSERT_TRUE(control_->ip->set_link(control_->interface, true, now_));
  talk();
  EXPECT_TRUE(replica_->ip->route(kPeer, {}, 0));
}

}  // namespace
}  // namespace millrace::ip
