// Every driver that this build has.
#pragma once

#include "drivers/tap/tap.h"
#if defined(MILLRACE_WITH_XDP)
#include "drivers/xdp/xdp.h"
#endif
#if defined(MILLRACE_WITH_DPDK)
#include "drivers/dpdk/dpdk.h"
#endif

namespace millrace::drivers {

inline void register_all(runtime::DriverRegistry& registry) {
  tap::register_driver(registry);
#if defined(MILLRACE_WITH_XDP)
  xdp::register_driver(registry);
#endif
#if defined(MILLRACE_WITH_DPDK)
  dpdk::register_driver(registry);
#endif
}

}  // namespace millrace::drivers
