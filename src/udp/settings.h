// Settings of datagram sockets (base/settings.h).
#pragma once

#include "base/settings.h"

namespace millrace::udp {

/// name, default, least, greatest, text
#define MILLRACE_UDP_SETTINGS(X)                                                                                \
  X(send_buffer, 1'048'576, 2'048, 1'073'741'824, "bytes of a datagram socket that may wait for the device")    \
  X(receive_buffer, 1'048'576, 2'048, 1'073'741'824, "receive buffer of a datagram socket, bytes of true size") \
  X(port_low, 32'768, 1, 65'535, "lowest port that is chosen for a datagram socket (RFC 6056)")                 \
  X(port_high, 60'999, 1, 65'535, "highest port that is chosen for a datagram socket")                          \
  X(errors, 16, 0, 1'024, "errors kept for one socket with an error queue")

MILLRACE_SETTINGS(MILLRACE_UDP_SETTINGS)

}  // namespace millrace::udp
