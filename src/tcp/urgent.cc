// Urgent data (RFC 9293 3.8.5 with the pointer of RFC 6093: to the octet behind it). It stays in the stream; programs
// hear where it ends, and may say so of their own. Few connections use it, so that its state lies in a small slab of
// its own, found by Conn::link; while there is any, kOptUrgent keeps the connection off the short paths.
#include <algorithm>

#include "tcp/tcp.h"
#include "wire/bytes.h"

namespace millrace::tcp {

Urgent* Tcp::obtain_urgent(uint32_t index) {
  Conn& c = conns_[index];
  if ((c.options & kOptUrgent) == 0) {
    const uint32_t at = urgents_.allocate();
    if (at == 0) {
      counters_.add(Counter::kUrgentIgnored);
      return nullptr;
    }
    c.link = at;
    c.options |= kOptUrgent;
  }
  return &urgents_[c.link];
}

void Tcp::forget_urgent(Conn& c) {
  if ((c.options & kOptUrgent) == 0) return;
  urgents_.release(c.link);
  c.link = 0;
  c.options &= static_cast<uint8_t>(~kOptUrgent);
}

// Where the program reads next.
Seq32 Tcp::read_position(const Conn& c) {
  return c.rcv_nxt - c.rcv_unread - ((c.rx_flags & kRxFinSeen) != 0 ? 1u : 0u);
}

// What is behind both ends is forgotten.
void Tcp::settle_urgent(Conn& c) {
  if ((c.options & kOptUrgent) == 0) return;
  Urgent& u = urgents_[c.link];
  if (u.heard && u.rcv_up <= read_position(c)) u.heard = false;
  if (u.said && u.snd_up <= c.snd_una) u.said = false;
  if (!u.heard && !u.said) forget_urgent(c);
}

// RFC 9293 3.10.7.4 sixth. MUST-32: told when there was none, and whenever the pointer moves on.
void Tcp::process_urgent(uint32_t index, const Segment& s) {
  Conn& c = conns_[index];
  settle_urgent(c);
  const bool open = c.state == State::kEstablished || c.state == State::kFinWait1 || c.state == State::kFinWait2;
  if (!s.has(kUrg) || !open) return;
  const Seq32 end = s.seq + wire::load_be16(s.options - 2);
  if (end <= read_position(c)) return;
  Urgent* u = obtain_urgent(index);
  if (u == nullptr || (u->heard && end <= u->rcv_up)) return;
  u->heard = true;
  u->rcv_up = end;
  counters_.add(Counter::kUrgentIn);
  if (c.sock != 0) effects_.push_back({c.sock, millrace::kUrgent, nullptr, {}, false});
}

uint32_t Tcp::urgent_left(uint32_t index) {
  Conn& c = conns_[index];
  settle_urgent(c);
  if ((c.options & kOptUrgent) == 0 || !urgents_[c.link].heard) return 0;
  return static_cast<uint32_t>(urgents_[c.link].rcv_up - read_position(c));
}

void Tcp::end_urgent_here(uint32_t index) {
  Conn& c = conns_[index];
  Urgent* u = obtain_urgent(index);
  MR_ASSERT(u != nullptr);
  const bool opening = c.state == State::kSynSent || c.state == State::kSynReceived;
  u->said = true;
  u->snd_up = c.snd_una + c.snd_queued + (opening ? 1u : 0u);
}

// The pointer of a segment that starts at `seq`: 0 if no urgent data ends behind it. Farther ends than the field can
// name come with later segments.
uint16_t Tcp::urgent_pointer(const Conn& c, Seq32 seq) const {
  const Urgent& u = urgents_[c.link];
  if (!u.said || u.snd_up <= seq) return 0;
  return static_cast<uint16_t>(std::min<uint32_t>(static_cast<uint32_t>(u.snd_up - seq), 65'535));
}

}  // namespace millrace::tcp
