#include "runtime/shard.h"

#include <fmt/format.h>
#include <signal.h>

#include <cerrno>
#include <cstring>

#include "runtime/cpu.h"

namespace millrace::runtime {

Shard::~Shard() { join(); }

Outcome<void> Shard::make_pools(const conf::WorkerSettings& settings, const Resources& given) {
  resources_ = given;
  if (given.frames != nullptr) return {};
  frames_ = std::make_unique<RegionPacketPool>(memory_, static_cast<size_t>(settings.frames));
  references_ = std::make_unique<RegionPacketPool>(memory_, static_cast<size_t>(settings.references), 0);
  if (frames_->capacity() == 0 || references_->capacity() == 0) {
    return failure("no memory for the packets of another worker", "lower worker.frames, worker.references or workers");
  }
  resources_ = {frames_.get(), references_.get(), &memory_};
  return {};
}

void Shard::make_worker(stack::WorkerConfig config, const conf::LoopSettings& settings) {
  config.frames = resources_.frames;
  config.references = resources_.references;
  config.memory = &memory_;
  config.block_memory = resources_.memory;
  config.start = clock_.now();
  worker_ = std::make_unique<stack::Worker>(config);
  loop_ = std::make_unique<Loop>(*worker_, clock_, settings, waker_);
  loop_->set_chores([this](Instant) { chores(); });
}

Outcome<void> Shard::add_interface(const link::NetifConfig& netif, std::unique_ptr<Device> device) {
  const auto index = worker_->add_interface(netif);
  if (!index) return failure(fmt::format("cannot add interface {}: {}", netif.name, describe(index.error())));
  if (device == nullptr) {
    loop_->attach_loopback(*index);
    return {};
  }
  loop_->attach(*device, *index);
  devices_.push_back(std::move(device));
  return {};
}

void Shard::start(Program& program, std::optional<uint32_t> cpu, std::function<bool()> stopping,
                  std::function<void(int)> ended) {
  loop_->set_interrupt(std::move(stopping));
  ended_ = std::move(ended);
  // Signals belong to the main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this, &program, cpu] {
    if (cpu && !run_on_cpu(*cpu)) {
      fmt::print(stderr, "cannot run a worker on CPU {}: {}; it runs anywhere\n", *cpu, std::strerror(errno));
    }
    ended_(loop_->run(program));
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Shard::join() {
  if (thread_.joinable()) thread_.join();
}

void Shard::ask_view() {
  ++views_asked_;
  waker_.wake();
}

void Shard::post(const Request& request) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(request);
  }
  posted_any_.store(true, std::memory_order_release);
  waker_.wake();
}

void Shard::chores() {
  for (const auto& device : devices_) {
    if (device->trouble().empty() || failed_) continue;
    failed_ = true;
    loop_->stop(1);  // the Host's own queue of the device says why
  }
  if (posted_any_.exchange(false, std::memory_order_acquire)) {
    std::vector<Request> requests;
    {
      const std::lock_guard lock(mutex_);
      requests.swap(posted_);
    }
    for (const Request& request : requests) (void)loop_->request(request);
  }
  const uint64_t asked = views_asked_.load();
  if (asked == views_made_.load(std::memory_order_relaxed)) return;
  view_ = {worker_->sockets(), worker_->counters(), loop_->stages(), {}};
  for (const auto& device : devices_) view_.devices.push_back(device->counters());
  views_made_.store(asked, std::memory_order_release);
}

}  // namespace millrace::runtime
