// Settings of IP (base/settings.h).
#pragma once

#include "base/settings.h"

namespace millrace::ip {

/// name, default, least, greatest, text
#define MILLRACE_IP_SETTINGS(X)                                                                                       \
  X(reassembly_bytes, 4'194'304, 65'536, 1'073'741'824,                                                               \
    "memory for fragments that wait for the rest of their datagram, bytes at true buffer size")                       \
  X(reassembly_source_bytes, 1'048'576, 65'536, 1'073'741'824, "the same for the fragments of one source")            \
  X(reassembly_datagrams, 1'024, 1, 1'048'576, "incomplete datagrams at a time")                                      \
  X(reassembly_fragments, 128, 2, 8'192, "fragments of one datagram")                                                 \
  X(reassembly_v4_us, 30'000'000, 1'000'000, 255'000'000, "how long an IPv4 datagram waits for its fragments")        \
  X(reassembly_v6_us, 60'000'000, 1'000'000, 255'000'000, "the same for IPv6 (RFC 8200 4.5 says 60 seconds)")         \
  X(pmtu_entries, 4'096, 1, 1'048'576, "destinations whose path MTU is remembered")                                   \
  X(pmtu_age_us, 600'000'000, 1'000'000, 3'600'000'000, "how long a lowered path MTU is believed (RFC 1191 6.3)")     \
  X(pmtu_min_v4, 552, 68, 1'500, "IPv4 path MTU below which no message brings us; IPv6 has 1,280")                    \
  X(strong_host, 0, 0, 1, "1 = an address is reached through its own interface only (RFC 1122 3.3.4.2)")              \
  X(reverse_path, 0, 0, 2,                                                                                            \
    "refuse sources that we would not send to: 0 = no, 1 = strict, through the same interface, 2 = loose (RFC 3704)") \
  X(source_route, 0, 0, 1, "1 = take IPv4 datagrams whose source route ends here; nothing is ever forwarded")

MILLRACE_SETTINGS(MILLRACE_IP_SETTINGS)

}  // namespace millrace::ip
