// What goes into Tcp and comes out of it: effects on sockets, its configuration, its listeners.
#pragma once

#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "base/trace.h"
#include "ip/ip.h"
#include "millrace/event.h"
#include "millrace/request.h"
#include "pkt/block.h"
#include "pkt/pool.h"
#include "steer/shard_map.h"
#include "tcp/settings.h"
#include "tcp/types.h"

namespace millrace::tcp {

inline constexpr uint8_t kBlackHoleTimeouts = 3;
inline constexpr uint8_t kPatientProbes = 8;         ///< of a shut window, before it may count as a trick,
inline constexpr Duration kPatience = seconds(100);  ///< and how long they have gone on: what eight take at 200 ms
inline constexpr uint32_t kMostRuns = 1'024;         ///< out of order, of a connection: what a walk passes at most
inline constexpr uint32_t kMostUrgent = 1'024;       ///< connections with urgent data at a time
inline constexpr int kStampShift = 8;                ///< of Tcp::stamp(): 256 ns; goes round after 18 minutes. Hence:
inline constexpr Duration kStale = seconds(100);     ///< how far back dates of what is in flight reach, at most
inline constexpr Duration kLongStop = seconds(120);  ///< a loop that comes so late was stopped: all dates are stale
inline constexpr Duration kFramesLook = microseconds(100);

/// Something that a socket must learn. `data` is owned by the effect.
struct Effect {
  uint32_t sock = 0;
  uint32_t mask = 0;            ///< EventMask bits
  pkt::Packet* data = nullptr;  ///< in-order data to append (a chain), its `total` says how much
  Error error = Error::kIo;     ///< with kError
  bool detached = false;        ///< the connection is gone; the socket must forget it
};

/// Connections with output due at an interface.
struct DirtyList {
  struct Entry {
    uint32_t index = 0;
    uint32_t gen = 0;
  };
  std::vector<Entry> now;   ///< being worked off, from `at`
  std::vector<Entry> next;  ///< marked since
  size_t at = 0;
};

/// The sockets' side, for the one thing that cannot wait for the flush: a new connection needs its socket.
class Owner {
 public:
  virtual ~Owner() = default;
  /// A socket for `conn`, waiting in the accept queue of `listener_sock`; 0 if there is none left.
  virtual uint32_t accepted(uint32_t listener_sock, uint32_t conn) = 0;
};

struct TcpConfig {
  ip::Ip* ip = nullptr;
  pkt::PacketCache* packets = nullptr;
  pkt::PacketPool* frames = nullptr;  ///< for its capacity
  pkt::BlockPool* blocks = nullptr;
  base::MemorySource* memory = nullptr;
  base::TraceRing* trace = nullptr;
  Owner* owner = nullptr;
  uint64_t seed = 0;
  uint32_t max_connections = 0;
  uint32_t max_half_open = 0;
  uint32_t max_time_wait = 0;
  Settings settings{};
  Instant start{};
  const steer::ShardMap* shards = nullptr;  ///< null: every answer comes to this worker
  uint32_t shard = 0;
  bool siblings = false;  ///< who gets an answer passes it on to whose connection it is
};

struct Listener {
  Endpoint local;
  uint32_t sock = 0;  ///< 0 = slot free
  uint32_t backlog = 0;
  uint32_t waiting = 0;  ///< established, not accepted
  uint32_t half_open = 0;
  SocketOptions options{};
  uint32_t fast_pending = 0;  ///< connections that fast open made, not acknowledged yet
};

}  // namespace millrace::tcp
