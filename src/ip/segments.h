// Chains of segments as IP needs them: headers in one piece, length trimmed, sums over several pieces.
#pragma once

#include <cstdint>

#include "pkt/packet.h"
#include "pkt/pool.h"

namespace millrace::ip {

/// Brings the first `n` bytes of the chain into its head segment. False if the chain is shorter or the head has no
/// room; nothing is lost then.
[[nodiscard]] bool gather_slow(pkt::PacketCache& packets, pkt::Packet& head, uint32_t n);
[[nodiscard]] inline bool gather(pkt::PacketCache& packets, pkt::Packet& head, uint32_t n) {
  return head.len >= n || gather_slow(packets, head, n);
}

/// Cuts the end of the chain off so that `total` bytes are left; segments that become empty are freed.
void trim(pkt::PacketCache& packets, pkt::Packet& head, uint32_t total);

/// Partial checksum (wire/checksum.h) of the chain from `offset` to its end.
[[nodiscard]] uint64_t sum_chain(const pkt::Packet& head, uint32_t offset);

}  // namespace millrace::ip
