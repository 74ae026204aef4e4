// What scripts of loss, recovery and exhausted memory begin with.
#pragma once

#include "vocabulary.h"

namespace millrace::script {

/// A server with a measured round trip of `rtt_ms` and ten full segments in flight, from edge(0) on, whose first
/// acknowledgment is due now; `more` wait behind them.
struct Flight {
  Script& s;
  Handle c;
  Flight(Script& script, int64_t rtt_ms, uint32_t more = 0) : s(script), c(script.server()) {
    s.write(c, 2 * s.full());
    s.expect_data(1, edge(0));
    s.advance(rtt_ms);
    s.in(ACK);
    s.write(c, (10 + more) * s.full());
    s.expect_data(edge(0), edge(10));
    s.expect_nothing();
    s.advance(rtt_ms);
  }
  [[nodiscard]] uint32_t edge(uint32_t n) const { return (2 + n) * s.full() + 1; }
  /// The peer holds segments [from, to) beyond the hole at `hole`.
  void sacked(uint32_t hole, uint32_t from, uint32_t to) { s.in(ACK, ack(edge(hole)), sack({{edge(from), edge(to)}})); }
};

/// A server with ten full segments in flight, the first of them at 1 and without a measured round trip; `more` wait
/// behind them.
inline Handle ten_in_flight(Script& s, uint32_t more = 0) {
  const Handle c = s.server();
  s.write(c, (10 + more) * s.full());
  s.expect_data(1, 10 * s.full() + 1);
  return c;
}

/// A worker that a single writer can take all blocks of.
inline Options few_blocks() {
  Options o;
  o.block_bytes = size_t{8} << 20;
  return o;
}
/// A server whose send buffer is larger than that.
inline Handle greedy_server(Script& s) {
  SocketOptions large;
  large.send_buffer = 1u << 30;
  return s.server(large);
}

}  // namespace millrace::script
