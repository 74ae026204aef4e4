// SYNs answered without an entry (syn_cookie.h): RFC 4987 3.6, RFC 9293 3.10.7.2. A cookie costs a hash and a
// segment, and touches no table; the ACK that brings it back a hash, and only while cookies are on their way.
#include <algorithm>

#include "tcp/bare.h"
#include "tcp/tcp.h"
#include "wire/tcp_options.h"

namespace millrace::tcp {

// A listener has as many half-open entries as its backlog; all listeners share the table's.
bool Tcp::uses_cookie(const Listener& listener, bool v4) const {
  if (settings_.syncookies != 1) return settings_.syncookies == 2;
  const bool full = v4 ? half4_.used() == half4_.limit() : half6_.used() == half6_.limit();
  return full || listener.half_open >= listener.backlog;
}

void Tcp::answer_with_cookie(const Listener& listener, Segment& s, Instant now) {
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  Bare b;
  b.tuple = {s.local, s.remote, s.local_port, s.remote_port};
  const SynCookies::Made made = cookies_.make(b.tuple, s.seq, peer_mss(options, s.local.is_v4()), now);
  b.seq = made.iss;
  b.ack = s.seq + 1;
  b.flags = kSyn | kAck;
  b.syn = true;
  b.user_mss = listener.options.mss;
  b.options.has_mss = true;
  b.window = static_cast<uint16_t>(std::min(buffer_of(listener), 65'535u));
  if (options.has_timestamps && settings_.timestamps != 0) {
    SynOffer offer;
    offer.sack = options.sack_permitted && settings_.sack != 0;
    offer.ecn = grants_ecn(s, listener.options);
    if (options.has_wscale && settings_.window_scaling != 0) {
      offer.wscale = options.wscale;
      b.options.has_wscale = true;
      b.options.wscale = shift_for(listener.options);
    }
    b.options.sack_permitted = offer.sack;
    if (offer.ecn) b.flags |= kEce;
    b.options.has_timestamps = true;
    b.options.ts_val = offer.put_into(milliseconds_of(now) + made.ts_offset);
    b.options.ts_ecr = options.ts_val;
  }
  done(s);
  counters_.add(Counter::kSynAcksOut);
  counters_.add(Counter::kCookiesSent);
  send_bare(b, now);
}

// An ACK for no connection, or for the half-open entry `old`, which did not ask for it: the end of a handshake by
// cookie, perhaps. Takes the segment if so.
bool Tcp::input_cookie(Listener& listener, uint32_t slot, Ref old, Segment& s, Instant now) {
  if (s.has(kSyn)) return false;
  const Tuple t{s.local, s.remote, s.local_port, s.remote_port};
  const auto found = cookies_.check(t, s.seq - 1, s.ack - 1, now);
  if (!found) {
    counters_.add(Counter::kCookiesFailed);
    return false;
  }
  HalfOpen h;
  h.irs = s.seq - 1;
  h.iss = s.ack - 1;
  h.listener = slot;
  h.window = s.window;
  h.mss = found->mss;
  h.own_window = static_cast<uint16_t>(std::min(buffer_of(listener), 65'535u));
  if (s.has_ts && settings_.timestamps != 0) {
    const SynOffer offer = SynOffer::of(s.ts_ecr);
    h.flags |= kMiniTimestamps;
    h.ts_recent = s.ts_val;
    if (offer.sack) h.flags |= kMiniSack;
    if (offer.ecn) h.flags |= kMiniEcn;
    if (offer.wscale != SynOffer::kNoScale) {
      h.flags |= kMiniWindowScale;
      h.wscale = offer.wscale & 0xf;
      h.own_wscale = shift_for(listener.options) & 0xf;
    }
  }
  const uint32_t index = new_passive_conn(h, t, old, s);
  if (index == 0) return true;
  conns_[index].ts_offset = found->ts_offset;
  start_controller(index, controller_row(listener.options), now);
  set_state(index, State::kEstablished);
  counters_.add(Counter::kCookiesAccepted);
  announce_passive_conn(index, listener, now);
  input_conn(index, s, now);
  return true;
}

}  // namespace millrace::tcp
