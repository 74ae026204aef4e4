// DatagramGenerator: a closed loop of UDP echo requests over so many sockets, each with a window of requests on its
// way. Every answer is compared byte for byte with what was asked; what does not come back is counted as lost and asked
// anew, since UDP may lose it. An answer that differs, or that nobody asked for, is an error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "load/machine.h"
#include "load/options.h"
#include "load/report.h"
#include "millrace/program.h"

namespace millrace::load {

/// What `sequence` of `flow` carries, and whether bytes are that. `size` is at least 16.
void stamp_datagram(std::span<std::byte> into, uint32_t flow, uint64_t sequence);
/// The sequence number in the payload; nothing if any byte is wrong.
[[nodiscard]] std::optional<uint64_t> read_stamp(std::span<const std::byte> payload, uint32_t flow, size_t size);

class DatagramGenerator final : public Program {
 public:
  /// Of `options` connections (sockets), pipeline (the window of each), size, warmup and duration count. `report`
  /// outlives the program.
  DatagramGenerator(const Options& options, Machine machine, Report& report);

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

 private:
  static constexpr size_t kBatch = 64;
  static constexpr uint32_t kWindow = 1'024;  // the largest
  struct Flow {
    Handle socket{};
    uint64_t next = 0;  // sequence number of the next request
    uint32_t in_flight = 0;
    uint32_t idle_ticks = 0;      // since the last answer
    uint64_t timed = UINT64_MAX;  // the request whose round trip is being measured
    uint64_t timed_at = 0;
    std::array<uint64_t, kWindow / 64> waiting{};  // by sequence modulo kWindow
  };
  enum class Phase : uint8_t { kWarmup, kMeasure, kDone };

  void ask(Net& net, uint32_t index);
  void take(Net& net, uint32_t index);
  void answered(Flow& flow, uint32_t index, const Message& m);
  void give_up_late(Net& net);
  void begin_measuring(Instant now);
  void finish(Net& net);
  void fail(Net& net, std::string why);

  Options options_;
  Machine machine_;
  Report& report_;
  Phase phase_ = Phase::kWarmup;
  std::vector<Flow> flows_;
  std::array<Message, kBatch> messages_{};
  std::vector<std::byte> room_;
  Instant phase_end_{};
  Instant began_{};
  uint64_t busy_before_ = 0;
  uint64_t answers_ = 0;  // since the last tick
  uint32_t quiet_ = 0;    // ticks without any
};

}  // namespace millrace::load
