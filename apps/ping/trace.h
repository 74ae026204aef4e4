// The program behind millrace-ping --trace: the routers on the way, learned from echo requests with a rising hop limit.
// A router that lets the last hop run out answers with time exceeded (RFC 1812 5.3.1, RFC 4443 3.3); the target
// answers.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "millrace/program.h"
#include "ping/ping.h"

namespace millrace::ping {

class Trace final : public Program {
 public:
  static constexpr uint8_t kMostHops = 30;
  static constexpr uint8_t kTries = 3;  ///< at each hop, until somebody answers

  /// Of the options, target, size, wait (for each answer) and hop_limit (the most hops) count.
  Trace(const Options& options, std::function<void(const std::string&)> print)
      : options_(options), print_(std::move(print)) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;

 private:
  void ask(Net& net);
  void next_hop(Net& net);
  void hear_errors(Net& net);
  void hear_answers(Net& net);
  /// When the hop that is being asked was asked so, or nothing: an answer that is late counts for no other hop.
  [[nodiscard]] const Instant* asked(uint16_t sequence) const;
  void line(Net& net, Instant asked, const std::string& text);
  void finish(Net& net, int status);

  Options options_;
  std::function<void(const std::string&)> print_;
  Handle socket_{};
  std::vector<std::byte> message_;
  std::vector<std::byte> room_ = std::vector<std::byte>(65'536);
  uint8_t hops_ = 0;
  uint8_t tries_ = 0;
  uint16_t sequence_ = 0;
  bool done_ = false;
  std::array<Instant, kTries> asked_{};  ///< the last is of sequence_
};

}  // namespace millrace::ping
