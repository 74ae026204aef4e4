// Host: everything of one process around its workers, made from a Config: pools, devices, workers, addresses, routes,
// loops, capture, control socket. The first worker runs in the main thread; each further one is a Shard. Either all of
// it comes up or a Failure says what did not, and nothing is left behind.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "conf/config.h"
#include "runtime/clock.h"
#include "runtime/control.h"
#include "runtime/device.h"
#include "runtime/exchange.h"
#include "runtime/loop.h"
#include "runtime/memory.h"
#include "runtime/pcapng.h"
#include "runtime/report.h"
#include "runtime/shard.h"
#include "runtime/siblings.h"
#include "runtime/wake.h"
#include "stack/worker.h"

namespace millrace::runtime {

struct HostOptions {
  bool dump_on_signal = false;
  bool quiet = false;  ///< no lines about interfaces on standard error
  FrameClient* frame_client = nullptr;  ///< sees the first interface's frames before the stack; outlives the host
  PollClient* poll_client = nullptr;    ///< of the first worker; outlives the host
};

class Host {
 public:
  /// `config` is complete (conf::fill_defaults) and checked. `drivers` outlive the host.
  static Outcome<std::unique_ptr<Host>> open(const conf::Config& config, const DriverRegistry& drivers,
                                             const HostOptions& options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// One program a worker, the first for the main thread's.
  int run(std::span<const std::unique_ptr<Program>> programs);
  /// The first worker's, for whoever runs its turns instead of calling run(); with one worker only.
  [[nodiscard]] Loop& loop() { return *loop_; }
  [[nodiscard]] stack::Worker& worker() { return *worker_; }
  /// As HostOptions::frame_client, later.
  void set_frame_client(FrameClient& client);
  [[nodiscard]] std::vector<DeviceCounters> device_counters() const;
  [[nodiscard]] uint32_t workers() const { return static_cast<uint32_t>(shards_.size()) + 1; }
  [[nodiscard]] const Stages& stages() const { return loop_->stages(); }

 private:
  Host(const conf::Config& config, const HostOptions& options, Waker waker);
  Outcome<void> set_up(const DriverRegistry& drivers);
  Outcome<void> meet_siblings();
  Outcome<void> make_pools(const DriverRegistry& drivers);
  Outcome<void> open_devices(const DriverRegistry& drivers);
  Outcome<void> make_shards(const DriverRegistry& drivers);
  void choose_map();
  [[nodiscard]] stack::WorkerConfig worker_config(uint32_t shard) const;
  Outcome<void> make_worker();
  Outcome<void> share_tables();
  Outcome<void> add_interfaces();
  void attach_frame_client();
  Outcome<void> add_loopback();
  Outcome<void> add_routes();
  Outcome<void> start_capture();
  Outcome<void> start_control();
  Outcome<void> drop_privileges();
  Outcome<void> pin();
  Outcome<void> tell_addresses();
  void follow_links();
  void chores(Instant now);
  void tap(stack::Worker& worker);
  void begin_stop(int status);
  bool views_ready();
  [[nodiscard]] Observed observed();

  conf::Config config_;
  HostOptions options_;
  Waker waker_;
  Clock clock_;
  // Destruction runs from the end: devices give frames back first, then the worker, then pools and memory.
  HugeMemory memory_;
  std::unique_ptr<RegionPacketPool> frames_;
  std::unique_ptr<RegionPacketPool> references_;
  Resources resources_;
  steer::ShardMap map_;
  uint64_t seed_ = 0;
  std::unique_ptr<Exchange> exchange_;           // only with several workers
  std::unique_ptr<Siblings> siblings_;           // only with several processes
  std::vector<std::unique_ptr<Shard>> shards_;   // workers 1 and on
  std::unique_ptr<stack::Worker> worker_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::vector<std::unique_ptr<Device>>> queues_;  // of workers 1 and on, by interface, until they are given
  std::vector<ObservedPort> ports_;
  std::unique_ptr<Loop> loop_;
  std::mutex capture_mutex_;  // several workers write one file
  std::optional<Capture> capture_;
  std::vector<IfIndex> captured_;  // capture interface number -> worker's
  int64_t unix_offset_ns_ = 0;     // wall clock minus our clock
  std::unique_ptr<ControlServer> control_;
  Stages stats_before_;
  Instant stats_at_{};
  Instant capture_flush_at_{};
  struct Link {
    bool seen_up = false;  // some devices never say so
    bool told_up = true;   // what the worker was told, or took for granted
  };
  std::vector<Link> links_;  // by device
  Instant look_at_links_{};
  uint32_t told_addresses_ = 0;  // version of the addresses that devices know
  bool failed_ = false;
  bool gathering_ = false;  // a question waits for the other workers' views
  std::vector<const WorkerView*> views_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> status_{0};
};

}  // namespace millrace::runtime
