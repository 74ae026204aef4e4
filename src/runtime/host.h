// Host: everything of one process around one worker, made from a Config: pools, devices, worker, addresses, routes,
// loop, capture, control socket. Either all of it comes up or a Failure says what did not, and nothing is left behind.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "runtime/clock.h"
#include "runtime/control.h"
#include "runtime/device.h"
#include "runtime/loop.h"
#include "runtime/memory.h"
#include "runtime/pcapng.h"
#include "runtime/report.h"
#include "runtime/wake.h"
#include "stack/worker.h"

namespace millrace::runtime {

struct HostOptions {
  bool dump_on_signal = false;
  bool quiet = false;  ///< no lines about interfaces on standard error
  FrameClient* frame_client = nullptr;  ///< sees the first interface's frames before the stack; outlives the host
};

class Host {
 public:
  /// `config` is complete (conf::fill_defaults) and checked. `drivers` outlive the host.
  static Outcome<std::unique_ptr<Host>> open(const conf::Config& config, const DriverRegistry& drivers,
                                             const HostOptions& options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  int run(Program& program);
  [[nodiscard]] const Stages& stages() const { return loop_->stages(); }

 private:
  Host(const conf::Config& config, const HostOptions& options, Waker waker);
  Outcome<void> set_up(const DriverRegistry& drivers);
  Outcome<void> make_pools(const DriverRegistry& drivers);
  Outcome<void> open_devices(const DriverRegistry& drivers);
  Outcome<void> make_worker();
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
  std::unique_ptr<stack::Worker> worker_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<ObservedPort> ports_;
  std::unique_ptr<Loop> loop_;
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
};

}  // namespace millrace::runtime
