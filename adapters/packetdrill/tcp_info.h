// A connection's internals in the layout of Linux's struct tcp_info.
#pragma once

#include <linux/tcp.h>

#include "tcp/info.h"

namespace millrace::packetdrill {

/// What `info` says; fields that Millrace has no figure for are 0.
[[nodiscard]] ::tcp_info linux_tcp_info(const tcp::Info& info, bool listener);

}  // namespace millrace::packetdrill
