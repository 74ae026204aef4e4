// One worker's part of an interface over AF_XDP: a socket on each of its queues. Sends through the first of them, and
// in copy mode what the kernel can finish better (large_sender.h) beside it. The first worker's part holds our program
// and brings the copies of what the kernel gets too.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drivers/xdp/copies.h"
#include "drivers/xdp/filter.h"
#include "drivers/xdp/kernel_interface.h"
#include "drivers/xdp/large_sender.h"
#include "drivers/xdp/socket.h"
#include "drivers/xdp/umem.h"
#include "runtime/descriptor.h"
#include "runtime/device.h"

namespace millrace::drivers::xdp {

class XdpDevice final : public runtime::Device {
 public:
  /// A worker's frames; `pool` is resources.frames.
  struct Seat {
    UmemPool* pool;
    runtime::Resources resources;
  };
  /// One device for each worker: of n workers, worker i has the queues i, i + n and so on.
  static runtime::Outcome<std::vector<std::unique_ptr<XdpDevice>>> open(const conf::Interface& interface,
                                                                        const KernelInterface& kernel,
                                                                        std::span<const Seat> seats);
  ~XdpDevice() override;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return mac_; }
  [[nodiscard]] bool shares_mac() const override { return mac_ == kernel_.mac; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*> out) override;
  size_t transmit(std::span<pkt::Packet* const> frames) override;
  [[nodiscard]] int wait_fd() const override { return wait_.get(); }
  bool arm_wait() override;
  void disarm_wait() override { copies_due_ = copies_.has_value(); }
  void housekeeping(Instant now) override;
  runtime::Outcome<void> set_addresses(std::span<const IpAddr> addresses) override;
  [[nodiscard]] bool link_up() const override { return up_; }
  [[nodiscard]] std::string_view trouble() const override { return gone_ ? "it was removed" : ""; }
  [[nodiscard]] runtime::DeviceCounters counters() const override;
  [[nodiscard]] std::string describe() const override;

 private:
  XdpDevice(const conf::Interface& interface, const KernelInterface& kernel, const Seat& seat);
  runtime::Outcome<void> attach(const conf::Interface& interface);
  runtime::Outcome<void> open_queues(const conf::Interface& interface, Filter& filter, size_t worker, size_t workers);
  runtime::Outcome<void> open_sockets(const conf::Interface& interface, Filter& filter, size_t worker, size_t workers);
  runtime::Outcome<std::unique_ptr<Socket>> open_socket(Socket::Options& options);
  size_t check_merged(std::span<pkt::Packet*> frames);
  runtime::Outcome<void> open_copies();
  runtime::Outcome<void> open_large_sender();
  [[nodiscard]] bool wait_for(int fd) const;

  std::string name_;
  KernelInterface kernel_;
  MacAddr mac_;
  link::DeviceLimits limits_{};
  UmemPool& pool_;
  pkt::PacketCache cache_;
  std::unique_ptr<Filter> filter_;  // of the first worker
  Hook hook_ = Hook::kNative;
  uint32_t queues_ = 0;  // of all workers
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::optional<LargeSender> large_;  // in copy mode
  std::optional<Copies> copies_;      // of the first worker
  runtime::Descriptor wait_;  // an epoll set of all sockets
  runtime::DeviceCounters counters_{};
  size_t next_ = 0;    // socket that receive() asks first
  Instant look_at_{};  // when to look at the link again
  bool by_port_;
  bool copies_due_ = false;  // when to look for copies: after a sleep and about once a millisecond
  bool segments_ = false;    // the interface's frames do not fit one chunk
  bool merged_ = false;      // uncut segments may come
  bool unfinished_ = false;  // checksums may be
  bool up_ = true;
  bool gone_ = false;
};

}  // namespace millrace::drivers::xdp
