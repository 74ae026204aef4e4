// A TCP segment as it comes in, between the reading of its header and whatever takes it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "millrace/address.h"
#include "pkt/packet.h"
#include "tcp/types.h"

namespace millrace::tcp {

/// A parsed segment on its way through input. Owns `packet` until something takes it.
struct Segment {
  pkt::Packet* packet = nullptr;  ///< data() at the TCP header, after parse() at the payload
  const std::byte* options = nullptr;
  IpAddr local;
  IpAddr remote;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  Seq32 seq;
  Seq32 ack;
  uint32_t length = 0;  ///< payload bytes
  uint32_t ts_val = 0;
  uint32_t ts_ecr = 0;
  uint16_t window = 0;  ///< unscaled
  uint8_t flags = 0;
  uint8_t option_bytes = 0;
  bool has_ts = false;
  bool marked = false;  ///< a router on its way met congestion (CE, RFC 3168 5)
  bool plain = false;   ///< no options but (perhaps) timestamps
  IfIndex interface = IfIndex::kNone;
  uint64_t hash = 0;
  Ref hint;  ///< where look_up() expects it to belong; not yet verified

  /// After parse(). A marked segment is not for the fast path.
  void set_marked(bool ce) {
    marked = ce;
    if (__builtin_expect(ce, 0)) plain = false;
  }
  [[nodiscard]] bool has(uint8_t f) const { return (flags & f) != 0; }
  /// Sequence space it occupies (RFC 9293 3.4).
  [[nodiscard]] uint32_t span() const { return length + (has(kSyn) ? 1 : 0) + (has(kFin) ? 1 : 0); }
  [[nodiscard]] Seq32 end() const { return seq + span(); }
};

}  // namespace millrace::tcp
