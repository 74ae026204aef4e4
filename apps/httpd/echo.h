// EchoServer: sends back what it receives, as a service for raw measurements. Input is borrowed and written from where
// it lies; a peer that does not read is not read.
#pragma once

#include <cstdint>
#include <vector>

#include "millrace/program.h"

namespace millrace::httpd {

class EchoServer {
 public:
  /// `tag` fills the upper 32 bits of the user values of this server's sockets.
  explicit EchoServer(uint64_t tag) : tag_(tag), conns_(1) {}

  Result<void> listen(Net& net, const Endpoint& local);
  void event(Net& net, const Event& event);
  [[nodiscard]] uint32_t connections() const { return open_; }
  void close_all(Net& net);

 private:
  struct Conn {
    Handle handle{};
    Borrowed held{};  ///< received and not yet echoed
    size_t held_at = 0;
    uint32_t next_free = 0;
  };

  void accept_all(Net& net);
  void serve(Net& net, uint32_t slot);
  /// Whether all of the held piece went out.
  bool send_held(Net& net, uint32_t slot);
  void drop(Net& net, uint32_t slot);

  uint64_t tag_;
  Handle listener_{};
  std::vector<Conn> conns_;
  uint32_t free_slot_ = 0;
  uint32_t open_ = 0;
};

}  // namespace millrace::httpd
