// What the emulator did, as JSON: an object a direction.
#pragma once

#include <string>

#include "link/forwarder.h"

namespace millrace::linkapp {

/// `names` of the two ports; `seconds` since the start. Several lines, the last one ended.
[[nodiscard]] std::string report(const Forwarder& forwarder, const std::array<std::string, 2>& names,
                                 const std::array<runtime::DeviceCounters, 2>& ports, double seconds);

}  // namespace millrace::linkapp
