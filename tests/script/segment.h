// A TCP segment as a script speaks of it: sequence numbers relative to the initial one of their direction, options as
// values. A field that a script does not mention is filled in when the segment is sent and not compared when one is
// expected. Tokens set the fields: in(ACK, seq(1), len(100)).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "millrace/time.h"

namespace millrace::script {

inline constexpr uint8_t FIN = 0x01, SYN = 0x02, RST = 0x04, PSH = 0x08, ACK = 0x10, URG = 0x20, ECE = 0x40, CWR = 0x80;

/// [first, second), relative.
using Blocks = std::vector<std::pair<uint32_t, uint32_t>>;

/// The option of RFC 7413, or its absence.
struct FastOpen {
  bool there = true;
  std::vector<uint8_t> cookie;  ///< empty: asks for one
  bool experimental = false;
  bool operator==(const FastOpen&) const = default;
};

struct Segment {
  uint8_t flags = 0;
  std::optional<uint32_t> seq;
  std::optional<uint32_t> ack;
  std::optional<uint32_t> win;  ///< as in the header, not scaled
  uint32_t len = 0;
  std::optional<uint16_t> mss;
  std::optional<int> wscale;   ///< -1: the option must be absent
  std::optional<bool> sack_ok;
  std::optional<bool> ts;
  std::optional<uint32_t> ts_val;
  std::optional<uint32_t> ts_ecr;
  std::optional<Blocks> sack;
  std::optional<FastOpen> fast_open;
  std::optional<bool> psh;
  std::optional<uint8_t> ecn;           ///< the two bits of the IP header
  bool ae = false;                      ///< the flag beside CWR (RFC 9768)
  std::optional<uint8_t> dscp;          ///< the other six, as they stand in the byte
  std::optional<uint8_t> ttl;           ///< or hop limit
  uint16_t urgent = 0;                  ///< the urgent pointer, with URG
  bool corrupt = false;                 ///< sent with a wrong checksum
  std::vector<uint8_t> raw_options;     ///< sent as they are, in place of all others
  bool has_raw_options = false;
  uint16_t port = 0;                    ///< the peer's
  Instant time;

  /// One line, close to tcpdump's: "S. seq 0 ack 1 win 65535 len 0 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>".
  [[nodiscard]] std::string to_string() const;
  /// Why `real` is not what this segment describes, or empty.
  [[nodiscard]] std::string difference(const Segment& real) const;
};

using Token = std::function<void(Segment&)>;

inline Token seq(uint32_t v) { return [=](Segment& s) { s.seq = v; }; }
inline Token ack(uint32_t v) { return [=](Segment& s) { s.ack = v; }; }
inline Token win(uint32_t v) { return [=](Segment& s) { s.win = v; }; }
inline Token len(uint32_t v) { return [=](Segment& s) { s.len = v; }; }
inline Token mss(uint16_t v) { return [=](Segment& s) { s.mss = v; }; }
inline Token no_mss() { return [](Segment& s) { s.mss.reset(); }; }
inline Token ws(int v) { return [=](Segment& s) { s.wscale = v; }; }
inline Token no_ws() { return ws(-1); }
inline Token sack_ok(bool v = true) { return [=](Segment& s) { s.sack_ok = v; }; }
inline Token ts(bool v = true) { return [=](Segment& s) { s.ts = v; }; }
inline Token tsval(uint32_t v) { return [=](Segment& s) { s.ts = true, s.ts_val = v; }; }
inline Token ecr(uint32_t v) { return [=](Segment& s) { s.ts = true, s.ts_ecr = v; }; }
inline Token sack(const Blocks& b) { return [=](Segment& s) { s.sack = b; }; }
inline Token no_sack() { return sack({}); }
inline Token fo(const std::vector<uint8_t>& cookie = {}) {
  return [=](Segment& s) { s.fast_open = FastOpen{true, cookie}; };
}
inline Token no_fo() {
  return [=](Segment& s) { s.fast_open = FastOpen{false, {}}; };
}
inline Token psh(bool v = true) { return [=](Segment& s) { s.psh = v; }; }
/// URG, and the urgent pointer: urgent data ends so many bytes behind seq().
inline Token urg(uint16_t pointer = 1) {
  return [=](Segment& s) { s.urgent = pointer, s.flags |= URG; };
}
/// The ECN bits of the IP header: 0 = not capable, 2 = ECT(0), 3 = congestion experienced.
inline Token ecn(uint8_t v) {
  return [=](Segment& s) { s.ecn = v; };
}
/// AE, CWR and ECE as one number (RFC 9768 3.2.2).
inline Token ace(uint8_t v) {
  return [=](Segment& s) { s.flags |= static_cast<uint8_t>((v & 3) << 6), s.ae = (v & 4) != 0; };
}
/// DSCP in the upper six bits, and TTL or hop limit.
inline Token marked(uint8_t dscp, uint8_t ttl) {
  return [=](Segment& s) { s.dscp = dscp, s.ttl = ttl; };
}
inline Token corrupt() { return [](Segment& s) { s.corrupt = true; }; }
inline Token raw(const std::vector<uint8_t>& bytes) {
  return [=](Segment& s) { s.raw_options = bytes, s.has_raw_options = true; };
}

/// The byte at stream offset `at` (0 is the first data byte) in either direction.
constexpr std::byte pattern(uint32_t at) { return static_cast<std::byte>((at * 2654435761U) >> 24 ^ at); }

}  // namespace millrace::script
