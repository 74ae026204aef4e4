// Values of include/millrace/ as the plain numbers of layout.h, and back. What comes out of the second kind is in range
// whatever went in.
#pragma once

#include "millrace/request.h"
#include "service/layout.h"

namespace millrace::service {

[[nodiscard]] EndpointWords words_of(const Endpoint& endpoint);
[[nodiscard]] Endpoint endpoint_of(const EndpointWords& words);
[[nodiscard]] StreamWords words_of(const SocketOptions& options);
[[nodiscard]] SocketOptions options_of(const StreamWords& words);
[[nodiscard]] DatagramWords words_of(const DatagramOptions& options);
[[nodiscard]] DatagramOptions options_of(const DatagramWords& words);

}  // namespace millrace::service
