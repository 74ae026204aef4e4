// The program behind millrace-udp-echo: sends every datagram back to where it came from, in batches, without a copy.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "millrace/program.h"

namespace millrace::udpecho {

struct Options {
  uint16_t port = 7;
  uint32_t sockets = 1;          ///< on the same port, each serving some of the flows
  bool copy = false;             ///< copy every payload instead of sending the received buffer
  bool merge = false;            ///< take and send many datagrams of a flow as one message
  std::vector<IpAddr> groups{};  ///< multicast groups to listen to as well
};

class Echo final : public Program {
 public:
  explicit Echo(const Options& options) : options_(options) {}

  void start(Net& net) override;
  void event(Net& net, const Event& event) override;

  [[nodiscard]] uint64_t echoed() const { return echoed_; }
  [[nodiscard]] uint64_t lost() const { return lost_; }

 private:
  static constexpr size_t kBatch = 64;
  bool echo_some(Net& net, Handle socket);
  bool echo_large(Net& net, Handle socket);

  Options options_;
  std::array<Message, kBatch> messages_{};
  std::vector<std::byte> room_;  // with `copy`
  std::vector<std::byte> large_;
  uint64_t echoed_ = 0;
  uint64_t lost_ = 0;
};

}  // namespace millrace::udpecho
