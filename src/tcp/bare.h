// A segment without data that belongs to no Conn: SYN-ACKs of half-open entries, resets, answers from TIME-WAIT.
#pragma once

#include <bit>

#include "tcp/tcp.h"
#include "wire/tcp_options.h"

namespace millrace::tcp {

struct Tcp::Bare {
  Tuple tuple;
  Seq32 seq;
  Seq32 ack;
  uint8_t flags = 0;
  uint8_t ace = 0;  ///< AE, CWR and ECE
  uint16_t window = 0;
  bool syn = false;          ///< emit the options in a SYN's order, with an MSS from the route
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 0;     ///< 0: the interface's
  uint16_t user_mss = 0;     ///< upper limit for that MSS, 0 = none
  IfIndex accepted_at = IfIndex::kNone;  ///< answers a segment that came in there, for which Ip::accepts() held
  wire::TcpOptions options;

  /// In the name of a socket with these options.
  void mark(const SocketOptions& o) {
    traffic_class = socket_class(o);
    hop_limit = o.hop_limit;
  }
};

/// Window scale that lets a buffer of `bytes` be offered whole (RFC 7323 2.3).
[[nodiscard]] constexpr uint8_t window_shift(uint64_t bytes) {
  if (bytes <= 65'535) return 0;
  const auto shift = static_cast<uint8_t>(std::bit_width((bytes - 1) / 65'535));
  return shift < kMaxWindowShift ? shift : kMaxWindowShift;
}

/// The MSS that a SYN's options stand for (RFC 9293 3.7.1 MUST-15).
[[nodiscard]] inline uint16_t peer_mss(const wire::TcpOptions& options, bool v4) {
  const uint16_t mss = options.has_mss ? options.mss : (v4 ? kDefaultMss4 : kDefaultMss6);
  return mss < kMinMss ? kMinMss : mss;
}

}  // namespace millrace::tcp
