// Congestion control over a simulated bottleneck: whether flows fill it, share it, and what they do to its queue. All
// times are the simulator's; nothing here waits.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/host.h"
#include "sim/link.h"
#include "tcp/cc/controller.h"

namespace millrace::sim {
namespace {

constexpr uint16_t kPort = 80;
const std::array<std::array<IpAddr, 2>, 2> kAddresses = {{
    {IpAddr::v4(10, 0, 0, 1), *IpAddr::parse("fd00::1")},
    {IpAddr::v4(10, 0, 0, 2), *IpAddr::parse("fd00::2")},
}};

/// Sends without end on as many connections as were asked for, each beginning a little later than the last.
class Source final : public Program {
 public:
  Source(int flows, const char* controller) : flows_(flows), chunk_(65'536) {
    options_.congestion_control = controller;
  }
  void start(Net& net) override { net.wake_at(net.now() + milliseconds(1)); }
  void tick(Net& net) override {
    ASSERT_TRUE(net.connect({kAddresses[1][0], kPort}, static_cast<uint64_t>(opened_++), options_));
    if (opened_ < flows_) net.wake_at(net.now() + milliseconds(37));
  }
  void event(Net& net, const Event& event) override {
    if ((event.mask & (kConnected | kWritable)) == 0) return;
    while (net.write(event.handle, chunk_)) continue;
  }

 private:
  int flows_;
  int opened_ = 0;
  SocketOptions options_;
  std::vector<std::byte> chunk_;
};

/// Counts what each connection brought.
class Sink final : public Program {
 public:
  explicit Sink(const char* controller) { options_.congestion_control = controller; }
  void start(Net& net) override { ASSERT_TRUE(net.listen({kAddresses[1][0], kPort}, kListener, options_)); }
  void event(Net& net, const Event& event) override {
    if (event.user == kListener) {
      while (const auto conn = net.accept(event.handle, received.size())) received.push_back(0);
      return;
    }
    while (const auto n = net.read(event.handle, buffer_)) {
      if (*n == 0) return;
      received[event.user] += *n;
    }
  }
  std::vector<uint64_t> received;

 private:
  static constexpr uint64_t kListener = UINT64_MAX;
  SocketOptions options_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1 << 20);
};

/// Two hosts and a bottleneck from the first to the second.
class Bottleneck {
 public:
  Bottleneck(uint64_t bits_per_second, Duration round_trip, uint32_t queue_bytes, int flows, const char* controller,
             uint32_t mark_bytes = UINT32_MAX)
      : source_(flows, controller),
        sink_(controller),
        observer_({.loses_inside = {true, true}}, [](const std::string& what) { ADD_FAILURE() << what; }) {
    HostPlan plan;
    plan.block_bytes = size_t{256} << 20;
    plan.frames = plan.references = 32'768;
    plan.nic.tx_ring = 256;
    plan.nic.rx_ring = 4'096;
    const Duration one_way(round_trip.ns() / 2);
    for (size_t i = 0; i < 2; ++i) {
      LinkConfig config{.bits_per_second = i == 0 ? bits_per_second : 10'000'000'000, .delay = one_way};
      if (i == 0) {
        config.queue_bytes = queue_bytes;
        config.mark_bytes = mark_bytes;
      }
      links_[i] =
          std::make_unique<Link>(heap_, frames_, 7 + i, config, [this, i](Frame* f) { hosts_[1 - i]->receive(f); });
      links_[i]->heal();  // no fault strikes for certain
      plan.nic.mac = MacAddr{{2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)}};
      HostHooks hooks;
      hooks.wire = [this, i](Frame* frame) { links_[i]->send(frame); };
      hooks.capture = [](const Bytes&, bool) {};
      hooks.fail = [](const std::string& what) { ADD_FAILURE() << what; };
      hooks.pass_time = [this](Duration) { return heap_.now(); };
      hosts_[i] = std::make_unique<Host>(heap_, frames_, observer_, plan, static_cast<int>(i), 3 + i, false, hooks);
    }
    Program* const programs[] = {&source_, &sink_};
    for (size_t i = 0; i < 2; ++i) hosts_[i]->start({&programs[i], 1}, kAddresses[i]);
  }

  void run_until(int64_t ms) { heap_.run_until(Instant(milliseconds(ms).ns())); }
  [[nodiscard]] uint64_t bytes() const {
    uint64_t sum = 0;
    for (const uint64_t n : sink_.received) sum += n;
    return sum;
  }
  [[nodiscard]] const std::vector<uint64_t>& by_flow() const { return sink_.received; }
  [[nodiscard]] const LinkStats& link() const { return links_[0]->stats(); }
  [[nodiscard]] uint64_t counter(std::string_view name) const { return hosts_[0]->counter(name); }

 private:
  EventHeap heap_;
  FrameStore frames_;
  Source source_;
  Sink sink_;
  Observer observer_;
  std::array<std::unique_ptr<Link>, 2> links_;
  std::array<std::unique_ptr<Host>, 2> hosts_;
};

/// (sum x)^2 / (n sum x^2): 1 when all are equal.
double jain(const std::vector<uint64_t>& x) {
  double sum = 0;
  double squares = 0;
  for (const uint64_t v : x) {
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  return sum * sum / (static_cast<double>(x.size()) * squares);
}

constexpr uint64_t kRate = 100'000'000;
constexpr uint32_t kBdp = 1'250'000;  // 100 Mb/s times 100 ms

TEST(CongestionOverABottleneck, CubicFillsALongFatPathWithAQueueOfItsOwnSize) {
  Bottleneck b(kRate, milliseconds(100), kBdp, 1, "cubic");
  b.run_until(2'000);
  const uint64_t before = b.bytes();
  b.run_until(8'000);
  const double used = static_cast<double>(b.bytes() - before) * 8 / 6 / static_cast<double>(kRate);
  EXPECT_GT(used, 0.9) << "of the rate, headers not counted";
  EXPECT_EQ(b.counter("tcp.rtos"), 0u);
}

TEST(CongestionOverABottleneck, HyStartLeavesSlowStartBeforeADeepQueueOverflows) {  // RFC 9406
  // Growth by a quarter for five rounds may still treble the window; doubling would fill any queue.
  Bottleneck b(kRate, milliseconds(100), 8 * kBdp, 1, "cubic");
  b.run_until(3'000);
  EXPECT_EQ(b.link().lost_in_queue, 0u);
}

TEST(CongestionOverABottleneck, DctcpFillsAPathWithMarksAloneAndLosesNothing) {  // RFC 8257
  Bottleneck b(kRate, milliseconds(2), 250'000, 2, "dctcp", 30'000);
  b.run_until(500);
  const uint64_t before = b.bytes();
  b.run_until(2'500);
  EXPECT_GT(static_cast<double>(b.bytes() - before) * 8 / 2 / static_cast<double>(kRate), 0.9);
  EXPECT_GT(b.link().marked, 100u);
  EXPECT_EQ(b.link().lost_in_queue, 0u);
  EXPECT_EQ(b.counter("tcp.retransmits"), 0u);
}

class EqualFlows : public ::testing::TestWithParam<const char*> {};

TEST_P(EqualFlows, ShareTheBottleneckFairly) {
  Bottleneck b(20'000'000, milliseconds(20), 50'000, 4, GetParam());
  b.run_until(3'000);
  std::vector<uint64_t> got = b.by_flow();
  b.run_until(13'000);
  ASSERT_EQ(b.by_flow().size(), 4u);
  for (size_t i = 0; i < got.size(); ++i) got[i] = b.by_flow()[i] - got[i];
  EXPECT_GT(jain(got), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Controllers, EqualFlows, ::testing::ValuesIn(tcp::cc::kNames),
                         [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace millrace::sim
