// What became of every datagram that Ip delivered, and why others were not sent.
#pragma once

#include "base/counters.h"

namespace millrace::udp {

#define MILLRACE_UDP_COUNTERS(X)                                                                            \
  X(kIn, "udp.in.datagrams", "datagrams received")                                                          \
  X(kOut, "udp.out.datagrams", "datagrams sent")                                                            \
  X(kMerged, "udp.in.merged", "datagrams appended to the message before them")                              \
  X(kCompacted, "udp.in.compacted", "unread messages moved out of their device buffer")                     \
  X(kErrorsIn, "udp.in.errors", "ICMP errors that found their socket")                                      \
  X(kBlocked, "udp.out.blocked", "sends refused because the device's queue was full")                       \
  X(kDropHeader, "udp.drop.bad_header", "datagrams whose length field is impossible")                       \
  X(kDropChecksum, "udp.drop.bad_checksum", "datagrams with a wrong checksum")                              \
  X(kDropNoChecksum, "udp.drop.no_checksum", "IPv6 datagrams without a checksum")                           \
  X(kDropNoPort, "udp.drop.no_port", "datagrams for which no socket exists")                                \
  X(kDropGroupNoSocket, "udp.drop.group_no_socket", "group and broadcast datagrams that no socket wanted")  \
  X(kDropBuffer, "udp.drop.receive_buffer_full", "datagrams beyond a socket's receive buffer")              \
  X(kDropMessages, "udp.drop.message_table_full", "datagrams beyond the worker's table of unread messages") \
  X(kDropNoBuffers, "udp.drop.no_buffers", "datagrams not kept or not sent because buffers ran out")        \
  X(kDropErrorUnknown, "udp.drop.error_unknown", "ICMP errors about datagrams of no socket")                \
  X(kDropErrorQueue, "udp.drop.error_queue_full", "ICMP errors beyond a socket's error queue")

MILLRACE_COUNTERS(Counter, kCounters, MILLRACE_UDP_COUNTERS)

}  // namespace millrace::udp
