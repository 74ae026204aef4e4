// Devices and drivers. A Driver opens Devices from interface configurations; a Device is one queue pair of one
// interface, used by one worker's thread. docs/ARCHITECTURE.md shows where they stand.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "conf/config.h"
#include "link/netif.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "pkt/packet.h"
#include "pkt/pool.h"
#include "runtime/failure.h"
#include "steer/shard_map.h"

namespace millrace::runtime {

struct DeviceCounters {
  uint64_t rx_frames = 0;
  uint64_t rx_bytes = 0;
  uint64_t tx_frames = 0;
  uint64_t tx_bytes = 0;
  uint64_t rx_dropped = 0;  ///< lost before receive() for want of a buffer or a slot
  uint64_t rx_errors = 0;
  uint64_t tx_errors = 0;   ///< frames the device refused for good
};

class Device {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual MacAddr mac() const = 0;
  [[nodiscard]] virtual const link::DeviceLimits& limits() const = 0;

  /// Once, in the thread that uses the device from then on, before anything else there.
  virtual void enter_thread() {}
  /// Takes frames from the device; returns how many. Packets come from the pools that the driver was given (or gave)
  /// with kHeadroom bytes before the Ethernet header, and belong to the caller.
  virtual size_t receive(std::span<pkt::Packet*> out) = 0;
  /// Gives frames to the device, in order. The device owns as many as it returns; the rest stays the caller's, who
  /// tries them first the next time. A frame that can never be sent is taken, freed and counted.
  virtual size_t transmit(std::span<pkt::Packet* const> frames) = 0;

  /// A descriptor that becomes readable when frames wait; -1: this device must be polled.
  [[nodiscard]] virtual int wait_fd() const { return -1; }
  /// Called before the loop sleeps on wait_fd(); false: frames came meanwhile, do not sleep.
  virtual bool arm_wait() { return true; }
  /// Called after the sleep.
  virtual void disarm_wait() {}
  /// Called now and then (about once a millisecond when busy, and before each sleep): reclaim sent buffers and so on.
  virtual void housekeeping(Instant) {}
  /// Tells a device that shares an interface with the kernel which addresses are the stack's and which groups it has
  /// joined, all of them, at start and after every change.
  virtual Outcome<void> set_addresses(std::span<const IpAddr>) { return {}; }
  /// Whether the kernel is on the link too, with the same MAC address.
  [[nodiscard]] virtual bool shares_mac() const { return false; }
  /// What kind of service was got, for people: "native XDP, copy, 1 queue"; may be empty.
  [[nodiscard]] virtual std::string describe() const { return {}; }
  [[nodiscard]] virtual bool link_up() const { return true; }
  /// Why the device will never work again, e.g. "it was removed"; empty while it may.
  [[nodiscard]] virtual std::string_view trouble() const { return {}; }
  [[nodiscard]] virtual DeviceCounters counters() const { return {}; }
  /// How the NIC spreads received frames over its queues; empty if it does not, or nobody knows.
  struct Spread {
    std::array<uint8_t, steer::kKeyBytes> key{};
    std::vector<uint16_t> table{};  ///< queues; the size is a power of two
    bool hash = false;              ///< plain TCP frames carry this very hash (pkt::kRxRssHash)
  };
  [[nodiscard]] virtual std::optional<Spread> spread() const { return {}; }
};

/// What a worker and its devices share; no other worker touches it. All of it outlives them.
struct Resources {
  pkt::PacketPool* frames = nullptr;
  pkt::PacketPool* references = nullptr;
  base::MemorySource* memory = nullptr;
};

class Driver {
 public:
  virtual ~Driver() = default;
  /// As written after `driver =`.
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Once, before anything is opened, if `interfaces` (those of this driver) is not empty: process-wide set-up, the
  /// pools included. Must leave nothing behind when it fails.
  virtual Outcome<void> prepare(const conf::Config& config, std::span<const conf::Interface> interfaces) = 0;
  /// A driver whose devices need packets and memory of its own gives all three after prepare(), to each worker its own;
  /// they then serve every device of the worker. Empty: any will do, the runtime makes them.
  [[nodiscard]] virtual Resources resources(uint32_t /*worker*/) { return {}; }
  /// Opens an interface with a queue pair for each worker, whose resources are in `workers`: one Device each. The
  /// Driver outlives them. A driver has this, or open() if it serves one worker only.
  virtual Outcome<std::vector<std::unique_ptr<Device>>> open_queues(const conf::Config& config,
                                                                    const conf::Interface& interface,
                                                                    std::span<const Resources> workers);
  /// The same for one worker.
  virtual Outcome<std::unique_ptr<Device>> open(const conf::Config& config, const conf::Interface& interface,
                                                const Resources& resources);
};

/// The drivers that a program was linked with.
class DriverRegistry {
 public:
  void add(std::unique_ptr<Driver> driver) { drivers_.push_back(std::move(driver)); }
  [[nodiscard]] Driver* find(std::string_view name) const {
    for (const auto& driver : drivers_) {
      if (driver->name() == name) return driver.get();
    }
    return nullptr;
  }
  [[nodiscard]] std::span<const std::unique_ptr<Driver>> all() const { return drivers_; }

 private:
  std::vector<std::unique_ptr<Driver>> drivers_;
};

/// Refuses an interface of the kernel that carries a default route of this network namespace, unless `force`. For
/// drivers that take an interface away from the kernel.
[[nodiscard]] Outcome<void> refuse_default_route(const std::string& kernel_interface, bool force);

}  // namespace millrace::runtime
