// A connection's Info in Linux's layout and units.
#pragma once

#include "millrace/tcp_info.h"
#include "millrace/time.h"
#include "tcp/info.h"

namespace millrace::tcp {

[[nodiscard]] TcpInfo linux_info(const Info& info, Instant now);

}  // namespace millrace::tcp
