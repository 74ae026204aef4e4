// Between Millrace's values and those of libc: socket addresses, time.
#pragma once

#include <sys/socket.h>
#include <time.h>

#include "millrace/address.h"
#include "millrace/errno.h"
#include "millrace/time.h"

namespace millrace::posix {

/// Reads a socket address for a socket of `family` (AF_INET, AF_INET6): a negative errno number if it is none. For
/// AF_INET6, mapped IPv4 addresses are IPv4's. AF_UNSPEC is refused with -EAFNOSUPPORT.
[[nodiscard]] int read_address(const sockaddr* address, socklen_t length, int family, Endpoint& out);
/// The interface that an address of IPv6 names, where it needs one: link-local, or a group.
[[nodiscard]] IfIndex scope_of(const sockaddr* address, socklen_t length);
/// Writes as much as `*length` has room for and sets it to the true size. `scope`: of a link-local address.
void write_address(const Endpoint& endpoint, int family, sockaddr* out, socklen_t* length,
                   IfIndex scope = IfIndex::kNone);

/// CLOCK_MONOTONIC.
[[nodiscard]] Instant monotonic_now();
[[nodiscard]] Duration duration_of(const timespec& t);

}  // namespace millrace::posix
