// What tools show of a connection.
#pragma once

#include <cstdint>

#include "tcp/flow_counts.h"
#include "tcp/types.h"

namespace millrace::tcp {

/// One line of the list of connections, half-open and TIME-WAIT entries.
struct Info {
  Tuple tuple;
  State state = State::kClosed;
  uint32_t sock = 0;
  uint32_t send_queue = 0;
  uint32_t retransmits = 0;
  bool full = false;            ///< a connection; what follows is empty for half-open and TIME-WAIT entries
  bool timestamps = false;
  bool sack = false;
  bool no_delay = false;
  const char* controller = "";  ///< of congestion
  const char* recovery = "";    ///< "open", "disorder", "fast", "loss"
  const char* timer = "";       ///< "none", "retransmit", "probe", "reorder", "persist", "fin-wait-2"
  int64_t timer_ns = 0;         ///< when it is due
  uint32_t timeouts = 0;        ///< in a row
  uint32_t mss = 0;
  uint32_t cwnd = 0;
  uint32_t ssthresh = 0;        ///< UINT32_MAX: none yet
  uint32_t srtt_us = 0;
  uint32_t rttvar_us = 0;
  uint32_t rto_us = 0;
  uint32_t flight = 0;
  uint32_t sacked = 0;
  uint32_t lost = 0;
  uint32_t send_window = 0;
  uint32_t receive_window = 0;
  uint8_t send_scale = 0;
  uint8_t receive_scale = 0;
  uint32_t send_limit = 0;
  uint32_t receive_limit = 0;
  uint32_t receive_charge = 0;  ///< true size of what is held for the program
  uint32_t out_of_order = 0;    ///< runs
  bool window_scaling = false;
  uint32_t receive_mss = 0;                ///< largest segment seen
  uint32_t advertised_mss = 0;             ///< what our SYN offered
  uint32_t segments_out = 0;               ///< transmissions not yet acknowledged
  uint32_t unsent = 0;                     ///< bytes queued and never sent
  bool urgent_unread = false;
  uint32_t backoff = 0;          ///< doublings of rto_us
  uint32_t segments_again = 0;   ///< of segments_out, sent more than once
  uint32_t last_receive_ms = 0;  ///< when the last acceptable segment came, Tcp's clock of milliseconds
  uint32_t delayed_ack_us = 0;
  uint32_t path_mtu = 0;
  uint32_t receive_rtt_us = 0;  ///< by which the receive buffer grows; 0 = not measured
  uint32_t bytes_acked = 0;     ///< modulo 2^32
  bool ecn = false;
  bool reordering = false;     ///< seen by RACK
  bool syn_data = false;       ///< what went with the SYN was acknowledged with it
  uint8_t syn_data_fail = 0;   ///< 2: it was not, 3: nor was the first SYN
  uint64_t delivery_rate = 0;  ///< bytes a second; this and what follows only where it is measured
  bool delivery_app_limited = false;
  uint64_t pacing_rate = 0;      ///< bytes a second; 0 = not paced
  uint64_t max_pacing_rate = 0;  ///< the socket's; 0 = none
  uint64_t delivered = 0;        ///< bytes
  uint32_t min_rtt_us = 0;       ///< 0 = none yet
  bool counted = false;
  FlowCounts counts{};  ///< only if it is counted; complete up to counts.settled_ns
};

}  // namespace millrace::tcp
