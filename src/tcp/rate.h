// RateState: what measuring the delivery rate and pacing keep of a connection (Conn::rated), in arrays of their own
// that other connections never touch. Read first: draft-ietf-ccwg-bbr 4.1 (samples) and 5.6.2 (pace).
#pragma once

#include <cstdint>

#include "tcp/cc/controller.h"
#include "tcp/types.h"

namespace millrace::tcp {

inline constexpr uint64_t kNsPerSecond = 1'000'000'000;

/// In a SideTable. Times are Tcp::stamp(), where nothing else is said.
struct alignas(64) RateState {
  uint32_t gen = 0;
  uint32_t delivered_at = 0;    ///< the last delivery
  uint32_t first_sent = 0;      ///< when what was delivered last had been sent, or the first of a flight
  uint32_t min_rtt_us = 0;      ///< least ever seen; 0 = none
  Seq32 limited_until;          ///< the window was full when this was snd_nxt
  bool window_limited = false;  ///< limited_until holds
  bool waiting = false;         ///< something could go but for the pace: the timer wakes it at `next_send_ns`
  bool sample_app_limited = false;
  uint64_t sample = 0;       ///< the last delivery rate, bytes a second
  uint64_t most = 0;         ///< SocketOptions::max_pacing_rate; 0 = no limit
  int64_t next_send_ns = 0;  ///< nothing new leaves before
  cc::Model model;
};

/// What was so when a TxRecord was sent last; under the same index.
struct RateRecord {
  uint64_t delivered = 0;  ///< Model::delivered
  uint64_t lost = 0;       ///< Model::lost
  uint32_t gen = 0;        ///< the record's, if this belongs to it
  uint32_t delivered_at = 0;
  uint32_t first_sent = 0;
  uint32_t flight : 31 = 0;  ///< bytes in the network, itself included
  uint32_t app_limited : 1 = 0;
};
static_assert(sizeof(RateRecord) == 32);

/// What the pace allows now.
struct PaceAllowance {
  uint32_t bytes = UINT32_MAX;  ///< all together
  uint32_t frame = UINT32_MAX;  ///< in one frame
};

/// What the deliveries of one acknowledgment tell; of the one sent last.
struct RateNews {
  uint32_t acked = 0;  ///< bytes
  uint32_t rtt_us = 0;
  bool known = false;  ///< what follows holds
  bool app_limited = false;
  uint32_t sent_flight = 0;
  uint64_t prior_delivered = 0;
  uint64_t prior_lost = 0;
  uint32_t send_elapsed = 0;
  uint32_t ack_elapsed = 0;
  Seq32 end;
};

}  // namespace millrace::tcp
