// Software receive offload: segments of one connection that follow one another in a burst become one, so that TCP and
// the socket are passed once. What anybody may tell apart stays apart: see Run::join().
//
// Only within a burst: nothing waits for more, and the acknowledgment for all of it goes out in the same turn of the
// loop as without, where the connection is acknowledged once anyway.
#pragma once

#include <cstdint>

#include "pkt/packet.h"
#include "tcp/segment.h"

namespace millrace::stack {

/// Payload from which on a segment makes it worth to look for others. It takes two of them in a burst, so that small
/// requests and answers, of which a connection has one at a time, pay nothing.
inline constexpr uint32_t kMergeBytes = 512;

/// The last segment of one connection in a burst, to which others may be joined.
class Run {
 public:
  Run() = default;
  /// Begins with `s`, which must outlive it; `expected` is the sequence number that follows what came before.
  Run(tcp::Segment& s, tcp::Seq32 expected);

  [[nodiscard]] bool is_of(const tcp::Segment& s) const;
  /// What comes next in order.
  [[nodiscard]] tcp::Seq32 expected() const { return expected_; }
  /// Puts `next` of the same connection at the end and takes its packet, if nobody could tell the difference: both are
  /// data in order with no flags but ACK, PSH at the end only; without marks of congestion or options but timestamps;
  /// neither ACKs nor timestamps go back; all but the last are of one size, and no device merged them before.
  [[nodiscard]] bool join(tcp::Segment& next);

 private:
  tcp::Segment* head_ = nullptr;
  pkt::Packet* last_ = nullptr;
  uint32_t unit_ = 0;   ///< payload of each segment but the last
  bool closed_ = true;  ///< nothing may follow
  tcp::Seq32 expected_;
};

}  // namespace millrace::stack
