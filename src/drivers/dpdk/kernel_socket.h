// AF_PACKET and AF_XDP ports receive through a socket of the kernel, which poll() can wait on, but the PMDs keep it to
// themselves. It is found among the process's own descriptors.
#pragma once

#include "drivers/dpdk/spec.h"

namespace millrace::drivers::dpdk {

/// The descriptor that becomes readable when frames wait for the port, or -1. It stays the PMD's.
[[nodiscard]] int kernel_receive_socket(const DeviceSpec& spec);

}  // namespace millrace::drivers::dpdk
