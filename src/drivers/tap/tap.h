// The kernel's TAP device with virtio-net headers: 64 KiB segments and unfinished checksums pass both ways, so that a
// kernel peer on the same machine is reached at memory speed, with nothing bound and nothing reserved.
#pragma once

#include "runtime/device.h"

namespace millrace::drivers::tap {

void register_driver(runtime::DriverRegistry& registry);

}  // namespace millrace::drivers::tap
