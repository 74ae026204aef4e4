// Nanoseconds of an empty turn of the poll loop: one polled device without frames, a worker without connections
// and nothing due.
//
//   bench_loop_turn [SECONDS]
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "runtime/loop.h"
#include "runtime/memory.h"

using namespace millrace;

namespace {

class EmptyDevice final : public runtime::Device {
 public:
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return MacAddr{{2, 0, 0, 0, 0, 1}}; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*>) override { return 0; }
  size_t transmit(std::span<pkt::Packet* const>) override { return 0; }

 private:
  std::string name_ = "empty";
  link::DeviceLimits limits_;
};

class Nothing final : public Program {
 public:
  void start(Net&) override {}
  void event(Net&, const Event&) override {}
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = (argc > 1 ? std::atoi(argv[1]) : 1) * 100;
  constexpr int kTurns = 100'000;
  runtime::Clock clock;
  runtime::HugeMemory memory;
  runtime::RegionPacketPool frames(memory, 4'096);
  runtime::RegionPacketPool references(memory, 4'096, 0);
  stack::WorkerConfig config;
  config.frames = &frames;
  config.references = &references;
  config.memory = &memory;
  config.seed = 1;
  config.start = clock.now();
  stack::Worker worker(config);
  link::NetifConfig netif;
  netif.name = "empty";
  const auto interface = worker.add_interface(netif);
  const auto waker = runtime::Waker::make();
  EmptyDevice device;
  runtime::Loop loop(worker, clock, {}, *waker);
  loop.attach(device, *interface);
  Nothing program;
  std::vector<double> samples;
  for (int round = 0; round < rounds; ++round) {
    const uint64_t start = runtime::Clock::cycles();
    for (int i = 0; i < kTurns; ++i) loop.turn(program);
    samples.push_back(static_cast<double>(runtime::Clock::cycles() - start) / kTurns);
  }
  std::sort(samples.begin(), samples.end());
  const auto ns = [&](double cycles) { return cycles / clock.cycles_per_ns(); };
  fmt::print("empty turn: {:.1f} ns median, {:.1f} least, {:.1f} greatest of {} rounds ({:.0f} cycles)\n",
             ns(samples[samples.size() / 2]), ns(samples.front()), ns(samples.back()), rounds,
             samples[samples.size() / 2]);
}
