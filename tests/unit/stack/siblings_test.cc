// Three workers as processes that share an address and come and go; the test carries the frames between them.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "stack/impl.h"
#include "stack/worker.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace millrace::stack {
namespace {

const MacAddr kOurMac{{2, 0, 0, 0, 0, 2}};
const MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};
const IpAddr kOurs = IpAddr::v4(198, 18, 0, 2);
const IpAddr kPeer = IpAddr::v4(198, 18, 0, 1);
constexpr uint32_t kCount = 3;
constexpr uint64_t kAll = 7;
constexpr uint16_t kPort = 80;
constexpr uint8_t kSyn = wire::kSyn.raw();
constexpr uint8_t kAck = wire::kAck.raw();
constexpr uint8_t kRst = wire::kRst.raw();
constexpr uint8_t kPsh = wire::kPsh.raw();

class Siblings : public testing::Test {
 protected:
  Siblings() {
    for (uint32_t i = 0; i < kCount; ++i) start(i);
    for (uint32_t i = 0; i < kCount; ++i) see(i, kAll);
  }
  ~Siblings() override {
    for (auto& w : workers_) w.reset();
    packets_.drain();
    EXPECT_EQ(frames_.available(), frames_.capacity()) << "leaked frames";
  }

  void start(uint32_t i, bool listen = true) {
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
    c.siblings = true;
    workers_[i] = std::make_unique<Worker>(c);
    link::NetifConfig netif;
    netif.name = "t0";
    netif.mac = kOurMac;
    interface_ = *workers_[i]->add_interface(netif);
    EXPECT_TRUE(workers_[i]->request(req::AddAddress{interface_, {kOurs, 24}}, now_)) << "each has its own tables";
    EXPECT_TRUE(workers_[i]->request(req::AddNeighbour{interface_, kPeer, kPeerMac}, now_));
    if (listen) listen_at(i);
    (void)sent(i);
  }
  void listen_at(uint32_t i) {
    listeners_[i] = workers_[i]->request(req::Listen{{IpAddr::any_v4(), kPort}}, now_)->handle;
  }
  void see(uint32_t i, uint64_t living) {
    if (workers_[i] != nullptr) workers_[i]->set_living(living);
  }
  /// kill -9; the others notice.
  void kill(uint32_t dead) {
    workers_[dead].reset();
    for (uint32_t i = 0; i < kCount; ++i) see(i, kAll & ~(uint64_t{1} << dead));
  }

  pkt::Packet* segment(uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack = 0, size_t data = 0) {
    const size_t bytes = wire::kEthernetSize + wire::kIpv4MinSize + wire::kTcpMinSize + data;
    pkt::Packet* p = packets_.frame();
    const wire::MutableBytes frame(p->append(static_cast<uint16_t>(bytes)), bytes);
    wire::EthernetHeader{kOurMac, kPeerMac, wire::EtherType::kIpv4}.emit(frame);
    wire::Ipv4Header ip;
    ip.total_length = static_cast<uint16_t>(bytes - wire::kEthernetSize);
    ip.protocol = wire::kProtocolTcp;
    ip.source = kPeer;
    ip.destination = kOurs;
    ip.emit(frame.subspan(14));
    wire::TcpHeader tcp;
    tcp.source_port = port;
    tcp.destination_port = kPort;
    tcp.seq = base::Seq32(seq);
    tcp.ack = base::Seq32(ack);
    tcp.flags = wire::TcpFlags{flags};
    tcp.window = 1'000;
    tcp.emit(frame.subspan(34));
    p->flags = pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood;
    return p;
  }
  pkt::Packet* arp(wire::ArpOperation operation) {
    constexpr size_t kBytes = wire::kEthernetSize + wire::kArpSize;
    pkt::Packet* p = packets_.frame();
    const wire::MutableBytes frame(p->append(kBytes), kBytes);
    const bool request = operation == wire::ArpOperation::kRequest;
    wire::EthernetHeader{request ? kBroadcastMac : kOurMac, kPeerMac, wire::EtherType::kArp}.emit(frame);
    wire::ArpMessage{operation, kPeerMac, kPeer, kOurMac, kOurs}.emit(frame.subspan(14));
    return p;
  }
  /// Gives a worker a frame, and carries on what they hand to each other.
  void receive(uint32_t worker, pkt::Packet* frame) {
    workers_[worker]->input(interface_, {&frame, 1}, now_);
    std::array<Handed, 16> out;
    int rounds = 0;
    for (bool more = true; more;) {
      more = false;
      ASSERT_LT(++rounds, 10) << "frames go round in circles";
      for (uint32_t from = 0; from < kCount; ++from) {
        for (uint32_t to = 0; to < kCount && workers_[from] != nullptr; ++to) {
          const size_t n = from != to ? workers_[from]->hand_over(to, out) : 0;
          for (size_t i = 0; i < n; ++i) {
            ASSERT_NE(workers_[to], nullptr) << "a frame for one that is gone";
            workers_[to]->input_steered(out[i].interface, {&out[i].frame, 1}, now_);
          }
          more = more || n != 0;
        }
      }
    }
  }
  struct Sent {
    uint16_t type = 0;
    uint8_t flags = 0;
    uint32_t seq = 0;
  };
  std::vector<Sent> sent(uint32_t worker) {
    std::vector<Sent> out;
    pkt::Packet* p = nullptr;
    while (workers_[worker] != nullptr && workers_[worker]->output(interface_, {&p, 1}, now_) == 1) {
      const std::byte* at = p->data();
      Sent s{wire::load_be16(at + 12), 0, 0};
      if (s.type == 0x0800 && wire::load_u8(at + 23) == wire::kProtocolTcp) {
        s.flags = wire::load_u8(at + 47);
        s.seq = wire::load_be32(at + 38);
      }
      if (s.type == 0x0806 || s.flags != 0) out.push_back(s);
      packets_.free(p);
    }
    return out;
  }
  /// The only worker that has something to send, and that.
  std::pair<uint32_t, Sent> answer() {
    std::pair<uint32_t, Sent> out{kCount, {}};
    int answers = 0;
    for (uint32_t i = 0; i < kCount; ++i) {
      for (const Sent& s : sent(i)) {
        out = {i, s};
        ++answers;
      }
    }
    EXPECT_EQ(answers, 1) << "answers";
    return out;
  }
  uint16_t port_of(uint32_t worker) {
    do {
      ++last_port_;
    } while (map_.of_flow({kPeer, kOurs, last_port_, kPort}) != worker);
    return last_port_;
  }
  /// A handshake that begins at `at`; who has the connection.
  uint32_t connect(uint16_t port, uint32_t at) {
    receive(at, segment(port, kSyn, 1'000));
    const auto [who, syn_ack] = answer();
    EXPECT_EQ(syn_ack.flags, kSyn | kAck);
    next_ = syn_ack.seq + 1;
    receive(at, segment(port, kAck, 1'001, next_));
    return who;
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
  steer::ShardMap map_{kCount, 99};
  std::array<std::unique_ptr<Worker>, kCount> workers_;
  std::array<Handle, kCount> listeners_{};
  IfIndex interface_{};
  uint16_t last_port_ = 40'000;
  uint32_t next_ = 0;  // what our side sends next on the newest connection
  Instant now_{1'000'000'000};
};

TEST_F(Siblings, AConnectionIsServedByTheProcessThatTheMapNamesWhereverItArrives) {
  for (uint32_t owner = 0; owner < kCount; ++owner) {
    for (uint32_t at = 0; at < kCount; ++at) EXPECT_EQ(connect(port_of(owner), at), owner) << "at " << at;
  }
}

TEST_F(Siblings, TheNextOneStandsInForOneThatIsGone) {
  const uint16_t before = port_of(1);
  EXPECT_EQ(connect(before, 1), 1u);
  kill(1);
  EXPECT_EQ(connect(port_of(1), 0), 2u);
  EXPECT_EQ(connect(port_of(1), 2), 2u);
  // What it had is reset, once, by those that live.
  receive(0, segment(before, kAck, 1'001, next_));
  EXPECT_EQ(answer().second.flags & kRst, kRst);
}

TEST_F(Siblings, ConnectionsStayWithTheStandInWhenTheOwnerComesBack) {
  kill(1);
  const uint16_t port = port_of(1);
  ASSERT_EQ(connect(port, 0), 2u);
  start(1);
  for (uint32_t i = 0; i < kCount; ++i) see(i, kAll);
  for (uint32_t at = 0; at < kCount; ++at) {
    receive(at, segment(port, kAck | kPsh, 1'001 + 10 * at, next_, 10));
    const auto [who, ack] = answer();
    EXPECT_EQ(who, 2u) << "at " << at;
    EXPECT_EQ(ack.flags, kAck) << "at " << at;
  }
  EXPECT_EQ(counter(2, "steer.kept"), 1u) << "who has it keeps it";
  EXPECT_EQ(counter(1, "steer.passed_on"), 2u) << "who has it not passes it on";
  EXPECT_EQ(connect(port_of(1), 0), 1u) << "new ones are the owner's again";
}

TEST_F(Siblings, ASegmentOfNoConnectionIsLookedAtByAllAndAnsweredOnce) {
  for (uint32_t at = 0; at < kCount; ++at) {
    receive(at, segment(port_of(at), kAck, 5, 6));
    const auto [who, reset] = answer();
    EXPECT_EQ(reset.flags, kRst);
    EXPECT_EQ(who, (at + 2) % kCount) << "the last one that looked";
  }
}

TEST_F(Siblings, ASynGoesToOneThatListens) {
  workers_[0]->request(req::Close{listeners_[0]}, now_);
  workers_[1]->request(req::Close{listeners_[1]}, now_);
  EXPECT_EQ(connect(port_of(0), 1), 2u);
  workers_[2]->request(req::Close{listeners_[2]}, now_);
  (void)sent(2);  // what it had not accepted is reset
  receive(0, segment(port_of(0), kSyn, 1'000));
  EXPECT_EQ(answer().second.flags, kRst | kAck) << "nobody does";
}

// RFC 826: one answers a request, all learn from a reply.
TEST_F(Siblings, NeighboursAreToldByOneAndHeardByAll) {
  receive(1, arp(wire::ArpOperation::kRequest));
  EXPECT_EQ(answer().first, 1u);
  receive(1, arp(wire::ArpOperation::kReply));
  for (uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(counter(i, "arp.in.replies"), 1u) << i;
    EXPECT_TRUE(sent(i).empty());
  }
  kill(0);
  receive(2, arp(wire::ArpOperation::kReply));
  EXPECT_EQ(counter(1, "arp.in.replies"), 2u) << "none is kept for one that is gone";
}

TEST_F(Siblings, AConnectionToOutsideGetsAPortWhoseAnswersComeHome) {
  for (uint32_t i = 0; i < kCount; ++i) {
    ASSERT_TRUE(workers_[i]->request(req::Connect{{kPeer, 9}}, now_));
    pkt::Packet* p = nullptr;
    ASSERT_EQ(workers_[i]->output(interface_, {&p, 1}, now_), 1u);
    EXPECT_EQ(map_.of_flow({kPeer, kOurs, 9, wire::load_be16(p->data() + 34)}), i);
    packets_.free(p);
    EXPECT_TRUE(workers_[i]->request(req::Connect{{kPeer, 9}, {kOurs, static_cast<uint16_t>(5'000 + i)}}, now_))
        << "a port by name is found by passing on";
    (void)sent(i);
  }
}

}  // namespace
}  // namespace millrace::stack
