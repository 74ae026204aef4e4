// Control messages of datagram sockets, read and written as Linux does it (ip(7), ipv6(7), udp(7), cmsg(3)).
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

#include "millrace/datagram.h"

namespace millrace::posix {

/// What a socket wants told of each message that it receives.
struct Told {
  bool destination = false;  ///< IP_PKTINFO
  bool ttl = false;
  bool tos = false;
  bool destination_v6 = false;  ///< IPV6_RECVPKTINFO, of IPv4 messages too
  bool hop_limit = false;
  bool traffic_class = false;
  bool segment = false;                                             ///< UDP_GRO
  enum class Stamp : uint8_t { kNo, kUs, kNs } stamp = Stamp::kNo;  ///< SO_TIMESTAMP, SO_TIMESTAMPNS
};

/// Fills a program's buffer; what has no room sets MSG_CTRUNC.
class ControlWriter {
 public:
  ControlWriter(void* room, size_t bytes) : room_(static_cast<std::byte*>(room)), left_(room != nullptr ? bytes : 0) {}
  void put(int level, int type, const void* data, size_t bytes);
  template <class T>
  void put(int level, int type, const T& value) {
    put(level, type, &value, sizeof value);
  }
  [[nodiscard]] size_t used() const { return used_; }
  [[nodiscard]] int flags() const { return flags_; }

 private:
  std::byte* room_;
  size_t left_;
  size_t used_ = 0;
  int flags_ = 0;
};

/// Whether the option is one of Told's, which it then changes.
bool carry_told(Told& told, int level, int name, int value);
/// Of a message that a socket of `family` received.
void tell(ControlWriter& out, int family, const Told& told, const Message& m);
/// Of an entry of the error queue.
void tell_error(ControlWriter& out, int family, const DatagramError& error);
/// Takes what `from` asks for the message that is to be sent to `m.remote`; 0 or a negative errno number.
[[nodiscard]] long read_control(const msghdr& from, Message& m);

}  // namespace millrace::posix
