// Processes that share addresses: the ring of frames between them, who may come, and what happens to those that go.
#include "runtime/siblings.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "base/memory.h"
#include "pkt/pool.h"
#include "stack/impl.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace millrace::runtime {
namespace {

constexpr IfIndex kInterface{1};

class FrameRings : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8'192;
  FrameRings() : memory_((sizeof(FrameRing::Positions) + kBytes) / 64), ring_(at(), kBytes) {}
  struct alignas(64) Line {
    std::array<std::byte, 64> bytes{};
  };
  FrameRing::Positions* at() { return reinterpret_cast<FrameRing::Positions*>(memory_.data()); }
  bool put(size_t size, uint8_t fill) {
    pkt::Packet* head = nullptr;
    for (size_t done = 0; done < size;) {
      pkt::Packet* p = packets_.frame();
      const auto n = static_cast<uint16_t>(std::min<size_t>(size - done, p->tailroom()));
      std::memset(p->append(n), fill, n);
      done += n;
      if (head == nullptr) {
        head = p;
      } else {
        pkt::chain(*head, p);
      }
    }
    head->flags = pkt::kRxL4ChecksumNone | uint64_t{3} << pkt::kRxHopsShift;
    head->set_tx_lengths(14, 20, 20, 1'448);
    const bool done = ring_.put(*head, kInterface);
    packets_.free(head);
    return done;
  }
  std::vector<std::pair<size_t, uint8_t>> take(size_t most = SIZE_MAX) {
    std::vector<std::pair<size_t, uint8_t>> out;
    (void)ring_.take(most, packets_, [&](pkt::Packet* p, IfIndex interface) {
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(interface, kInterface);
      EXPECT_EQ(p->flags, pkt::kRxL4ChecksumNone | uint64_t{3} << pkt::kRxHopsShift);
      EXPECT_EQ(p->seg_size(), 1'448u);
      std::vector<std::byte> bytes(p->total);
      (void)pkt::copy_out(*p, 0, bytes);
      const auto fill = static_cast<uint8_t>(bytes[0]);
      for (const std::byte b : bytes) ASSERT_EQ(static_cast<uint8_t>(b), fill);
      out.emplace_back(bytes.size(), fill);
      packets_.free(p);
    });
    return out;
  }

  std::vector<Line> memory_;
  FrameRing ring_;
  pkt::HeapPacketPool frames_{64};
  pkt::HeapPacketPool references_{8, 0};
  pkt::PacketCache packets_{frames_, references_};
};

TEST_F(FrameRings, FramesComeOutInOrderAsTheyWentInRoundAndRound) {
  uint8_t fill = 0;
  for (int round = 0; round < 200; ++round) {
    const size_t sizes[] = {60, 1'514, size_t{1} + static_cast<size_t>(round) * 3};
    for (const size_t size : sizes) ASSERT_TRUE(put(size, ++fill));
    const auto got = take();
    ASSERT_EQ(got.size(), 3u);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(got[i], std::pair(sizes[i], static_cast<uint8_t>(fill - 2 + i)));
  }
  EXPECT_TRUE(put(3'000, 7)) << "over several packets";
  EXPECT_EQ(take().size(), 1u);
}

TEST_F(FrameRings, AFullOneRefusesAndLosesNothing) {
  int put_in = 0;
  while (put(500, static_cast<uint8_t>(put_in))) ++put_in;
  EXPECT_GE(put_in, 6);
  EXPECT_FALSE(put(kBytes, 1)) << "larger than the ring";
  EXPECT_EQ(take(2).size(), 2u);
  EXPECT_TRUE(put(500, static_cast<uint8_t>(put_in)));
  const auto rest = take();
  ASSERT_EQ(rest.size(), static_cast<size_t>(put_in - 1));
  for (size_t i = 0; i < rest.size(); ++i) EXPECT_EQ(rest[i].second, i + 2);
}

TEST_F(FrameRings, AnotherReaderGoesOnWhereTheOneBeforeItEndedAndTheWriterMayLookAtWhatIsLeft) {
  ASSERT_TRUE(put(100, 1));
  ASSERT_TRUE(put(100, 2));
  EXPECT_EQ(take(1).size(), 1u);
  FrameRing second(at(), kBytes);
  int left = 0;
  (void)second.take_back(packets_, [&](pkt::Packet* p, IfIndex) {
    EXPECT_EQ(static_cast<uint8_t>(*p->data()), 2);
    packets_.free(p);
    ++left;
  });
  EXPECT_EQ(left, 1);
  second.skip_all();
  EXPECT_TRUE(ring_.empty());
  EXPECT_TRUE(take().empty());
}

// A process that went wild hurts nobody through it.
TEST_F(FrameRings, NonsenseEmptiesIt) {
  base::Rng rng(5);
  for (int round = 0; round < 20'000; ++round) {
    for (int i = 0; i < 3; ++i) (void)put(1 + rng.below(900), 9);
    auto* bytes = reinterpret_cast<std::byte*>(at());
    for (uint64_t i = rng.below(4); i != 0; --i) {
      const bool positions = rng.chance(1, 4);
      const size_t where = positions ? rng.below(2) * 64 + rng.below(8) : 128 + rng.below(kBytes);
      bytes[where] = static_cast<std::byte>(rng.next());
    }
    size_t bytes_taken = 0;
    (void)ring_.take(SIZE_MAX, packets_, [&](pkt::Packet* p, IfIndex) {
      if (p != nullptr) bytes_taken += p->total;
      packets_.free(p);
    });
    ASSERT_LE(bytes_taken, kBytes);
    (void)ring_.take_back(packets_, [&](pkt::Packet* p, IfIndex) { packets_.free(p); });
    ring_.skip_all();
  }
}

const IpAddr kOurs = IpAddr::v4(198, 18, 0, 2);
const IpAddr kPeer = IpAddr::v4(198, 18, 0, 1);
const MacAddr kOurMac{{2, 0, 0, 0, 0, 2}};
const MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};

/// One process: a worker that listens, and its place among the others.
struct One {
  One(std::unique_ptr<Siblings> joined, uint32_t number, uint32_t count)
      : siblings(std::move(joined)), self(number), map(count, siblings->seed() + 1) {
    stack::WorkerConfig c;
    c.frames = &frames;
    c.references = &references;
    c.memory = &memory;
    c.seed = siblings->seed();
    c.max_connections = c.max_half_open = c.max_time_wait = 64;
    c.shards = &map;
    c.shard = number;
    c.siblings = true;
    worker = std::make_unique<stack::Worker>(c);
    link::NetifConfig netif;
    netif.mac = kOurMac;
    EXPECT_EQ(*worker->add_interface(netif), kInterface);
    EXPECT_TRUE(worker->request(req::AddAddress{kInterface, {kOurs, 24}}, now));
    EXPECT_TRUE(worker->request(req::AddNeighbour{kInterface, kPeer, kPeerMac}, now));
    EXPECT_TRUE(worker->request(req::Listen{{IpAddr::any_v4(), 80}}, now));
    siblings->attach(*worker);
    turn();
    (void)sent();
  }
  void turn() {
    now = now + milliseconds(11);  // every turn looks at the others
    (void)siblings->take_in(self, now);
    (void)siblings->hand_out(self);
  }
  void receive_syn(uint16_t port) {
    take_syn(port);
    (void)siblings->hand_out(self);
  }
  void take_syn(uint16_t port) {
    constexpr size_t kBytes = wire::kEthernetSize + wire::kIpv4MinSize + wire::kTcpMinSize;
    pkt::Packet* p = worker->impl().packets.frame();
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
    tcp.flags = wire::kSyn;
    tcp.window = 1'000;
    tcp.emit(frame.subspan(34));
    p->flags = pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood;
    worker->input(kInterface, {&p, 1}, now);
  }
  /// SYN-ACKs.
  size_t sent() {
    size_t n = 0;
    pkt::Packet* p = nullptr;
    while (worker->output(kInterface, {&p, 1}, now) == 1) {
      n += wire::load_u8(p->data() + 23) == wire::kProtocolTcp && wire::load_u8(p->data() + 47) == 0x12 ? 1 : 0;
      worker->impl().packets.free(p);
    }
    return n;
  }
  uint16_t port_of(uint32_t owner) {
    do {
      ++last_port;
    } while (map.of_flow({kPeer, kOurs, last_port, 80}) != owner);
    return last_port;
  }

  pkt::HeapPacketPool frames{1'024};
  pkt::HeapPacketPool references{64, 0};
  base::HeapMemory memory;
  std::unique_ptr<Siblings> siblings;
  uint32_t self;
  steer::ShardMap map;
  std::unique_ptr<stack::Worker> worker;
  uint16_t last_port = 40'000;
  Instant now{1'000'000'000};
};

class SiblingProcesses : public testing::Test {
 protected:
  SiblingProcesses() {
    char name[] = "/tmp/siblings-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~SiblingProcesses() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] Siblings::Plan plan(uint32_t self, uint32_t count = 2) const {
    return {directory_, "test" + std::to_string(getpid()), self, count, 77, 1'000 + self};
  }
  [[nodiscard]] std::unique_ptr<One> start(uint32_t self, uint32_t count = 2) const {
    auto joined = Siblings::join(plan(self, count));
    EXPECT_TRUE(joined) << (joined ? "" : joined.error().to_string());
    return std::make_unique<One>(std::move(*joined), self, count);
  }
  [[nodiscard]] std::string refused(const Siblings::Plan& plan) const {
    auto joined = Siblings::join(plan);
    EXPECT_FALSE(joined);
    return joined ? "" : joined.error().what;
  }
  [[nodiscard]] size_t files() const {
    const auto all = std::filesystem::directory_iterator(directory_);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  std::string directory_;
};

TEST_F(SiblingProcesses, HaveOneSeedAndOnePlaceEach) {
  const auto zero = start(0);
  const auto joined = Siblings::join(plan(1));
  ASSERT_TRUE(joined);
  EXPECT_EQ((*joined)->seed(), 1'000u);
  EXPECT_NE(refused(plan(1)).find("process 1 of test"), std::string::npos);
  EXPECT_NE(refused(plan(2, 3)).find("are not 3"), std::string::npos);
}

TEST_F(SiblingProcesses, MustBeConfiguredAlike) {
  const auto zero = start(0);
  Siblings::Plan other = plan(1);
  other.fingerprint = 78;
  EXPECT_NE(refused(other).find("other interfaces or addresses"), std::string::npos);
  EXPECT_NE(start(1), nullptr) << "the place of a refused one is free";
}

TEST_F(SiblingProcesses, TheLastOneTakesTheFileAway) {
  auto zero = start(0);
  auto one = start(1);
  zero.reset();
  EXPECT_EQ(files(), 1u);
  zero = start(0);
  EXPECT_EQ(zero->siblings->seed(), 1'000u);
  zero.reset();
  one.reset();
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(start(1)->siblings->seed(), 1'001u) << "a new beginning";
}

// What its device gave it before its first look would be reset.
TEST_F(SiblingProcesses, KnowTheOthersBeforeTheirFirstTurn) {
  const auto zero = start(0);
  auto joined = Siblings::join(plan(1));
  ASSERT_TRUE(joined);
  (*joined)->attach(*zero->worker);
  EXPECT_EQ((*joined)->living(), 3u);
  zero->turn();
  EXPECT_EQ(zero->siblings->living(), 1u) << "one that does not turn yet gets nothing";
}

TEST_F(SiblingProcesses, HandFramesToTheirOwnerAndWakeIt) {
  const auto zero = start(0);
  const auto one = start(1);
  zero->turn();
  ASSERT_EQ(zero->siblings->living(), 3u);
  ASSERT_TRUE(one->siblings->prepare_sleep(1));
  zero->receive_syn(zero->port_of(1));
  zero->receive_syn(zero->port_of(1));
  pollfd bell{one->siblings->wait_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&bell, 1, 0), 1) << "woken";
  one->siblings->end_sleep(1);
  EXPECT_EQ(poll(&bell, 1, 0), 0) << "once";
  EXPECT_FALSE(one->siblings->prepare_sleep(1)) << "there is something to do";
  EXPECT_EQ(one->sent(), 0u);
  one->turn();
  EXPECT_EQ(one->sent(), 2u);
  EXPECT_EQ(zero->sent(), 0u);
  EXPECT_TRUE(one->siblings->prepare_sleep(1));
  one->siblings->end_sleep(1);
}

TEST_F(SiblingProcesses, OneThatLeavesIsStoodInFor) {
  const auto zero = start(0);
  auto one = start(1);
  zero->turn();
  zero->receive_syn(zero->port_of(1));
  one.reset();
  zero->turn();
  EXPECT_EQ(zero->siblings->living(), 1u);
  EXPECT_EQ(zero->sent(), 1u) << "what was on its way to it";
  zero->receive_syn(zero->port_of(1));
  EXPECT_EQ(zero->sent(), 1u);
}

TEST_F(SiblingProcesses, AFrameSortedOutForOneThatIsThenSeenToBeGoneIsSortedAgain) {
  const auto zero = start(0);
  auto one = start(1);
  zero->turn();
  zero->take_syn(zero->port_of(1));
  one.reset();
  zero->turn();
  EXPECT_EQ(zero->sent(), 1u);
}

// What a killed process leaves is what the others find: no destructor runs.
TEST_F(SiblingProcesses, OneThatIsKilledIsStoodInForAndItsPlaceIsFree) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const std::string name = plan(0).name;
  const pid_t child = fork();
  if (child == 0) {
    auto joined = Siblings::join({directory_, name, 0, 2, 77, 5});
    if (!joined) _exit(1);
    const One dying(std::move(*joined), 0, 2);
    (void)!write(ready[1], "x", 1);
    for (;;) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  const auto one = start(1);
  one->turn();
  EXPECT_EQ(one->siblings->seed(), 5u) << "the first one's";
  EXPECT_EQ(one->siblings->living(), 3u);
  one->receive_syn(one->port_of(0));
  EXPECT_NE(one->siblings->look_at(), kNever) << "there is something to watch over";
  EXPECT_EQ(one->sent(), 0u);
  ::kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  one->turn();
  EXPECT_EQ(one->siblings->living(), 2u);
  EXPECT_EQ(one->sent(), 1u) << "what was on its way to it";
  const auto zero = start(0);
  one->turn();
  EXPECT_EQ(one->siblings->living(), 3u);
  EXPECT_EQ(zero->siblings->seed(), 5u);
  one->receive_syn(one->port_of(0));
  zero->turn();
  EXPECT_EQ(zero->sent(), 1u);
  for (const int fd : ready) close(fd);
}

TEST_F(SiblingProcesses, OneThatDoesNotReadLosesFramesAndHoldsNobodyUp) {
  const auto zero = start(0);
  const auto one = start(1);
  zero->turn();
  const uint16_t port = zero->port_of(1);
  for (int i = 0; i < 12'000; ++i) zero->receive_syn(port);
  uint64_t dropped = 0;
  for (const stack::CounterValue& c : zero->worker->counters()) {
    if (c.name == "steer.drop.outbox_full") dropped = c.value;
  }
  EXPECT_GT(dropped, 0u);
  EXPECT_LT(dropped, 6'000u);
  zero->receive_syn(zero->port_of(0));
  EXPECT_EQ(zero->sent(), 1u);
}

}  // namespace
}  // namespace millrace::runtime
