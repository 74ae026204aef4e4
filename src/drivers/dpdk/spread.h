// Receive-side scaling of a port with a queue for each worker: the hash and the table that we ask for, and what the
// port then says it does. A port without it (vhost, AF_PACKET) gives frames to any queue; the workers hand them over.
#pragma once

#include <rte_ethdev.h>

#include <array>
#include <optional>

#include "runtime/device.h"

namespace millrace::drivers::dpdk {

struct RssRequest {
  std::array<uint8_t, 64> key{};
  uint8_t key_bytes = 0;
  uint64_t types = 0;  ///< RTE_ETH_RSS_*; 0: the port has none that we can use
};

/// What to configure a port of `queues` queues with; a random key that no peer knows.
[[nodiscard]] RssRequest choose_rss(const rte_eth_dev_info& info, uint16_t queues);

/// Deals the started port's table out evenly, where it lets us, and reads key and table back. Empty: unknown, or not a
/// hash over addresses and TCP ports. Frames are not said to carry the hash: no NIC has proved yet that it is the same.
[[nodiscard]] std::optional<runtime::Device::Spread> set_spread(uint16_t port, const rte_eth_dev_info& info,
                                                                uint16_t queues);

}  // namespace millrace::drivers::dpdk
