// The link emulator's machine: takes frames from two devices, asks the path of their direction what becomes of each,
// and gives those that survive to the other device when their time has come.
//
// It carries wire frames only: one that is longer than the MTU allows, or shorter than its IP header says (a segment
// that the kernel left for a device to cut), is dropped and counted, since rate and loss must act on what a wire
// carries.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "common/histogram.h"
#include "impair/path.h"
#include "pkt/pool.h"
#include "runtime/device.h"

namespace millrace::linkapp {

/// What happened to frames of one direction beside what its path did to them.
struct ForwardStats {
  uint64_t too_long = 0;
  uint64_t too_many = 0;  ///< no packet for a copy
  uint64_t marked = 0;    ///< of those that the path asked for, with a sender that was ready
  uint64_t sent = 0;
  apps::Histogram late_ns;  ///< how long after its instant each frame was given to the device
};

class Forwarder {
 public:
  /// Direction 0 is from the first device to the second. Devices and cache are borrowed. `largest` bytes a frame,
  /// Ethernet header included.
  Forwarder(std::array<runtime::Device*, 2> devices, pkt::PacketCache& cache,
            const std::array<impair::PathConfig, 2>& paths, uint64_t seed, uint32_t largest);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  /// Takes what has come from both devices. To be followed by turn() with a clock read in between: a frame must not be
  /// older than the time that it is given.
  void take();
  /// Lets in what was taken and sends what is due. Whether there was anything.
  bool turn(Instant now);
  /// When the next frame that is under way comes out; kNever without one.
  [[nodiscard]] Instant next_due() const;

  [[nodiscard]] const impair::PathStats& path(size_t direction) const { return ways_[direction].path.stats(); }
  [[nodiscard]] const ForwardStats& stats(size_t direction) const { return ways_[direction].stats; }
  /// Frames under way.
  [[nodiscard]] size_t held(size_t direction) const { return ways_[direction].waiting.size(); }

 private:
  static constexpr size_t kBurst = 32;
  struct Waiting {
    int64_t at_ns;
    uint64_t order;
    pkt::Packet* packet;
  };
  struct Way {
    impair::Path path;
    runtime::Device* in;
    runtime::Device* out;
    std::vector<Waiting> waiting{};  // a heap, the earliest in front
    uint64_t order = 0;
    std::array<pkt::Packet*, kBurst> taken{};
    size_t taken_count = 0;
    ForwardStats stats{};
  };

  [[nodiscard]] static bool later(const Waiting& a, const Waiting& b) {
    return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.order > b.order;
  }
  void accept(Way& way, Instant now, pkt::Packet* frame);
  void wait(Way& way, Instant at, pkt::Packet* frame);
  size_t send(Way& way, Instant now);
  [[nodiscard]] bool fits_a_wire(const pkt::Packet& frame) const;
  [[nodiscard]] pkt::Packet* copy(const pkt::Packet& frame);

  pkt::PacketCache& cache_;
  uint32_t largest_;
  std::vector<Way> ways_;
};

}  // namespace millrace::linkapp
