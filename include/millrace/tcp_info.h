// What a stream knows of its path and its peer, laid out exactly as Linux's struct tcp_info, so that programs can hand
// it on as it is. Units are Linux's: times in microseconds unless they say _ms, cwnd and what is in flight in segments.
#pragma once

#include <cstdint>

namespace millrace {

/// Fields that Millrace has no figure for are 0: those behind "not kept". Those marked (c) are counted from the first
/// question of a connection on, or from its beginning with the setting tcp.flow_counters.
struct TcpInfo {
  enum Option : uint8_t { kTimestamps = 1, kSack = 2, kWindowScale = 4, kEcn = 8, kSynData = 32 };

  uint8_t state = 0;        ///< 1 ESTABLISHED, 2 SYN-SENT, ... as in tcp(7)
  uint8_t ca_state = 0;     ///< 0 open, 1 disorder, 3 recovery, 4 loss
  uint8_t retransmits = 0;  ///< timeouts in a row
  uint8_t probes = 0;       ///< of a shut window, unanswered
  uint8_t backoff = 0;      ///< doublings of rto
  uint8_t options = 0;      ///< Option
  uint8_t snd_wscale : 4 = 0;
  uint8_t rcv_wscale : 4 = 0;
  uint8_t delivery_rate_app_limited : 1 = 0;
  uint8_t fastopen_client_fail : 2 = 0;  ///< 2: data of the SYN was not acknowledged, 3: nor was the SYN

  uint32_t rto = 0;
  uint32_t ato = 0;  ///< longest delay of an acknowledgment
  uint32_t snd_mss = 0;
  uint32_t rcv_mss = 0;  ///< largest segment seen

  uint32_t unacked = 0;  ///< segments sent and not acknowledged
  uint32_t sacked = 0;
  uint32_t lost = 0;
  uint32_t retrans = 0;  ///< of those in flight, sent more than once
  uint32_t fackets = 0;  ///< not kept

  uint32_t last_data_sent_ms = 0;  ///< (c)
  uint32_t last_ack_sent_ms = 0;   ///< not kept, by Linux neither
  uint32_t last_data_recv_ms = 0;  ///< since any segment of the peer's was taken
  uint32_t last_ack_recv_ms = 0;   ///< the same

  uint32_t pmtu = 0;
  uint32_t rcv_ssthresh = 0;  ///< receive buffer
  uint32_t rtt = 0;
  uint32_t rttvar = 0;
  uint32_t snd_ssthresh = 0;  ///< 0x7fffffff: none yet
  uint32_t snd_cwnd = 0;
  uint32_t advmss = 0;
  uint32_t reordering = 0;  ///< RFC 8985 has no such bound: 3

  uint32_t rcv_rtt = 0;  ///< as measured for the receive buffer
  uint32_t rcv_space = 0;
  uint32_t total_retrans = 0;

  uint64_t pacing_rate = 0;      ///< bytes a second; all ones where the connection is not paced
  uint64_t max_pacing_rate = 0;  ///< all ones where there is none
  uint64_t bytes_acked = 0;      ///< (c); those before the first question modulo 2^32
  uint64_t bytes_received = 0;   ///< (c)
  uint32_t segs_out = 0;         ///< (c)
  uint32_t segs_in = 0;          ///< (c)

  uint32_t notsent_bytes = 0;
  uint32_t min_rtt = 0;        ///< all ones where it is not measured
  uint32_t data_segs_in = 0;   ///< (c)
  uint32_t data_segs_out = 0;  ///< (c)

  uint64_t delivery_rate = 0;  ///< where it is measured: with BBR, pacing or a limit of the rate

  uint64_t busy_time = 0;       ///< (c)
  uint64_t rwnd_limited = 0;    ///< (c)
  uint64_t sndbuf_limited = 0;  ///< (c)

  uint32_t delivered = 0;     ///< segments, where the rate is measured
  uint32_t delivered_ce = 0;  ///< not kept

  uint64_t bytes_sent = 0;     ///< (c)
  uint64_t bytes_retrans = 0;  ///< (c)
  uint32_t dsack_dups = 0;     ///< (c)
  uint32_t reord_seen = 0;     ///< 1 if reordering was seen in the last disorder

  uint32_t rcv_ooopack = 0;  ///< (c)
  uint32_t snd_wnd = 0;
};
static_assert(sizeof(TcpInfo) == 232);

}  // namespace millrace
