// What controllers that reduce and recover as Reno does share: undo, restart after idle time, the end of recovery.
#pragma once

#include <algorithm>

#include "tcp/cc/controller.h"

namespace millrace::tcp::cc::reno {

/// RFC 4015 2 step (RESPEND): both windows go back to what they were.
inline void on_undo(Control c, const UndoEvent& e) {
  c.cwnd = std::max(c.cwnd, e.cwnd);
  c.ssthresh = std::max(c.ssthresh, e.ssthresh);
}

/// RFC 5681 4.1; ssthresh remembers what the path bore (RFC 2861 3.1).
inline void on_restart(Control c, const RestartEvent& e) {
  c.ssthresh = std::max(c.ssthresh, c.cwnd / 4 * 3);
  c.cwnd = std::min(c.cwnd, std::max(e.initial_window, c.mss));
  c.ack_bytes = 0;
}

/// RFC 6582 3.2 step 3: the window is what the loss left of it.
inline void on_recovered(Control c, const RecoveredEvent&) { c.cwnd = std::max(c.ssthresh, 2 * c.mss); }

}  // namespace millrace::tcp::cc::reno
