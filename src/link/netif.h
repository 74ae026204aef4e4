// Interfaces as the core sees them: limits of the device behind, link address, state. The table is small and fixed.
#pragma once

#include <cstdint>
#include <string>

#include "millrace/address.h"

namespace millrace::link {

/// What a device can do, and what routers say of its link; the core's output obeys.
struct DeviceLimits {
  uint16_t mtu = 1500;            ///< largest IP datagram of one frame
  uint16_t max_segments = 1;      ///< segments of one frame; 1 = only linear frames
  uint32_t max_tso_bytes = 0;     ///< largest frame for the device to cut, headers included; 0 = none
  bool tso_v4 = false;
  bool tso_v6 = false;
  bool tx_checksum_v4 = false;    ///< fills the TCP and UDP checksum over IPv4
  bool tx_checksum_v6 = false;
  bool tx_ip_checksum = false;    ///< fills the IPv4 header checksum
  uint16_t headroom = 0;          ///< bytes before the Ethernet header that the device itself needs
  uint8_t hop_limit = 64;         ///< of IPv6 datagrams for which nobody asks another one (RFC 4861 6.3.2)
};

enum class LinkKind : uint8_t { kEthernet, kLoopback };

struct NetifConfig {
  std::string name;
  LinkKind kind = LinkKind::kEthernet;
  MacAddr mac{};
  DeviceLimits limits{};
  uint64_t interface_id = 0;  ///< low half of the IPv6 link-local address; 0: made from the MAC address
};

}  // namespace millrace::link
