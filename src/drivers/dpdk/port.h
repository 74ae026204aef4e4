// Port: one worker's queue pair of one DPDK port as a runtime Device. The first queue's owns the port and closes it,
// when no other queue is in use any more. A received rte_mbuf is a Packet as it stands (layout.cc
// proves it), and so is a sent one; nothing is copied or translated here.
#pragma once

#include <rte_ethdev.h>

#include <array>
#include <optional>
#include <vector>

#include "drivers/dpdk/limits.h"
#include "drivers/dpdk/pool.h"
#include "drivers/dpdk/spec.h"
#include "runtime/device.h"

namespace millrace::drivers::dpdk {

class Port final : public runtime::Device {
 public:
  /// Attaches, configures and starts the device, with a queue pair for each of `pools`, whose frames it receives into.
  /// For a vhost port it then waits for the guest, whose features are part of the limits.
  static runtime::Outcome<std::vector<std::unique_ptr<Port>>> open(const DeviceSpec& spec,
                                                                   const conf::Interface& interface,
                                                                   std::span<MempoolPool* const> pools);
  ~Port() override;
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return mac_; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  /// Makes the thread known to DPDK, so that it has an lcore and thereby caches of the pools.
  void enter_thread() override;
  size_t receive(std::span<pkt::Packet*> out) override {
    if (stashed_ != 0) [[unlikely]]
      return unstash(out);
    const size_t n =
        rte_eth_rx_burst(id_, queue_, reinterpret_cast<rte_mbuf**>(out.data()), static_cast<uint16_t>(out.size()));
    for (size_t i = 0; i < n; ++i) own_lines(*out[i]);
    return n;
  }
  size_t transmit(std::span<pkt::Packet* const> frames) override;
  [[nodiscard]] int wait_fd() const override { return wait_fd_; }
  bool arm_wait() override;
  void disarm_wait() override;
  void housekeeping(Instant now) override;
  [[nodiscard]] bool link_up() const override;
  /// The first queue's are the whole port's.
  [[nodiscard]] runtime::DeviceCounters counters() const override;
  [[nodiscard]] std::optional<Spread> spread() const override { return spread_; }

 private:
  enum class Prepare : uint8_t { kNever, kTso, kAlways };

  Port(const DeviceSpec& spec, const conf::Interface& interface) : spec_(spec), name_(interface.name) {}
  /// A further queue of a port that is up.
  Port(const Port& first, uint16_t queue);
  using Pools = std::span<MempoolPool* const>;
  runtime::Outcome<void> attach();
  runtime::Outcome<void> bring_up(const conf::Interface& interface, Pools pools);
  runtime::Outcome<void> start(const conf::Interface& interface, const rte_eth_dev_info& info, const Offloads& offloads,
                               Pools pools, bool interrupts);
  int set_queues(Pools pools, const rte_eth_dev_info& info);
  void set_limits(const conf::Interface& interface, const rte_eth_dev_info& info, const Offloads& offloads);
  void set_mac(const conf::Interface& interface);
  void find_wait_fd();
  [[nodiscard]] runtime::Outcome<void> wait_for_guest(const conf::Interface& interface) const;
  /// Prepares frames for the device; returns how many are good. A frame after them is bad.
  size_t prepare(rte_mbuf** frames, size_t count);
  void drop(rte_mbuf* frame);
  void forget_wakeups() const;
  /// On a link in shared memory the other end wrote a frame's lines and has them in its cache. A buffer just received
  /// is the next to carry an answer, so fetch the lines for writing: one trip instead of two. From the virtio header
  /// on, as many as a short answer needs.
  static void own_lines(const pkt::Packet& p) {
    constexpr uint32_t kFrom = pkt::kHeadroom - kVirtioHeader;
    for (uint32_t at = kFrom; at < kFrom + 320; at += 64) asm volatile("prefetchw %0" : : "m"(p.buf[at]));
  }
  size_t unstash(std::span<pkt::Packet*> out);

  static constexpr uint16_t kStash = 32;
  DeviceSpec spec_;
  std::string name_;
  uint16_t id_ = UINT16_MAX;
  uint16_t queue_ = 0;
  uint16_t queues_ = 1;
  Prepare prepare_ = Prepare::kAlways;
  bool attached_ = false;
  bool configured_ = false;
  bool rx_interrupts_ = false;
  bool kernel_wakes_ = false;  // wait_fd_ is a socket, readable whenever frames wait: nothing to arm
  bool cleanup_works_ = true;
  int wait_fd_ = -1;
  uint16_t stashed_ = 0;  // frames that arm_wait() found, for the next receive()
  std::array<rte_mbuf*, kStash> stash_{};
  uint64_t refused_ = 0;
  MacAddr mac_{};
  link::DeviceLimits limits_{};
  std::optional<Spread> spread_{};
};

}  // namespace millrace::drivers::dpdk
