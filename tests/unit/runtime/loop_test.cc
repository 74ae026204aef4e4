// The poll loop over a real worker and a device made of queues.
#include "runtime/loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "base/memory.h"
#include "runtime/report.h"

namespace millrace::runtime {
namespace {

constexpr MacAddr kOurs{{2, 0, 0, 0, 0, 2}};
constexpr MacAddr kPeers{{2, 0, 0, 0, 0, 1}};

class QueueDevice final : public Device {
 public:
  explicit QueueDevice(pkt::PacketCache& cache) : cache_(cache), event_(eventfd(0, EFD_NONBLOCK)) {}
  ~QueueDevice() override {
    for (auto* queue : {&arriving, &sent}) {
      for (pkt::Packet* p : *queue) cache_.free(p);
    }
  }

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return kOurs; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*> out) override {
    ++receives;
    const std::lock_guard lock(mutex_);
    uint64_t wakes = 0;
    if (event_set_) event_set_ = read(event_.get(), &wakes, sizeof wakes) != sizeof wakes;
    size_t n = 0;
    for (; n < out.size() && !arriving.empty(); ++n) {
      out[n] = arriving.front();
      arriving.pop_front();
    }
    return n;
  }
  size_t transmit(std::span<pkt::Packet* const> frames) override {
    const size_t n = std::min(frames.size(), room);
    room -= n;
    sent.insert(sent.end(), frames.begin(), frames.begin() + static_cast<ptrdiff_t>(n));
    return n;
  }
  [[nodiscard]] int wait_fd() const override { return polled ? -1 : event_.get(); }
  // From another thread.
  void arrive(pkt::Packet* frame) {
    const std::lock_guard lock(mutex_);
    arriving.push_back(frame);
    const uint64_t one = 1;
    event_set_ = write(event_.get(), &one, sizeof one) == sizeof one;
  }

  std::deque<pkt::Packet*> arriving;
  std::deque<pkt::Packet*> sent;
  size_t room = SIZE_MAX;
  size_t receives = 0;
  bool polled = false;

 private:
  std::string name_ = "q0";
  link::DeviceLimits limits_;
  pkt::PacketCache& cache_;
  Descriptor event_;
  bool event_set_ = false;
  std::mutex mutex_;
};

// A program made of functions.
class Script final : public Program {
 public:
  void start(Net& net) override { if (on_start) on_start(net); }
  void event(Net& net, const Event& event) override { if (on_event) on_event(net, event); }
  void tick(Net& net) override { if (on_tick) on_tick(net); }
  void stop(Net&) override { ++stops; }

  std::function<void(Net&)> on_start;
  std::function<void(Net&, const Event&)> on_event;
  std::function<void(Net&)> on_tick;
  int stops = 0;
};

class RuntimeLoop : public testing::Test {
 protected:
  void SetUp() override {
    waker_.emplace(*Waker::make());
    stack::WorkerConfig config;
    config.frames = &frames_;
    config.references = &references_;
    config.memory = &memory_;
    config.seed = 7;
    config.start = clock_.now();
    worker_ = std::make_unique<stack::Worker>(config);
    cache_ = std::make_unique<pkt::PacketCache>(frames_, references_);
    device_ = std::make_unique<QueueDevice>(*cache_);
    settings_.spin_us = 0;
    loop_ = std::make_unique<Loop>(*worker_, clock_, settings_, *waker_);
    link::NetifConfig netif;
    netif.name = "q0";
    netif.mac = kOurs;
    netif.limits.max_segments = 8;
    interface_ = *worker_->add_interface(netif);
    ASSERT_TRUE(worker_->request(req::AddAddress{interface_, *Prefix::parse("198.18.0.2/24")}, clock_.now()));
    ASSERT_TRUE(worker_->request(req::AddNeighbour{interface_, *IpAddr::parse("198.18.0.1"), kPeers}, clock_.now()));
    loop_->attach(*device_, interface_);
    Script nobody;
    loop_->turn(nobody);  // the address is announced
    for (pkt::Packet* p : device_->sent) cache_->free(p);
    device_->sent.clear();
    before_ = loop_->stages();
  }
  void TearDown() override {
    loop_.reset();
    device_.reset();
    worker_.reset();
    cache_.reset();
    EXPECT_EQ(frames_.available(), frames_.capacity());
    EXPECT_EQ(references_.available(), references_.capacity());
  }
  void add_loopback() {
    link::NetifConfig netif;
    netif.name = "lo";
    netif.kind = link::LinkKind::kLoopback;
    netif.limits.mtu = 65'535;
    netif.limits.max_segments = 64;
    const IfIndex index = *worker_->add_interface(netif);
    ASSERT_TRUE(worker_->request(req::AddAddress{index, *Prefix::parse("127.0.0.1/8")}, clock_.now()));
    loop_->attach_loopback(index);
  }
  void arp_request_arrives() { device_->arriving.push_back(arp_request()); }
  // "who has 198.18.0.2, tell 198.18.0.1"
  pkt::Packet* arp_request() {
    static constexpr uint8_t kFrame[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   1,  8, 6,
                                         0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,   0,  0, 1,
                                         198,  18,   0,    1,    0,    0,    0, 0, 0, 0, 198, 18, 0, 2};
    pkt::Packet* p = cache_->frame();
    std::memcpy(p->append(sizeof kFrame), kFrame, sizeof kFrame);
    return p;
  }

  Clock clock_;
  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_{4096};
  pkt::HeapPacketPool references_{4096, 0};
  std::optional<Waker> waker_;
  conf::LoopSettings settings_;
  std::unique_ptr<stack::Worker> worker_;
  std::unique_ptr<pkt::PacketCache> cache_;
  std::unique_ptr<QueueDevice> device_;
  std::unique_ptr<Loop> loop_;
  IfIndex interface_{};
  Stages before_;
};

TEST_F(RuntimeLoop, AFrameIsAnsweredInTheSameTurn) {
  Script program;
  arp_request_arrives();
  EXPECT_TRUE(loop_->turn(program));
  EXPECT_EQ(device_->sent.size(), 1u);
  EXPECT_EQ(loop_->stages().rx_frames, before_.rx_frames + 1);
  EXPECT_EQ(loop_->stages().tx_frames, before_.tx_frames + 1);
  EXPECT_EQ(loop_->stages().busy_turns, before_.busy_turns + 1);
  EXPECT_FALSE(loop_->turn(program));
  EXPECT_EQ(loop_->stages().busy_turns, before_.busy_turns + 1);
}

TEST_F(RuntimeLoop, BesideADeviceThatCannotWakeItTheLoopNaps) {
  QueueDevice polled(*cache_);
  polled.polled = true;
  link::NetifConfig netif;
  netif.name = "q1";
  netif.mac = kOurs;
  loop_->attach(polled, *worker_->add_interface(netif));
  Script program;
  program.on_start = [&](Net& net) { net.wake_at(net.now() + milliseconds(60)); };
  program.on_tick = [&](Net& net) { net.stop(); };
  const Instant start = clock_.now();
  loop_->run(program);
  const auto took = static_cast<uint64_t>((clock_.now() - start).ns());
  // The first nap is an eighth of no time, the next longer, and the device is looked at between them, however long the
  // machine kept the test waiting.
  EXPECT_GE(loop_->stages().sleeps, 2u);
  EXPECT_GT(loop_->stages().slept_ns, took / 8);
  EXPECT_GE(polled.receives, loop_->stages().sleeps);
}

TEST_F(RuntimeLoop, FramesWithoutRoomWaitAndLeaveFirst) {
  Script program;
  device_->room = 0;
  for (int i = 0; i < 5; ++i) arp_request_arrives();
  loop_->turn(program);
  EXPECT_EQ(device_->sent.size(), 0u);
  EXPECT_EQ(loop_->stages().held_back, 1u);
  device_->room = 2;
  loop_->turn(program);
  EXPECT_EQ(device_->sent.size(), 2u);
  device_->room = 100;
  loop_->turn(program);
  EXPECT_EQ(device_->sent.size(), 5u);
  EXPECT_EQ(loop_->stages().tx_frames, before_.tx_frames + 5);
}

TEST_F(RuntimeLoop, FramesStillWaitingAtTheEndGoBackToThePool) {
  Script program;
  device_->room = 0;
  for (int i = 0; i < 3; ++i) arp_request_arrives();
  loop_->turn(program);  // TearDown counts the packets
}

TEST_F(RuntimeLoop, ProgramsTalkOverLoopback) {
  add_loopback();
  Script program;
  Handle listener;
  Handle client;
  std::string heard;
  program.on_start = [&](Net& net) {
    listener = *net.listen({IpAddr::v4(127, 0, 0, 1), 7}, 1);
    client = *net.connect({IpAddr::v4(127, 0, 0, 1), 7}, 2);
  };
  program.on_event = [&](Net& net, const Event& event) {
    if (event.user == 2 && (event.mask & kConnected) != 0) {
      EXPECT_TRUE(net.write(client, std::as_bytes(std::span("hello", 5))));
    }
    if (event.user == 1) (void)net.accept(listener, 3);
    if (event.user == 1 || event.user == 3) {
      char text[16];
      const auto n = net.read(event.user == 3 ? event.handle : Handle{}, std::as_writable_bytes(std::span(text)));
      if (n) heard.append(text, *n);
      if (heard == "hello") net.stop(42);
    }
  };
  program.on_tick = [](Net& net) { net.stop(1); };
  loop_->set_interrupt([this, end = clock_.now() + seconds(5)] { return clock_.now() > end; });
  EXPECT_EQ(loop_->run(program), 42);
  EXPECT_EQ(heard, "hello");
  EXPECT_EQ(program.stops, 1);
}

TEST_F(RuntimeLoop, TickComesOnceAtItsTime) {
  Script program;
  int ticks = 0;
  const Instant start = clock_.now();
  program.on_start = [&](Net& net) { net.wake_at(net.now() + milliseconds(20)); };
  program.on_tick = [&](Net& net) {
    ++ticks;
    EXPECT_GE(net.now(), start + milliseconds(20));
    net.stop();
  };
  EXPECT_EQ(loop_->run(program), 0);
  EXPECT_EQ(ticks, 1);
  EXPECT_GE(loop_->stages().sleeps, 1u);
}

TEST_F(RuntimeLoop, SleepsUntilAFrameComes) {
  Script program;
  loop_->set_interrupt([this] { return !device_->sent.empty(); });
  std::thread later([this, frame = arp_request()] {
    const timespec pause{0, 30'000'000};
    nanosleep(&pause, nullptr);
    device_->arrive(frame);
  });
  EXPECT_EQ(loop_->run(program), 0);
  later.join();
  EXPECT_EQ(device_->sent.size(), 1u);
  EXPECT_GE(loop_->stages().sleeps, 1u);
  EXPECT_LT(loop_->stages().slept_ns, 900'000'000u);  // the longest sleep is a second
}

TEST_F(RuntimeLoop, AnIdleLoopSleepsInsteadOfSpinning) {
  Script program;
  uint64_t turns = 0;
  program.on_start = [&](Net& net) { net.wake_at(net.now() + milliseconds(10)); };
  program.on_tick = [&](Net& net) {
    turns = loop_->stages().turns;
    net.wake_at(net.now() + milliseconds(10));
    if (loop_->stages().sleeps >= 5) net.stop();
  };
  loop_->run(program);
  // A few turns before each sleep, however long the machine kept the test waiting.
  EXPECT_LT(turns, 100u);
  EXPECT_GT(loop_->stages().slept_ns, 1'000'000u);
}

TEST_F(RuntimeLoop, AStopFromOutsideWakesASleepingLoop) {
  Script program;
  std::atomic<bool> stop{false};
  loop_->set_interrupt([&] { return stop.load(); });
  std::thread later([&] {
    const timespec pause{0, 20'000'000};
    nanosleep(&pause, nullptr);
    stop = true;
    waker_->wake();
  });
  EXPECT_EQ(loop_->run(program), 0);
  later.join();
  EXPECT_LT(loop_->stages().slept_ns, 900'000'000u);
  EXPECT_EQ(program.stops, 1);
}

TEST_F(RuntimeLoop, ABusyTurnMakesChoresOnlyNowAndThen) {
  Script program;
  int chores = 0;
  loop_->set_chores([&](Instant) { ++chores; });
  const Instant start = clock_.now();
  while (chores < 10) loop_->turn(program);
  EXPECT_GE(clock_.now() - start, milliseconds(9));
}

TEST_F(RuntimeLoop, EventsBeyondTheBudgetKeepTheirOrder) {
  add_loopback();
  settings_.event_budget = 1;
  loop_ = std::make_unique<Loop>(*worker_, clock_, settings_, *waker_);
  loop_->attach(*device_, interface_);
  Script program;
  std::vector<uint32_t> order;
  program.on_event = [&](Net&, const Event& event) { order.push_back(event.seq); };
  for (uint16_t i = 0; i < 10; ++i) {
    const Endpoint remote{IpAddr::v4(198, 18, 0, 1), static_cast<uint16_t>(80 + i)};
    ASSERT_TRUE(worker_->request(req::Connect{remote}, clock_.now()));
  }
  for (int i = 0; i < 5; ++i) loop_->turn(program);
  for (const stack::SocketInfo& s : worker_->sockets()) (void)worker_->request(req::Abort{s.handle}, clock_.now());
  for (int i = 0; i < 100; ++i) {
    const size_t before = order.size();
    loop_->turn(program);
    EXPECT_LE(order.size(), before + 1);
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(RuntimeLoop, ReportsAnswerEveryQuestionAsTextAndJson) {
  Script program;
  arp_request_arrives();
  loop_->turn(program);
  ASSERT_TRUE(worker_->request(req::Listen{{IpAddr::v4(198, 18, 0, 2), 80}}, clock_.now()));
  conf::Interface interface;
  interface.name = "q0";
  const ObservedPort port{device_.get(), interface_, &interface};
  conf::Config config;
  const Observed observed{*worker_, *loop_, config, clock_.now(), 2.0, {&port, 1}};
  EXPECT_NE(answer("sockets", observed).find("198.18.0.2:80"), std::string::npos);
  EXPECT_NE(answer("neighbours", observed).find("198.18.0.1"), std::string::npos);
  EXPECT_NE(answer("routes", observed).find("198.18.0.0/24"), std::string::npos);
  EXPECT_NE(answer("addresses", observed).find("198.18.0.2/24"), std::string::npos);
  EXPECT_NE(answer("interfaces", observed).find("02:00:00:00:00:02"), std::string::npos);
  EXPECT_NE(answer("counters", observed).find("arp"), std::string::npos);
  EXPECT_NE(answer("stages", observed).find("busy turns"), std::string::npos);
  EXPECT_NE(answer("trace x", observed).find("'x' is no connection"), std::string::npos);
  EXPECT_NE(answer("rm -rf", observed).find("unknown question 'rm'"), std::string::npos);
  for (const char* subject : {"sockets", "neighbours", "routes", "addresses", "interfaces", "counters all", "stages",
                              "trace"}) {
    const std::string json = answer(std::string(subject) + " json", observed);
    EXPECT_TRUE(json.starts_with("[") || json.starts_with("{") || json.starts_with("\"")) << subject << json;
  }
}

}  // namespace
}  // namespace millrace::runtime
