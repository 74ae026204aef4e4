// Everything that a program or an operator can ask of a worker, as values: one struct an operation. Together with
// frames and time they are the only inputs of a worker, so a recording of the three replays bit for bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "millrace/address.h"
#include "millrace/datagram.h"
#include "millrace/event.h"
#include "millrace/result.h"
#include "millrace/tcp_info.h"
#include "millrace/time.h"

namespace millrace {

/// Name of a congestion controller, as tcp.congestion_control takes it. A longer one than 15 characters names none.
class ControllerName {
 public:
  constexpr ControllerName() = default;
  constexpr ControllerName(std::string_view name) {
    if (name.size() >= sizeof(text_)) name = "?";
    for (size_t i = 0; i < name.size(); ++i) text_[i] = name[i];
  }
  constexpr ControllerName(const char* name) : ControllerName(std::string_view(name)) {}
  [[nodiscard]] constexpr std::string_view view() const { return text_; }
  [[nodiscard]] constexpr bool empty() const { return text_[0] == 0; }

 private:
  char text_[16] = {};
};

/// Knobs of one socket; zero, negative or empty means the setting's default.
struct SocketOptions {
  bool no_delay = true;           ///< RFC 9293 3.7.4: true turns Nagle's algorithm off
  bool keepalive = false;         ///< probe idle connections (RFC 9293 3.8.4)
  uint32_t send_buffer = 0;       ///< bytes; a size given here holds, while the setting's grows with the flow
  uint32_t receive_buffer = 0;    ///< likewise
  uint16_t mss = 0;               ///< largest segment to offer and to send
  Duration keepalive_idle{};
  Duration keepalive_interval{};
  uint8_t keepalive_probes = 0;
  ControllerName congestion_control{};  ///< kNotFound if there is none of that name; a living connection keeps its own
                                        ///< where the name is empty
  uint8_t syn_retries = 0;  ///< of a SYN
  Duration user_timeout{};  ///< how long data may stay unacknowledged before the connection is given up (RFC 5482)
  Duration fin_wait_2{};    ///< life of FIN-WAIT-2 once the socket is closed
  std::optional<bool> quick_ack{};  ///< once, on a living connection: acknowledge the next segments at once, or late
  uint32_t fast_open_queue = 0;  ///< of a listener: connections that data on a SYN may open before the handshake ends
                                 ///< (RFC 7413 5.1); 0: none, unless tcp.fastopen says so. tcp.fastopen must allow it
  std::array<uint64_t, 2> fast_open_key{};      ///< of a listener's cookies; zeros: the worker's, which change
  std::array<uint64_t, 2> fast_open_old_key{};  ///< with it: the one before, still good
  Duration defer_accept{};  ///< of a listener: how long a connection may wait for its first data before it is
                            ///< announced without (Linux's TCP_DEFER_ACCEPT); rounded up to a timeout of the SYN-ACK
  uint64_t max_pacing_rate = 0;  ///< bytes a second that are sent at most; 0 = no limit
  uint8_t traffic_class = 0;     ///< DSCP of what is sent, in the upper six bits; the other two are ECN's (RFC 3168 5)
  uint8_t hop_limit = 0;         ///< TTL or hop limit of what is sent; 0 = 64, or what IPv6 routers say
  bool v6_only = false;          ///< of a listener on `::`: takes no IPv4
  bool reuse_port = false;       ///< of a listener: others with it may have the same address; a connection comes to one
                                 ///< of them, by a hash of its ends
  uint32_t unsent_low_water = 0;  ///< bytes: no write is taken while as much waits that was never sent, and kWritable
                                  ///< comes at half of it (Linux's TCP_NOTSENT_LOWAT); 0 = as tcp.notsent_lowat says
  bool cork = false;        ///< hold back partial segments, for at most about one retransmission timeout
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

/// What a socket is at the moment (req::Look).
struct SocketStatus {
  uint32_t unread = 0;      ///< bytes that a read would give; of a listener: connections waiting; of a datagram socket:
                            ///< the payload of the oldest message
  uint32_t unsent = 0;      ///< bytes sent and not yet acknowledged, or not yet sent
  uint32_t room = 0;        ///< bytes that a write would take
  bool readable = false;    ///< a read or accept would not say kWouldBlock
  bool ended = false;       ///< the peer's end of data is behind what is unread
  bool alive = false;       ///< the connection exists, if only in the making
  bool connecting = false;  ///< an active open is not complete
  std::optional<Error> error{};  ///< what the next read or write reports
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
/// The reply's handle is at once valid; kConnected or kError follows. With `fast_open` (RFC 7413), if tcp.fastopen
/// allows it, data of `first` goes with the SYN: as much as one segment takes, where the server gave a cookie before.
/// Reply::bytes says how much that is, and is 0 otherwise; the rest is to be written after kConnected. The server may
/// see that data twice.
struct Connect {
  Endpoint remote;
  Endpoint local{};  ///< unspecified: chosen by route, port by RFC 6056
  uint64_t user = 0;
  SocketOptions options{};
  uint32_t table = 0;
  bool fast_open = false;
  std::span<const std::byte> first{};
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
  bool urgent = false;  ///< the peer is told that this is urgent, up to the last byte that was taken (RFC 9293 3.8.5)
  bool end_of_record = false;  ///< no segment holds the last byte together with what is sent later, if all is taken
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

// Datagram sockets. Send, Receive, Borrow, Release, Close and SetUser serve them too: Send sends one datagram to the
// connected peer, Receive and Borrow take one, and what does not fit `into` is cut off.
/// Opens a datagram socket on `local`: port 0 = chosen by RFC 6056, `::` takes both families unless v6_only. For kPing
/// the port is the identifier; for kIcmp it must be 0. kAddressInUse, kAddressNotHere, kTooMany.
struct OpenDatagram {
  Endpoint local;
  DatagramKind kind = DatagramKind::kUdp;
  uint64_t user = 0;
  DatagramOptions options{};
  uint32_t table = 0;
};
/// From now on only `remote` is heard, sends need no destination and ICMP errors are reported. An unspecified address
/// undoes it. A group may be `remote` too: sends go to it, and as it is nobody's source, nothing is heard. kPermission:
/// a broadcast address without DatagramOptions::broadcast.
struct ConnectDatagram {
  Handle handle;
  Endpoint remote;
};
/// Sends messages in order; Reply::bytes says how many were taken. An error only if the first was not; kWouldBlock
/// when the device's queue is full (kWritable follows).
struct SendBatch {
  Handle handle;
  std::span<const Message> messages;
};
/// Takes at most messages.size() waiting messages; Reply::bytes says how many. With `peek` they stay queued and are
/// copied to `into`.
struct ReceiveBatch {
  Handle handle;
  std::span<Message> messages;
  bool peek = false;
};
/// Gives borrowed messages back; tokens of 0 are skipped.
struct ReleaseBatch {
  std::span<const Message> messages;
};
struct SetDatagramOptions {
  Handle handle;
  DatagramOptions options;
};
/// A datagram socket wants what is sent to `group` and arrives at `interface` (kNone: the first that is up). With a
/// `source`, only from there (RFC 4607); several joins add sources. kInvalid, kAlreadyExists, kTooMany.
struct JoinGroup {
  Handle handle;
  IpAddr group;
  IfIndex interface = IfIndex::kNone;
  IpAddr source{};
};
/// Undoes one JoinGroup: that source, or, without one, the whole membership. kNotFound.
struct LeaveGroup {
  Handle handle;
  IpAddr group;
  IfIndex interface = IfIndex::kNone;
  IpAddr source{};
};
/// Replaces a membership's filter (RFC 3678): only `sources`, or, with `exclude`, all but them. Joins if need be; an
/// empty list without `exclude` leaves. At most 64 sources.
struct SetGroupFilter {
  Handle handle;
  IpAddr group;
  IfIndex interface = IfIndex::kNone;
  bool exclude = false;
  std::span<const IpAddr> sources;
};
/// The oldest error of a datagram socket with DatagramOptions::error_queue; of a stream, what ended its connection
/// (only `error` is set), which reads and writes then report no more. kWouldBlock when there is none.
struct TakeError {
  Handle handle;
  DatagramError* into = nullptr;
};
/// The local and remote end of a socket of any kind; null = not asked for. A listener's and an unconnected datagram
/// socket's remote end is unspecified. kNotConnected once a connection is gone.
struct Names {
  Handle handle;
  Endpoint* local = nullptr;
  Endpoint* remote = nullptr;
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
/// The MTU of an interface: at least 1,280 (RFC 8200 5), at most what its device was opened with, whose buffers are of
/// that size. kInvalid otherwise. Connections and sockets follow at their next segment.
struct SetMtu {
  IfIndex interface;
  uint16_t mtu = 0;
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
/// Changes a setting of the worker: row `row` of the table of `section` (kSettingRows of tcp, udp or ip). New sockets
/// see new buffer sizes and options; timeouts and limits hold from now on. kInvalid outside of the row's range,
/// kNotSupported for the size of a table made at the start.
struct Set {
  enum class Section : uint8_t { kTcp, kUdp, kIp };
  Section section = Section::kTcp;
  uint16_t row = 0;
  int64_t value = 0;
};
/// Concerns addresses that are added from now on. kNotFound, kInvalid (loopback).
struct SetInterface {
  IfIndex interface;
  InterfaceOptions options{};
};

/// Fills `into` without taking anything: readiness as a level, where events are edges. kBadHandle.
struct Look {
  Handle handle;
  SocketStatus* into = nullptr;
};

/// What a stream whose connection lives knows of its path (tcp_info.h). kBadHandle, kNotConnected.
struct ReadTcpInfo {
  Handle handle;
  TcpInfo* into = nullptr;
};

/// Reply::bytes: what is left to read up to the end of the peer's urgent data, 0 if there is none. Streams only.
struct UrgentLeft {
  Handle handle;
};

}  // namespace req

using Request =
    std::variant<req::Listen, req::Connect, req::Accept, req::SetUser, req::Send, req::LendBuffer, req::SendLent,
                 req::DropLent, req::Receive, req::Borrow, req::Release, req::Shutdown, req::Close, req::Abort,
                 req::SetOptions, req::AddAddress, req::RemoveAddress, req::AddRoute, req::RemoveRoute, req::SetLink,
                 req::AddNeighbour, req::RemoveNeighbour, req::Set, req::SetInterface, req::OpenDatagram,
                 req::ConnectDatagram, req::SendBatch, req::ReceiveBatch, req::ReleaseBatch, req::SetDatagramOptions,
                 req::Names, req::JoinGroup, req::LeaveGroup, req::SetGroupFilter, req::TakeError, req::SetMtu,
                 req::UrgentLeft, req::Look, req::ReadTcpInfo>;

/// What a request answers; the fields that an operation does not mention are empty.
struct Reply {
  Handle handle{};                   ///< Listen, Connect, Accept, OpenDatagram
  size_t bytes = 0;                  ///< Send, SendLent, Receive, UrgentLeft; SendBatch and ReceiveBatch: messages
  std::span<const std::byte> view{}; ///< Borrow
  uint64_t token = 0;                ///< Borrow
  std::byte* buffer = nullptr;       ///< LendBuffer
};

}  // namespace millrace
