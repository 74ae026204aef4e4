// Resets (RFC 9293 3.5.2) and challenge ACKs (RFC 5961).
#include "tcp/bare.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

// Answers a segment that belongs to no connection. Never answers a RST.
void Tcp::send_reset_for(const Segment& s, Instant now) {
  if (s.has(kRst)) return;
  Bare b;
  b.tuple = {s.local, s.remote, s.local_port, s.remote_port};
  b.flags = kRst;
  if (s.has(kAck)) {
    b.seq = s.ack;
  } else {
    b.flags |= kAck;
    b.ack = s.end();
  }
  counters_.add(Counter::kResetsOut);
  trace_.put(0, base::TraceEvent::kTxReset, b.seq.raw());
  send_bare(b, now);
}

void Tcp::send_reset(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  Bare b;
  b.tuple = {c.local, c.remote, c.local_port, c.remote_port};
  b.seq = c.snd_nxt;
  b.ack = c.rcv_nxt;
  b.flags = kRst | kAck;
  if ((c.options & kOptTimestamps) != 0) {  // RFC 7323 3.2: may be in a RST
    b.options.has_timestamps = true;
    b.options.ts_val = milliseconds_of(now) + c.ts_offset;
    b.options.ts_ecr = c.ts_recent;
  }
  counters_.add(Counter::kResetsOut);
  trace_.put(index, base::TraceEvent::kTxReset, b.seq.raw());
  trace_.keep(index);
  send_bare(b, now);
}

// RFC 5961 7: a budget for the whole worker, so that nobody can make us a reflector.
bool Tcp::challenge_allowed(Instant now) {
  if (settings_.challenge_acks_per_second == 0) return true;
  const auto second = static_cast<uint32_t>(now.ns() / 1'000'000'000);
  if (second != challenge_second_) {
    challenge_second_ = second;
    // Not a constant, or the budget would tell an observer how many were spent on others.
    const auto budget = static_cast<uint64_t>(settings_.challenge_acks_per_second);
    challenge_left_ = static_cast<uint32_t>(budget / 2 + rng_.below(budget + 1));
  }
  if (challenge_left_ == 0) return false;
  --challenge_left_;
  return true;
}

void Tcp::challenge_ack(uint32_t index, Instant now) {
  if (!challenge_allowed(now)) return;
  counters_.add(Counter::kChallengeAcks);
  conns_[index].rx_flags |= kRxAckNow;
  mark_dirty(index);
}

}  // namespace millrace::tcp
