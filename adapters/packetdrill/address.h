// Socket addresses of Linux as endpoints and back. An IPv4 address on an IPv6 socket is written in its mapped form.
#pragma once

#include <sys/socket.h>

#include "millrace/address.h"
#include "outcome.h"

namespace millrace::packetdrill {

/// The endpoint in `from`, for a socket of `family`. EINVAL if too short, EAFNOSUPPORT for another family, EFAULT
/// without an address.
tl::expected<Endpoint, int> endpoint_of(const sockaddr* from, socklen_t length, int family);
/// Writes as much as *length allows and sets *length to the true size. Null pointers are let be.
void store_endpoint(const Endpoint& endpoint, int family, sockaddr* to, socklen_t* length);

}  // namespace millrace::packetdrill
