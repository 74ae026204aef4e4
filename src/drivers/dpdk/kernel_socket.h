// AF_PACKET and AF_XDP ports receive through a socket of the kernel, which poll() can wait on, but the PMDs keep it to
// themselves. It is found among the process's own descriptors.
#pragma once

#include "drivers/dpdk/spec.h"

namespace millrace::drivers::dpdk {

/// The descriptor that becomes readable when frames wait in this one of the port's `queues` queues, or -1. It stays the
/// PMD's, which opens them in the order of its queues.
[[nodiscard]] int kernel_receive_socket(const DeviceSpec& spec, uint16_t queue, uint16_t queues);

}  // namespace millrace::drivers::dpdk
