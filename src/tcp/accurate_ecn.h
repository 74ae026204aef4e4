// More accurate ECN feedback: RFC 9768. AE, CWR and ECE of the header are one field of three bits: in the handshake it
// negotiates and tells what became of the IP header's ECN field, afterwards it counts the marked packets that came in.
#pragma once

#include <cstdint>

#include "tcp/types.h"

namespace millrace::tcp {

/// What two hosts agreed on.
enum class EcnMode : uint8_t { kNone, kClassic, kAccurate };

inline constexpr uint8_t kAceBits = 7;       ///< AE, CWR and ECE: of a SYN that asks for accurate feedback
inline constexpr uint8_t kClassicSyn = 3;    ///< of one that asks for RFC 3168's
inline constexpr uint8_t kClassicGrant = 1;  ///< of a SYN-ACK that grants that
inline constexpr uint8_t kFirstCount = 5;    ///< RFC 9768 3.2.1
inline constexpr uint8_t kMarkSeen = 6;      ///< a SYN or SYN-ACK arrived marked
inline constexpr uint8_t kUnchanged = 2;     ///< it arrived as we send it: not ECN-capable

/// The field's place among the header's flags.
[[nodiscard]] constexpr uint16_t ace_flags(uint8_t ace) {
  return static_cast<uint16_t>((ace & 4) << 6 | (ace & 3) << 6);
}
/// What tells that a SYN or SYN-ACK arrived with that ECN field in its IP header (RFC 9768 3.1.1 and 3.2.2.1).
[[nodiscard]] constexpr uint8_t ace_of_codepoint(uint8_t codepoint) {
  return codepoint == kCeCodepoint ? kMarkSeen : static_cast<uint8_t>(kUnchanged + codepoint);
}
static_assert(ace_flags(kAceBits) == 0x1c0 && ace_of_codepoint(1) == 3 && ace_of_codepoint(2) == 4);

/// How many packets were marked, of a count modulo eight that moved by `delta` while `packets` were acknowledged. Where
/// acknowledgments seem to be missing, the most that it can be (RFC 9768 3.2.2.5.2).
[[nodiscard]] constexpr uint32_t marked_packets(uint32_t delta, uint32_t packets, bool missing) {
  return missing && packets > 7 ? packets - ((packets - delta) & 7) : delta;
}

}  // namespace millrace::tcp
