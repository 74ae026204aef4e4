// Steering: one owner for a flow and everything that concerns it, whatever the map.
#include "steer/steer.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/rng.h"
#include "pkt/pool.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::steer {
namespace {

using Octets = std::vector<std::byte>;

constexpr std::array<uint8_t, kKeyBytes> kPublishedKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                          0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                          0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                          0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

Octets number16(std::initializer_list<uint16_t> values) {
  Octets out;
  for (const uint16_t v : values) {
    out.push_back(static_cast<std::byte>(v >> 8));
    out.push_back(static_cast<std::byte>(v));
  }
  return out;
}

Octets join(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Fragment {
  uint32_t id = 0;
  uint16_t offset = 0;
  bool more = false;
};

Octets ip(const IpAddr& from, const IpAddr& to, uint8_t protocol, const Octets& payload,
          std::optional<Fragment> fragment = {}) {
  if (from.is_v4()) {
    wire::Ipv4Header h;
    h.total_length = static_cast<uint16_t>(20 + payload.size());
    h.protocol = protocol;
    h.source = from;
    h.destination = to;
    if (fragment) {
      h.id = static_cast<uint16_t>(fragment->id);
      h.fragment_offset = fragment->offset;
      h.more_fragments = fragment->more;
    }
    Octets out(20);
    h.emit(out);
    return join(std::move(out), payload);
  }
  Octets body = payload;
  uint8_t next = protocol;
  if (fragment) {
    Octets header(8);
    wire::Ipv6Fragment{protocol, fragment->offset, fragment->more, fragment->id}.emit(header);
    body = join(std::move(header), payload);
    next = wire::kProtocolFragment;
  }
  Octets out(40);
  wire::Ipv6Header{0, 0, static_cast<uint16_t>(body.size()), next, 64, from, to}.emit(out);
  return join(std::move(out), body);
}

Octets transport(const Flow& flow) {
  return join(number16({flow.source_port, flow.destination_port}), Octets(16));
}

class Steer : public testing::Test {
 protected:
  Steer() : pool_(1'024), references_(8, 0), cache_(pool_, references_) {}

  uint32_t owner(const Octets& datagram, const ShardMap& map, size_t split = SIZE_MAX,
                 const MacAddr& station = MacAddr{{2, 0, 0, 0, 0, 2}}) {
    Octets frame(14);
    const bool v4 = static_cast<uint8_t>(datagram[0]) >> 4 == 4;
    const auto type = v4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
    wire::EthernetHeader{station, MacAddr{{2, 0, 0, 0, 0, 1}}, type}.emit(frame);
    return owner_of_frame(join(std::move(frame), datagram), map, split);
  }

  uint32_t owner_of_frame(const Octets& frame, const ShardMap& map, size_t split = SIZE_MAX) {
    pkt::Packet* head = nullptr;
    for (size_t at = 0; at < frame.size();) {
      const size_t n = std::min({frame.size() - at, split, size_t{pkt::kFrameRoom}});
      pkt::Packet* p = cache_.frame();
      std::memcpy(p->append(static_cast<uint16_t>(n)), frame.data() + at, n);
      at += n;
      if (head == nullptr) {
        head = p;
      } else {
        pkt::chain(*head, p);
      }
    }
    MR_ASSERT(head != nullptr);
    const uint32_t result = siblings_ ? steer_to_sibling(*head, map) : steer(*head, map);
    cache_.free(head);
    return result;
  }

  Flow random_flow() {
    const auto addr = [&](bool v4) {
      if (v4) return IpAddr::v4(static_cast<uint32_t>(rng_.next()) & 0x7fffffff);
      std::array<uint8_t, 16> bytes;
      for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng_.next());
      bytes[0] = 0x20;
      return IpAddr(bytes);
    };
    const bool v4 = rng_.chance(1, 2);
    return {addr(v4), addr(v4), static_cast<uint16_t>(rng_.between(1, 65'535)),
            static_cast<uint16_t>(rng_.between(1'024, 65'535))};
  }

  ShardMap random_map() {
    const auto workers = static_cast<uint32_t>(rng_.between(2, 8));
    if (rng_.chance(1, 3)) return {workers, rng_.next()};
    std::array<uint8_t, kKeyBytes> key;
    for (uint8_t& b : key) b = static_cast<uint8_t>(rng_.next());
    std::vector<uint16_t> table(size_t{1} << rng_.below(10));
    for (uint16_t& t : table) t = static_cast<uint16_t>(rng_.below(rng_.chance(1, 2) ? workers : 12));
    return {workers, key, table, true};
  }

  pkt::HeapPacketPool pool_;
  pkt::HeapPacketPool references_;
  pkt::PacketCache cache_;
  base::Rng rng_{1};
  bool siblings_ = false;
};

TEST_F(Steer, HashesLikeNicsDo) {
  const uint16_t table[] = {0};
  const ShardMap map(1, kPublishedKey, table, false);
  const auto hash = [&](const char* from, uint16_t from_port, const char* to, uint16_t to_port) {
    return map.hash({*IpAddr::parse(from), *IpAddr::parse(to), from_port, to_port});
  };
  EXPECT_EQ(hash("66.9.149.187", 2794, "161.142.100.80", 1766), 0x51ccc178u);
  EXPECT_EQ(hash("199.92.111.2", 14230, "65.69.140.83", 4739), 0xc626b0eau);
  EXPECT_EQ(hash("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766), 0x40207d3du);
}

TEST_F(Steer, EveryWorkerOwnsSomethingWhateverTheTableOfTheNic) {
  for (const uint32_t workers : {1u, 2u, 3u, 8u, 64u}) {
    for (const size_t size : {size_t{1}, size_t{2}, size_t{128}, kMaxTable}) {
      for (const uint16_t queue : {uint16_t{0}, uint16_t{63}, uint16_t{60'000}}) {
        const std::vector<uint16_t> table(size, queue);
        const ShardMap map(workers, kPublishedKey, table, true);
        std::set<uint32_t> owners;
        for (uint32_t hash = 0; hash < 4'096; ++hash) owners.insert(map.by_hash(hash));
        EXPECT_EQ(owners.size(), workers) << size << " entries of " << queue;
        EXPECT_LT(*owners.rbegin(), workers);
      }
    }
  }
}

TEST_F(Steer, AWorkerWithoutAQueueGetsAFairShareOfTheTable) {
  const std::vector<uint16_t> table(128, 0);  // every flow on queue 0
  for (const uint32_t workers : {2u, 4u, 8u}) {
    const ShardMap map(workers, kPublishedKey, table, true);
    std::vector<uint32_t> owned(workers);
    for (uint32_t hash = 0; hash < table.size(); ++hash) ++owned[map.by_hash(hash)];
    for (const uint32_t n : owned) EXPECT_EQ(n, table.size() / workers) << workers;
  }
}

TEST_F(Steer, TheTableOfTheNicIsKeptWhereItServesEverybody) {
  std::vector<uint16_t> table(128);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint16_t>(i * 7 % 4);
  const ShardMap map(4, kPublishedKey, table, true);
  for (uint32_t hash = 0; hash < 1'024; ++hash) EXPECT_EQ(map.by_hash(hash), table[hash % 128]);
}

// What a flow sends us, the errors about what we send to it, and both cut over segments: one owner.
TEST_F(Steer, AFlowAndTheErrorsAboutItHaveOneOwner) {
  for (int round = 0; round < 2'000; ++round) {
    const ShardMap map = random_map();
    const Flow flow = random_flow();
    const Flow sent{flow.destination, flow.source, flow.destination_port, flow.source_port};
    const uint8_t protocol = rng_.chance(1, 2) ? wire::kProtocolTcp : wire::kProtocolUdp;
    const Octets in = ip(flow.source, flow.destination, protocol, transport(flow));
    const uint32_t expected = protocol == wire::kProtocolTcp ? map.of_flow(flow) : map.of_datagram(flow);
    ASSERT_LT(expected, map.workers());
    ASSERT_EQ(owner(in, map), expected);
    ASSERT_EQ(owner(in, map, 1 + rng_.below(40)), expected);

    const bool v4 = flow.source.is_v4();
    constexpr uint8_t kErrors4[] = {3, 11, 12};
    const uint8_t type = v4 ? kErrors4[rng_.below(3)] : static_cast<uint8_t>(rng_.between(1, 4));
    Octets error(8);
    error[0] = static_cast<std::byte>(type);
    Octets quoted = ip(sent.source, sent.destination, protocol, transport(sent));
    quoted.resize(quoted.size() - rng_.below(9));  // eight bytes of transport are enough
    const IpAddr router = random_flow().source;
    const IpAddr from = router.is_v4() == v4 ? router : flow.source;
    const Octets message = ip(from, flow.destination, v4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6,
                              join(error, quoted));
    ASSERT_EQ(owner(message, map), expected);
    ASSERT_EQ(owner(message, map, 1 + rng_.below(60)), expected);
  }
}

TEST_F(Steer, UdpPortsThatTheStackChoosesAreDividedAmongTheWorkers) {
  const ShardMap map(4, 5);
  for (uint16_t port = kDividedPortsLow; port < kDividedPortsLow + 40; ++port) {
    for (int peer = 0; peer < 8; ++peer) {
      Flow flow = random_flow();
      flow.destination_port = port;
      EXPECT_EQ(owner(ip(flow.source, flow.destination, wire::kProtocolUdp, transport(flow)), map), port % 4u);
    }
  }
}

TEST_F(Steer, AllFragmentsOfADatagramHaveOneOwner) {
  for (int round = 0; round < 500; ++round) {
    const ShardMap map = random_map();
    const Flow flow = random_flow();
    const auto id = static_cast<uint32_t>(flow.source.is_v4() ? rng_.below(65'536) : rng_.next());
    const auto fragment = [&](uint16_t offset, bool more) {
      return ip(flow.source, flow.destination, wire::kProtocolUdp, offset == 0 ? transport(flow) : Octets(24),
                Fragment{id, offset, more});
    };
    const uint32_t expected = owner(fragment(0, true), map);
    ASSERT_LT(expected, map.workers());
    ASSERT_EQ(owner(fragment(24, true), map), expected);
    ASSERT_EQ(owner(fragment(48, false), map), expected);
  }
}

TEST_F(Steer, FlowsSpreadOverAllWorkers) {
  for (const uint32_t workers : {2u, 4u, 8u}) {
    const ShardMap map(workers, 42);
    std::vector<int> count(workers);
    for (int i = 0; i < 4'000; ++i) ++count[map.of_flow(random_flow())];
    for (const int n : count) EXPECT_GT(n, 4'000 / static_cast<int>(workers) * 7 / 10);
  }
}

// A linear hash alone gives all of them to one worker for one seed in sixty-four.
TEST_F(Steer, FlowsThatDifferInFewBitsSpread) {
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    const ShardMap map(2, seed);
    std::array<int, 2> count{};
    for (uint16_t i = 0; i < 64; ++i) {
      const auto port = static_cast<uint16_t>(1'024 + i * 512);
      ++count[map.of_flow({IpAddr::v4(10, 0, 0, 1), IpAddr::v4(10, 0, 0, 2), port, 80})];
    }
    EXPECT_GE(std::min(count[0], count[1]), 8) << "seed " << seed;
  }
}

TEST_F(Steer, FlowsWhoseHashesCollideInTheirLowBitsSpread) {
  const ShardMap map(4, 7);
  std::array<int, 4> count{};
  int flows = 0;
  for (uint32_t i = 0; i < 1u << 18; ++i) {
    const Flow flow{IpAddr::v4(0x0a000000 + (i >> 14)), IpAddr::v4(10, 0, 0, 2),
                    static_cast<uint16_t>(1'024 + i % 16'384), 80};
    if ((map.hash(flow) & 127) != 0) continue;
    ++count[map.of_flow(flow)];
    ++flows;
  }
  ASSERT_GT(flows, 500);
  for (const int n : count) EXPECT_GT(n, flows / 4 * 7 / 10);
}

TEST_F(Steer, WhatConcernsTheTablesGoesToTheControlWorker) {
  const IpAddr peer4 = IpAddr::v4(10, 0, 0, 1);
  const IpAddr us4 = IpAddr::v4(10, 0, 0, 2);
  const IpAddr peer6 = *IpAddr::parse("fe80::1");
  const IpAddr us6 = *IpAddr::parse("fe80::2");
  for (int seed = 0; seed < 20; ++seed) {
    const ShardMap map(8, static_cast<uint64_t>(seed));
    Octets arp(42);
    arp[12] = std::byte{8};
    arp[13] = std::byte{6};
    EXPECT_EQ(owner_of_frame(arp, map), kControl);
    for (const uint8_t type : {130, 131, 132, 133, 134, 135, 136, 137, 143}) {
      Octets message(24);
      message[0] = static_cast<std::byte>(type);
      EXPECT_EQ(owner(ip(peer6, us6, wire::kProtocolIcmpv6, message), map), kControl) << int{type};
    }
    Octets redirect(36);
    redirect[0] = std::byte{5};
    EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIcmp, redirect), map), kControl);
    EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIgmp, Octets(8)), map), kControl);
    EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolUdp, transport({{}, {}, 67, 68})), map), kControl);
    // An error whose quote has no ports: the second fragment of something we sent.
    Octets error(8);
    error[0] = std::byte{3};
    const Octets later = ip(us4, peer4, wire::kProtocolUdp, Octets(16), Fragment{7, 1'480, false});
    EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIcmp, join(error, later)), map), kControl);
  }
}

// Each of several siblings has tables of its own: all hear news, one answers questions, errors look for their
// connection.
TEST_F(Steer, AmongSiblingsTablesAreEverybodysAndQuestionsForWhoeverGotThem) {
  const IpAddr us4 = IpAddr::v4(10, 0, 0, 2);
  const IpAddr peer4 = IpAddr::v4(10, 0, 0, 1);
  const IpAddr us6 = *IpAddr::parse("fd00::2");
  const IpAddr peer6 = *IpAddr::parse("fd00::1");
  const ShardMap map(3, 5);
  siblings_ = true;
  for (const uint8_t type : {133, 134, 136, 137, 130}) {
    Octets message(24);
    message[0] = std::byte{type};
    EXPECT_EQ(owner(ip(peer6, us6, wire::kProtocolIcmpv6, message), map), kEverybody) << int{type};
  }
  Octets solicitation(24);
  solicitation[0] = std::byte{135};
  EXPECT_EQ(owner(ip(peer6, us6, wire::kProtocolIcmpv6, solicitation), map), kHere);
  EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIgmp, Octets(8)), map), kEverybody);
  Octets echo(8);
  EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIcmp, echo), map), kEverybody) << "an echo reply";
  echo[0] = std::byte{8};
  EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIcmp, echo), map), kHere);
  const Flow ours{peer4, us4, 80, 40'000};
  Octets error(8);
  error[0] = std::byte{3};
  error = join(std::move(error), ip(us4, peer4, wire::kProtocolTcp, transport({us4, peer4, 40'000, 80})));
  EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolIcmp, error), map), kEverybody);
  EXPECT_EQ(owner(ip(peer4, us4, wire::kProtocolTcp, transport(ours)), map), map.of_flow(ours));
  const auto arp = [&](uint16_t operation, const IpAddr& from, const IpAddr& target) {
    Octets frame = join(Octets(12), number16({0x0806, 1, 0x0800, 0x0604, operation, 2, 0, 1}));
    for (const IpAddr& a : {from, target}) {
      const auto& b = a.bytes();
      for (size_t i = 12; i < 16; ++i) frame.push_back(std::byte{b[i]});
      if (frame.size() < 36) frame.resize(frame.size() + 6);  // the target's hardware address
    }
    frame.resize(60);
    return owner_of_frame(frame, map);
  };
  EXPECT_EQ(arp(1, peer4, us4), kHere);
  EXPECT_EQ(arp(2, peer4, us4), kEverybody);
  EXPECT_EQ(arp(1, peer4, peer4), kEverybody) << "an announcement";
}

TEST_F(Steer, DatagramsToGroupsAreEverybodysAndTheirFragmentsTheControlWorkers) {
  const ShardMap map(4, 9);
  for (const char* group : {"239.1.2.3", "255.255.255.255", "ff02::fb"}) {
    const IpAddr to = *IpAddr::parse(group);
    const IpAddr from = to.is_v4() ? IpAddr::v4(10, 0, 0, 1) : *IpAddr::parse("fe80::1");
    const Octets udp = transport({from, to, 5'353, 5'353});
    EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, udp), map), kEverybody) << group;
    EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, udp, Fragment{7, 0, true}), map), kControl) << group;
    EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, Octets(24), Fragment{7, 24, false}), map), kControl) << group;
    EXPECT_EQ(owner(ip(from, to, wire::kProtocolHopByHop, Octets(24), Fragment{7, 24, false}), map), kControl)
        << "what is behind options is seen when it is whole";
  }
}

TEST_F(Steer, ABroadcastToASubnetIsKnownByItsFrame) {
  const ShardMap map(4, 9);
  const IpAddr from = IpAddr::v4(10, 0, 0, 1);
  const IpAddr to = IpAddr::v4(10, 0, 0, 255);
  const Octets udp = transport({from, to, 138, 138});
  EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, udp), map, SIZE_MAX, kBroadcastMac), kEverybody);
  EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, udp, Fragment{7, 0, true}), map, SIZE_MAX, kBroadcastMac), kControl);
  EXPECT_EQ(owner(ip(from, to, wire::kProtocolUdp, transport({{}, {}, 67, 68})), map, SIZE_MAX, kBroadcastMac),
            kControl);
  EXPECT_LT(owner(ip(from, to, wire::kProtocolTcp, udp), map, SIZE_MAX, kBroadcastMac), 4u);
}

TEST_F(Steer, EchoRequestsStayAndRepliesGoByIdentifier) {
  const ShardMap map(4, 9);
  const IpAddr peer = IpAddr::v4(10, 0, 0, 1);
  const IpAddr us = IpAddr::v4(10, 0, 0, 2);
  for (uint16_t id = 0; id < 16; ++id) {
    EXPECT_EQ(owner(ip(peer, us, wire::kProtocolIcmp, number16({0x0800, 0, id, 1})), map), kHere);
    EXPECT_EQ(owner(ip(peer, us, wire::kProtocolIcmp, number16({0, 0, id, 1})), map), map.of_echo(id));
    // Unreachable, about an echo request of ours.
    const Octets sent = ip(us, peer, wire::kProtocolIcmp, number16({0x0800, 0, id, 1}));
    EXPECT_EQ(owner(ip(peer, us, wire::kProtocolIcmp, join(number16({0x0301, 0, 0, 0}), sent)), map), map.of_echo(id));
  }
}

TEST_F(Steer, NothingBreaksItAndBrokenFramesStayWhereTheyAre) {
  const ShardMap map(8, 3);
  for (size_t n = 1; n < 60; ++n) {
    Octets frame(n);
    const uint32_t result = owner_of_frame(frame, map);
    EXPECT_EQ(result, kHere);
  }
  for (int round = 0; round < 20'000; ++round) {
    const Flow flow = random_flow();
    Octets datagram = ip(flow.source, flow.destination, static_cast<uint8_t>(rng_.below(64)), transport(flow));
    for (uint64_t flips = rng_.below(8); flips > 0; --flips) {
      datagram[rng_.below(datagram.size())] = static_cast<std::byte>(rng_.next());
    }
    datagram.resize(1 + rng_.below(datagram.size()));
    const uint32_t result = owner(datagram, map, 1 + rng_.below(50));
    ASSERT_TRUE(result == kHere || result == kEverybody || result < map.workers());
  }
}

}  // namespace
}  // namespace millrace::steer
