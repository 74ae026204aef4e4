// Two workers of one process, with frames and news between them carried by the test.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace millrace::stack {
namespace {

const MacAddr kOurMac{{2, 0, 0, 0, 0, 2}};
const MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};
const IpAddr kOurs = IpAddr::v4(198, 18, 0, 2);
const IpAddr kPeer = IpAddr::v4(198, 18, 0, 1);
constexpr uint32_t kWorkers = 2;
using Octets = std::vector<std::byte>;

class Shards : public testing::Test {
 protected:
  Shards() {
    for (uint32_t i = 0; i < kWorkers; ++i) {
      WorkerConfig c;
      c.frames = &frames_;
      c.references = &references_;
      c.memory = &memory_;
      c.seed = 7;
      c.max_connections = 64;
      c.max_half_open = 64;
      c.max_time_wait = 64;
      c.shards = &map_;
      c.shard = i;
      workers_[i] = std::make_unique<Worker>(c);
      link::NetifConfig netif;
      netif.name = "t0";
      netif.mac = kOurMac;
      interface_ = *workers_[i]->add_interface(netif);
    }
    EXPECT_TRUE(workers_[0]->request(req::AddAddress{interface_, {kOurs, 24}}, now_));
    EXPECT_TRUE(workers_[0]->request(req::AddNeighbour{interface_, kPeer, kPeerMac}, now_));
    talk();
    for (auto& w : workers_) EXPECT_TRUE(w->request(req::Listen{{IpAddr::any_v4(), 80}}, now_));
    for (uint32_t i = 0; i < kWorkers; ++i) (void)sent(i);
  }
  ~Shards() override {
    for (auto& w : workers_) w.reset();
    packets_.drain();
    EXPECT_EQ(frames_.available(), frames_.capacity()) << "leaked frames";
  }

  void talk() {
    std::array<ip::TableMessage, 8> room;
    for (bool more = true; more;) {
      more = false;
      for (uint32_t from = 0; from < kWorkers; ++from) {
        const uint32_t to = 1 - from;
        const size_t n = workers_[from]->tell(to, room);
        workers_[to]->hear(from, {room.data(), n}, now_);
        more = more || n != 0;
      }
    }
  }

  pkt::Packet* syn(uint16_t port, uint64_t flags = 0, uint32_t rss = 0) {
    constexpr size_t kBytes = wire::kEthernetSize + wire::kIpv4MinSize + wire::kTcpMinSize;
    pkt::Packet* p = packets_.frame();
    const wire::MutableBytes frame(p->append(kBytes), kBytes);
    wire::EthernetHeader{kOurMac, kPeerMac, wire::EtherType::kIpv4}.emit(frame);
    wire::Ipv4Header ip;
    ip.total_length = kBytes - wire::kEthernetSize;
    ip.protocol = wire::kProtocolTcp;
    ip.source = kPeer;
    ip.destination = kOurs;
    ip.emit(frame.subspan(14));
    wire::TcpHeader tcp;
    tcp.source_port = port;
    tcp.destination_port = 80;
    tcp.seq = base::Seq32(1'000);
    tcp.flags = wire::kSyn;
    tcp.window = 1'000;
    tcp.emit(frame.subspan(34));
    p->flags = pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood | flags;
    p->rss = rss;
    return p;
  }
  pkt::Packet* datagram(const IpAddr& group, uint16_t port) {
    return datagram(group, port, {{1, 0, 0x5e, group.bytes()[13], group.bytes()[14], group.bytes()[15]}});
  }
  pkt::Packet* datagram(const IpAddr& group, uint16_t port, const MacAddr& station) {
    constexpr size_t kBytes = wire::kEthernetSize + wire::kIpv4MinSize + wire::kUdpSize + 4;
    pkt::Packet* p = packets_.frame();
    const wire::MutableBytes frame(p->append(kBytes), kBytes);
    wire::EthernetHeader{station, kPeerMac, wire::EtherType::kIpv4}.emit(frame);
    wire::Ipv4Header ip;
    ip.total_length = kBytes - wire::kEthernetSize;
    ip.ttl = 1;
    ip.protocol = wire::kProtocolUdp;
    ip.source = kPeer;
    ip.destination = group;
    ip.emit(frame.subspan(14));
    std::byte* udp = frame.data() + 34;
    std::memset(udp, 0, 12);
    wire::store_be16(udp, 6'000);
    wire::store_be16(udp + 2, port);
    wire::store_be16(udp + 4, 12);
    p->flags = pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood;
    return p;
  }
  /// Gives a worker frames, and carries on what the workers hand to each other.
  void receive(uint32_t worker, std::vector<pkt::Packet*> frames) {
    workers_[worker]->input(interface_, frames, now_);
    carry();
  }
  void carry() {
    std::array<Handed, 16> out;
    int rounds = 0;
    for (bool more = true; more;) {
      more = false;
      ASSERT_LT(++rounds, 100) << "frames go round in circles";
      for (uint32_t from = 0; from < kWorkers; ++from) {
        const size_t n = workers_[from]->hand_over(1 - from, out);
        for (size_t i = 0; i < n; ++i) workers_[1 - from]->input_steered(out[i].interface, {&out[i].frame, 1}, now_);
        more = more || n != 0;
      }
    }
  }
  /// Opens a socket on each worker, members of `group` if it is one.
  std::array<Handle, kWorkers> members(uint16_t port, const IpAddr& group) {
    std::array<Handle, kWorkers> out;
    for (uint32_t i = 0; i < kWorkers; ++i) {
      const IpAddr any = group.is_v4() ? IpAddr::any_v4() : IpAddr();
      out[i] = workers_[i]->request(req::OpenDatagram{{any, port}}, now_)->handle;
      if (!group.is_multicast()) continue;
      EXPECT_TRUE(workers_[i]->request(req::JoinGroup{out[i], group, interface_}, now_));
    }
    talk();
    return out;
  }
  /// How many messages of `size` bytes each socket has, taken off.
  std::array<int, kWorkers> heard(const std::array<Handle, kWorkers>& sockets, size_t size) {
    std::array<int, kWorkers> out{};
    std::vector<std::byte> room(65'536);
    for (uint32_t i = 0; i < kWorkers; ++i) {
      while (const auto r = workers_[i]->request(req::Receive{sockets[i], room}, now_)) {
        EXPECT_EQ(r->bytes, size) << "worker " << i;
        ++out[i];
      }
    }
    return out;
  }
  uint32_t home_of(uint16_t port) const { return map_.of_flow({kPeer, kOurs, port, 80}); }
  uint16_t port_of(uint32_t worker, uint16_t from = 40'000) const {
    while (home_of(from) != worker) ++from;
    return from;
  }
  /// The TCP frames that a worker sends.
  std::vector<Octets> sent(uint32_t worker) {
    talk();
    std::vector<Octets> out;
    pkt::Packet* p = nullptr;
    while (workers_[worker]->output(interface_, {&p, 1}, now_) == 1) {
      if (wire::load_be16(p->data() + 12) == 0x0800) {
        Octets bytes(p->total);
        (void)pkt::copy_out(*p, 0, bytes);
        out.push_back(bytes);
      }
      packets_.free(p);
    }
    return out;
  }
  uint64_t counter(uint32_t worker, const std::string& name) {
    for (const CounterValue& c : workers_[worker]->counters()) {
      if (c.name == name) return c.value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }

  pkt::HeapPacketPool frames_{4'096};
  pkt::HeapPacketPool references_{256, 0};
  pkt::PacketCache packets_{frames_, references_};
  base::HeapMemory memory_;
  steer::ShardMap map_{kWorkers, 99};
  std::array<std::unique_ptr<Worker>, kWorkers> workers_;
  IfIndex interface_{};
  Instant now_{1'000'000'000};
};

TEST_F(Shards, AFrameOfAnotherWorkerIsHandedOverAndAnsweredThere) {
  pkt::Packet* mine = syn(port_of(0));
  pkt::Packet* other = syn(port_of(1));
  pkt::Packet* burst[] = {other, mine};
  workers_[0]->input(interface_, burst, now_);
  EXPECT_EQ(sent(0).size(), 1u) << "its own is answered";
  std::array<Handed, 4> out;
  ASSERT_EQ(workers_[0]->hand_over(1, out), 1u);
  EXPECT_EQ(out[0].frame, other);
  EXPECT_EQ(out[0].interface, interface_);
  EXPECT_TRUE(sent(1).empty());
  workers_[1]->input_steered(interface_, {&out[0].frame, 1}, now_);
  EXPECT_EQ(sent(1).size(), 1u);
  EXPECT_EQ(counter(0, "steer.handed_over"), 1u);
  EXPECT_EQ(counter(1, "steer.handed_in"), 1u);
}

TEST_F(Shards, AHandedFrameIsNeverHandedOnEvenIfItIsNotOurs) {
  pkt::Packet* p = syn(port_of(0));
  workers_[1]->input_steered(interface_, {&p, 1}, now_);
  std::array<Handed, 4> out;
  EXPECT_EQ(workers_[1]->hand_over(0, out), 0u);
}

TEST_F(Shards, TheHashOfTheDeviceIsTakenWhereItIsKnownToBeRight) {
  const std::array<uint8_t, steer::kKeyBytes> key{1, 2, 3};
  const std::vector<uint16_t> table = {0, 1};
  const steer::ShardMap trusted(kWorkers, key, table, true);
  const steer::ShardMap doubted(kWorkers, key, table, false);
  for (const bool trust : {true, false}) {
    HandOver hand_over(trust ? &trusted : &doubted, 0);
    const uint32_t real = doubted.of_flow({kPeer, kOurs, 40'000, 80});
    pkt::Packet* p = syn(40'000, pkt::kRxRssHash, 1 - real);
    const size_t kept = hand_over.sort(interface_, {&p, 1}, packets_);
    EXPECT_EQ(kept, (trust ? 1 - real : real) == 0 ? 1u : 0u);
    if (kept == 1) packets_.free(p);
    hand_over.clear(packets_);
  }
}

TEST_F(Shards, ADatagramToAGroupIsEverybodys) {
  const IpAddr group = IpAddr::v4(239, 1, 2, 3);
  std::array<Handle, kWorkers> sockets;
  for (uint32_t i = 0; i < kWorkers; ++i) {
    sockets[i] = workers_[i]->request(req::OpenDatagram{{IpAddr::any_v4(), 5'000}}, now_)->handle;
    ASSERT_TRUE(workers_[i]->request(req::JoinGroup{sockets[i], group, interface_}, now_));
  }
  pkt::Packet* p = datagram(group, 5'000);
  workers_[0]->input(interface_, {&p, 1}, now_);
  std::array<Handed, 4> out;
  ASSERT_EQ(workers_[0]->hand_over(1, out), 1u);
  workers_[1]->input_steered(interface_, {&out[0].frame, 1}, now_);
  for (uint32_t i = 0; i < kWorkers; ++i) {
    std::array<std::byte, 64> room;
    EXPECT_TRUE(workers_[i]->request(req::Receive{sockets[i], room}, now_)) << "worker " << i;
  }
  EXPECT_EQ(counter(0, "steer.copied"), 1u);
  EXPECT_EQ(workers_[1]->hand_over(0, out), 0u) << "it goes no further";
}

using Once = std::array<int, kWorkers>;
constexpr Once kOnce{1, 1};

TEST_F(Shards, ABroadcastToTheSubnetIsHeardOnceByEveryWorkerWhereverItArrives) {
  const IpAddr to = IpAddr::v4(198, 18, 0, 255);
  const auto sockets = members(5'000, to);
  for (uint32_t i = 0; i < kWorkers; ++i) {
    receive(i, {datagram(to, 5'000, kBroadcastMac)});
    EXPECT_EQ(heard(sockets, 4), kOnce) << "at worker " << i;
    receive(i, {datagram(to, 5'000, kOurMac)});
    EXPECT_EQ(heard(sockets, 4), kOnce) << "in a frame to us, at worker " << i;
  }
}

// A fragment says nothing of what is behind the options that follow its header.
TEST_F(Shards, AGroupDatagramInFragmentsIsHeardOnceByEveryWorkerWhereverTheyArrive) {
  const IpAddr group = *IpAddr::parse("ff05::1234");
  const IpAddr from = *IpAddr::parse("2001:db8::1");
  const auto sockets = members(5'000, group);
  for (const bool options : {false, true}) {
    Octets whole(8 + 2'000);
    wire::UdpHeader{6'000, 5'000, 2'008, 0}.emit(whole);
    const uint64_t pseudo = wire::pseudo_sum(from, group, wire::kProtocolUdp, 2'008);
    wire::store_be16(&whole[6], wire::finish(wire::add_sums(pseudo, wire::sum_bytes(whole))));
    uint8_t next = wire::kProtocolUdp;
    if (options) {
      next = wire::kProtocolDestinationOptions;
      const uint8_t header[] = {wire::kProtocolUdp, 0, 1, 4, 0, 0, 0, 0};
      const auto* at = reinterpret_cast<const std::byte*>(header);
      whole.insert(whole.begin(), at, at + sizeof header);
    }
    const auto fragment = [&](size_t start, size_t end) {
      pkt::Packet* p = packets_.frame();
      const size_t bytes = 14 + 40 + 8 + end - start;
      const wire::MutableBytes out(p->append(static_cast<uint16_t>(bytes)), bytes);
      const MacAddr station{{0x33, 0x33, 0, 0, 0x12, 0x34}};
      wire::EthernetHeader{station, kPeerMac, wire::EtherType::kIpv6}.emit(out);
      wire::Ipv6Header{0, 0, static_cast<uint16_t>(bytes - 54), wire::kProtocolFragment, 64, from, group}.emit(
          out.subspan(14));
      wire::Ipv6Fragment{next, static_cast<uint16_t>(start), end != whole.size(), options ? 8U : 7U}.emit(
          out.subspan(54));
      std::memcpy(&out[62], &whole[start], end - start);
      return p;
    };
    for (uint32_t i = 0; i < kWorkers; ++i) {
      receive(i, {fragment(0, 1'200), fragment(1'200, whole.size())});
      EXPECT_EQ(heard(sockets, 2'000), kOnce) << "at worker " << i << (options ? " behind options" : "");
      receive(i, {fragment(1'200, whole.size())});
      receive(1 - i, {fragment(0, 1'200)});
      EXPECT_EQ(heard(sockets, 2'000), kOnce) << "one at each, " << i << " first" << (options ? ", options" : "");
    }
  }
}

// RFC 1112 6.1: the group's members on this host hear it, whichever worker they are of.
TEST_F(Shards, WhatASocketSendsToAGroupItsMembersOnEveryWorkerHearOnce) {
  const IpAddr group = IpAddr::v4(239, 1, 2, 3);
  const auto sockets = members(5'000, group);
  for (uint32_t i = 0; i < kWorkers; ++i) {
    for (const uint8_t ttl : {uint8_t{0}, uint8_t{1}}) {
      for (const size_t size : {4U, 4'000U}) {
        DatagramOptions options;
        options.multicast_hop_limit = ttl;
        const Handle h = workers_[i]->request(req::OpenDatagram{{IpAddr::any_v4(), 0}}, now_)->handle;
        ASSERT_TRUE(workers_[i]->request(req::SetDatagramOptions{h, options}, now_));
        const Octets data(size);
        Message m;
        m.data = data;
        m.remote = {group, 5'000};
        ASSERT_TRUE(workers_[i]->request(req::SendBatch{h, {&m, 1}}, now_));
        carry();
        EXPECT_EQ(heard(sockets, size), kOnce) << "from worker " << i;
        EXPECT_EQ(sent(i).size(), ttl == 0 ? 0U : size == 4 ? 1U : 3U);
        EXPECT_TRUE(sent(1 - i).empty());
        options.multicast_loop = false;
        ASSERT_TRUE(workers_[i]->request(req::SetDatagramOptions{h, options}, now_));
        ASSERT_TRUE(workers_[i]->request(req::SendBatch{h, {&m, 1}}, now_));
        carry();
        EXPECT_EQ(heard(sockets, size), Once{}) << "it does not want to be heard here";
        (void)sent(i);
        ASSERT_TRUE(workers_[i]->request(req::Close{h}, now_));
      }
    }
  }
  // Only the worker that has a member.
  ASSERT_TRUE(workers_[0]->request(req::LeaveGroup{sockets[0], group, interface_}, now_));
  const Octets data(4);
  Message m;
  m.data = data;
  m.remote = {group, 5'000};
  ASSERT_TRUE(workers_[0]->request(req::SendBatch{sockets[0], {&m, 1}}, now_));
  carry();
  EXPECT_EQ(heard(sockets, 4), (Once{0, 1}));
  (void)sent(0);
}

TEST_F(Shards, TheControlWorkerJoinsTheGroupsOfAll) {
  const IpAddr group = IpAddr::v4(239, 1, 2, 3);
  const auto joined = [&] {
    talk();
    return workers_[0]->impl().ip.is_member(interface_, group);
  };
  const Handle a = workers_[1]->request(req::OpenDatagram{{IpAddr::any_v4(), 5'000}}, now_)->handle;
  const Handle b = workers_[0]->request(req::OpenDatagram{{IpAddr::any_v4(), 5'001}}, now_)->handle;
  EXPECT_FALSE(joined());
  ASSERT_TRUE(workers_[1]->request(req::JoinGroup{a, group, interface_}, now_));
  EXPECT_TRUE(joined());
  // Its own membership asks for one source, the other's for all.
  ASSERT_TRUE(workers_[0]->request(req::JoinGroup{b, group, interface_, kPeer}, now_));
  for (const auto& g : workers_[0]->impl().ip.groups()) EXPECT_TRUE(g.filter.sources.empty());
  ASSERT_TRUE(workers_[0]->request(req::LeaveGroup{b, group, interface_}, now_));
  EXPECT_TRUE(joined()) << "the other still wants it";
  ASSERT_TRUE(workers_[1]->request(req::LeaveGroup{a, group, interface_}, now_));
  EXPECT_FALSE(joined());
}

TEST_F(Shards, AFullOutboxSaysSoBeforeAnythingIsDropped) {
  const uint16_t port = port_of(1);
  size_t given = 0;
  while (workers_[0]->hand_over_room() != 0) {
    pkt::Packet* p = syn(port);
    workers_[0]->input(interface_, {&p, 1}, now_);
    ++given;
  }
  EXPECT_EQ(given, HandOver::kRoom / 2);
  EXPECT_EQ(counter(0, "steer.drop.outbox_full"), 0u);
  for (; given < HandOver::kRoom + 5; ++given) {  // a caller that does not listen
    pkt::Packet* p = syn(port);
    workers_[0]->input(interface_, {&p, 1}, now_);
  }
  EXPECT_EQ(counter(0, "steer.drop.outbox_full"), 5u);
  std::vector<Handed> out(2 * HandOver::kRoom);
  const size_t n = workers_[0]->hand_over(1, out);
  EXPECT_EQ(n, HandOver::kRoom);
  for (size_t i = 0; i < n; ++i) packets_.free(out[i].frame);
  EXPECT_EQ(workers_[0]->hand_over_room(), HandOver::kRoom / 2);
}

TEST_F(Shards, OutgoingPortsComeHome) {
  for (uint32_t i = 0; i < kWorkers; ++i) {
    std::set<uint16_t> ports;
    for (int n = 0; n < 40; ++n) {
      ASSERT_TRUE(workers_[i]->request(req::Connect{{kPeer, 9}}, now_));
    }
    for (const SocketInfo& s : workers_[i]->sockets()) {
      if (s.state == "LISTEN") continue;
      EXPECT_EQ(map_.of_flow({kPeer, kOurs, 9, s.local.port}), i);
      ports.insert(s.local.port);
    }
    EXPECT_EQ(ports.size(), 40u);
  }
}

TEST_F(Shards, ALocalPortWhoseRepliesGoElsewhereIsRefused) {
  for (uint16_t port = 1'000; port < 1'020; ++port) {
    const uint32_t home = map_.of_flow({kPeer, kOurs, 9, port});
    EXPECT_TRUE(workers_[home]->request(req::Connect{{kPeer, 9}, {{}, port}}, now_));
    const auto refused = workers_[1 - home]->request(req::Connect{{kPeer, 9}, {{}, port}}, now_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Error::kAddressNotHere);
  }
}

// The tuple decides, not the worker: a connection's sequence numbers continue whoever answers.
TEST_F(Shards, WorkersShareTheirSecrets) {
  uint32_t sequence[kWorkers] = {};
  for (uint32_t i = 0; i < kWorkers; ++i) {
    pkt::Packet* p = syn(40'000);
    workers_[i]->input_steered(interface_, {&p, 1}, now_);
    const auto frames = sent(i);
    ASSERT_EQ(frames.size(), 1u);
    sequence[i] = wire::load_be32(frames[0].data() + 38);
  }
  EXPECT_NE(sequence[0], 0u);
  EXPECT_EQ(sequence[0], sequence[1]);
}

TEST_F(Shards, OnlyTheControlWorkerChangesTables) {
  const auto refused = workers_[1]->request(req::AddAddress{interface_, {IpAddr::v4(10, 0, 0, 1), 8}}, now_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Error::kNotSupported);
  EXPECT_TRUE(workers_[0]->request(req::AddAddress{interface_, {IpAddr::v4(10, 0, 0, 1), 8}}, now_));
  talk();
  EXPECT_TRUE(workers_[1]->request(req::Listen{{IpAddr::v4(10, 0, 0, 1), 81}}, now_));
}

}  // namespace
}  // namespace millrace::stack
