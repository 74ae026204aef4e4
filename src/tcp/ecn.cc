// Explicit congestion notification: RFC 3168 6.1 as sender and receiver, RFC 8311; the exact echo of DCTCP (RFC 8257
// 3.2). The handshake's part is in input_open.cc and output.cc (send_syn),
// accurate feedback in accurate_ecn.cc.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

// What a segment of a connection with ECN adds to its header flags, and its ECN bits. Only new data is ECT: no
// retransmission (RFC 3168 6.1.5), acknowledgment (6.1.4) or window probe (6.1.6).
uint16_t Tcp::ecn_flags(uint32_t index, Seq32 seq, uint32_t length, uint8_t flags, uint8_t& traffic_class) {
  Conn& c = conns_[index];
  if (ecn(index).accurate) return accurate_flags(index, seq, length, flags, traffic_class);
  if ((flags & kSyn) != 0) return static_cast<uint8_t>((flags & kAck) != 0 ? 0 : kEce | kCwr);  // RFC 3168 6.1.1
  uint8_t more = ecn(index).echo ? kEce : 0;
  if (length == 0 || seq != c.snd_nxt) return more;
  traffic_class = kEct0;
  EcnState& e = ecn(index);
  if (e.cwr_due) {
    e.cwr_due = false;
    e.end = seq + length;  // until the peer has seen this its ECE is old
    more = static_cast<uint8_t>(more | kCwr);
  }
  return more;
}

// The receiver: marks are echoed until the sender says that it has reacted (RFC 3168 6.1.3), or one by one for DCTCP,
// where a change cuts the delayed acknowledgment short (RFC 8257 3.2).
void Tcp::take_marks(uint32_t index, const Segment& s, Instant now) {
  Conn& c = conns_[index];
  if (s.marked) counters_.add(Counter::kMarksIn);
  EcnState& e = ecn(index);
  if (e.accurate) return count_marks(index, s);
  if (s.length == 0) return;
  if ((controller(index).wants & cc::kWantsExactEcho) != 0) {
    if (s.marked == e.echo) return;
    if (c.ack_pending != 0) ack_at_once(index, c.snd_nxt, now);
    e.echo = s.marked;
    return;
  }
  if (s.has(kCwr)) e.echo = false;
  if (s.marked) e.echo = true;
}

// The sender: bytes that the acknowledgment says were marked; where it says only that something was, all of them.
uint32_t Tcp::marked_bytes(uint32_t index, const Segment& s, const AckNews& news) {
  if (ecn(index).accurate) return count_echoes(index, s, news);
  return s.has(kEce) ? UINT32_MAX : 0;
}

// The sender: at most one reduction for a window of data, and none besides that for a loss (RFC 3168 6.1.2).
void Tcp::take_echo(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  if (c.recovery >= Recovery::kFast || ecn(index).cwr_due || reduced_already(index)) return;
  EcnState& e = ecn(index);
  // RFC 3168 6.1.2, RFC 9438 4.6: with less than one segment a round trip to take away, one goes each timeout.
  e.held = c.cwnd <= c.mss && !owns_window(index) && (controller(index).wants & cc::kWantsExactEcho) == 0;
  e.holds = e.held ? static_cast<uint8_t>(std::min(e.holds + 1, 16)) : 0;
  controller(index).congested(control(index), {now, flight(c)});
  if (loss_.find(index) != nullptr) loss(index).undo_open = false;  // what was before it is not to come back
  e.reduced = true;
  e.cwr_due = !e.accurate;  // RFC 9768 3.1.5: MUST NOT
  e.end = c.snd_nxt;
  counters_.add(Counter::kEcnReductions);
}

// Whether new data waits for the timer, which is started where none runs.
bool Tcp::held_by_marks(uint32_t index, Instant now) {
  const Conn& c = conns_[index];
  if ((c.rx_flags & kRxEcn) == 0 || !ecn(index).held) return false;
  if (c.timer_kind == TimerKind::kNone) {
    set_timer(index, TimerKind::kPersist, now + microseconds(backed_off(c, ecn(index).holds - 1u)));
  }
  return true;
}

}  // namespace millrace::tcp
