// AF_XDP by libxdp: an interface that stays the kernel's. A program of our own takes the frames of the stack's
// addresses (or of its ports) and passes everything else on; it goes away with the process, however that ends. Sleeps
// on the sockets' descriptors, needs no DPDK and no huge pages.
#pragma once

#include "runtime/device.h"

namespace millrace::drivers::xdp {

void register_driver(runtime::DriverRegistry& registry);

}  // namespace millrace::drivers::xdp
