// Counters of TCP. Every segment that is dropped is counted under a name that says why. Tcp::check() holds the ledger:
// segments_in = fast_path + slow_path + merged + out_of_order + resets_in + the drops from kDropNoConnection to the
// last.
#pragma once

#include "base/counters.h"

namespace millrace::tcp {

#define MILLRACE_TCP_COUNTERS(X)                                                                                       \
  X(kSegmentsIn, "tcp.segments_in", "segments received")                                                               \
  X(kSegmentsOut, "tcp.segments_out", "segments sent; one that the device cuts counts once")                           \
  X(kBytesIn, "tcp.bytes_in", "bytes received in order")                                                               \
  X(kBytesOut, "tcp.bytes_out", "bytes sent for the first time")                                                       \
  X(kFastPath, "tcp.fast_path", "segments that took the fast path")                                                    \
  X(kSlowPath, "tcp.slow_path", "segments taken in by the steps of RFC 9293 3.10.7")                                   \
  X(kMerged, "tcp.merged", "segments taken in as part of the one before them in their burst")                          \
  X(kRetransmits, "tcp.retransmits", "segments sent again")                                                            \
  X(kRtos, "tcp.rtos", "retransmission timeouts")                                                                      \
  X(kUnanswered, "tcp.unanswered", "times that a segment was sent again tcp.retries1 times in vain")                   \
  X(kFastRetransmits, "tcp.fast_retransmits", "fast recoveries entered")                                               \
  X(kRackMarks, "tcp.rack_marks", "segments that RACK found lost (RFC 8985)")                                          \
  X(kPaced, "tcp.paced", "times that the pace held data back")                                                         \
  X(kTailProbes, "tcp.tail_probes", "tail loss probes (RFC 8985)")                                                     \
  X(kProbesMended, "tcp.tail_probes_mended", "losses that a tail loss probe mended")                                   \
  X(kRecoveriesUndone, "tcp.recoveries_undone", "recoveries taken back: nothing was lost")                             \
  X(kSpuriousTimeouts, "tcp.spurious_timeouts", "timeouts that F-RTO found spurious (RFC 5682)")                       \
  X(kPathMtu, "tcp.path_mtu", "connections whose segments shrank to the path MTU")                                     \
  X(kBlackHoles, "tcp.mtu_black_holes", "times that segments shrank since large ones vanished (RFC 4821)")             \
  X(kMtuProbes, "tcp.mtu_probes", "segments larger than the path MTU as known, to learn if they arrive")               \
  X(kMtuProbesLost, "tcp.mtu_probes_lost", "of those, lost")                                                           \
  X(kPersistProbes, "tcp.persist_probes", "zero-window probes sent")                                                   \
  X(kKeepaliveProbes, "tcp.keepalive_probes", "keepalive probes sent")                                                 \
  X(kDelayedAcks, "tcp.delayed_acks", "acknowledgments sent by the delay timer")                                       \
  X(kDuplicateAcks, "tcp.duplicate_acks", "duplicate acknowledgments received")                                        \
  X(kOutOfOrder, "tcp.out_of_order", "segments kept for reassembly")                                                   \
  X(kSackBlocksIn, "tcp.sack_blocks_in", "SACK blocks received")                                                       \
  X(kSackSkipped, "tcp.sack_skipped", "SACK blocks not taken to their end: over the limits of work and records")       \
  X(kDsacksIn, "tcp.dsacks_in", "duplicates that the peer reported (RFC 2883)")                                        \
  X(kActiveOpens, "tcp.active_opens", "connections opened from here")                                                  \
  X(kPassiveOpens, "tcp.passive_opens", "connections accepted")                                                        \
  X(kResetsIn, "tcp.resets_in", "valid resets received")                                                               \
  X(kResetsOut, "tcp.resets_out", "resets sent")                                                                       \
  X(kChallengeAcks, "tcp.challenge_acks", "challenge acknowledgments sent (RFC 5961)")                                 \
  X(kTimedOut, "tcp.timed_out", "connections given up after retransmissions or probes")                                \
  X(kSynAcksOut, "tcp.syn_acks_out", "SYN-ACKs sent")                                                                  \
  X(kTimeWaits, "tcp.time_waits", "connections that entered TIME-WAIT")                                                \
  X(kTimeWaitRecycled, "tcp.time_wait_recycled", "TIME-WAIT entries replaced by a new SYN")                            \
  X(kTimeWaitEvicted, "tcp.time_wait_evicted", "TIME-WAIT entries that gave way to a newer one in a full table")       \
  X(kUrgentIn, "tcp.urgent_in", "times that the peer called data urgent or more of it")                                \
  X(kUrgentIgnored, "tcp.urgent_ignored", "times that urgent data was not noted: too many connections had some")       \
  X(kMarksIn, "tcp.marks_in", "segments of data that a router marked for congestion (CE)")                             \
  X(kEcnReductions, "tcp.ecn_reductions", "windows reduced because the peer echoed marks (ECE)")                       \
  X(kBadOptions, "tcp.bad_options", "segments whose options were malformed: read up to the fault, otherwise taken")    \
  X(kHalfOpenEvicted, "tcp.half_open_evicted", "half-open entries that gave way to a newer SYN in a full table")       \
  X(kHalfOpenTimedOut, "tcp.half_open_timed_out", "half-open entries whose last SYN-ACK was not answered")             \
  X(kCookiesSent, "tcp.syncookies_sent", "SYN-ACKs that were SYN cookies")                                             \
  X(kCookiesAccepted, "tcp.syncookies_accepted", "connections accepted by a SYN cookie")                               \
  X(kCookiesFailed, "tcp.syncookies_failed", "ACKs for no connection that were no SYN cookie's answer")                \
  X(kFastOpenIn, "tcp.fastopen_in", "connections that data on a SYN opened (RFC 7413)")                                \
  X(kFastOpenOut, "tcp.fastopen_out", "SYNs sent with data (RFC 7413)")                                                \
  X(kFastOpenTaken, "tcp.fastopen_taken", "of those, whose data was acknowledged with them")                           \
  X(kFastOpenPaused, "tcp.fastopen_paused", "times that timeouts stopped fast open as a client for a while")           \
  X(kFastOpenRefused, "tcp.fastopen_refused", "fast open cookies that were not ours")                                  \
  X(kFastOpenFull, "tcp.fastopen_full", "fast opens that became handshakes: their listener has too many pending")      \
  X(kNoBuffers, "tcp.no_buffers", "transmissions put off for want of a packet or block")                               \
  X(kDropHeader, "tcp.drop.bad_header", "segments with a malformed header")                                            \
  X(kDropChecksum, "tcp.drop.bad_checksum", "segments with a wrong checksum")                                          \
  X(kDropNoConnection, "tcp.drop.no_connection", "segments for no connection or listener")                             \
  X(kDropNotUnicast, "tcp.drop.not_unicast", "segments from or to a group address")                                    \
  X(kDropAddress, "tcp.drop.bad_address", "segments between impossible addresses")                                     \
  X(kDropWindow, "tcp.drop.outside_window", "segments outside the receive window")                                     \
  X(kDropPaws, "tcp.drop.old_timestamp", "segments with an old timestamp (PAWS)")                                      \
  X(kDropAck, "tcp.drop.bad_ack", "segments with an unacceptable acknowledgment")                                      \
  X(kDropNoAck, "tcp.drop.no_ack", "segments without ACK where one is required")                                       \
  X(kDropNotSyn, "tcp.drop.not_syn", "segments without SYN before the handshake's answer")                             \
  X(kDropSyn, "tcp.drop.syn_in_window", "SYNs on a synchronized connection")                                           \
  X(kDropReset, "tcp.drop.bad_reset", "resets whose sequence number did not fit")                                      \
  X(kDropDuplicate, "tcp.drop.duplicate", "segments with nothing new")                                                 \
  X(kDropDeferred, "tcp.drop.deferred", "ends of handshakes without the data that their listener waits for")           \
  X(kDropClosed, "tcp.drop.after_close", "data that arrived after the program closed")                                 \
  X(kDropBacklog, "tcp.drop.backlog_full", "handshakes refused by a full backlog")                                     \
  X(kDropFlood, "tcp.drop.syn_flood", "SYNs beyond tcp.syncookies_per_second")                                         \
  X(kDropTableFull, "tcp.drop.table_full", "handshakes refused by a full connection table")                            \
  X(kDropReassembly, "tcp.drop.reassembly_full", "out-of-order segments over the limit")                               \
  X(kDropScarce, "tcp.drop.frames_scarce", "data behind unread data while frames are scarce: the peer sends it again") \
  X(kDropTimeWait, "tcp.drop.time_wait", "segments for a connection in TIME-WAIT")

MILLRACE_COUNTERS(Counter, kCounters, MILLRACE_TCP_COUNTERS)

}  // namespace millrace::tcp
