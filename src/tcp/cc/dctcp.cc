// DCTCP (RFC 8257): as NewReno, but a window with marks shrinks by half of the share of marked bytes, as measured over
// the last windows. Only for paths whose routers mark at a shallow queue, and with receivers that echo each mark once.
#include <algorithm>

#include "tcp/cc/reno.h"

namespace millrace::tcp::cc {
namespace dctcp_rules {
namespace {

constexpr uint32_t kOne = 1 << 20;  // alpha = 1; shares are in 1/2^20
constexpr int kGainShift = 4;       // g = 1/16 (RFC 8257 4.2)

struct State {
  uint64_t acked;
  uint64_t marked;
  Seq32 window_end;
  uint32_t alpha;
};

// RFC 8257 3.3: alpha begins at 1, so that the first mark halves the window.
void on_start(Control c, const StartEvent&) { c.as<State>() = {.alpha = kOne}; }

void on_ack(Control c, const AckEvent& e) {
  State& s = c.as<State>();
  if (s.acked == 0) s.window_end = e.snd_nxt;
  s.acked += e.acked;
  s.marked += e.marked;
  if (e.snd_una >= s.window_end && s.acked > e.acked) {  // RFC 8257 3.3 steps 3 to 8
    const auto share = static_cast<uint32_t>(s.marked * kOne / s.acked);
    s.alpha = s.alpha - std::min(s.alpha, std::max(s.alpha >> kGainShift, 1u)) + (share >> kGainShift);
    s.alpha = std::min(s.alpha, kOne);
    s.acked = s.marked = 0;
  }
  if (e.limited) newreno.ack(c, e);
}

// RFC 8257 3.3 step 9: cwnd * (1 - alpha / 2).
void on_congested(Control c, const LossEvent&) {
  const uint64_t less = uint64_t{c.cwnd} * c.as<State>().alpha / (2 * kOne);
  c.cwnd = std::max(c.cwnd - static_cast<uint32_t>(less), 2 * c.mss);
  c.ssthresh = c.cwnd;
  c.ack_bytes = 0;
}

void on_loss(Control c, const LossEvent& e) { newreno.loss(c, e); }  // RFC 8257 3.5
void on_timeout(Control c, const LossEvent& e) { newreno.timeout(c, e); }

}  // namespace
}  // namespace dctcp_rules

constexpr Operations dctcp{
    .name = "dctcp",
    .start = dctcp_rules::on_start,
    .ack = dctcp_rules::on_ack,
    .loss = dctcp_rules::on_loss,
    .timeout = dctcp_rules::on_timeout,
    .congested = dctcp_rules::on_congested,
    .undo = reno::on_undo,
    .restart = reno::on_restart,
    .recovered = reno::on_recovered,
    .wants = kWantsEveryAck | kWantsEcn | kWantsExactEcho,
};

}  // namespace millrace::tcp::cc
