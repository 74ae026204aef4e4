// DatagramGenerator: a closed loop of UDP echo requests over so many sockets, each with a window of requests on its
// way. Every answer is compared byte for byte with what was asked; what does not come back is counted as lost and asked
// anew, since UDP may lose it. An answer that differs, or that nobody asked for, is an error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "load/echo_window.h"
#include "load/machine.h"
#include "load/options.h"
#include "load/report.h"
#include "millrace/program.h"

namespace millrace::load {

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
  struct Flow {
    Handle socket{};
    EchoWindow window;
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
