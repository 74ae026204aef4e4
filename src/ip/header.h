// Writes the IP headers that we send: IPv4 without options and with DF set, IPv6 without extension headers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/inline.h"
#include "link/netif.h"
#include "millrace/address.h"
#include "pkt/packet.h"
#include "wire/bytes.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::ip {

/// Bytes that write_ip_header() writes for an address of this family.
[[nodiscard]] inline uint16_t ip_header_size(const IpAddr& addr) {
  return addr.is_v4() ? uint16_t{wire::kIpv4MinSize} : uint16_t{wire::kIpv6Size};
}

/// Payload bytes of each fragment but the last, on a way of that MTU to a device of those limits; 0 if none would fit.
[[nodiscard]] inline uint32_t fragment_room(bool v4, uint32_t mtu, const link::DeviceLimits& limits) {
  const uint32_t header = v4 ? wire::kIpv4MinSize : wire::kIpv6Size + wire::kIpv6FragmentSize;
  if (mtu < header + 8) return 0;
  const uint32_t buffers = std::max<uint32_t>(1, limits.max_segments);
  return std::min<uint32_t>(mtu - header, buffers * pkt::kFrameRoom) & ~7U;
}

/// Writes ip_header_size(src) bytes at `at`, for `payload_len` bytes behind them. With `fill_checksum` the IPv4 header
/// checksum is filled in, otherwise left 0 for the device.
MR_INLINE void write_ip_header(std::byte* at, const IpAddr& src, const IpAddr& dst, uint8_t proto, uint32_t payload_len,
                               uint8_t ttl, uint8_t tclass, bool fill_checksum) {
  if (src.is_v4()) {
    const auto total = static_cast<uint16_t>(wire::kIpv4MinSize + payload_len);
    wire::store_be32(at, 0x45000000U | uint32_t{tclass} << 16 | total);
    // RFC 6864 4.1: with DF set the identification means nothing.
    wire::store_be32(at + 4, 0x00004000U);
    wire::store_be32(at + 8, uint32_t{ttl} << 24 | uint32_t{proto} << 16);
    wire::store_v4(at + 12, src);
    wire::store_v4(at + 16, dst);
    if (fill_checksum) wire::store_be16(at + 10, wire::finish(wire::ipv4_base_sum(at)));
    return;
  }
  wire::store_be32(at, 0x60000000U | uint32_t{tclass} << 20);
  wire::store_be32(at + 4, payload_len << 16 | uint32_t{proto} << 8 | ttl);
  wire::store_v6(at + 8, src);
  wire::store_v6(at + 24, dst);
}

}  // namespace millrace::ip
