// Settings of TCP (base/settings.h).
#pragma once

#include "base/settings.h"
#include "tcp/cc/controller.h"

namespace millrace::tcp {

/// name, default, least, greatest, text
#define MILLRACE_TCP_SETTINGS(X)                                                                                    \
  X(send_buffer, 1'048'576, 2'048, 1'073'741'824, "send buffer of a new socket, bytes")                             \
  X(send_buffer_max, 16'777'216, 0, 1'073'741'824,                                                                  \
    "what the send buffer may grow to with the congestion window; 0 = it does not grow")                            \
  X(notsent_lowat, 4'294'967'295, 1, 4'294'967'295,                                                                 \
    "no write is taken while as many bytes wait that were never sent, of a new socket; 4294967295 = any number")    \
  X(receive_buffer, 262'144, 2'048, 1'073'741'824, "receive buffer of a new socket, bytes")                         \
  X(receive_buffer_max, 16'777'216, 0, 1'073'741'824,                                                               \
    "what the receive buffer may grow to with what is read in a round trip; 0 = it does not grow")                  \
  X(window_scaling, 1, 0, 1, "offer window scaling (RFC 7323)")                                                     \
  X(timestamps, 1, 0, 1, "offer timestamps (RFC 7323)")                                                             \
  X(timestamps_strict, 1, 0, 1, "drop segments without the timestamps that were agreed on (RFC 7323 3.2)")          \
  X(sack, 1, 0, 1, "offer selective acknowledgments (RFC 2018)")                                                    \
  X(rack, 1, 0, 1, "RACK and tail loss probes where SACK is on (RFC 8985); 0 = RFC 6675")                           \
  X(initial_window, 10, 1, 64, "initial congestion window, segments (RFC 6928)")                                    \
  X(rto_initial_us, 1'000'000, 10'000, 60'000'000, "retransmission timeout before any sample (RFC 6298)")           \
  X(rto_min_us, 200'000, 1'000, 60'000'000, "least retransmission timeout, over and above the round trip")          \
  X(rto_max_us, 120'000'000, 1'000'000, 240'000'000, "greatest retransmission timeout")                             \
  X(syn_retries, 6, 1, 32, "retransmissions of a SYN before giving up (R2 of RFC 9293 3.8.3)")                      \
  X(synack_retries, 5, 1, 32, "retransmissions of a SYN-ACK")                                                       \
  X(retries1, 3, 1, 64,                                                                                             \
    "retransmissions after which the next hop is doubted and the program told (R1 of RFC 9293 3.8.3)")              \
  X(retries, 15, 3, 64, "retransmissions of data before giving up (R2)")                                            \
  X(delayed_ack_us, 40'000, 0, 500'000, "longest delay of an acknowledgment (RFC 9293 3.8.6.3)")                    \
  X(time_wait_us, 60'000'000, 1'000, 600'000'000, "length of TIME-WAIT")                                            \
  X(fin_wait_2_us, 60'000'000, 1'000'000, 3'600'000'000, "life of a closed socket in FIN-WAIT-2")                   \
  X(keepalive_idle_us, 7'200'000'000, 1'000'000, 32'767'000'000, "idle time before the first probe")                \
  X(keepalive_interval_us, 75'000'000, 100'000, 32'767'000'000, "time between probes")                              \
  X(keepalive_probes, 9, 1, 127, "unanswered probes before the connection fails")                                   \
  X(challenge_acks_per_second, 1'000, 0, 1'000'000, "challenge ACKs of one worker (RFC 5961); 0 = no limit")        \
  X(challenge_interval_us, 500'000, 0, 60'000'000,                                                                  \
    "least time between two answers of a connection to what cannot be its peer's (RFC 5961); 0 = none")             \
  X(port_low, 32'768, 1, 65'535, "lowest port for outgoing connections (RFC 6056)")                                 \
  X(port_high, 60'999, 1, 65'535, "highest port for outgoing connections")                                          \
  X(mss, 0, 0, 65'495, "largest segment to offer; 0 = from the MTU")                                                \
  X(mtu_probing, 1, 0, 2, "path MTU probing (RFC 4821): 0 = off, 1 = after a black hole, 2 = always")               \
  X(slow_start_after_idle, 1, 0, 1, "start slowly again after nothing was sent for a timeout (RFC 5681 4.1)")       \
  X(pacing, 0, 0, 1, "pace connections whose congestion controller does not do so itself")                          \
  X(ecn, 2, 0, 5,                                                                                                   \
    "explicit congestion notification (RFC 3168): 0 = off, 1 = ask for it, 2 = where the peer asks; with accurate " \
    "feedback where the peer knows it (RFC 9768): 3 = ask for that, 4 = ask for the classic one, 5 = do not ask")   \
  X(flow_counters, 0, 0, 1,                                                                                         \
    "count bytes, segments and busy times of every connection for TCP_INFO; 0 = of those of which it was asked")    \
  X(fastopen, 1, 0, 0x607,                                                                                          \
    "fast open (RFC 7413), the sum of: 1 = client, 2 = server, 4 = client without cookie, 512 = server without "    \
    "cookie, 1024 = all listeners")                                                                                 \
  X(fastopen_blackhole_us, 3'600'000'000, 0, 86'400'000'000,                                                        \
    "how long no client tries fast open after one met three timeouts in a row; 0 = they go on")                     \
  X(syncookies, 1, 0, 2,                                                                                            \
    "SYN cookies (RFC 4987 3.6): 0 = never, 1 = where half-open entries have run out, 2 = always")                  \
  X(syncookies_per_second, 100'000, 0, 100'000'000,                                                                 \
    "SYNs of one worker that get a cookie, or take another's place, half of them new ones; 0 = no limit")           \
  X(congestion_control, 0, 0, cc::kControllers - 1, "congestion controller of a new socket")

MILLRACE_SETTINGS(MILLRACE_TCP_SETTINGS)

/// Names of a row's values, from the least on; null where numbers are meant.
[[nodiscard]] constexpr const char* const* words_of(const SettingRow& row) {
  return row.field == &Settings::congestion_control ? cc::kNames : nullptr;
}

}  // namespace millrace::tcp
