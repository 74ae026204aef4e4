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
  uint8_t ecn = 0;      ///< ECN field of its IP header (RFC 3168 5)
  bool marked = false;  ///< a router on its way met congestion (CE)
  bool plain = false;   ///< no options but (perhaps) timestamps
  IfIndex interface = IfIndex::kNone;
  uint64_t hash = 0;
  Ref hint;  ///< where look_up() expects it to belong; not yet verified

  /// After parse(). A marked segment is not for the fast path.
  void set_ecn(uint8_t codepoint) {
    ecn = codepoint;
    marked = codepoint == kCeCodepoint;
    if (__builtin_expect(marked, 0)) plain = false;
  }
  /// AE, the header's flag beside CWR. Read when it is needed, as few ever do.
  [[nodiscard]] bool ae() const { return (std::to_integer<uint8_t>(options[-8]) & 1) != 0; }
  /// AE, CWR and ECE as one number (RFC 9768 3.2.2).
  [[nodiscard]] uint8_t ace() const { return static_cast<uint8_t>((ae() ? 4 : 0) | flags >> 6); }
  [[nodiscard]] bool has(uint8_t f) const { return (flags & f) != 0; }
  /// Sequence space it occupies (RFC 9293 3.4).
  [[nodiscard]] uint32_t span() const { return length + (has(kSyn) ? 1 : 0) + (has(kFin) ? 1 : 0); }
  [[nodiscard]] Seq32 end() const { return seq + span(); }
};

}  // namespace millrace::tcp
