// What became of every packet. An incoming frame ends in exactly one of: delivered to an upper layer, consumed (ARP,
// ICMP and neighbour discovery done with it), or one of the input drops. Output drops are counted apart.
#pragma once

#include "base/counters.h"

namespace millrace::ip {

#define MILLRACE_IP_INPUT_DROPS(X)                                                                           \
  X(kEthNoInterface, "eth.drop.no_interface", "frames of an unknown interface")                              \
  X(kEthLinkDown, "eth.drop.link_down", "frames received while the interface is down")                       \
  X(kEthRunt, "eth.drop.runt", "frames shorter than an Ethernet header")                                     \
  X(kEthNotOurs, "eth.drop.not_ours", "frames to another station or group")                                  \
  X(kEthBadSource, "eth.drop.bad_source", "frames whose source address is a group")                          \
  X(kEthVlan, "eth.drop.vlan", "frames with a VLAN tag")                                                     \
  X(kEthUnknownType, "eth.drop.unknown_type", "frames of a protocol other than IPv4, IPv6 and ARP")          \
  X(kIpBadHeader, "ip.drop.bad_header", "datagrams with a malformed header")                                 \
  X(kIpTruncated, "ip.drop.truncated", "datagrams shorter than their header says")                           \
  X(kIpScattered, "ip.drop.scattered", "datagrams whose headers could not be brought into one piece")        \
  X(kIpBadChecksum, "ip.drop.bad_checksum", "IPv4 datagrams with a wrong header checksum")                   \
  X(kIpMartianSource, "ip.drop.martian_source", "datagrams from an impossible source address")               \
  X(kIpReversePath, "ip.drop.reverse_path", "datagrams from a source that we would not send to this way")    \
  X(kIpNotForUs, "ip.drop.not_for_us", "datagrams to another host")                                          \
  X(kIpBroadcast, "ip.drop.broadcast", "IPv4 broadcasts")                                                    \
  X(kIpMulticast, "ip.drop.multicast", "datagrams to a group that nobody joined")                            \
  X(kIpLinkBroadcast, "ip.drop.link_broadcast", "unicast datagrams in a broadcast or multicast frame")       \
  X(kFragBad, "ip.drop.fragment_malformed", "fragments of an impossible length or with a fragment inside")   \
  X(kFragTooLong, "ip.drop.fragment_too_long", "fragments that reach beyond the longest datagram")           \
  X(kFragHeaderChain, "ip.drop.fragment_header_chain", "first fragments without all headers (RFC 7112)")     \
  X(kFragDuplicate, "ip.drop.fragment_duplicate", "fragments that were there already")                       \
  X(kFragOverlap, "ip.drop.fragment_overlap", "fragments that overlap or contradict others (RFC 5722)")      \
  X(kFragTooMany, "ip.drop.fragment_too_many", "fragments beyond what one datagram may have")                \
  X(kFragLate, "ip.drop.fragment_late", "fragments of a datagram that was given up")                         \
  X(kFragNoRoom, "ip.drop.fragment_no_room", "fragments that the limits of memory left no room for")         \
  X(kIpSourceRoute, "ip.drop.source_route", "IPv4 datagrams with a source route")                            \
  X(kIpBadOptions, "ip.drop.bad_options", "datagrams with malformed or refused options or extension headers") \
  X(kIpUnknownProtocol, "ip.drop.unknown_protocol", "datagrams of a protocol that we do not have")           \
  X(kIpHookIn, "ip.drop.hook_input", "datagrams refused by the input hook")                                  \
  X(kIpNotControl, "ip.drop.not_control", "ARP and neighbour messages at a worker that does not own the tables") \
  X(kArpBad, "arp.drop.malformed", "ARP packets that are short or not for IPv4 over Ethernet")               \
  X(kArpBadOperation, "arp.drop.bad_operation", "ARP packets that are neither request nor reply")            \
  X(kArpBadSender, "arp.drop.bad_sender", "ARP packets from an impossible sender")                           \
  X(kArpConflict, "arp.drop.conflict", "ARP packets of another station that claims our address")             \
  X(kArpNotOurs, "arp.drop.not_ours", "ARP packets about others")                                            \
  X(kIcmpTruncated, "icmp.drop.truncated", "ICMP messages too short for their type")                         \
  X(kIcmpBadChecksum, "icmp.drop.bad_checksum", "ICMP messages with a wrong checksum")                       \
  X(kIcmpUnknownType, "icmp.drop.unknown_type", "ICMP messages of a type that we do not handle")             \
  X(kIcmpEchoLimited, "icmp.drop.echo_limited", "echo requests beyond the rate limit")                       \
  X(kIcmpEchoReply, "icmp.drop.echo_reply", "echo replies, for which nobody waits")                          \
  X(kIcmpBadQuote, "icmp.drop.bad_quote", "ICMP errors whose quoted datagram cannot be read")                \
  X(kIcmpNotOurs, "icmp.drop.not_ours", "ICMP errors about a datagram that we cannot have sent")             \
  X(kIcmpBadMtu, "icmp.drop.bad_mtu", "packet-too-big messages with an impossible size")                     \
  X(kIcmpErrorQueue, "icmp.drop.error_queue_full", "ICMP errors beyond what upper layers take in one burst") \
  X(kNdInvalid, "nd.drop.invalid", "neighbour discovery messages that fail the checks of RFC 4861")          \
  X(kNdNotOurs, "nd.drop.not_ours", "solicitations for another host's address")                              \
  X(kNdUnknownNeighbour, "nd.drop.unknown_neighbour", "advertisements of neighbours that nobody asked for")  \
  X(kNdConflict, "nd.drop.conflict", "messages of another station that claims our address")                  \
  X(kNdLooped, "nd.drop.looped", "our own duplicate address probes, come back")                              \
  X(kNdRouter, "nd.drop.router", "router solicitations, and advertisements that nobody wants")               \
  X(kRedirectRefused, "ip.drop.redirect_refused", "redirects that are not wanted or not of the first hop")   \
  X(kGroupBad, "mcast.drop.invalid", "IGMP and MLD messages that are malformed or not wanted")               \
  X(kDhcpIgnored, "dhcp.drop.ignored", "DHCP messages that are malformed or not about our question")

#define MILLRACE_IP_OTHER_COUNTERS(X)                                                                        \
  X(kInFrames, "eth.in.frames", "frames received")                                                           \
  X(kInV4, "ip.in.v4", "IPv4 datagrams received")                                                            \
  X(kInV6, "ip.in.v6", "IPv6 datagrams received")                                                            \
  X(kDelivered, "ip.in.delivered", "datagrams handed to an upper layer")                                     \
  X(kConsumed, "ip.in.consumed", "frames that ended in ARP, ICMP, neighbour discovery or reassembly")        \
  X(kFragsIn, "ip.in.fragments", "fragments received")                                                       \
  X(kReasmDone, "ip.reassembly.datagrams", "datagrams put together from fragments")                          \
  X(kReasmTimeouts, "ip.reassembly.timeouts", "datagrams whose fragments did not all come in time")          \
  X(kReasmAborted, "ip.reassembly.aborted", "datagrams given up because of a fragment")                      \
  X(kReasmEcn, "ip.reassembly.ecn", "the same, because congestion met a part that was not ECN-capable")      \
  X(kReasmEvicted, "ip.reassembly.evicted", "incomplete datagrams that made room for newer ones")            \
  X(kReasmEvictedSource, "ip.reassembly.evicted_source", "the same, at the limit of their source")           \
  X(kSent, "ip.out.datagrams", "datagrams sent by the slow path")                                            \
  X(kFragmented, "ip.out.fragmented", "datagrams sent in fragments")                                         \
  X(kFragsOut, "ip.out.fragments", "fragments sent")                                                         \
  X(kFrames, "eth.out.frames", "frames queued for a device")                                                 \
  X(kArpRequestsIn, "arp.in.requests", "ARP requests received")                                              \
  X(kArpRepliesIn, "arp.in.replies", "ARP replies received")                                                 \
  X(kArpRequestsOut, "arp.out.requests", "ARP requests sent")                                                \
  X(kArpRepliesOut, "arp.out.replies", "ARP replies sent")                                                   \
  X(kIcmpEchoIn, "icmp.in.echo_requests", "echo requests received")                                          \
  X(kIcmpEchoOut, "icmp.out.echo_replies", "echo replies sent")                                              \
  X(kIcmpErrorsIn, "icmp.in.errors", "ICMP errors passed to upper layers")                                   \
  X(kPmtuLearned, "ip.pmtu.learned", "path MTUs lowered by a packet-too-big")                                \
  X(kIcmpErrorsOut, "icmp.out.errors", "ICMP errors sent")                                                   \
  X(kIcmpErrorsLimited, "icmp.out.errors_limited", "ICMP errors not sent because of the rate limit")         \
  X(kIcmpErrorsForbidden, "icmp.out.errors_forbidden", "ICMP errors not sent because RFC 1122 or 4443 says so") \
  X(kNdSolicitsIn, "nd.in.solicitations", "neighbour solicitations received")                                \
  X(kNdAdvertsIn, "nd.in.advertisements", "neighbour advertisements received")                               \
  X(kNdSolicitsOut, "nd.out.solicitations", "neighbour solicitations sent")                                  \
  X(kNdAdvertsOut, "nd.out.advertisements", "neighbour advertisements sent")                                 \
  X(kAddressesLost, "address.lost", "addresses given up because another station has them")                   \
  X(kAddressesDefended, "address.defended", "announcements that defended an address")                        \
  X(kAddressesExpired, "address.expired", "addresses whose lifetime ended")                                  \
  X(kRouterAdvertsIn, "nd.in.router_advertisements", "router advertisements taken")                          \
  X(kRouterSolicitsOut, "nd.out.router_solicitations", "router solicitations sent")                          \
  X(kRouterItemsRefused, "nd.router_items_refused", "items of router advertisements beyond our limits")      \
  X(kRedirectsTaken, "ip.in.redirects", "redirects taken")                                                   \
  X(kDhcpIn, "dhcp.in.messages", "DHCP messages taken")                                                      \
  X(kDhcpOut, "dhcp.out.messages", "DHCP messages sent")                                                     \
  X(kGroupReportsOut, "mcast.out.reports", "IGMP and MLD reports sent")                                      \
  X(kGroupsRefused, "mcast.groups_refused", "groups beyond what is reported")                                \
  X(kProbesOut, "address.out.probes", "probes for duplicates of our addresses")                              \
  X(kHopsRecycled, "ip.hops_recycled", "next hops given up to make room")                                    \
  X(kOutNoHop, "ip.drop.no_hop", "datagrams to send without a next hop")                                     \
  X(kOutLinkDown, "ip.drop.link_down", "datagrams to send through an interface that is down")                \
  X(kOutNeighbourFull, "ip.drop.neighbour_table_full", "datagrams to a neighbour that the table has no room for") \
  X(kOutUnresolved, "ip.drop.unresolved", "datagrams to a neighbour that did not answer")                    \
  X(kOutQueueFull, "ip.drop.transmit_queue_full", "frames that the interface's queue had no room for")       \
  X(kOutNoPacket, "ip.drop.no_packet", "packets not sent because the pool was empty")                        \
  X(kOutTooBig, "ip.drop.too_big", "datagrams larger than the path takes, that may not be fragmented")        \
  X(kOutSegments, "ip.drop.too_many_segments", "frames with more pieces than the device takes")              \
  X(kOutNoRoute, "ip.drop.no_route", "replies without a route back")                                         \
  X(kOutHook, "ip.drop.hook_output", "datagrams refused by the output hook")

#define MILLRACE_IP_COUNTERS(X) MILLRACE_IP_INPUT_DROPS(X) MILLRACE_IP_OTHER_COUNTERS(X)
MILLRACE_COUNTERS(IpCounter, kIpCounterInfo, MILLRACE_IP_COUNTERS)

/// The input drops are the counters in front of this one.
inline constexpr IpCounter kInputDropsEnd = IpCounter::kInFrames;

}  // namespace millrace::ip
