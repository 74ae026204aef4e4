// NewReno: RFC 5681 3.1 and 3.2, RFC 6582; counting bytes as in RFC 3465 with L = 2.
#include <algorithm>

#include "base/planted.h"
#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {
namespace reno {
namespace {

void on_ack(Control c, const AckEvent& e) {
  if (c.cwnd >= kLargestWindow) return;
  if (c.cwnd < c.ssthresh) {
    c.cwnd += std::min(e.acked, 2 * c.mss);
    return;
  }
  c.ack_bytes += e.acked;
  if (c.ack_bytes < c.cwnd) return;
  c.ack_bytes -= c.cwnd;
  c.cwnd += c.mss;
}

uint32_t half_of(const LossEvent& e, uint32_t mss) { return std::max(e.flight / 2, 2 * mss); }  // RFC 5681 (4)

void on_loss(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  c.ssthresh = half_of(e, c.mss);
  c.cwnd = c.ssthresh;
  c.ack_bytes = 0;
}

void on_timeout(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  c.ssthresh = half_of(e, c.mss);
  c.cwnd = c.mss;
  c.ack_bytes = 0;
}

// RFC 4015 2 step (RESPEND): both windows go back to what they were.
void on_undo(Control c, const UndoEvent& e) {
  c.cwnd = std::max(c.cwnd, e.cwnd);
  c.ssthresh = std::max(c.ssthresh, e.ssthresh);
}

// RFC 5681 4.1; ssthresh remembers what the path bore (RFC 2861 3.1).
void on_restart(Control c, const RestartEvent& e) {
  c.ssthresh = std::max(c.ssthresh, c.cwnd / 4 * 3);
  c.cwnd = std::min(c.cwnd, std::max(e.initial_window, c.mss));
  c.ack_bytes = 0;
}

// RFC 6582 3.2 step 3: the window is what the loss left of it.
void on_recovered(Control c, const RecoveredEvent&) { c.cwnd = std::max(c.ssthresh, 2 * c.mss); }

}  // namespace
}  // namespace reno

constexpr Operations newreno{
    .name = "newreno",
    .start = ignore<StartEvent>,
    .ack = reno::on_ack,
    .loss = reno::on_loss,
    .timeout = reno::on_timeout,
    .congested = reno::on_loss,  // RFC 3168 6.1.2: as for a lost segment
    .undo = reno::on_undo,
    .restart = reno::on_restart,
    .recovered = reno::on_recovered,
};

}  // namespace millrace::tcp::cc
