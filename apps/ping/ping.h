// The program behind millrace-ping: echo requests at an interval, a line for each answer, a summary at the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "millrace/program.h"

namespace millrace::ping {

struct Options {
  IpAddr target;
  uint32_t count = 0;  ///< 0: until stopped
  uint32_t size = 56;  ///< bytes behind the ICMP header
  Duration interval = seconds(1);
  Duration wait = seconds(2);  ///< for the last answers
  uint8_t hop_limit = 0;       ///< 0: the stack's
  bool quiet = false;
};

class Ping final : public Program {
 public:
  /// `print` gets each line without its end.
  Ping(const Options& options, std::function<void(const std::string&)> print)
      : options_(options), print_(std::move(print)) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;
  void tick(Net& net) override;
  void stop(Net& net) override;

  [[nodiscard]] uint64_t answers() const { return received_; }

 private:
  void ask(Net& net);
  void hear(Net& net);
  void hear_errors(Net& net);
  void summarise();
  [[nodiscard]] std::byte content(size_t i) const { return static_cast<std::byte>(i * 7 + 3); }

  Options options_;
  std::function<void(const std::string&)> print_;
  Handle socket_{};
  std::vector<std::byte> message_;
  std::vector<std::byte> room_ = std::vector<std::byte>(65'536);
  std::vector<Instant> sent_at_;  // by sequence number modulo 65,536
  std::vector<bool> seen_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  uint64_t duplicates_ = 0;
  uint64_t corrupt_ = 0;
  uint64_t errors_ = 0;
  double least_ = 0;
  double greatest_ = 0;
  double sum_ = 0;
  Instant next_{};
  Instant give_up_ = kNever;
  bool summarised_ = false;
};

}  // namespace millrace::ping
