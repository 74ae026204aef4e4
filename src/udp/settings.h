// Settings of datagram sockets; see tcp/settings.h for what a row generates.
#pragma once

#include <cstdint>

namespace millrace::udp {

/// name, default, least, greatest, text
#define MILLRACE_UDP_SETTINGS(X)                                                                                \
  X(send_buffer, 1'048'576, 2'048, 1'073'741'824, "bytes of a datagram socket that may wait for the device")    \
  X(receive_buffer, 1'048'576, 2'048, 1'073'741'824, "receive buffer of a datagram socket, bytes of true size") \
  X(port_low, 32'768, 1, 65'535, "lowest port that is chosen for a datagram socket (RFC 6056)")                 \
  X(port_high, 60'999, 1, 65'535, "highest port that is chosen for a datagram socket")                          \
  X(errors, 16, 0, 1'024, "errors kept for one socket with an error queue")

struct Settings {
#define X(name, value, least, greatest, text) int64_t name = value;
  MILLRACE_UDP_SETTINGS(X)
#undef X
};

struct SettingRow {
  const char* name;
  int64_t Settings::*field;
  int64_t least;
  int64_t greatest;
  int64_t value;  ///< default
  const char* text;
};

inline constexpr SettingRow kSettingRows[] = {
#define X(name, value, least, greatest, text) {#name, &Settings::name, least, greatest, value, text},
    MILLRACE_UDP_SETTINGS(X)
#undef X
};

}  // namespace millrace::udp
