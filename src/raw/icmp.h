// ICMP sockets: kPing sends echo requests and hears the answers to its own identifier, kIcmp hears every ICMP message
// of its family. Their messages lie in udp/; what goes up is the ICMP message from its header on.
//
// Read first: RFC 792, RFC 1122 3.2.2.6, RFC 4443 4.
#pragma once

#include <span>

#include "ip/ip.h"
#include "udp/udp.h"

namespace millrace::raw {

class Icmp {
 public:
  Icmp(ip::Ip& ip, udp::Udp& udp) : ip_(ip), udp_(udp) {}

  /// From now on Ip shows its ICMP messages; before that there is no socket that wants them.
  void listen();
  /// Sends echo requests of a kPing socket: each message is a whole ICMP message whose identifier and checksum are
  /// filled in. kInvalid for other types, kNotSupported on a kIcmp socket; otherwise as udp/.
  Result<size_t> send(uint32_t index, std::span<const Message> messages, Instant now);
  /// An error about an echo request of ours.
  void on_error(const ip::PathError& error);

 private:
  static bool hear(void* self, const ip::Datagram& datagram, Instant now);
  bool take(const ip::Datagram& datagram, Instant now);
  Result<void> send_one(udp::Dgram& d, const Message& m, Instant now);

  ip::Ip& ip_;
  udp::Udp& udp_;
};

}  // namespace millrace::raw
