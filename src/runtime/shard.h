// A further worker of the process, beside the Host's own: its pools, its queue of every device, its loop and thread.
// Everything is made in the main thread; then only its thread touches it, but for the few members that say otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "conf/config.h"
#include "millrace/program.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/loop.h"
#include "runtime/memory.h"
#include "runtime/report.h"
#include "runtime/wake.h"
#include "stack/worker.h"

namespace millrace::runtime {

class Shard {
 public:
  explicit Shard(Waker waker) : waker_(std::move(waker)) {}
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  /// Makes pools, unless a driver has `given` some.
  Outcome<void> make_pools(const conf::WorkerSettings& settings, const Resources& given);
  /// `config` is complete but for pools and memory.
  void make_worker(stack::WorkerConfig config, const conf::LoopSettings& settings);
  /// Device or, for nullptr, loopback.
  Outcome<void> add_interface(const link::NetifConfig& netif, std::unique_ptr<Device> device);

  /// Starts the thread: pinned to `cpu` if there is one. `ended` is called in it with the loop's status.
  void start(Program& program, std::optional<uint32_t> cpu, std::function<bool()> stopping,
             std::function<void(int)> ended);
  void join();

  [[nodiscard]] const Resources& resources() const { return resources_; }
  [[nodiscard]] stack::Worker& worker() { return *worker_; }
  [[nodiscard]] Loop& loop() { return *loop_; }
  [[nodiscard]] const Waker& waker() const { return waker_; }

  // From any thread.
  /// Asks for a view; ready() is true once the thread has made it.
  void ask_view();
  [[nodiscard]] bool view_ready() const { return views_made_.load(std::memory_order_acquire) == views_asked_.load(); }
  [[nodiscard]] const WorkerView& view() const { return view_; }
  /// Lets the worker carry `request` out soon; its answer is not waited for.
  void post(const Request& request);

 private:
  void chores();

  Waker waker_;
  Clock clock_;
  // Destruction runs from the end.
  HugeMemory memory_;
  std::unique_ptr<RegionPacketPool> frames_;
  std::unique_ptr<RegionPacketPool> references_;
  Resources resources_;
  std::unique_ptr<stack::Worker> worker_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::unique_ptr<Loop> loop_;
  std::function<void(int)> ended_;
  bool failed_ = false;
  std::atomic<uint64_t> views_asked_{0};
  std::atomic<uint64_t> views_made_{0};
  WorkerView view_;  // the thread's until view_ready()
  std::atomic<bool> posted_any_{false};
  std::mutex mutex_;
  std::vector<Request> posted_;  // under mutex_
  std::thread thread_;
};

}  // namespace millrace::runtime
