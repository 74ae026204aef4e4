// What a port offers, reduced to what we ask of it and to what the core may rely on. Pure functions of the port's
// description, so that every PMD's peculiarity has a test.
#pragma once

#include <rte_ethdev.h>

#include "conf/config.h"
#include "drivers/dpdk/guest.h"
#include "drivers/dpdk/spec.h"
#include "link/netif.h"

namespace millrace::drivers::dpdk {

/// struct virtio_net_hdr_mrg_rxbuf, which virtio puts right before the frame.
inline constexpr uint16_t kVirtioHeader = 12;

struct Offloads {
  uint64_t rx = 0;
  uint64_t tx = 0;
};

/// The RTE_ETH_*_OFFLOAD_* bits to ask for.
[[nodiscard]] Offloads choose_offloads(const DeviceSpec& spec, const conf::Interface& interface,
                                       const rte_eth_dev_info& info);

/// What the core's output may do on the port once it was configured with `offloads`.
[[nodiscard]] link::DeviceLimits make_limits(const DeviceSpec& spec, const conf::Interface& interface,
                                             const rte_eth_dev_info& info, const Offloads& offloads,
                                             const GuestFeatures& guest, uint16_t mtu);

}  // namespace millrace::drivers::dpdk
