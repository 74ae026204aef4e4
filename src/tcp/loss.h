// LossState: what loss detection and recovery remember of a connection while something is odd (Conn::recovery is not
// kOpen). It lies in a SideTable: a connection without trouble neither has nor reads one. Read first: RFC 8985 5 and 6,
// RFC 6675, RFC 9937.
//
// Invariants (Tcp::check): every record that is not selectively acknowledged is in exactly one of the three lists.
#pragma once

#include <cstdint>

#include "tcp/conn.h"
#include "tcp/rate.h"

namespace millrace::tcp {

inline constexpr uint8_t kDupThresh = 3;  // RFC 5681 3.2, RFC 6675 2, RFC 8985 5.4

/// Records, doubly linked by TxRecord::older and newer.
struct RecordList {
  uint32_t first = 0;
  uint32_t last = 0;
};

/// A tail loss probe: to be sent, or out as new data or as a retransmission.
enum class Probe : uint8_t { kNone, kDue, kNew, kAgain };

/// What is thought of a timeout (F-RTO): nothing was heard yet, new data was sent to find out, or it was no mistake.
enum class Timeout : uint8_t { kReal, kSuspected, kNewData };

/// A block that the peer reported, and the record at its right edge as long as that has generation `gen`.
struct SackRun {
  Seq32 left;
  Seq32 right;
  uint32_t record = 0;
  uint32_t gen = 0;
};

struct alignas(64) LossState {
  uint32_t gen = 0;
  // In the network, in order of sending: what was sent once and what was sent again, each list sorted by time.
  RecordList fresh;
  RecordList again;
  RecordList lost;           ///< to be sent again, in that order
  Seq32 settled;             ///< the lists are kept until this is acknowledged
  uint32_t sacked_records = 0;
  uint32_t splits = 0;       ///< records with kRecSplit
  SackRun runs[4];           ///< of the last acknowledgment that had blocks

  // RACK (RFC 8985 5.3).
  Seq32 end_seq;             ///< of the segment sent last among those delivered
  Seq32 fack;                ///< highest sequence delivered
  Seq32 dsack_round;         ///< the window grows no more until this is acknowledged
  uint32_t xmit = 0;         ///< when that segment was sent, Tcp::stamp()
  uint32_t rtt = 0;          ///< its round trip, in units of Tcp::stamp()
  uint32_t min_rtt_us = 0;
  uint32_t min_rtt_ms = 0;   ///< when min_rtt_us began to be taken
  uint8_t reo_wnd_mult = 1;
  uint8_t reo_wnd_persist = 0;
  bool delivered = false;    ///< xmit, end_seq and rtt hold
  bool reordering = false;   ///< reordering was seen
  bool in_dsack_round = false;

  // Tail loss probe (RFC 8985 7.1).
  Probe probe = Probe::kNone;
  bool measured = true;  ///< a round trip was, since the last probe
  Seq32 probe_end;       ///< snd_nxt when it was sent

  // Proportional rate reduction (RFC 9937 6).
  uint32_t prr_delivered = 0;
  uint32_t prr_out = 0;
  uint32_t recover_fs = 1;  ///< bytes in flight when recovery began

  // Undo.
  Timeout timeout = Timeout::kReal;
  bool undo_open = false;   ///< the windows below may still be restored
  bool undo_sent = false;   ///< something was sent again
  uint32_t undo_bytes = 0;  ///< sent again and not reported as duplicate
  Seq32 undo_from;          ///< snd_una when the episode began
  Seq32 undo_until;         ///< after the episode: reports count up to here
  uint32_t undo_ts = 0;     ///< timestamp of the first retransmission
  uint32_t undo_stamp = 0;  ///< when that was
  uint32_t undo_cwnd = 0;
  uint32_t undo_ssthresh = 0;

  uint32_t refreshed = 0;  ///< when Tcp::refresh_times() last looked, Tcp::stamp()

  void empty_lists() { fresh = again = lost = {}; }
  /// Forgets what SACK said.
  void forget_blocks() {
    for (SackRun& run : runs) run = {};
    sacked_records = 0;
  }
};
static_assert(sizeof(LossState) == 192);

/// What one acknowledgment told; filled as it is taken in.
struct AckNews {
  Instant now;
  uint32_t advanced = 0;     ///< bytes that snd_una moved by
  uint32_t ts_ecr = 0;
  uint32_t marked = 0;  ///< bytes that met congestion, by ECN; UINT32_MAX: some
  bool has_ecr = false;
  bool duplicate = false;    ///< RFC 5681 2
  bool bare = false;         ///< the segment carried no data
  bool blocks = false;       ///< it had SACK blocks
  bool sacked = false;       ///< something was newly selectively acknowledged
  bool sent_again = false;   ///< something was cumulatively acknowledged that this recovery had sent again
  bool original = false;     ///< something was delivered that had been sent once, before recovery began
  bool dsack = false;        ///< the peer reports a duplicate (RFC 2883), [dsack_block.left, dsack_block.right)
  SackBlock dsack_block;
  int64_t sack_rtt_ns = -1;  ///< of what was newly selectively acknowledged and sent once, the longest; -1 = none
  bool measured = false;     ///< the cumulative acknowledgment measured a round trip
  RateNews rate;
};

}  // namespace millrace::tcp
