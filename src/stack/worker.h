// Worker: one shard of the stack and its only doors. Packets, requests and time are all that comes in; frames and
// events are all that goes out. Single-threaded by construction; knows no clock, thread, device or system call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/memory.h"
#include "base/siphash.h"
#include "base/trace.h"
#include "ip/ip.h"
#include "ip/replica.h"
#include "ip/settings.h"
#include "link/netif.h"
#include "millrace/event.h"
#include "millrace/request.h"
#include "millrace/result.h"
#include "millrace/time.h"
#include "pkt/packet.h"
#include "pkt/pool.h"
#include "stack/hand_over.h"
#include "steer/shard_map.h"
#include "tcp/info.h"
#include "tcp/settings.h"
#include "udp/settings.h"

namespace millrace::stack {

/// What a worker is made from. Pools and memory outlive it.
struct WorkerConfig {
  pkt::PacketPool* frames = nullptr;      ///< packets with room; also the pool of everything passed to input()
  pkt::PacketPool* references = nullptr;  ///< header-only packets
  base::MemorySource* memory = nullptr;   ///< slabs and tables: address space, touched as connections come
  base::MemorySource* block_memory = nullptr;  ///< payload blocks, visible to devices; `memory` if null
  uint64_t seed = 0;                      ///< all randomness and all secrets come from it
  uint32_t max_connections = 65'536;
  uint32_t max_half_open = 16'384;
  uint32_t max_time_wait = 65'536;
  uint32_t max_neighbours = 4'096;
  uint32_t max_datagram_sockets = 16'384;
  uint32_t max_messages = 262'144;        ///< datagrams unread or borrowed, of all sockets
  size_t block_bytes = size_t{256} << 20; ///< limit for payload blocks
  tcp::Settings tcp{};
  ip::Settings ip{};
  udp::Settings udp{};
  Instant start{};
  const steer::ShardMap* shards = nullptr;  ///< which worker owns what, the same for all; copied. Null: one worker
  uint32_t shard = 0;                       ///< this one; 0 is the control worker
  /// The others are processes that share this one's addresses, each with tables of its own: no control worker. They
  /// come and go, see set_living().
  bool siblings = false;
};

/// One line of the live socket list.
struct SocketInfo {
  Handle handle;
  Endpoint local;
  Endpoint remote;
  std::string protocol = "tcp";
  std::string state;         ///< "LISTEN", "ESTABLISHED", ...
  uint32_t receive_queue = 0;  ///< bytes unread; for a listener, connections waiting
  uint32_t send_queue = 0;     ///< bytes not acknowledged
  tcp::Info tcp{};        ///< internals; tcp.full is false where there are none
  bool alive = false;     ///< a stream's connection still exists
  bool connecting = false;  ///< an active open that is not complete
  bool ended = false;       ///< the peer's end of data is behind what is unread
  uint8_t error = 0;        ///< Error + 1 that the next read or write reports; 0 = none
  uint64_t drops = 0;     ///< datagrams dropped for want of receive buffer
};

struct CounterValue {
  std::string name;  ///< dotted, e.g. "tcp.drop.bad_checksum"
  std::string text;
  uint64_t value = 0;
};

class Impl;

class Worker {
 public:
  explicit Worker(const WorkerConfig& config);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Adds an interface (before or between bursts). kTooMany when the table of 64 is full.
  Result<IfIndex> add_interface(const link::NetifConfig& config);

  // The doors.

  /// Takes every packet of `burst` (Ethernet frames as the device gave them).
  void input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  /// What programs and operators ask.
  Result<Reply> request(const Request& request, Instant now);
  /// Runs due timers and deferred work.
  void advance(Instant now);
  /// Frames to transmit, at most out.size(); the caller owns what it gets. Call until it returns less than asked.
  size_t output(IfIndex interface, std::span<pkt::Packet*> out, Instant now);
  /// Events since the last clear_events(), in order.
  [[nodiscard]] std::span<const Event> events() const;
  void clear_events();
  /// When advance() next has something to do. A worker with frames to send says so by wants_output().
  [[nodiscard]] std::optional<Instant> next_deadline();
  /// Whether output() on some interface would give frames.
  [[nodiscard]] bool wants_output() const;

  // The doors between workers (docs/ARCHITECTURE.md, "Several workers"); a worker alone has nothing behind them.

  /// Takes frames that another worker handed over; they are not steered a second time.
  void input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  /// Frames that belong to `worker`, oldest first, at most out.size(); the caller owns what it gets.
  size_t hand_over(uint32_t worker, std::span<Handed> out);
  /// How many frames input() may bring now without the risk that one is dropped for want of room in an outbox.
  [[nodiscard]] size_t hand_over_room() const;
  /// Among siblings: which of them live, a bit each.
  void set_living(uint64_t siblings);
  /// Takes a frame that a program gives to another of them; false: there is none, or it is this one's.
  bool give(uint32_t sibling, IfIndex interface, pkt::Packet* frame);
  /// News for `worker` about neighbours, addresses and routes, in order, at most out.size() pieces.
  size_t tell(uint32_t worker, std::span<ip::TableMessage> out);
  [[nodiscard]] bool has_news(uint32_t worker) const;
  /// What `worker` told this one.
  void hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now);

  /// The pump of docs/ARCHITECTURE.md: called between the chunks of a long send; it may call output() and input() of
  /// this worker with a fresh now, which it returns. It must not call request() or touch events.
  using Pump = std::function<Instant()>;
  void set_pump(Pump pump);

  // Observation; off the busy path.
  [[nodiscard]] std::vector<SocketInfo> sockets();
  /// One listener or stream; nothing for a stale handle or a datagram socket.
  [[nodiscard]] std::optional<SocketInfo> socket(Handle handle);
  [[nodiscard]] std::vector<CounterValue> counters() const;
  [[nodiscard]] std::vector<ip::Ip::NeighbourInfo> neighbours() const;
  [[nodiscard]] std::vector<ip::Ip::RouteInfo> routes() const;
  /// Groups that sockets of this worker have joined; the control worker knows those of all.
  [[nodiscard]] std::vector<ip::Ip::GroupInfo> groups() const;
  [[nodiscard]] std::vector<ip::Ip::AddressInfo> addresses() const;
  [[nodiscard]] std::vector<ip::Ip::LearnedInfo> learned() const;
  /// The route that a packet to `destination` would take, if any.
  [[nodiscard]] std::optional<ip::Ip::RouteInfo> find_route(const IpAddr& destination, uint32_t table) const;
  [[nodiscard]] bool is_up(IfIndex interface) const;
  [[nodiscard]] const link::DeviceLimits& limits(IfIndex interface) const;
  [[nodiscard]] const tcp::Settings& tcp_settings() const;
  [[nodiscard]] const ip::Settings& ip_settings() const;
  [[nodiscard]] base::TraceRing& trace();
  /// Sees every frame in and out (direction, frame) while set; for captures. Chains included.
  enum class Direction : uint8_t { kIn, kOut };
  using Tap = std::function<void(Direction, IfIndex, const pkt::Packet&, Instant)>;
  void set_tap(Tap tap);
  /// Internal consistency of every connection and table; the text of the first violation, or empty.
  [[nodiscard]] std::string check();
  /// Packets and blocks held inside, for leak checks.
  [[nodiscard]] size_t blocks_in_use() const;

  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::stack
