// Generator: opens connections to one server and keeps requests on them, in a closed loop (a response starts the next
// request) or on a schedule (latency counts from when a request was due, so a slow server cannot hide behind the
// requests that it delayed). Every response is checked. One cache line a connection.
//
// Phases: open all connections, warm up, measure, end.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "load/machine.h"
#include "load/options.h"
#include "load/report.h"
#include "load/response_checker.h"
#include "millrace/program.h"

namespace millrace::load {

class Generator final : public Program {
 public:
  /// `report` outlives the program and is filled when the run ends.
  Generator(const Options& options, Machine machine, Report& report);

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

 private:
  enum class Phase : uint8_t { kOpening, kWarmup, kMeasure, kDone };
  enum State : uint8_t { kUnused, kConnecting, kOpen };
  struct alignas(64) Conn {
    Handle handle{};
    uint64_t sent_at = 0;      ///< when the oldest request began, if there is no pipeline (else times_)
    ResponseState response{};
    uint32_t queued = 0;       ///< request bytes that the stack has not taken yet
    uint32_t answered = 0;
    uint32_t begun = 0;
    uint16_t outstanding = 0;
    uint16_t first = 0;        ///< slot of the oldest request in times_
    uint16_t tx_at = 0;        ///< where the next byte to send stands within the request or the echo pattern
    uint16_t rx_at = 0;        ///< echo: where the next byte stands within the pattern
    uint32_t rx_left = 0;      ///< echo: bytes left of the response at hand
    State state = kUnused;
  };
  static_assert(sizeof(Conn) == 64);

  // Connections: connections.cc
  void open_more(Net& net);
  bool open(Net& net, uint32_t i);
  void opened(Net& net, uint32_t i);
  void end_connection(Net& net, uint32_t i);
  void broken(Net& net, uint32_t i, ErrorKind kind);
  ErrorKind why_not(Net& net, uint32_t i);
  [[nodiscard]] Endpoint local_of(uint32_t i) const;

  // Requests: generator.cc
  void begin(Net& net);
  void start_some(Net& net);
  void run_due(Net& net);
  uint32_t take_idle();
  void begin_request(uint32_t i, uint64_t when);
  void push(Net& net, uint32_t i);
  void next_request(Net& net, uint32_t i, uint64_t now);
  void end_of_phase(Net& net);
  void finish(Net& net, std::string failure);
  void count_unanswered(uint64_t now);
  void arm(Net& net);
  [[nodiscard]] uint64_t in_cycles(Duration d) const;
  [[nodiscard]] Instant instant_of(Net& net, uint64_t cycles) const;

  // Responses: responses.cc
  void receive(Net& net, uint32_t i);
  bool take(Net& net, uint32_t i, std::string_view data);
  bool take_http(Net& net, uint32_t i, std::string_view data);
  bool take_echo(Net& net, uint32_t i, std::string_view data);
  void answered(uint32_t i, uint64_t now);

  [[nodiscard]] bool by_idle() const { return options_.rate > 0 || options_.outstanding != 0; }
  [[nodiscard]] uint64_t& time_slot(uint32_t i, uint32_t n) {
    return options_.pipeline == 1 ? conns_[i].sent_at : times_[uint64_t{i} * options_.pipeline + n];
  }

  Options options_;
  Machine machine_;
  ResponseChecker checker_;
  Report& report_;
  Phase phase_ = Phase::kOpening;
  std::vector<Conn> conns_;
  std::vector<uint64_t> times_;
  std::vector<uint32_t> idle_;       ///< connections that can take a request; stale entries are skipped
  std::vector<std::byte> buffer_;
  std::string requests_;             ///< the request many times over
  uint32_t request_bytes_ = 0;
  bool bulk_ = false;
  std::mt19937 random_{12345};

  uint32_t next_open_ = 0;           ///< connections up to here were opened for the first time
  uint32_t connecting_ = 0;
  uint32_t open_ = 0;
  std::vector<uint32_t> reopen_;     ///< connections to open again
  uint64_t first_open_at_ = 0;       ///< cycles
  uint64_t opens_begun_ = 0;
  uint32_t started_ = 0;             ///< connections up to here have their first requests
  uint64_t in_flight_ = 0;
  double interval_ = 0;              ///< cycles between scheduled requests
  double next_due_ = 0;
  uint64_t phase_began_ = 0;         ///< cycles
  uint64_t run_began_ = 0;
  Instant phase_ends_ = kNever;
  uint64_t last_progress_ = 0;
  uint64_t busy_at_start_ = 0;
};

}  // namespace millrace::load
