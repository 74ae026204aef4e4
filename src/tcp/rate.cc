// Delivery-rate samples (draft-ietf-ccwg-bbr 4.1): how much was delivered between the sending of a segment and its
// acknowledgment, over the longer of the times in which that was sent and acknowledged. Of connections that are
// `rated`.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

// draft-ietf-ccwg-bbr 4.1.2.2. The record and the pipe hold the transmission already.
void Tcp::rate_sent(uint32_t index, uint32_t record, Instant now) {
  const Conn& c = conns_[index];
  RateState& s = rate(index);
  const TxRecord& t = records_[record];
  const uint32_t in_pipe = pipe(c);
  if (in_pipe <= static_cast<uint32_t>(t.end - t.start)) s.first_sent = s.delivered_at = stamp(now);
  RateRecord& r = rate_records_[record];
  r.gen = t.gen;
  r.delivered = s.model.delivered;
  r.lost = s.model.lost;
  r.delivered_at = s.delivered_at;
  r.first_sent = s.first_sent;
  r.flight = in_pipe & INT32_MAX;
  r.app_limited = s.model.app_limited != 0 ? 1 : 0;
}

void Tcp::rate_split(uint32_t first, uint32_t second) {
  if (rate_records_[first].gen != records_[first].gen) return;
  rate_records_[second] = rate_records_[first];
  rate_records_[second].gen = records_[second].gen;
}

// draft-ietf-ccwg-bbr 4.1.2.3, UpdateRateSample(): `bytes` of a record that was neither delivered before nor is
// released yet.
void Tcp::rate_delivered(uint32_t index, uint32_t record, uint32_t bytes, AckNews& news) {
  const TxRecord& t = records_[record];
  if ((t.flags & (kRecSacked | kRecWasSacked)) != 0) return;
  RateState& s = rate(index);
  s.model.delivered += bytes;
  s.delivered_at = stamp(news.now);
  RateNews& n = news.rate;
  n.acked += bytes;
  const RateRecord& r = rate_records_[record];
  if (r.gen != t.gen) return;
  const auto later = static_cast<int32_t>(t.sent - s.first_sent);
  if (n.known && (later < 0 || (later == 0 && t.end <= n.end))) return;
  n.known = true;
  n.app_limited = r.app_limited != 0;
  n.sent_flight = r.flight;
  n.prior_delivered = r.delivered;
  n.prior_lost = r.lost;
  n.send_elapsed = t.sent - r.first_sent;
  n.ack_elapsed = s.delivered_at - r.delivered_at;
  n.end = t.end;
  // Sent twice, it is not known which of the two came (RFC 6298 3).
  n.rtt_us = t.times > 1 ? 0 : static_cast<uint32_t>(std::max<int64_t>(age_ns(t.sent, news.now) / 1'000, 1));
  s.first_sent = t.sent;
}

void Tcp::rate_lost(uint32_t index, uint32_t record, Instant now) {
  const Conn& c = conns_[index];
  RateState& s = rate(index);
  const TxRecord& t = records_[record];
  const auto bytes = static_cast<uint32_t>(t.end - t.start);
  s.model.lost += bytes;
  const cc::Operations& ops = controller(index);
  if (ops.lost == nullptr) return;
  const RateRecord& r = rate_records_[record];
  const bool known = r.gen == t.gen;
  ops.lost(control(index), {.now = now,
                            .bytes = bytes,
                            .sent_flight = known ? r.flight : 0u,
                            .lost = known ? s.model.lost - r.lost : 0u,
                            .start = t.start,
                            .end = t.end,
                            .known = known,
                            .app_limited = r.app_limited != 0,
                            .selective = (c.options & kOptSack) != 0});
}

// draft-ietf-ccwg-bbr 4.1.2.3, GenerateRateSample(), once an acknowledgment has been taken in and losses are marked.
void Tcp::rate_sample(uint32_t index, const AckNews& news) {
  const Conn& c = conns_[index];
  RateState& s = rate(index);
  cc::Model& m = s.model;
  const RateNews& n = news.rate;
  if (m.app_limited != 0 && m.delivered > m.app_limited) m.app_limited = 0;
  if (s.window_limited && c.snd_una > s.limited_until) s.window_limited = false;
  if (n.acked == 0) return;
  if (n.rtt_us != 0 && (s.min_rtt_us == 0 || n.rtt_us < s.min_rtt_us)) s.min_rtt_us = n.rtt_us;
  uint64_t bytes_per_second = 0;
  if (n.known) {
    // A shorter time than any round trip is that of a repetition whose original was delivered.
    const auto interval_ns = static_cast<uint64_t>(ns_of(std::max(n.send_elapsed, n.ack_elapsed)));
    const uint64_t delivered = std::min<uint64_t>(m.delivered - n.prior_delivered, UINT32_MAX);
    if (interval_ns > 0 && (interval_ns + static_cast<uint64_t>(ns_of(1))) / 1'000 >= s.min_rtt_us) {
      bytes_per_second = delivered * kNsPerSecond / interval_ns;
    }
  }
  if (bytes_per_second != 0 && (!n.app_limited || bytes_per_second >= s.sample)) {
    s.sample = bytes_per_second;
    s.sample_app_limited = n.app_limited;
  }
  const cc::Operations& ops = controller(index);
  if (ops.sample == nullptr) return;
  ops.sample(control(index), {.now = news.now,
                              .rate = bytes_per_second,
                              .prior_delivered = n.known ? n.prior_delivered : m.delivered - n.acked,
                              .delivered = n.known ? m.delivered - n.prior_delivered : n.acked,
                              .lost = n.known ? m.lost - n.prior_lost : 0,
                              .sent_flight = n.sent_flight,
                              .acked = n.acked,
                              .flight = pipe(c),
                              .rtt_us = n.rtt_us,
                              .srtt_us = c.srtt_us,
                              .initial_window = initial_window(c),
                              .quantum = send_quantum(c, pacing_rate(index)),
                              .app_limited = n.app_limited,
                              .window_limited = s.window_limited,
                              .recovering = c.recovery >= Recovery::kFast,
                              .selective = (c.options & kOptSack) != 0});
}

// draft-ietf-ccwg-bbr 4.1.2.4, looked at when output has done what it could: nothing changes until the program writes
// or an acknowledgment comes.
void Tcp::note_app_limited(uint32_t index) {
  const Conn& c = conns_[index];
  const uint32_t in_pipe = pipe(c);
  if (c.snd_queued > flight(c) || c.lost_bytes > 0 || in_pipe >= c.cwnd) return;
  cc::Model& m = rate(index).model;
  m.app_limited = std::max<uint64_t>(m.delivered + in_pipe, 1);
}

// The window, not the program or the pace, ended output.
void Tcp::note_window_limited(uint32_t index) {
  RateState& s = rate(index);
  s.window_limited = true;
  s.limited_until = conns_[index].snd_nxt;
}

}  // namespace millrace::tcp
