// Socket options where no kernel socket judges and keeps them: which exist, what values they take, and what they are
// before anybody sets them.
#pragma once

#include <sys/socket.h>

#include "posix/socket.h"

namespace millrace::posix {

/// What setting it says: 0, or -ENOPROTOOPT, -EINVAL, -EFAULT, -EDOM, as on Linux.
[[nodiscard]] long judge_option(const Socket& socket, int level, int name, const void* value, socklen_t length);
/// Keeps a value that was judged good.
void keep_option(Socket& socket, int level, int name, const void* value, socklen_t length);
/// What it was set to, or what it is of itself: 0 or -ENOPROTOOPT. `*length` becomes what was written.
[[nodiscard]] long held_option(const Socket& socket, int level, int name, void* value, socklen_t* length);

}  // namespace millrace::posix
