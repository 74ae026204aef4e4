// A UNIX socket's file outlives a killed server and would stop its successor. Removes such a file, and only such a one.
#pragma once

#include <string>

#include "runtime/failure.h"

namespace millrace::drivers::dpdk {

/// Makes `path` free for a server: removes a socket's file that nobody listens on. Fails if somebody does, or if the
/// path holds anything but a socket, or if its directory is missing.
[[nodiscard]] runtime::Outcome<void> clear_stale_socket(const std::string& path);

}  // namespace millrace::drivers::dpdk
