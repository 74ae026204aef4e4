// One line of text for a frame, close to what tcpdump prints, for traces and for tests' messages. Sequence numbers are
// absolute. Never fails: what cannot be read is named in brackets, e.g. "[|tcp]" for a header cut short.
#pragma once

#include <string>

#include "wire/bytes.h"

namespace millrace::wire {

/// `frame` starts at the Ethernet header; the payload may be cut off.
[[nodiscard]] std::string describe(Bytes frame);

/// The same for a packet that starts at its IPv4 or IPv6 header.
[[nodiscard]] std::string describe_ip(Bytes packet);

}  // namespace millrace::wire
