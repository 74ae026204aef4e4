// Resets (RFC 9293 3.5.2) and challenge ACKs (RFC 5961).
#include <algorithm>

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
  const RareOptions own = rare(index);
  b.traffic_class = own.traffic_class;
  b.hop_limit = own.hop_limit;
  counters_.add(Counter::kResetsOut);
  trace_.put(index, base::TraceEvent::kTxReset, b.seq.raw());
  trace_.keep(index);
  send_bare(b, now);
}

// RFC 5961 7: a budget for the whole worker beside that of each connection, so that nobody can make us a reflector.
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

// What a connection answers to segments that cannot be its peer's is limited by time, apart from all others: whoever
// forges them against one connection neither floods its peer, nor keeps a loop of answers alive between two ends that
// disagree, nor sees in another connection's answers that these were spent (the side channel of CVE-2016-5696).
bool Tcp::answer_allowed(uint32_t index, Instant now) {
  const uint32_t now_ms = milliseconds_of(now);
  const auto least_ms = static_cast<uint32_t>(settings_.challenge_interval_us / 1'000);
  const AnswerState* last = answered_.find(index);
  if (last != nullptr && now_ms - last->last_ms < least_ms) return false;
  answered_.of(index).last_ms = now_ms;
  return true;
}

// RFC 9293 3.10.7.4 first: what is not acceptable is acknowledged at once. Data just below the window is most likely a
// retransmission of the peer's, whose report (RFC 2883 4.1.1) it needs; everything else counts as stray.
void Tcp::answer_stray(uint32_t index, const Segment& s, Instant now) {
  Conn& c = conns_[index];
  const uint32_t reach = std::max(c.rcv_limit, 65'535u);
  const bool again = s.length > 0 && !s.has(kSyn) && s.seq < c.rcv_nxt && s.seq >= c.rcv_nxt - reach;
  if (!again && !answer_allowed(index, now)) return;
  if (again && s.end() <= c.rcv_nxt) duplicate_seen(index, s.seq, s.seq + s.length);
  c.rx_flags |= kRxAckNow;
  mark_dirty(index);
}

void Tcp::challenge_ack(uint32_t index, Instant now) {
  if (!answer_allowed(index, now) || !challenge_allowed(now)) return;
  counters_.add(Counter::kChallengeAcks);
  conns_[index].rx_flags |= kRxAckNow;
  mark_dirty(index);
}

}  // namespace millrace::tcp
