// The kernel's end of a TAP: its addresses, MTU and state, over rtnetlink in this process's network namespace.
#pragma once

#include <span>
#include <string>

#include "millrace/address.h"
#include "runtime/failure.h"

namespace millrace::drivers::tap {

/// Sets the MTU, gives the interface `addresses` (IPv6 ones without duplicate address detection, so that they work at
/// once) and brings it up. An IPv6 address is left out, with a line on standard error, where the kernel has IPv6 off.
[[nodiscard]] runtime::Outcome<void> configure_kernel_side(const std::string& name, uint16_t mtu,
                                                           std::span<const Prefix> addresses);

}  // namespace millrace::drivers::tap
