// What one connection has carried since it is counted (flow_counts.cc), in a SideTable: those of the setting
// `flow_counters`, and those of which TCP_INFO was asked. RFC 4898 names such counts; TCP_INFO shows them as Linux
// does.
#pragma once

#include <cstdint>

#include "base/seq32.h"

namespace millrace::tcp {

struct FlowCounts {
  uint32_t gen = 0;
  uint32_t segments_in = 0;  ///< as the peer cut them, whatever a device merged
  uint32_t segments_out = 0;
  uint32_t data_segments_in = 0;
  uint32_t data_segments_out = 0;
  uint32_t out_of_order = 0;  ///< segments
  uint32_t dsacks = 0;        ///< duplicates that the peer reported
  uint32_t data_sent_ms = 0;  ///< when data last went out, Tcp's clock of milliseconds
  uint64_t bytes_acked = 0;
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;  ///< payload, what was sent again included
  uint64_t bytes_again = 0;
  int64_t busy_ns = 0;     ///< with data queued or in flight; of that:
  int64_t window_ns = 0;   ///< held back by the peer's window
  int64_t buffer_ns = 0;   ///< a writer waited for the send buffer
  int64_t settled_ns = 0;  ///< all is counted up to here, and to:
  base::Seq32 una;
  base::Seq32 nxt;
};

}  // namespace millrace::tcp
