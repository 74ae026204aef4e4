// Everything that a program or an operator can ask of a worker, as values: one struct an operation. Together with
// frames and time they are the only inputs of a worker, so a recording of the three replays bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "millrace/address.h"
#include "millrace/event.h"
#include "millrace/result.h"
#include "millrace/time.h"

namespace millrace {

/// Knobs of one socket; zero or negative means the setting's default.
struct SocketOptions {
  bool no_delay = true;           ///< RFC 9293 3.7.4: true turns Nagle's algorithm off
  bool keepalive = false;         ///< probe idle connections (RFC 9293 3.8.4)
  uint32_t send_buffer = 0;       ///< bytes
  uint32_t receive_buffer = 0;    ///< bytes
  uint16_t mss = 0;               ///< largest segment to offer and to send
  Duration keepalive_idle{};
  Duration keepalive_interval{};
  uint8_t keepalive_probes = 0;
};

/// How an interface comes by addresses and routes of its own accord. A worker's interfaces start with all of it off.
struct InterfaceOptions {
  bool detect_duplicates = false;  ///< ask the link before or while an address is used (RFC 4862 5.4, 4429, 5227)
  bool keep_address = false;       ///< never give up an IPv4 address that another station claims (RFC 5227 2.4 c)
  bool accept_ra = false;          ///< routers, prefixes and the rest of router advertisements (RFC 4861 6.3)
  bool autoconf = false;           ///< addresses from advertised prefixes (RFC 4862); needs accept_ra
  bool redirects_v4 = false;       ///< believe ICMP redirects of the current first hop
  bool redirects_v6 = false;       ///< believe ICMPv6 redirects of the current first hop
  bool dhcp4 = false;              ///< lease an IPv4 address (RFC 2131)
  uint64_t secret = 0;             ///< behind stable addresses (RFC 7217); 0 = from the worker's seed
  bool operator==(const InterfaceOptions&) const = default;
};

namespace req {

// Programs.
struct Listen {
  Endpoint local;  ///< unspecified address: every address of its family; `::` takes both families
  uint32_t backlog = 1024;
  uint64_t user = 0;
  SocketOptions options{};
  uint32_t table = 0;
};
/// The reply's handle is at once valid; kConnected or kError follows.
struct Connect {
  Endpoint remote;
  Endpoint local{};  ///< unspecified: chosen by route, port by RFC 6056
  uint64_t user = 0;
  SocketOptions options{};
  uint32_t table = 0;
};
/// Takes the next connection of a listener; `user` is the new socket's.
struct Accept {
  Handle listener;
  uint64_t user = 0;
};
struct SetUser {
  Handle handle;
  uint64_t user = 0;
};
/// Copies `data` into the send queue; Reply::bytes says how much was taken.
struct Send {
  Handle handle;
  std::span<const std::byte> data;
  bool more = false;  ///< more follows at once: hold back a partial segment
};
/// A buffer of the worker's own for zero-copy send: Reply::buffer has room for `bytes` (at most 65,408).
struct LendBuffer {
  uint32_t bytes = 0;
};
/// Queues the first `bytes` of a buffer from LendBuffer without a copy; the buffer belongs to the stack from now on and
/// must not be written. If `cookie` is not 0, a kReleased event with it follows once the peer has acknowledged all of
/// it and no device reads it any more. On an error the buffer stays the caller's.
struct SendLent {
  Handle handle;
  std::byte* buffer = nullptr;
  uint32_t bytes = 0;
  uint64_t cookie = 0;
};
/// Gives a LendBuffer back unused.
struct DropLent {
  std::byte* buffer = nullptr;
};
/// Copies queued data out; Reply::bytes == 0 means the peer closed.
struct Receive {
  Handle handle;
  std::span<std::byte> into;
  bool peek = false;
};
/// Zero-copy receive: borrows the oldest queued piece. Reply::view is readable until Release. Several may be held.
/// An empty view means the peer closed.
struct Borrow {
  Handle handle;
};
/// Returns a borrowed piece (Reply::token of Borrow).
struct Release {
  uint64_t token = 0;
};
/// Half-close: no more sends; queued data and a FIN still go out.
struct Shutdown {
  Handle handle;
};
/// Gives the socket up. Queued data is still delivered; unread received data makes it a reset (RFC 9293 3.10.4).
struct Close {
  Handle handle;
};
/// Gives the socket up with a reset.
struct Abort {
  Handle handle;
};
struct SetOptions {
  Handle handle;
  SocketOptions options;
};

// Operators.
struct AddAddress {
  IfIndex interface;
  Prefix prefix;  ///< the address with its on-link prefix length; adds the connected route too
};
struct RemoveAddress {
  IfIndex interface;
  IpAddr addr;
};
struct AddRoute {
  Prefix prefix;
  IfIndex interface;
  IpAddr gateway{};  ///< unspecified: on link
  uint32_t table = 0;
  uint32_t metric = 0;
};
struct RemoveRoute {
  Prefix prefix;
  IfIndex interface;
  uint32_t table = 0;
};
struct SetLink {
  IfIndex interface;
  bool up = true;
};
/// A static neighbour, which never expires.
struct AddNeighbour {
  IfIndex interface;
  IpAddr addr;
  MacAddr mac;
};
/// Forgets a neighbour, static or learned; it is resolved again when next needed.
struct RemoveNeighbour {
  IfIndex interface;
  IpAddr addr;
};
/// Changes a setting of the worker: row `row` of the table of `section` (tcp::kSettingRows for kTcp). New sockets see
/// new buffer sizes and options; timeouts and limits hold from now on. kInvalid outside of the row's range.
struct Set {
  enum class Section : uint8_t { kTcp };
  Section section = Section::kTcp;
  uint16_t row = 0;
  int64_t value = 0;
};
/// Concerns addresses that are added from now on. kNotFound, kInvalid (loopback).
struct SetInterface {
  IfIndex interface;
  InterfaceOptions options{};
};

}  // namespace req

using Request = std::variant<req::Listen, req::Connect, req::Accept, req::SetUser, req::Send, req::LendBuffer,
                             req::SendLent, req::DropLent, req::Receive, req::Borrow, req::Release, req::Shutdown,
                             req::Close, req::Abort, req::SetOptions, req::AddAddress, req::RemoveAddress,
                             req::AddRoute, req::RemoveRoute, req::SetLink, req::AddNeighbour, req::RemoveNeighbour,
                             req::Set, req::SetInterface>;

/// What a request answers; the fields that an operation does not mention are empty.
struct Reply {
  Handle handle{};                   ///< Listen, Connect, Accept
  size_t bytes = 0;                  ///< Send, SendLent, Receive
  std::span<const std::byte> view{}; ///< Borrow
  uint64_t token = 0;                ///< Borrow
  std::byte* buffer = nullptr;       ///< LendBuffer
};

}  // namespace millrace
