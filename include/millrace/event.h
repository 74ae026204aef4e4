// What a worker tells programs: readiness of sockets and the return of lent buffers.
#pragma once

#include <cstdint>

namespace millrace {

/// Names a socket of one worker. A stale handle is refused, never mistaken for a newer socket.
struct Handle {
  uint32_t index = 0;
  uint32_t gen = 0;
  bool operator==(const Handle&) const = default;
  [[nodiscard]] bool valid() const { return index != 0; }
};

/// Bits of Event::mask. Readiness is edge-triggered: an event says what became possible since the last one; a program
/// that read or wrote until kWouldBlock gets the next.
enum EventMask : uint32_t {
  kReadable = 1 << 0,    ///< data, or the end of data, can be read
  kWritable = 1 << 1,    ///< send space came back after a short write
  kAcceptable = 1 << 2,  ///< a listener has connections waiting
  kConnected = 1 << 3,   ///< an active open completed
  kPeerClosed = 1 << 4,  ///< the peer sent FIN: reads end after what is queued
  kError = 1 << 5,       ///< the connection failed; read or write says how
  kReleased = 1 << 6,    ///< lent buffers came back: Event::cookie names the one
  kUrgent = 1 << 7,      ///< the peer called data urgent: Net::urgent_left says how far it reaches
  kUnanswered = 1 << 8,  ///< what was sent was sent again tcp.retries1 times in vain; nothing has failed yet
};

struct Event {
  Handle handle;
  uint64_t user = 0;    ///< the program's own value, given at listen, connect or accept
  uint32_t mask = 0;
  uint32_t seq = 0;     ///< counts this worker's events
  uint64_t cookie = 0;  ///< with kReleased
};

}  // namespace millrace
