// The worker's doors: the pump of a long send, loopback inside the worker, counters, captures, deadlines.
#include <set>

#include "vocabulary.h"

namespace millrace::script {
namespace {

TEST(Pump, AcknowledgmentsArriveWhileALongWriteRuns) {
  Script s{Variant{}};
  const Handle c = s.server();
  int pumped = 0;
  s.pump([&] {
    ++pumped;
    s.in(ACK);
  });
  std::vector<std::byte> data(1 << 20);
  for (uint32_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
  EXPECT_EQ(s.ask(req::Send{c, data})->bytes, data.size());
  EXPECT_GE(pumped, 10);
  EXPECT_GT(s.skip(), 100u);  // far beyond the initial window, before the write returned
}

TEST(Pump, ResetInsideTheWriteEndsItAndIsReportedByTheNext) {
  Script s{Variant{}};
  const Handle c = s.server();
  (void)s.events(c);
  int pumped = 0;
  s.pump([&] {
    if (++pumped == 3) s.in(RST, seq(1));
  });
  std::vector<std::byte> data(1 << 20);
  for (uint32_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
  const auto taken = s.ask(req::Send{c, data});
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->bytes, 3u * 65'408);
  s.skip();
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kConnectionReset);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kBrokenPipe);
  EXPECT_EQ(s.worker().blocks_in_use(), 0u);
}

TEST(Pump, DataThatArrivesInsideTheWriteIsReadableAfterwards) {
  Script s{Variant{}};
  const Handle c = s.server();
  (void)s.events(c);
  bool once = false;
  s.pump([&] {
    s.in(ACK, len(once ? 0u : 100u));
    once = true;
  });
  std::vector<std::byte> data(200'000);
  for (uint32_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
  EXPECT_TRUE(s.ask(req::Send{c, data}));
  s.skip();
  EXPECT_NE(s.events(c) & kReadable, 0u);
  EXPECT_EQ(s.read(c), 100u);
}

TEST(Worker, CounterNamesAreUniqueAndDotted) {
  Script s{Variant{}};
  std::set<std::string> names;
  for (const auto& c : s.worker().counters()) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name << " occurs twice";
    EXPECT_NE(c.name.find('.'), std::string::npos) << c.name;
    EXPECT_FALSE(c.text.empty()) << c.name;
  }
  EXPECT_GT(names.size(), 40u);
}

TEST(Worker, TapSeesEveryFrameInAndOut) {
  Script s{Variant{}};
  int in = 0;
  int out = 0;
  s.worker().set_tap([&](stack::Worker::Direction d, IfIndex, const pkt::Packet& p, Instant) {
    EXPECT_GE(p.total, 54u);
    ++(d == stack::Worker::Direction::kIn ? in : out);
  });
  s.server();
  EXPECT_EQ(in, 2);
  EXPECT_EQ(out, 1);
}

TEST(Worker, IdleConnectionNeedsNoTimer) {
  Script s{Variant{}};
  s.server();
  s.advance(1'000);
  const auto next = s.worker().next_deadline();
  EXPECT_TRUE(!next || *next > s.now() + seconds(10));
  EXPECT_FALSE(s.worker().wants_output());
}

TEST(Worker, SocketListShowsListenersConnectionsAndTimeWaits) {
  Script s{Variant{}};
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, len(100));
  std::set<std::string> states;
  for (const auto& i : s.worker().sockets()) states.insert(i.state);
  EXPECT_EQ(states, (std::set<std::string>{"LISTEN", "ESTABLISHED"}));
  EXPECT_EQ(s.info().send_queue, 100u);
  s.in(ACK);
  s.close(c);
  s.expect(FIN | ACK);
  s.in(FIN | ACK);
  s.expect(ACK);
  EXPECT_EQ(s.state(), "TIME-WAIT");
}

// --- Loopback --------------------------------------------------------------------------------------------------------

class Loopback : public testing::TestWithParam<const char*> {
 protected:
  Loopback() : frames_(2'048), references_(2'048, 0), worker_(config()) {
    link::NetifConfig lo;
    lo.name = "lo";
    lo.kind = link::LinkKind::kLoopback;
    lo.limits.mtu = 65'535;
    lo.limits.max_segments = 18;
    lo.limits.tx_checksum_v4 = lo.limits.tx_checksum_v6 = true;
    lo_ = *worker_.add_interface(lo);
    link::NetifConfig eth;
    eth.name = "eth0";
    eth.mac = {{2, 0, 0, 0, 0, 1}};
    eth_ = *worker_.add_interface(eth);
    for (const char* text : {"127.0.0.1/8", "::1/128"}) ask(req::AddAddress{lo_, *Prefix::parse(text)});
    for (const char* text : {"192.0.2.1/24", "fd00::1/64"}) ask(req::AddAddress{eth_, *Prefix::parse(text)});
  }
  stack::WorkerConfig config() {
    stack::WorkerConfig c;
    c.frames = &frames_;
    c.references = &references_;
    c.memory = &memory_;
    c.seed = 3;
    c.max_connections = 16;
    c.max_half_open = 16;
    c.max_time_wait = 16;
    return c;
  }
  Reply ask(const Request& r) {
    const auto reply = worker_.request(r, now_);
    EXPECT_TRUE(reply) << r.index();
    return reply ? *reply : Reply{};
  }
  // What leaves by the loopback interface comes in by it.
  void turn() {
    for (int i = 0; i < 1'000; ++i) {
      pkt::Packet* out[16];
      const size_t n = worker_.output(lo_, out, now_);
      if (n > 0) worker_.input(lo_, {out, n}, now_);
      if (n == 0 && !worker_.wants_output()) return;
      if (n == 0) return;
    }
  }

  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  stack::Worker worker_;
  IfIndex lo_{};
  IfIndex eth_{};
  Instant now_{1'000'000'000};
};

TEST_P(Loopback, ConnectionToAnOwnAddressStaysInside) {
  const IpAddr own = *IpAddr::parse(GetParam());
  const Handle l = ask(req::Listen{{own, 80}}).handle;
  const Handle client = ask(req::Connect{{own, 80}}).handle;
  turn();
  const Handle server = ask(req::Accept{l, 0}).handle;
  std::vector<std::byte> data(300'000);
  for (uint32_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
  EXPECT_EQ(ask(req::Send{client, data}).bytes, data.size());
  std::vector<std::byte> got;
  for (int i = 0; i < 100 && got.size() < data.size(); ++i) {
    turn();
    std::byte room[100'000];
    const auto n = worker_.request(req::Receive{server, room}, now_);
    if (n) got.insert(got.end(), room, room + n->bytes);
    if (!n) {
      now_ = now_ + milliseconds(50);
      worker_.advance(now_);
    }
  }
  EXPECT_EQ(got, data);
  EXPECT_EQ(worker_.check(), "");
  ask(req::Close{client});
  turn();
  std::byte room[8];
  EXPECT_EQ(ask(req::Receive{server, room}).bytes, 0u);
  ask(req::Close{server});
  turn();
}
INSTANTIATE_TEST_SUITE_P(All, Loopback, testing::Values("127.0.0.1", "::1", "192.0.2.1", "fd00::1"),
                         [](const auto& p) { return "Address" + std::to_string(p.index); });

}  // namespace
}  // namespace millrace::script
