// Receive-side scaling of the simulated NIC: the Toeplitz hash over addresses and ports.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sim/frame_view.h"

namespace millrace::sim {

using RssKey = std::array<uint8_t, 40>;

[[nodiscard]] uint32_t toeplitz(const RssKey& key, std::span<const uint8_t> input);
/// Hash of source address, destination address, source port, destination port.
[[nodiscard]] uint32_t rss_hash(const RssKey& key, const TcpView& view);
/// The same for a whole UDP datagram; of the addresses alone for other IP packets, fragments among them; 0 for the
/// rest.
[[nodiscard]] uint32_t rss_hash(const RssKey& key, std::span<const uint8_t> frame);

}  // namespace millrace::sim
