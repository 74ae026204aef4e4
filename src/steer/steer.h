// Which worker a received frame belongs to: a pure function of the frame and the map, which fails on nothing. Frames
// that any worker can answer or drop belong to whoever has them.
//
// Read first: docs/ARCHITECTURE.md, "Several workers".
#pragma once

#include <cstdint>

#include "pkt/packet.h"
#include "steer/shard_map.h"

namespace millrace::steer {

/// Any worker will do.
inline constexpr uint32_t kHere = UINT32_MAX;
/// Every worker: a UDP datagram to a group or to everybody on a link, which sockets of any may want to hear.
inline constexpr uint32_t kEverybody = UINT32_MAX - 1;
/// The worker that owns neighbours, addresses, routes and path MTUs.
inline constexpr uint32_t kControl = 0;

/// The owner of an Ethernet frame, or kHere, or kEverybody.
[[nodiscard]] uint32_t steer(const pkt::Packet& frame, const ShardMap& map);

/// The same among siblings, which all have tables of their own: what changes tables goes to everybody, what is to be
/// answered once stays with whoever got it.
[[nodiscard]] uint32_t steer_to_sibling(const pkt::Packet& frame, const ShardMap& map);

/// The owner of a datagram whose transport header and payload, or what there is of them, are `transport`; kHere where
/// the protocol has no ports; or kEverybody. `to_group`: the frame that it came in was for a group of stations.
[[nodiscard]] uint32_t steer_transport(const ShardMap& map, const IpAddr& source, const IpAddr& destination,
                                       uint8_t protocol, std::span<const std::byte> transport, bool to_group);

}  // namespace millrace::steer
