// FrameClient: a program's door to whole frames, beside the worker's. A load generator uses it to send packets made
// from templates; the worker still answers ARP, ND and everything else.
#pragma once

#include <span>

#include "link/netif.h"
#include "millrace/address.h"
#include "millrace/time.h"
#include "pkt/pool.h"

namespace millrace::runtime {

/// The interface that a FrameClient works on.
struct FramePort {
  MacAddr mac{};
  link::DeviceLimits limits{};         ///< what the device can do and the configuration allows
  pkt::PacketCache* packets = nullptr; ///< where frames are taken from and freed
  IfIndex interface = IfIndex::kNone;
};

class FrameClient {
 public:
  virtual ~FrameClient() = default;
  /// Once, before the first frame. The port's packets outlive the client's use of them.
  virtual void attach(const FramePort& port) = 0;
  /// Sees a burst before the worker does. Takes those frames that are its own, moves the others to the front in their
  /// order, and returns how many others there are.
  virtual size_t input(std::span<pkt::Packet*> frames, Instant now) = 0;
  /// Frames to transmit, at most out.size(); the caller owns what it gets.
  virtual size_t output(std::span<pkt::Packet*> out, Instant now) = 0;
  [[nodiscard]] virtual bool wants_output() const = 0;
};

}  // namespace millrace::runtime
