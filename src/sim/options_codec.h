// Options of sockets as bytes.
#pragma once

#include "millrace/request.h"
#include "sim/codec.h"

namespace millrace::sim {

void put(Writer& out, const SocketOptions& o);
SocketOptions get_options(Reader& in);

}  // namespace millrace::sim
