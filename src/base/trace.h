// Always-on trace: a ring of 8-byte records, one ring a worker. A record names a connection, an event and a 32-bit
// argument; a time mark at the start of each burst dates what follows. The ring is frozen into a keepsake when
// something odd happens (RTO, retransmission, reset), so that the story before it can be read later.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "millrace/time.h"

namespace millrace::base {

/// name, what the argument means
#define MILLRACE_TRACE_EVENTS(X)                     \
  X(kTime, "time", "microseconds, low 32 bits")      \
  X(kRxSegment, "rx", "sequence number")             \
  X(kRxAck, "rx-ack", "acknowledgment number")       \
  X(kTxSegment, "tx", "sequence number")             \
  X(kTxAck, "tx-ack", "acknowledgment number")       \
  X(kRetransmit, "retransmit", "sequence number")    \
  X(kRto, "rto", "timeout in microseconds")          \
  X(kFastRetransmit, "fast-retransmit", "snd_una")   \
  X(kRecovered, "recovered", "snd_una")              \
  X(kState, "state", "old state << 8 | new state")   \
  X(kDrop, "drop", "drop reason")                    \
  X(kRxReset, "rx-reset", "sequence number")         \
  X(kTxReset, "tx-reset", "sequence number")         \
  X(kWindowProbe, "window-probe", "sequence number") \
  X(kKeepalive, "keepalive", "probes sent")          \
  X(kZeroWindow, "zero-window", "rcv_nxt")           \
  X(kRequest, "request", "operation")                \
  X(kTimer, "timer", "timer kind")

enum class TraceEvent : uint8_t {
#define X(id, name, argument) id,
  MILLRACE_TRACE_EVENTS(X)
#undef X
};

struct TraceRecord {
  uint32_t conn : 24;  ///< slab index, 0 = the worker itself
  uint32_t event : 8;
  uint32_t argument;
};
static_assert(sizeof(TraceRecord) == 8);

class TraceRing {
 public:
  static constexpr uint32_t kRecords = 1u << 13;  // 64 KiB
  static constexpr uint32_t kKept = 16;           // keepsakes, the newest stay
  static constexpr uint32_t kKeptRecords = 256;

  void mark(Instant now) { put(0, TraceEvent::kTime, static_cast<uint32_t>(now.us())); }
  void put(uint32_t conn, TraceEvent event, uint32_t argument) {
    ring_[next_++ & (kRecords - 1)] = {conn & 0xffffff, static_cast<uint8_t>(event), argument};
  }
  /// Copies the newest records aside for `conn`, at most one keepsake for each kKeptRecords records written.
  void keep(uint32_t conn);
  /// The newest `count` records, oldest first.
  [[nodiscard]] std::vector<TraceRecord> newest(uint32_t count) const;
  /// The newest keepsake of `conn` (any connection if 0); empty if there is none.
  [[nodiscard]] std::vector<TraceRecord> kept(uint32_t conn) const;
  [[nodiscard]] uint64_t written() const { return next_; }

  /// One line a record.
  static std::string format(const std::vector<TraceRecord>& records);

 private:
  struct Keepsake {
    uint64_t at = 0;
    uint32_t conn = 0;
    std::vector<TraceRecord> records;
  };

  uint64_t next_ = 0;
  std::array<TraceRecord, kRecords> ring_{};
  std::vector<Keepsake> kept_;
  uint32_t next_kept_ = 0;
};

}  // namespace millrace::base
