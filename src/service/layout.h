// The memory that a program and the service share: one segment a program, made by the service and of one fixed size.
// Everything in it may change at any time under the service's eyes: it reads each value once, into memory of its own,
// and checks it there; positions and sizes come from these constants and from its own books, never from the segment.
// docs/ARCHITECTURE.md, "The service".
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "millrace/request.h"

namespace millrace::service {

inline constexpr uint32_t kRequests = 1'024;     ///< descriptors in the ring of requests
inline constexpr uint32_t kEvents = 4'096;       ///< cells in the ring of events
inline constexpr uint32_t kSockets = 4'096;      ///< sockets of one program; number 0 is none
inline constexpr uint32_t kFlowBytes = 131'072;  ///< bytes of a stream under way in one direction; a power of two
inline constexpr uint32_t kBulkBytes = 131'072;  ///< payload of one call

enum class Op : uint32_t {
  kNone,
  // Posted; nobody waits for an answer.
  kSent,   ///< there are new bytes in the flow to the service
  kTaken,  ///< there is room again in the flow to the program
  kClose,
  kAbort,
  kUnlisten,  ///< number = claim
  kHold,
  kRelease,
  // Calls: arguments in Segment::call(), the answer in Segment::answer().
  kListen,
  kConnect,
  kAccept,
  kSend,
  kReceive,
  kShutdown,
  kSetOptions,
  kSetUser,
  kLook,
  kTakeError,
  kReadTcpInfo,
  kUrgentLeft,
  kOpenDatagram,
  kConnectDatagram,
  kSendMessage,
  kReceiveMessage,
  kSetDatagramOptions,
  kJoinGroup,
  kLeaveGroup,
  kReserve,
  kReserveListen,
  kIsLocal,
  kSync,        ///< nothing: whoever waits for it knows that all before it was done
  kSettle,      ///< answered when a third of the flow to the service is free, or nothing moves any more
  kFork,        ///< the next attachment by the returned number shares this program's sockets
  kDeposit,     ///< the socket, or a fresh one (index 0), waits under a token for another program; number = claim
  kWithdraw,    ///< one deposit less
  kCollect,     ///< takes over what was deposited
  kInterfaces,  ///< fills bulk() with InterfaceRows, as many as `number` says
};

/// One request.
struct Descriptor {
  uint32_t op = 0;
  uint32_t index = 0;  ///< of a socket
  uint32_t gen = 0;
  uint32_t seq = 0;  ///< of a call
  uint64_t number = 0;
  std::array<uint64_t, 5> spare{};
};
static_assert(sizeof(Descriptor) == 64);

/// What happened to a socket: an Event without what a channel does not need.
struct EventCell {
  uint64_t user = 0;
  uint32_t index = 0;
  uint32_t gen = 0;
  uint32_t mask = 0;
  uint32_t spare = 0;
};

struct EndpointWords {
  std::array<uint8_t, 16> addr{};
  uint16_t port = 0;
  uint16_t spare = 0;
};

/// SocketOptions as plain numbers: any value of any byte is one that the service can read.
struct StreamWords {
  uint32_t bits = 0;
  uint32_t send_buffer = 0;
  uint32_t receive_buffer = 0;
  uint32_t unsent_low_water = 0;
  uint32_t fast_open_queue = 0;
  uint16_t mss = 0;
  uint8_t keepalive_probes = 0;
  uint8_t syn_retries = 0;
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 0;
  std::array<char, 16> controller{};
  std::array<int64_t, 5> times_ns{};  ///< keepalive idle, interval, user timeout, FIN-WAIT-2, deferred accept
  uint64_t max_pacing_rate = 0;
  std::array<uint64_t, 4> fast_open_keys{};
};

/// DatagramOptions likewise.
struct DatagramWords {
  uint32_t bits = 0;
  uint32_t send_buffer = 0;
  uint32_t receive_buffer = 0;
  uint16_t multicast_interface = 0;
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
  uint8_t multicast_hop_limit = 0;
  uint8_t path_mtu = 0;
};

/// Arguments of a call; payload lies in bulk().
struct Call {
  EndpointWords local{};
  EndpointWords remote{};
  uint64_t user = 0;
  uint32_t bytes = 0;
  uint32_t backlog = 0;
  uint32_t flags = 0;  ///< kFlag*
  uint16_t interface = 0;
  uint16_t segment = 0;
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
  StreamWords stream{};
  DatagramWords datagram{};
  std::array<uint64_t, 2> token{};
};
inline constexpr uint32_t kFlagPeek = 1 << 0;
inline constexpr uint32_t kFlagMore = 1 << 1;
inline constexpr uint32_t kFlagUrgent = 1 << 2;
inline constexpr uint32_t kFlagMessage = 1 << 3;  ///< there is one; without, only an error is asked for
inline constexpr uint32_t kFlagReuse = 1 << 4;
inline constexpr uint32_t kFlagV6Only = 1 << 5;
inline constexpr uint32_t kFlagListening = 1 << 6;
inline constexpr uint32_t kFlagMayWait = 1 << 7;  ///< of a deposit: it goes in a message, not over exec
inline constexpr uint32_t kFlagReusePort = 1 << 8;

/// What the service answered to a call. Programs believe it.
struct Answer {
  std::atomic<uint32_t> seq{0};  ///< of the call; stored last
  uint32_t error = 0;            ///< Error + 1
  Handle handle{};
  uint64_t number = 0;
  bool in_flow = false;  ///< of Receive: there is something in the flow
  bool to_group = false;
  EndpointWords local{};
  EndpointWords remote{};
  uint32_t length = 0;
  uint16_t interface = 0;
  uint16_t segment = 0;
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
  int64_t received_ns = 0;
  SocketStatus status{};
  DatagramError failed{};
  TcpInfo info{};
  uint32_t kind = 0;  ///< of kCollect: SocketKind; what its depositor said of it lies in the options and the bulk
  StreamWords stream{};
  DatagramWords datagram{};
};

/// Counters of a ring, each on the line of who writes it. They count for ever and wrap.
struct RingWords {
  alignas(64) std::atomic<uint32_t> tail{0};
  alignas(64) std::atomic<uint32_t> head{0};
};

/// One direction of a stream: a ring of bytes. Byte number n lies at (n - origin) modulo kFlowBytes; the producer moves
/// the origin to the next byte whenever all is consumed, so that short exchanges stay in the same few lines.
struct Flow {
  alignas(64) std::atomic<uint64_t> produced{0};
  std::atomic<uint64_t> origin{0};
  std::atomic<uint32_t> more{0};  ///< to the service: a partial segment may wait for more
  alignas(64) std::atomic<uint64_t> consumed{0};
  std::atomic<uint32_t> want{0};     ///< the producer wants to hear of room
  std::atomic<uint32_t> by_call{0};  ///< of the service, to the program: several share the socket, so nothing flows
};
static_assert(sizeof(Flow) == 128);

/// Where a sleeper says so: the other side then rings its bell.
struct Header {
  RingWords requests{};
  RingWords events{};
  alignas(64) std::atomic<uint32_t> service_asleep{0};
  alignas(64) std::atomic<uint32_t> program_asleep{0};
};

inline constexpr uint64_t kPage = 4'096;
constexpr uint64_t pages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

inline constexpr uint64_t kRequestsAt = pages(sizeof(Header));
inline constexpr uint64_t kEventsAt = kRequestsAt + pages(kRequests * sizeof(Descriptor));
inline constexpr uint64_t kCallAt = kEventsAt + pages(kEvents * sizeof(EventCell));
inline constexpr uint64_t kAnswerAt = kCallAt + pages(sizeof(Call));
inline constexpr uint64_t kBulkAt = kAnswerAt + pages(sizeof(Answer));
inline constexpr uint64_t kFlowsAt = kBulkAt + kBulkBytes;
inline constexpr uint64_t kDataAt = kFlowsAt + pages(2 * kSockets * sizeof(Flow));
/// Address space; pages exist once they were written.
inline constexpr uint64_t kSegmentBytes = kDataAt + uint64_t{2} * kSockets * kFlowBytes;

/// Differs between builds that would not understand each other.
inline constexpr uint32_t kVersion =
    1'000'000U + static_cast<uint32_t>(kSegmentBytes % 9'973) + uint32_t{sizeof(Call) + sizeof(Answer)} * 64;

/// What goes over the socket before the segment is there.
struct Hello {
  uint32_t magic = 0;
  uint32_t version = 0;
  uint64_t parent = 0;  ///< the answer to kFork; 0: a program of its own
};
inline constexpr uint32_t kMagic = 0x4d52'5356;

enum class Verdict : uint32_t { kWelcome, kRefused, kOtherVersion, kFull, kNoMemory };

/// With kWelcome come three descriptors: the segment, the service's bell (an eventfd), the program's bell (a pipe).
struct Welcome {
  uint32_t magic = 0;
  uint32_t version = 0;
  uint32_t verdict = 0;
  uint32_t spare = 0;
};

}  // namespace millrace::service
