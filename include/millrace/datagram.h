// Datagram sockets as values: a message, the options of a socket. docs/NATIVE_API.md is the guide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "millrace/address.h"
#include "millrace/time.h"

namespace millrace {

/// What a datagram socket carries.
enum class DatagramKind : uint8_t {
  kUdp,   ///< UDP (RFC 768)
  kPing,  ///< ICMP echo requests out, the answers to them in; the identifier is the local port
  kIcmp,  ///< every ICMP message of its family that this host receives, from the ICMP header on; nothing out
};

/// What a socket does with datagrams larger than the path carries.
enum class PathMtu : uint8_t {
  kFragment,  ///< larger than the path's MTU as far as it is known: fragments; smaller: may not be fragmented on the
              ///< way
  kAlways,    ///< never fragmented by us nor on the way; larger than the known MTU is refused with kTooBig
  kProbe,     ///< as kAlways, but only the interface's MTU counts
};

/// Knobs of one datagram socket; zero means the setting's default.
struct DatagramOptions {
  uint32_t send_buffer = 0;         ///< bytes that may wait for the device
  uint32_t receive_buffer = 0;      ///< bytes of true size: the buffers that messages occupy, not their payload
  uint8_t hop_limit = 0;            ///< TTL or hop limit of what is sent; 0 = 64
  uint8_t traffic_class = 0;        ///< DSCP and ECN bits
  uint8_t multicast_hop_limit = 1;  ///< of what is sent to groups (RFC 1112 6.1); 0 = members on this host only
  bool multicast_loop = true;       ///< members on this host hear what it sends
  IfIndex multicast_interface = IfIndex::kNone;  ///< where groups are reached; kNone = the first interface that is up
  bool broadcast = false;                        ///< may send to broadcast addresses
  bool v6_only = false;                          ///< a socket on `::` takes IPv6 only
  bool reuse = false;             ///< several sockets with this option share an address and port: a flow always goes
                                  ///< to the same one, a group's datagrams go to all
  bool merge = false;             ///< consecutive datagrams of one flow and size come as one message (Message::segment)
  bool no_checksum = false;       ///< send without a checksum; over IPv6 only where RFC 6935 allows it: tunnels
  bool zero_checksum_v6 = false;  ///< take IPv6 datagrams without a checksum (RFC 6935 5, RFC 6936)
  bool error_queue = false;       ///< keep the errors of each destination for Net::take_error
  PathMtu path_mtu = PathMtu::kFragment;
};

/// One datagram, or several of one flow and size. Of SendBatch and ReceiveBatch.
struct Message {
  /// Received: readable until the message is released or sent. To send: the payload.
  std::span<const std::byte> data{};
  /// Receiving: room to copy to. Empty: the message is borrowed without a copy.
  std::span<std::byte> into{};
  Endpoint remote{};  ///< received from; to send: destination, or nothing on a connected socket
  IpAddr local{};     ///< received: destination address; to send: source address, unspecified = chosen by route
  IfIndex interface = IfIndex::kNone;  ///< received at; to send: for link-local and group destinations
  uint8_t hop_limit = 0;               ///< TTL or hop limit; to send: 0 = the socket's
  uint8_t traffic_class = 0;           ///< to send: 0 = the socket's
  /// Received: `data` is several datagrams of this size, the last may be shorter; 0 = one datagram. To send: cut `data`
  /// into datagrams of this size (at most 64, at most 65,535 bytes together); 0 = one datagram.
  uint16_t segment = 0;
  uint32_t length = 0;    ///< received: bytes of payload, more than data.size() if `into` was too small
  Instant received{};     ///< instant of the burst that it came with
  bool to_group = false;  ///< received: `local` is a group or broadcast address
  uint64_t token = 0;     ///< names a borrowed message; to send: the message it came in is given back

  /// Makes a received message an answer to its sender with the same payload.
  void turn_around() {
    hop_limit = 0;
    traffic_class = 0;
    interface = IfIndex::kNone;
    if (to_group) local = IpAddr();
  }
};

/// An error about one destination of a socket with `error_queue`.
struct DatagramError {
  Endpoint destination{};  ///< of the datagram that failed
  IpAddr reporter{};       ///< who said so; unspecified: this host
  uint8_t error = 0;       ///< millrace::Error
  uint16_t mtu = 0;        ///< with kTooBig: what fits
  bool expired = false;    ///< its hops ran out on the way: `reporter` is a router there
  uint16_t sequence = 0;   ///< of an echo request: its sequence number
};

}  // namespace millrace
