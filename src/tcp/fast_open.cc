// Fast open (RFC 7413 4.2, 5.1): a connection whose SYN brought a cookie exists at once, in SYN-RECEIVED. Its SYN is
// acknowledged and its data delivered; what it sends in return does not wait for the handshake's end. The SYN-ACK
// stands outside of the sequence numbers that wait for an acknowledgment: snd_una is behind it from the beginning, and
// the retransmission timer is the SYN-ACK's until it is acknowledged.
#include <algorithm>

#include "tcp/bare.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

// How many such connections a listener may have that are not acknowledged yet; 0: it does not do it.
uint32_t Tcp::fast_open_most(const Listener& l) const {
  if ((settings_.fastopen & kFastOpenServer) == 0) return 0;
  if (l.options.fast_open_queue != 0) return l.options.fast_open_queue;
  return (settings_.fastopen & kFastOpenAllListeners) != 0 ? l.backlog : 0;
}

// Its key, or the one before.
base::SipKey Tcp::fast_open_key(const Listener& l, bool previous, Instant now) {
  const auto& own = previous ? l.options.fast_open_old_key : l.options.fast_open_key;
  if ((l.options.fast_open_key[0] | l.options.fast_open_key[1]) != 0) return {own[0], own[1]};
  const auto epoch = static_cast<uint64_t>(now.ns() / kFastOpenKeyLife.ns());
  return fast_open_keys_.at(previous && epoch > 0 ? epoch - 1 : epoch);
}

// RFC 7413 4.2.2: whether the SYN opens its connection now, or (in `h`) its SYN-ACK must bring a cookie.
bool Tcp::judge_fast_open(const Listener& l, const Segment& s, const wire::TcpOptions& o, HalfOpen& h, Instant now) {
  const uint32_t most = fast_open_most(l);
  if (most == 0) return false;
  const bool bare = s.length > 0 && (settings_.fastopen & kFastOpenServerNoCookie) != 0;
  if (!o.has_fast_open && !bare) return false;
  if (l.fast_pending >= most) {  // RFC 7413 5.1: the limit of what forged SYNs can cost
    counters_.add(Counter::kFastOpenFull);
    return false;
  }
  if (bare) return true;
  const auto ask = [&] {
    h.flags |= kMiniFastOpen;
    if (o.fast_open_experimental) h.flags |= kMiniFastOpenExperimental;
  };
  if (o.fast_open_length == 0) {
    ask();
    return false;
  }
  FastOpenCookie brought = FastOpenCookie::of(o);
  brought.experimental = false;
  if (brought == fast_open_cookie(fast_open_key(l, false, now), s.remote, s.local)) return true;
  ask();  // a new one, whether this one is an old key's or nobody's
  if (brought == fast_open_cookie(fast_open_key(l, true, now), s.remote, s.local)) return true;
  counters_.add(Counter::kFastOpenRefused);
  return false;
}

// The option of a SYN-ACK that brings a cookie.
void Tcp::offer_cookie(const Listener& l, const Tuple& t, uint8_t mini_flags, wire::TcpOptions& o, Instant now) {
  if ((mini_flags & kMiniFastOpen) == 0) return;
  FastOpenCookie cookie = fast_open_cookie(fast_open_key(l, false, now), t.remote, t.local);
  cookie.experimental = (mini_flags & kMiniFastOpenExperimental) != 0;
  cookie.put_into(o);
}

void Tcp::open_early(uint32_t slot, const HalfOpen& h, Segment& s, Instant now) {
  const uint32_t index = new_passive_conn(h, {s.local, s.remote, s.local_port, s.remote_port}, Ref(), s);
  if (index == 0) return;
  Listener& listener = listeners_[slot];
  Conn& c = conns_[index];
  RareOptions& own = rare_.of(index);
  own.fast_listener = slot + 1;
  own.fast_flags = h.flags;
  ++listener.fast_pending;
  start_controller(index, controller_row(listener.options), now);
  set_state(index, State::kSynReceived);
  if (settings_.flow_counters != 0) begin_counting(index, c.snd_una, now);
  counters_.add(Counter::kFastOpenIn);
  announce_passive_conn(index, listener, now);
  c.tx_flags |= kTxSynQueued;
  mark_dirty(index);
  // The SYN is consumed; its data follows. A FIN in the same segment is left for the peer to send again.
  s.seq += 1;
  s.flags &= static_cast<uint8_t>(~(kSyn | kFin));
  cut_at_window(c, s);
  process_text(index, s, now);
}

// It was acknowledged, or is given up: no longer one of those that its listener may have.
void Tcp::leave_fast_open(uint32_t index) {
  RareOptions& own = rare_.of(index);
  if (own.fast_listener == 0) return;
  Listener& listener = listeners_[own.fast_listener - 1];
  MR_ASSERT(listener.fast_pending > 0);
  --listener.fast_pending;
  own.fast_listener = 0;
}

// The SYN-ACK was acknowledged: what was sent behind it has the timer to itself from now on.
void Tcp::early_acknowledged(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  leave_fast_open(index);
  if (c.retries > 0) {
    c.rto_us = kRtoAfterLostSyn;  // RFC 6298 5.7
    c.cwnd = c.mss;               // RFC 5681 3.1
  } else if (c.record_head == 0) {
    take_rtt_sample(c, age_ns(c.record_tail, now));
  }
  c.retries = c.backoff = 0;
  c.snd_wl2 = c.snd_una;
  stop_timer(c);
  if (c.snd_nxt != c.snd_una) set_rto(index, now);
}

}  // namespace millrace::tcp
