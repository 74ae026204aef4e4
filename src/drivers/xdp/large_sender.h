// Sends frames for the kernel to finish: uncut TCP segments of up to 64 KiB and checksums not filled in, through a
// packet socket with virtio-net headers. An AF_XDP socket in copy mode takes one packet at a time through the same
// kernel path and knows neither: 1 MiB responses over veth took four times as long (bench/workloads/xdp_pairs.py).
#pragma once

#include "drivers/xdp/kernel_interface.h"
#include "pkt/pool.h"
#include "runtime/descriptor.h"
#include "runtime/device.h"

namespace millrace::drivers::xdp {

class LargeSender {
 public:
  static constexpr size_t kMaxSegments = 64;

  static runtime::Outcome<LargeSender> open(const KernelInterface& interface);
  /// Whether the frame needs the kernel to finish it.
  [[nodiscard]] static bool wants(const pkt::Packet& frame) { return (frame.flags & pkt::kTxTcpSeg) != 0; }
  /// Takes the frame, sent or refused for good (and counted), unless the kernel has no room now: false.
  bool send(pkt::Packet* frame, pkt::PacketCache& cache, runtime::DeviceCounters& counters);

 private:
  explicit LargeSender(runtime::Descriptor fd) : fd_(std::move(fd)) {}

  runtime::Descriptor fd_;
};

/// Fills in the TCP or UDP checksum that the core left to the device, for a path that has no such device.
void finish_checksum(pkt::Packet& frame);

}  // namespace millrace::drivers::xdp
