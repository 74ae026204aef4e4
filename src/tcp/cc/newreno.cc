// NewReno: RFC 5681 3.1 and 3.2, RFC 6582; counting bytes as in RFC 3465 with L = 2.
#include <algorithm>

#include "base/planted.h"
#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {
namespace {

constexpr uint32_t kLargestWindow = 1u << 30;

void on_ack(Window w, const AckEvent& e) {
  if (!e.limited || w.cwnd >= kLargestWindow) return;  // RFC 7661: no growth that was not used
  if (w.cwnd < w.ssthresh) {
    w.cwnd += std::min(e.acked, 2 * w.mss);
    return;
  }
  w.ack_bytes += e.acked;
  if (w.ack_bytes < w.cwnd) return;
  w.ack_bytes -= w.cwnd;
  w.cwnd += w.mss;
}

uint32_t half_of(const LossEvent& e, uint32_t mss) { return std::max(e.flight / 2, 2 * mss); }  // RFC 5681 (4)

void on_loss(Window w, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  w.ssthresh = half_of(e, w.mss);
  w.cwnd = w.ssthresh;
  w.ack_bytes = 0;
}

void on_timeout(Window w, const LossEvent& e) {
  if (MR_PLANTED(cwnd_not_reduced)) return;
  w.ssthresh = half_of(e, w.mss);
  w.cwnd = w.mss;
  w.ack_bytes = 0;
}

}  // namespace

const Operations& newreno() {
  static constexpr Operations kOperations{"newreno", on_ack, on_loss, on_timeout};
  return kOperations;
}

}  // namespace millrace::tcp::cc
