// EchoServer: sends back what it receives, as a service for raw measurements. A peer that does not read is not read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "millrace/program.h"

namespace millrace::httpd {

class EchoServer {
 public:
  /// `tag` fills the upper 32 bits of the user values of this server's sockets.
  explicit EchoServer(uint64_t tag) : tag_(tag), conns_(1), input_(64 * 1024) {}

  Result<void> listen(Net& net, const Endpoint& local);
  void event(Net& net, const Event& event);
  [[nodiscard]] uint32_t connections() const { return open_; }
  void close_all(Net& net);

 private:
  struct Conn {
    Handle handle{};
    std::string held{};  ///< received, and too much for the peer yet
    uint32_t next_free = 0;
  };

  void accept_all(Net& net);
  void serve(Net& net, uint32_t slot);
  /// Whether all of it went out; what did not is held.
  bool send(Net& net, uint32_t slot, std::span<const std::byte> bytes);
  void drop(Net& net, uint32_t slot);

  uint64_t tag_;
  Handle listener_{};
  std::vector<Conn> conns_;
  std::vector<std::byte> input_;
  uint32_t free_slot_ = 0;
  uint32_t open_ = 0;
};

}  // namespace millrace::httpd
