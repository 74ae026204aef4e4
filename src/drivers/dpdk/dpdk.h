// The DPDK driver: PCI NICs and DPDK's virtual devices (virtio-user, vhost, memif, AF_PACKET, AF_XDP, TAP, null, ring).
// docs/DPDK.md is the user's guide.
#pragma once

#include "runtime/device.h"

namespace millrace::drivers::dpdk {

void register_driver(runtime::DriverRegistry& registry);

}  // namespace millrace::drivers::dpdk
