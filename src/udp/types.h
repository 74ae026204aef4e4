// What the slabs of udp/ hold: a datagram socket and an unread message. Nothing here exists for a TCP socket.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ip/ip.h"
#include "millrace/datagram.h"
#include "millrace/event.h"
#include "millrace/result.h"
#include "pkt/packet.h"

namespace millrace::udp {

/// A received message: queued on its socket (`link` is the next one), or borrowed by the program (`link` is the
/// socket).
struct alignas(64) Queued {
  uint32_t gen = 0;               // Slab's
  uint32_t link = 0;              // Slab's while free
  pkt::Packet* packet = nullptr;  ///< data() at the payload
  Instant received{};
  IpAddr source{};
  IpAddr destination{};
  uint16_t source_port = 0;
  uint8_t interface = 0;  ///< IfIndex, of which there are 64
  bool to_group = false;
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;
  uint16_t segment = 0;  ///< size of each of several datagrams; 0 = one
};
static_assert(sizeof(Queued) == 64);

enum DgramFlag : uint16_t {
  kTouched = 1 << 0,     ///< has events to report
  kFresh = 1 << 1,       ///< got messages since the last compact()
  kClosed = 1 << 2,      ///< the program closed it; lives until the last borrowed message is back
  kConnected4 = 1 << 3,  ///< in the table of connected sockets
  kBlocked = 1 << 4,     ///< a send was refused for want of room
  kV6Only = 1 << 5,
  kReuse = 1 << 6,
  kMerge = 1 << 7,
  kNoChecksum = 1 << 8,
  kZeroChecksum6 = 1 << 9,
  kBroadcast = 1 << 10,
  kLoop = 1 << 11,
  kErrorQueue = 1 << 12,
  kDual = 1 << 13,  ///< bound to `::` for both families
  kGroupPeer = 1 << 14,  ///< connected to a group or a broadcast address
};

/// A datagram socket.
struct alignas(64) Dgram {
  // What receiving writes.
  uint32_t gen = 0;   // Slab's
  uint32_t link = 0;  // Slab's while free; next of its hash chain while connected
  uint32_t sock = 0;  ///< index of the sock::Socket
  uint32_t head = 0;  ///< oldest message
  uint32_t tail = 0;
  uint32_t fresh = 0;   ///< first message that compact() has not looked at
  uint32_t queued = 0;  ///< messages
  uint32_t lent = 0;    ///< messages that the program has borrowed
  uint32_t charge = 0;  ///< true size of both
  uint32_t receive_limit = 0;
  uint32_t drops = 0;    ///< datagrams dropped for want of receive buffer
  uint32_t touched = 0;  ///< event bits to report
  uint16_t flags = 0;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;  ///< 0: not connected
  uint8_t error = 0;         ///< Error + 1 that the next call reports
  DatagramKind kind = DatagramKind::kUdp;
  uint32_t group = 0;   ///< its Group of the table
  uint32_t errors = 0;  ///< oldest of its error queue
  // What sending reads.
  IpAddr local{};
  IpAddr remote{};
  IpAddr route_source{};
  ip::HopId hop = ip::HopId::kNone;
  uint16_t epoch = 0;  ///< of Ip, when the route was looked up
  uint16_t mtu = 0;
  IfIndex interface = IfIndex::kNone;
  IfIndex multicast_interface = IfIndex::kNone;
  uint8_t hop_limit = 0;  ///< 0: the interface's
  uint8_t traffic_class = 0;
  uint8_t multicast_hop_limit = 1;
  PathMtu path_mtu = PathMtu::kFragment;
  uint32_t send_limit = 0;
  uint32_t sent = 0;  ///< bytes given to the device's queue in `turn`
  uint32_t turn = 0;
  uint32_t table = 0;        ///< routing table
  uint32_t memberships = 0;  ///< first of its groups
};
static_assert(offsetof(Dgram, local) == 64 && sizeof(Dgram) <= 192);

/// A datagram on its way in: data() of `packet` is at the UDP header until parse(), then at the payload.
struct Incoming {
  pkt::Packet* packet = nullptr;
  IpAddr source;
  IpAddr destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  IfIndex interface = IfIndex::kNone;
  uint16_t ip_header = 0;  ///< bytes in front of the UDP header
  uint16_t segment = 0;    ///< the device merged datagrams of this size
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;
  bool to_group = false;
};

}  // namespace millrace::udp
