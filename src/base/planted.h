// Planted bugs: one-line defects behind a test-only switch, so that a test can prove that the simulator and the unit
// tests would have found them. In every build but the planted one (CMake option MILLRACE_PLANTED) MR_PLANTED is the
// constant false and costs nothing.
//
//   if (MR_PLANTED(rto_not_doubled)) return;
#pragma once

#include <cstdint>

namespace millrace::base {

/// name, what the bug does. Exactly twenty.
#define MILLRACE_PLANTED_BUGS(X)                                                                            \
  X(window_check_off_by_one, "a segment that starts at the right edge of the receive window is accepted")   \
  X(retransmit_timer_lost, "the retransmission timer is not armed again after a partial acknowledgment")    \
  X(sack_block_not_merged, "adjacent received ranges stay separate SACK blocks")                            \
  X(paws_ignored, "an old timestamp does not cause a drop (RFC 7323 5.3 R1)")                               \
  X(timestamp_echo_wrong, "the newest timestamp is echoed, even of an out-of-order segment")                \
  X(syn_window_scaled, "the window field of a SYN is read with the window scale")                           \
  X(window_edge_shrinks, "the advertised window's right edge moves left")                                   \
  X(delayed_ack_never_sent, "the delayed-ACK timer is not armed")                                           \
  X(fin_not_retransmitted, "a lost FIN is not sent again")                                                  \
  X(window_probe_lost, "the persist timer is not armed when the peer's window closes")                      \
  X(rto_not_doubled, "the retransmission timeout does not back off")                                        \
  X(cwnd_not_reduced, "a detected loss leaves cwnd and ssthresh as they were")                              \
  X(fast_retransmit_wrong_range, "fast retransmit sends one byte off the lost segment's place in the queue") \
  X(reassembly_drops_tail, "a segment that overlaps a queued one loses what goes beyond it, yet counts")    \
  X(duplicate_data_delivered, "bytes before rcv_nxt are not cut off a partly new segment")                  \
  X(challenge_ack_missing, "an in-window RST that is not at rcv_nxt resets (RFC 5961 3.2)")                 \
  X(odd_checksum_wrong, "the checksum over a chain forgets that a segment ended at an odd byte")            \
  X(half_open_leak, "a half-open entry that timed out is not freed")                                        \
  X(neighbour_pending_leak, "packets that wait for a neighbour that failed are not freed")                  \
  X(early_release, "a lent buffer is reported back before it is acknowledged")

enum class PlantedBug : uint8_t {
#define X(name, text) name,
  MILLRACE_PLANTED_BUGS(X)
#undef X
      kCount
};
static_assert(static_cast<int>(PlantedBug::kCount) == 20);

struct PlantedRow {
  const char* name;
  const char* text;
};
inline constexpr PlantedRow kPlantedRows[] = {
#define X(name, text) {#name, text},
    MILLRACE_PLANTED_BUGS(X)
#undef X
};

#ifdef MILLRACE_PLANTED
/// Bit n switches bug n on.
inline uint32_t g_planted = 0;
#define MR_PLANTED(name) \
  (__builtin_expect((::millrace::base::g_planted >> static_cast<int>(::millrace::base::PlantedBug::name)) & 1, 0) != 0)
#else
#define MR_PLANTED(name) (static_cast<void>(::millrace::base::PlantedBug::name), false)
#endif

}  // namespace millrace::base
