// Conn: the state of one connection in four cache lines, grouped by who writes them; the rarely used rest lies in a
// parallel slab (ConnCold) under the same index. Sequence variables are those of RFC 9293 3.3.1.
//
// Invariants (Tcp::check): snd_una <= snd_nxt; unacknowledged data implies an armed timer; the records cover exactly
// [snd_una, snd_nxt); sacked + lost never exceeds the flight; rcv_nxt <= rcv_adv.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/wheel.h"
#include "ip/ip.h"
#include "millrace/request.h"
#include "pkt/block.h"
#include "tcp/accurate_ecn.h"
#include "tcp/cc/controller.h"
#include "tcp/types.h"
#include "wire/tcp_options.h"

namespace millrace::tcp {

/// Conn::options
enum ConnOption : uint8_t {
  kOptV4 = 1 << 0,
  kOptTimestamps = 1 << 1,
  kOptSack = 1 << 2,
  kOptNoDelay = 1 << 3,
  kOptKeepalive = 1 << 4,
  kOptOrphan = 1 << 5,  ///< no socket any more
  kOptWindowScale = 1 << 6,
  kOptUrgent = 1 << 7,  ///< there is an Urgent, under the index `link`
};

/// Conn::rx_flags
enum RxFlag : uint8_t {
  kRxAckNow = 1 << 0,        ///< the next output must acknowledge
  kRxFinSeen = 1 << 1,       ///< FIN received in order
  kRxDsack = 1 << 2,         ///< a duplicate is to be reported (cold.dsack)
  kRxWindowUpdate = 1 << 3,  ///< the window grew enough to say so
  kRxEcn = 1 << 4,           ///< ECN was negotiated; in SYN-SENT: is asked for
  kRxHold = 1 << 5,          ///< a partial segment waits: for more, an acknowledgment, or the override timeout
                             ///< (transmit's; it fits here)
  kRxRecords = 1 << 6,       ///< some block of the send queue ends a record (transmit's too)
  kRxCorked = 1 << 7,        ///< SocketOptions::cork (transmit's too)
};

/// Conn::tx_flags
enum TxFlag : uint8_t {
  kTxFinQueued = 1 << 0,    ///< the program closed its direction
  kTxFinSent = 1 << 1,      ///< and the peer was told
  kTxDirty = 1 << 2,        ///< on the dirty list of its interface
  kTxWantSpace = 1 << 3,    ///< a write was cut short: tell when there is room
  kTxMore = 1 << 4,         ///< the program said that more follows: what is queued does not end with PSH
  kTxCwndLimited = 1 << 5,  ///< the last output stopped at the congestion window
  kTxSynQueued = 1 << 6,    ///< SYN (or SYN-ACK of a simultaneous open) to be sent
  kTxHeadless = 1 << 7,     ///< the queue is one headless block; snd_queued says how much it holds
};

/// What Conn::rto_deadline means.
enum class TimerKind : uint8_t { kNone, kRetransmit, kProbe, kReorder, kPersist, kFinWait2 };

/// Whether losses are looked for and mended. kOpen: nothing odd, and no LossState is kept up. kDisorder: something is
/// odd (a selective or duplicate acknowledgment, a tail loss probe), nothing is known to be lost.
enum class Recovery : uint8_t { kOpen, kDisorder, kFast, kLoss };

struct alignas(64) Conn {
  // Identity and negotiated facts: read on every segment, written at set-up.
  IpAddr local;
  IpAddr remote;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  uint32_t gen = 0;   // Slab's
  uint32_t link = 0;  // Slab's while free; then the Urgent, with kOptUrgent
  uint32_t sock = 0;  ///< socket that owns it, 0 if orphaned
  ip::HopId hop = ip::HopId::kNone;
  uint16_t route_epoch = 0;
  State state = State::kClosed;
  uint8_t options = 0;
  uint16_t mss = 0;  ///< payload bytes of a full segment we send, timestamps already taken off
  uint8_t snd_wscale = 0;
  uint8_t rcv_wscale = 0;
  uint32_t ts_offset = 0;

  // Receive.
  Seq32 rcv_nxt;
  Seq32 rcv_adv;              ///< right edge of the window that was advertised
  uint32_t rcv_limit = 0;     ///< receive buffer, payload bytes
  uint32_t rcv_unread = 0;    ///< in-order bytes that the program has not consumed
  uint32_t rcv_charge = 0;    ///< true size of everything held for the program, out of order too
  uint32_t ts_recent = 0;
  uint32_t last_rx_ms = 0;    ///< when the last acceptable segment came; also the age of ts_recent
  Seq32 last_ack_sent;
  uint32_t reasm = 0;         ///< first out-of-order piece, 0 = none
  uint16_t rcv_mss = 0;       ///< largest segment seen, for the every-second-segment rule
  uint8_t ack_pending = 0;    ///< received data is not yet acknowledged
  uint8_t quick_acks = 0;     ///< segments still acknowledged at once
  int64_t delack_deadline = INT64_MAX;
  pkt::Block* cursor = nullptr;  ///< block that holds snd_nxt (transmit's; it fits here)
  uint32_t cursor_offset = 0;
  uint8_t rx_flags = 0;
  uint8_t tx_flags = 0;
  TimerKind timer_kind = TimerKind::kNone;
  uint8_t retries = 0;        ///< timeouts since the peer last made progress; what gives a connection up

  // Transmit.
  Seq32 snd_una;
  Seq32 snd_nxt;
  Seq32 snd_wl1;
  Seq32 snd_wl2;
  uint32_t snd_wnd = 0;
  uint32_t max_snd_wnd = 0;
  uint32_t snd_queued = 0;     ///< bytes of data from snd_una to the end of the queue
  uint32_t snd_limit = 0;      ///< send buffer; 0 where there is a low-water mark (RoomState::low_water)
  pkt::Block* queue_head = nullptr;
  pkt::Block* queue_tail = nullptr;
  uint32_t head_offset = 0;    ///< bytes of queue_head already acknowledged
  uint32_t record_head = 0;
  uint32_t record_tail = 0;    ///< without a record: when the last segment was sent, in flight (Tcp::is_lone) or not
  Seq32 recover;               ///< recovery ends when this is acknowledged

  // Congestion control, round-trip time, timers.
  uint32_t cwnd = 0;
  uint32_t ssthresh = UINT32_MAX;
  uint32_t srtt_us = 0;        ///< 0 = no sample yet
  uint32_t rttvar_us = 0;
  uint32_t rto_us = 0;
  uint32_t sacked_bytes = 0;   ///< selectively acknowledged (without SACK: duplicate ACKs times mss)
  uint32_t lost_bytes = 0;     ///< marked lost and not sent again yet
  uint32_t ack_bytes = 0;      ///< acknowledged bytes not yet turned into window (RFC 5681 3.1)
  uint8_t dup_acks = 0;
  Recovery recovery = Recovery::kOpen;
  uint16_t record_count = 0;
  uint16_t send_credit = 0;   ///< segments that may be sent again whatever the window says
  uint8_t backoff = 0;        ///< doublings of rto_us in force; only a new sample ends them (RFC 6298 5.5 to 5.7)
  uint8_t rated : 1 = 0;      ///< its delivery rate is measured and its pace may be held (RateState)
  uint8_t searched : 1 = 0;   ///< its path MTU is, or was (PathState)
  uint8_t marked : 1 = 0;     ///< its segments have a DSCP or a hop limit of their own (RareOptions)
  uint8_t counted : 1 = 0;    ///< what it carries is counted (FlowCounts)
  base::TimerNode timer;
  int64_t rto_deadline = INT64_MAX;
};
static_assert(sizeof(Conn) == 256, "a connection is four cache lines");
static_assert(offsetof(Conn, rcv_nxt) == 64, "receive state starts the second line");
static_assert(offsetof(Conn, snd_una) == 128, "transmit state starts the third line");
static_assert(offsetof(Conn, cwnd) == 192, "congestion control starts the fourth line");

using SackBlock = wire::SackBlock;

/// Rarely touched: options of the socket, recovery details, statistics.
struct alignas(64) ConnCold {
  Seq32 iss;
  uint32_t keepalive_idle_ms = 0;
  uint32_t keepalive_interval_ms = 0;
  uint8_t keepalive_probes = 0;
  uint8_t keepalive_sent = 0;
  uint8_t sack_recent : 4 = 0;     ///< entries of `recent` in use
  uint8_t controller : 4 = 0;      ///< row of MILLRACE_CONGESTION_CONTROLLERS
  uint8_t soft_error = 0;          ///< Error + 1 of an ICMP message that did not end the connection
  uint16_t user_mss = 0;
  uint16_t peer_mss = 0;
  uint32_t retransmits = 0;
  SackBlock recent[4];             ///< blocks received out of order, newest first (RFC 2018 4)
  SackBlock dsack;                 ///< duplicate to report (RFC 2883)
  alignas(8) std::byte cc_state[cc::kStateBytes] = {};  ///< the congestion controller's own
};
static_assert(sizeof(ConnCold) == 128, "cold state is two cache lines");
static_assert(cc::kControllers <= 16, "ConnCold::controller has four bits");

/// What a program says of the traffic class. ECN's bits are the protocol's (RFC 3168 6.1).
[[nodiscard]] inline uint8_t socket_class(const SocketOptions& o) {
  return static_cast<uint8_t>(o.traffic_class & ~kEcnBits);
}

/// How far a client's fast open has come (RFC 7413 4.2.1): its first SYN is to ask for a cookie, or to bring data; it
/// did; the data was acknowledged, was not, or was only after that SYN was lost.
enum class Early : uint8_t { kNever, kAsks, kOffers, kAsked, kSent, kTaken, kRefused, kLost };

/// Options that few programs set, and what fast open has under way, in a SideTable.
struct RareOptions {
  uint32_t gen = 0;
  uint32_t user_timeout_ms = 0;  ///< 0: as the settings say
  uint32_t fin_wait_2_ms = 0;
  uint32_t syn_retries = 0;
  uint32_t fast_listener = 0;  ///< slot + 1 of the listener among whose pending ones it is
  uint8_t fast_flags = 0;      ///< MiniFlags of its SYN
  uint8_t traffic_class = 0;   ///< without ECN's bits
  uint8_t hop_limit = 0;       ///< 0: the interface's
  Early early = Early::kNever;
  bool early_option = false;  ///< its SYN bore the option of RFC 7413
};

/// The search for the path MTU (path_mtu.cc), in a SideTable. Sizes are of IP packets.
struct PathState {
  uint32_t gen = 0;
  uint16_t cap = 0;    ///< what segments keep to; 0: nothing but the route's
  uint16_t high = 0;   ///< the largest that may yet prove to arrive
  uint16_t route = 0;  ///< what the route says
  uint16_t probe = 0;  ///< on its way, up to `end`; 0: none
  Seq32 end;
  bool missed = false;    ///< a probe was lost, so the search halves
  uint32_t since_ms = 0;  ///< when the search ended
};

/// When a connection last answered a segment that cannot be its peer's (reset.cc), in a SideTable.
struct AnswerState {
  uint32_t gen = 0;
  uint32_t last_ms = 0;
};

/// How the buffers of a connection follow what it carries (room.cc), in a SideTable: connections that neither move much
/// data nor have buffers of a fixed size never touch it.
struct RoomState {
  uint32_t gen = 0;
  bool fixed_receive = false;      ///< SocketOptions::receive_buffer was given
  bool fixed_send = false;         ///< SocketOptions::send_buffer was
  bool measuring = false;          ///< `from` and `since` hold
  bool short_trip = false;         ///< a round trip of at most two milliseconds was seen at `short_at`
  Seq32 from;                      ///< what the program had read when the round trip under measurement began
  uint32_t since = 0;              ///< when that was, Tcp::stamp()
  uint32_t most = 0;               ///< most bytes read in one round trip so far
  uint32_t rtt_us = 0;             ///< by the timestamps that the peer echoes; 0: none of use
  uint32_t least_us = UINT32_MAX;  ///< of those in this round trip
  uint32_t short_at = 0;           ///< Tcp::stamp()
  uint32_t low_water = 0;          ///< SocketOptions::unsent_low_water; 0: none
  uint32_t send_limit = 0;         ///< with it: send buffer
};

/// Of the runs received out of order (ReasmPiece), in a SideTable.
struct RunState {
  uint32_t gen = 0;
  uint32_t held = 0;
  uint32_t last = 0;  ///< the one that grew last, if its generation is still `last_gen`
  uint32_t last_gen = 0;
};

/// What ECN has under way (RFC 3168 6.1), in a SideTable.
struct EcnState {
  uint32_t gen = 0;
  Seq32 end;             ///< the window was reduced for a mark: not again until this is acknowledged
  bool reduced = false;  ///< `end` holds
  bool echo = false;     ///< segments that we send carry ECE
  bool cwr_due = false;  ///< the next new data carries CWR
  bool held = false;     ///< with one segment for a window: nothing new before the timer says so
  uint8_t holds = 0;     ///< such windows in a row

  // Accurate feedback (RFC 9768); `echo` and `cwr_due` are the classic one's.
  bool accurate = false;      ///< agreed on; in SYN-SENT: asked for
  bool fallen = false;        ///< our SYN or SYN-ACK is sent without
  bool muted = false;         ///< what we send is not ECN-capable
  bool deaf = false;          ///< the peer's count means nothing
  bool tells = false;         ///< our next bare ACK says how the peer's SYN-ACK arrived
  bool hears = false;         ///< the peer's first ACK may say how ours did
  bool after_mark = false;    ///< the last segment that came in was marked
  uint8_t heard = 0;          ///< the ECN field with which the peer's SYN or SYN-ACK arrived
  uint8_t in = kFirstCount;   ///< marked packets that came in, modulo 8 on the wire
  uint8_t out = kFirstCount;  ///< of those that we sent, as the peer counted
  uint8_t unsaid = 0;         ///< that came in since our last ACK
  uint8_t usual = 0;          ///< eighths of packets that an ACK of the peer acknowledges, smoothed
};

/// One transmission that is not yet acknowledged: [start, end) was last sent at `sent`.
struct TxRecord {
  uint32_t gen = 0;
  uint32_t link = 0;  // Slab's while free; next record in sequence order while in use
  Seq32 start;
  Seq32 end;
  uint32_t sent = 0;   ///< Tcp::stamp(): units of 256 ns, wraps after 18 minutes
  uint32_t older = 0;  ///< neighbours in the LossState's lists, which exist unless recovery is kOpen
  uint32_t newer = 0;
  uint8_t times = 0;  ///< transmissions so far, at most 255
  uint8_t flags = 0;
  bool ends_piece = false;  ///< sent with PSH as the last of several segments (Tcp::unpaced_quantum)
};
enum RecordFlag : uint8_t {
  kRecSacked = 1 << 0,
  kRecLost = 1 << 1,  ///< lost and not sent again yet
  kRecSyn = 1 << 2,
  kRecFin = 1 << 3,
  kRecSplit = 1 << 4,      ///< cut off another one because a SACK block began or ended there
  kRecWasSacked = 1 << 5,  ///< selectively acknowledged before a timeout forgot it
  kRecPush = 1 << 6,       ///< ends what a program wrote: sent with PSH, and so again
  kRecMtuProbe = 1 << 7,   ///< larger than the path MTU as known
};
static_assert(sizeof(TxRecord) == 32);

/// Urgent data of one connection, in either direction.
struct Urgent {
  uint32_t gen = 0;    // Slab's
  uint32_t link = 0;   // Slab's
  Seq32 rcv_up;        ///< end of what the peer called urgent
  Seq32 snd_up;        ///< end of what the program called urgent
  bool heard = false;  ///< rcv_up holds
  bool said = false;   ///< snd_up holds
};

/// A contiguous run received out of order: [start, end) in a chain of segments. Runs never touch each other.
struct ReasmPiece {
  uint32_t gen = 0;
  uint32_t link = 0;  // Slab's while free; next run, in sequence order, while in use
  Seq32 start;
  Seq32 end;
  pkt::Packet* first = nullptr;
  pkt::Packet* last = nullptr;
  uint32_t charge = 0;
  bool fin = false;  ///< a FIN stands at `end`
};
static_assert(sizeof(ReasmPiece) == 40);

}  // namespace millrace::tcp
