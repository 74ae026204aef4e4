// The datagram part of the program of a simulated host's worker: one socket asks, the other host's answers with the
// same bytes, whichever of its workers hears the question. A datagram may be lost, come twice or out of order; one
// whose bytes are not those that were sent is a failure. Sizes go beyond the MTU; some messages are sent in segments,
// some are received merged, lent or copied.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "millrace/program.h"

namespace millrace::sim {

/// What one host's datagrams do; count 0 = it sends none.
struct DatagramPlan {
  uint32_t count = 0;
  uint32_t largest = 1'000;  ///< bytes of payload
  uint64_t key = 0;
  Duration interval{};
  bool v6 = false;
  bool connected = false;
  bool merge = false;
  bool borrow = false;
};

class Datagrams {
 public:
  static constexpr uint64_t kBit = 1ULL << 33;  ///< in Event::user of its sockets
  static constexpr uint16_t kPort = 9;

  /// The plan is the host's; each of its `workers` asks its share.
  Datagrams(const DatagramPlan& plan, const DatagramPlan& peer, const std::array<IpAddr, 2>& peer_addresses,
            uint32_t worker, uint32_t workers, std::function<void(std::string)> fail)
      : plan_(plan), peer_(peer), peer_addresses_(peer_addresses), fail_(std::move(fail)), rng_(plan.key + worker) {
    plan_.count = (plan.count + workers - 1) / workers;
  }

  void start(Net& net);
  void event(Net& net, const Event& event);
  void tick(Net& net);
  [[nodiscard]] Instant wake() const { return next_; }
  void close(Net& net);
  [[nodiscard]] uint64_t answers() const { return answers_; }

 private:
  void send_some(Net& net);
  void echo(Net& net);
  void hear(Net& net);
  void check(const Message& m, uint64_t key);
  void check_one(std::span<const std::byte> data, uint64_t key);
  [[nodiscard]] DatagramOptions options(bool merge) const;

  DatagramPlan plan_;
  DatagramPlan peer_;
  std::array<IpAddr, 2> peer_addresses_;
  std::function<void(std::string)> fail_;
  base::Rng rng_;
  Handle echo_{};
  Handle ask_{};
  uint32_t sent_ = 0;
  uint64_t answers_ = 0;
  Instant next_ = kNever;
  std::vector<std::byte> room_;
};

}  // namespace millrace::sim
