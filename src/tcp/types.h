// Small types of TCP. Read first: RFC 9293 3.3 (terms), 3.3.2 (states).
#pragma once

#include <cstdint>

#include "base/seq32.h"
#include "millrace/address.h"
#include "millrace/time.h"

namespace millrace::tcp {

using base::Seq32;

/// RFC 9293 3.3.2. LISTEN, SYN-RECEIVED of a passive open and TIME-WAIT have storage of their own (mini.h); a Conn is
/// in one of the others, or in kSynReceived after a simultaneous open.
enum class State : uint8_t {
  kClosed,
  kListen,
  kSynSent,
  kSynReceived,
  kEstablished,
  kFinWait1,
  kFinWait2,
  kCloseWait,
  kClosing,
  kLastAck,
  kTimeWait,
};
inline constexpr int kStateCount = 11;
[[nodiscard]] const char* name(State state);

/// TTL and hop limit of every segment (RFC 9293 3.9.2 MUST-49).
inline constexpr uint8_t kEcnBits = 3;    // of the traffic class (RFC 3168 5)
inline constexpr uint8_t kEct0 = 2;       // RFC 3168 5, RFC 8311 4.1
inline constexpr uint8_t kCeCodepoint = 3;
inline constexpr uint8_t kHopLimit = 64;  // over IPv4; over IPv6 the interface has one
/// Up to here a payload is copied behind its header; beyond, the frame refers to the block. One full segment of an
/// Ethernet without segmentation offload is cheaper copied than described (bench/micro/core_bulk).
inline constexpr uint32_t kCopyBytes = 1'600;

/// Header flags (RFC 9293 3.1).
enum Flag : uint8_t {
  kFin = 0x01,
  kSyn = 0x02,
  kRst = 0x04,
  kPsh = 0x08,
  kAck = 0x10,
  kUrg = 0x20,
  kEce = 0x40,
  kCwr = 0x80,
};

struct Tuple {
  IpAddr local;
  IpAddr remote;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  bool operator==(const Tuple&) const = default;
};

/// A storage place that the connection table and the timer wheel can name: what it is, and its slab index.
enum class Place : uint8_t { kNone = 0, kConn, kHalf4, kHalf6, kWait4, kWait6 };
struct Ref {
  uint32_t raw = 0;
  constexpr Ref() = default;
  constexpr explicit Ref(uint32_t r) : raw(r) {}
  constexpr Ref(Place place, uint32_t index) : raw(static_cast<uint32_t>(place) << 28 | index) {}
  [[nodiscard]] constexpr Place place() const { return static_cast<Place>(raw >> 28); }
  [[nodiscard]] constexpr uint32_t index() const { return raw & 0x0fffffff; }
  [[nodiscard]] constexpr explicit operator bool() const { return raw != 0; }
};

inline constexpr uint16_t kDefaultMss4 = 536;   // RFC 9293 3.7.1 MUST-15
inline constexpr uint16_t kDefaultMss6 = 1220;
inline constexpr uint16_t kBaseMtu4 = 1064;  // RFC 4821 7.2: 1,024 bytes of payload
inline constexpr uint16_t kBaseMtu6 = 1280;
inline constexpr uint16_t kLeastMtu4 = 576;
inline constexpr uint16_t kMinMss = 64;         // smaller offers are raised: tiny segments are an attack
inline constexpr uint32_t kRtoAfterLostSyn = 3'000'000;  // RFC 6298 5.7, microseconds
inline constexpr uint8_t kMaxWindowShift = 14;  // RFC 7323 2.3

}  // namespace millrace::tcp
