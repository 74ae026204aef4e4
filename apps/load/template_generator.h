// TemplateGenerator: a closed loop of small requests over TemplateClient, so cheap that the server is measured and not
// the generator. Each connection has one request on its way; with `outstanding`, so many connections chosen at random.
// Every response is compared with one that was parsed before, or parsed.
//
// Phases: one ordinary connection of the stack, whose first answer tells the way (link addresses, source address); open
// all, warm up, measure, close all with FIN, end.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "load/machine.h"
#include "load/options.h"
#include "load/report.h"
#include "load/response_checker.h"
#include "load/template_client.h"
#include "load/way.h"
#include "millrace/program.h"

namespace millrace::load {

class TemplateGenerator final : public Program, public runtime::FrameClient, private TemplateClient::User {
 public:
  /// `options` without rate, pipeline or requests_per_connection. `report` outlives the program and is filled when the
  /// run ends.
  TemplateGenerator(const Options& options, Machine machine, Report& report);

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

  void attach(const runtime::FramePort& port) override { port_ = port; }
  size_t input(std::span<pkt::Packet*> frames, Instant now) override;
  size_t output(std::span<pkt::Packet*> out, Instant now) override {
    return client_ == nullptr ? 0 : client_->output(out, now);
  }
  [[nodiscard]] bool wants_output() const override { return client_ != nullptr && client_->wants_output(); }

 private:
  enum class Phase : uint8_t { kProbe, kOpening, kWarmup, kMeasure, kClosing, kDone };

  void opened(uint32_t i) override;
  void received(uint32_t i, std::string_view bytes) override;
  void closed(uint32_t i) override;
  void broken(uint32_t i, ErrorKind why) override;

  void begin_opening(Net& net);
  void open_more();
  void begin_warmup(Instant now);
  void start_some();
  void fill_outstanding();
  void put_idle(uint32_t i);
  void begin_request(uint32_t i);
  bool take_http(uint32_t i, std::string_view& bytes);
  bool take_echo(uint32_t i, std::string_view& bytes);
  void answered(uint32_t i);
  void forget_request(uint32_t i);
  void finish_measuring(Instant now);
  void close_some();
  void fail(std::string why);
  void end(Net& net);
  void count_oddities();
  [[nodiscard]] std::string request_text() const;
  [[nodiscard]] uint64_t in_cycles(Duration d) const;

  /// Of a response that did not come in one piece.
  struct Partial {
    ResponseState http{};
    size_t echoed = 0;
  };

  Options options_;
  Machine machine_;
  Report& report_;
  ResponseChecker checker_;
  std::string request_;
  runtime::FramePort port_{};
  std::optional<Way> way_;
  Handle probe_{};
  std::unique_ptr<TemplateClient> client_;
  std::unordered_map<uint32_t, Partial> partial_;
  std::vector<uint32_t> idle_;  // a ring, with `outstanding`
  size_t idle_at_ = 0;
  size_t idle_count_ = 0;

  Phase phase_ = Phase::kProbe;
  Instant phase_ends_{};
  std::string failure_;
  uint64_t now_cycles_ = 0;     // of the burst at hand
  uint64_t run_began_ = 0;
  uint64_t phase_began_ = 0;
  uint64_t last_progress_ = 0;
  uint64_t busy_at_start_ = 0;
  std::vector<std::pair<std::string, uint64_t>> stages_at_start_;
  uint32_t next_open_ = 0;
  uint32_t connecting_ = 0;
  uint32_t open_ = 0;
  uint32_t started_ = 0;
  uint32_t next_close_ = 0;
  uint32_t closing_ = 0;
  uint64_t in_flight_ = 0;
};

}  // namespace millrace::load
