// TemplatedDatagrams: the closed loop of DatagramGenerator over DatagramClient, so cheap that the server is measured
// and not the generator.
//
// Phases: one datagram of the stack, whose answer tells the way (link addresses, source address); warm up, measure,
// end.
#pragma once

#include <memory>
#include <optional>

#include "load/datagram_client.h"
#include "load/machine.h"
#include "load/options.h"
#include "load/report.h"
#include "load/way.h"
#include "millrace/program.h"

namespace millrace::load {

class TemplatedDatagrams final : public Program, public runtime::FrameClient {
 public:
  /// Of `options` connections (flows), pipeline (the window of each), size, warmup and duration count. `report`
  /// outlives the program.
  TemplatedDatagrams(const Options& options, Machine machine, Report& report);

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

  void attach(const runtime::FramePort& port) override { port_ = port; }
  size_t input(std::span<pkt::Packet*> frames, Instant now) override;
  size_t output(std::span<pkt::Packet*> out, Instant) override { return client_ == nullptr ? 0 : client_->output(out); }
  [[nodiscard]] bool wants_output() const override { return client_ != nullptr && client_->wants_output(); }

 private:
  enum class Phase : uint8_t { kProbe, kWarmup, kMeasure, kDone };

  void probe(Net& net);
  void begin_asking(Net& net);
  void begin_measuring(Instant now);
  void finish(Net& net);
  void fail(Net& net, std::string why);

  Options options_;
  Machine machine_;
  Report& report_;
  runtime::FramePort port_{};
  std::optional<Way> way_;
  std::unique_ptr<DatagramClient> client_;
  Handle probe_{};
  Phase phase_ = Phase::kProbe;
  Instant phase_end_{};
  Instant began_{};
  Instant last_answer_{};
  uint64_t answers_seen_ = 0;
  DatagramCounters before_;
  uint64_t busy_before_ = 0;
  std::vector<std::pair<std::string, uint64_t>> stages_before_;
};

}  // namespace millrace::load
