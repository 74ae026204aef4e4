// DPDK's environment layer: started once a process from our own settings, quiet, with nothing on disk (in-memory, no
// telemetry socket, no shared configuration), so that a killed process leaves nothing behind.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "conf/config.h"
#include "drivers/dpdk/spec.h"
#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

/// The command line that rte_eal_init gets, the program's name first. `memory_mib` 0 leaves the amount to DPDK.
[[nodiscard]] std::vector<std::string> eal_arguments(const conf::Config& config, std::span<const DeviceSpec> devices,
                                                     size_t memory_mib);

/// Once started it stays until the process ends: all its memory is anonymous and the ports clean up after themselves,
/// whereas rte_eal_cleanup() unmaps memory under its own interrupt thread.
class Eal {
 public:
  [[nodiscard]] runtime::Outcome<void> start(const conf::Config& config, std::span<const DeviceSpec> devices);
  [[nodiscard]] bool started() const { return started_; }

 private:
  bool started_ = false;
};

/// The last complaint that DPDK wrote to its log, as the end of a sentence: ": No such file" or empty.
[[nodiscard]] std::string last_complaint();

}  // namespace millrace::drivers::dpdk
