// Counts of single connections. What advances with the sequence numbers, and the times, is settled before anything that
// changes them: a segment in or out, and a write; so acknowledgment and delivery need no lines of their own.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

// `una`: the first byte of data that counts as acknowledged from now on.
void Tcp::begin_counting(uint32_t index, Seq32 una, Instant now) {
  Conn& c = conns_[index];
  c.counted = 1;
  FlowCounts& f = counts_.of(index);
  f.una = una;
  f.nxt = c.rcv_nxt;
  f.settled_ns = now.ns();
  f.data_sent_ms = milliseconds_of(now);
}

void Tcp::count_from_now_on(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  if (c.state == State::kSynSent || (c.state == State::kSynReceived && !opened_early(index))) return;
  if (c.counted == 0) begin_counting(index, cold(index).iss + 1, now);  // what was acknowledged before: modulo 2^32
  settle_counts(index, now);
}

void Tcp::settle_counts(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  FlowCounts& f = counts_.of(index);
  f.bytes_acked += static_cast<uint32_t>(c.snd_una - f.una);
  f.bytes_received += static_cast<uint32_t>(c.rcv_nxt - f.nxt);
  f.una = c.snd_una;
  f.nxt = c.rcv_nxt;
  const int64_t passed = now.ns() - f.settled_ns;
  f.settled_ns = now.ns();
  const uint32_t flying = flight(c);
  if (c.snd_queued == 0 && flying == 0) return;
  f.busy_ns += passed;
  const uint32_t unsent = c.snd_queued - std::min(c.snd_queued, flying);
  if (unsent == 0) {
    if ((c.tx_flags & kTxWantSpace) != 0) f.buffer_ns += passed;
  } else if (flying + std::min<uint32_t>(unsent, c.mss) > c.snd_wnd) {
    f.window_ns += passed;
  }
}

void Tcp::count_in(uint32_t index, const Segment& s, Instant now) {
  settle_counts(index, now);
  FlowCounts& f = counts_.of(index);
  const uint32_t size = std::max(1u, segment_size(*s.packet, s.length));
  const uint32_t segments = std::max(1u, (s.length + size - 1) / size);
  f.segments_in += segments;
  if (s.length > 0) f.data_segments_in += segments;
}

// `length` bytes of payload, in segments of `size`.
void Tcp::count_out(uint32_t index, uint32_t length, uint32_t size, Instant now) {
  settle_counts(index, now);
  FlowCounts& f = counts_.of(index);
  const uint32_t segments = std::max(1u, (length + size - 1) / std::max(1u, size));
  f.segments_out += segments;
  if (length == 0) return;
  f.data_segments_out += segments;
  f.bytes_sent += length;
  f.data_sent_ms = milliseconds_of(now);
}

}  // namespace millrace::tcp
