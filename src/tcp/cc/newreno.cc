// NewReno: RFC 5681 3.1 and 3.2, RFC 6582; counting bytes as in RFC 3465 with L = 2.
#include <algorithm>

#include "base/planted.h"
#include "tcp/cc/reno.h"

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

// What limited transmit sent beyond cwnd does not count (RFC 5681 3.2 step 2).
LossEvent within_window(const LossEvent& e, uint32_t cwnd) { return {e.now, std::min(e.flight, cwnd)}; }

void on_loss(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  c.ssthresh = half_of(within_window(e, c.cwnd), c.mss);
  c.cwnd = c.ssthresh;
  c.ack_bytes = 0;
}

void on_timeout(Control c, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  c.ssthresh = half_of(e, c.mss);
  c.cwnd = c.mss;
  c.ack_bytes = 0;
}

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
