// Pacing: how fast a connection sends what its windows allow. The rate is the controller's, or follows from window and
// round trip until the controller knows better or where the setting `pacing` asks for it, but never more than the
// program allows (SocketOptions::max_pacing_rate). Data goes in quanta of about a millisecond at that rate, as one
// frame where the device segments; then the connection waits on the timer wheel, without spinning.
//
// After a pause, or where the loop came late, up to a millisecond's worth is made good at once. Acknowledgments, SYN,
// FIN without data, tail loss probes and the initial window do not wait.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr int64_t kCreditNs = 1'000'000;
constexpr uint32_t kLeastSegments = 2;     // of a quantum
constexpr uint32_t kMostQuantum = 65'536;  // bytes
constexpr uint64_t kStartGain = 277;       // 4 ln 2, percent: doubles with each round trip (draft-ietf-ccwg-bbr 5.6.2)
constexpr uint32_t kShortTripUs = 2'000;   // in which nothing is gained by sending less at a time
constexpr uint64_t kSlowStartGain = 200;
constexpr uint64_t kAvoidanceGain = 120;

}  // namespace

// Bytes a second; 0 = as fast as the windows let.
uint64_t Tcp::pacing_rate(uint32_t index) const {
  const Conn& c = conns_[index];
  const RateState& s = *rate_.find(index);
  uint64_t bytes_per_second = s.model.rate;
  const bool models = owns_window(index);
  if (bytes_per_second == 0 && (models || (settings_.pacing != 0 && c.srtt_us != 0))) {
    const uint64_t gain = models ? kStartGain : c.cwnd < c.ssthresh / 2 ? kSlowStartGain : kAvoidanceGain;
    const uint64_t srtt_us = c.srtt_us != 0 ? c.srtt_us : 1'000;
    bytes_per_second = c.cwnd * gain * 10'000 / srtt_us;
  }
  if (s.most != 0 && (bytes_per_second == 0 || bytes_per_second > s.most)) return s.most;
  return bytes_per_second;
}

// draft-ietf-ccwg-bbr 5.6.3: what a millisecond carries, at least two segments; whole segments.
uint32_t Tcp::send_quantum(const Conn& c, uint64_t bytes_per_second) {
  const uint64_t bytes = std::min<uint64_t>(bytes_per_second / 1'000, kMostQuantum);
  return static_cast<uint32_t>(std::max<uint64_t>(bytes / c.mss, kLeastSegments)) * c.mss;
}

// What would go to a device in one piece were the connection paced: a millisecond of what its window carries in a round
// trip, and more where that is short; never more than half the window, so that acknowledgments come evenly.
uint32_t Tcp::unpaced_quantum(const Conn& c) {
  uint64_t bytes_per_second = uint64_t{UINT32_MAX} * 1'000;
  if (c.srtt_us > kShortTripUs) {
    const uint64_t gain = c.cwnd < c.ssthresh / 2 ? kSlowStartGain : kAvoidanceGain;
    bytes_per_second = std::max(c.cwnd, flight(c)) * gain * 10'000 / c.srtt_us;
  }
  return std::min(send_quantum(c, bytes_per_second), std::max(c.cwnd / 2 / c.mss, 1u) * c.mss);
}

// What may be sent now, and in one frame.
Tcp::Allowance Tcp::pace_allowance(uint32_t index, Instant now) {
  const uint64_t bytes_per_second = pacing_rate(index);
  if (bytes_per_second == 0) return {};
  const RateState& s = rate(index);
  if (s.model.delivered <= 1 && s.most == 0) return {};  // RFC 6928: nothing is known of the path but the SYN's answer
  if (now.ns() < s.next_send_ns) return {.bytes = 0, .frame = 0};
  const uint32_t quantum = send_quantum(conns_[index], bytes_per_second);
  const auto late_ns = static_cast<uint64_t>(std::min(now.ns() - s.next_send_ns, kCreditNs));
  const uint64_t owed = std::min(bytes_per_second, uint64_t{1} << 34) * late_ns / kNsPerSecond;
  return {.bytes = static_cast<uint32_t>(quantum + owed), .frame = quantum};
}

// draft-ietf-ccwg-bbr 5.6.2: when the next may go, now that `bytes` went.
void Tcp::pace_sent(uint32_t index, uint32_t bytes, Instant now) {
  const uint64_t bytes_per_second = pacing_rate(index);
  if (bytes_per_second == 0) return;
  RateState& s = rate(index);
  if (s.model.delivered <= 1 && s.most == 0) return;
  const int64_t from = std::max(s.next_send_ns, now.ns() - kCreditNs);
  s.next_send_ns = from + static_cast<int64_t>(uint64_t{bytes} * kNsPerSecond / bytes_per_second);
}

// Something could go but for the pace.
void Tcp::pace_wait(uint32_t index, Instant now) {
  RateState& s = rate(index);
  s.waiting = true;
  counters_.add(Counter::kPaced);
  arm(index, std::max(s.next_send_ns, now.ns() + 1));
}

// The timer fired: the deadline that is left, if any.
int64_t Tcp::pace_timer(uint32_t index, Instant now) {
  RateState& s = rate(index);
  if (!s.waiting) return INT64_MAX;
  if (s.next_send_ns > now.ns()) return s.next_send_ns;
  s.waiting = false;
  mark_dirty(index);
  return INT64_MAX;
}

}  // namespace millrace::tcp
