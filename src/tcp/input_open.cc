// Segments for what is not yet, or no longer, a synchronized connection: no connection at all, LISTEN, half-open,
// SYN-SENT, TIME-WAIT (RFC 9293 3.10.7.1 to 3.10.7.4).
#include <algorithm>

#include "base/planted.h"
#include "tcp/bare.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
HalfOpen& Tcp::half(Ref ref) {
  if (ref.place() == Place::kHalf4) return half4_[ref.index()];
  return half6_[ref.index()];
}

TimeWait& Tcp::wait(Ref ref) {
  if (ref.place() == Place::kWait4) return wait4_[ref.index()];
  return wait6_[ref.index()];
}

// RFC 9293 3.10.7.1 and 3.10.7.2.
void Tcp::input_none(Segment& s, Instant now) {
  // The worker's fast way in looks at no address; what Ip refuses for others is refused here (RFC 1122 3.2.1.3). No
  // group is among what it accepts (RFC 9293 MUST-57).
  if (!ip_.accepts(s.remote, s.local, s.interface)) {
    const bool unicast = !s.remote.is_multicast() && !s.local.is_multicast() && !s.remote.is_limited_broadcast() &&
                         !s.local.is_limited_broadcast() && !s.remote.is_unspecified();
    drop(s, unicast ? Counter::kDropAddress : Counter::kDropNotUnicast);
    return;
  }
  uint32_t slot = 0;
  Listener* listener = find_listener(s.local, s.local_port, slot, {s.remote, s.remote_port});
  if (s.has(kRst)) {
    drop(s, Counter::kDropNoConnection);
    return;
  }
  if (listener != nullptr && s.has(kAck) && cookies_.outstanding(now) && input_cookie(*listener, slot, Ref(), s, now)) {
    return;
  }
  if (listener == nullptr || s.has(kAck)) {
    send_reset_for(s, now);
    drop(s, Counter::kDropNoConnection);
    return;
  }
  if (!s.has(kSyn)) {
    drop(s, Counter::kDropNoConnection);
    return;
  }
  input_listen(*listener, slot, s, now);
}

// RFC 4987 3.4: a full table recycles its oldest half-open entry, or nearly so, rather than refuse a new SYN.
// False if the SYN was dropped.
bool Tcp::make_room_for_half_open(Segment& s, Instant now) {
  const bool v4 = s.local.is_v4();
  const auto age = [this](const HalfOpen& h) {  // when it was made, from when its SYN-ACK is due again
    return h.timer.deadline_ns - settings_.rto_initial_us * 1'000 * ((int64_t{2} << h.retries) - 1);
  };
  uint32_t oldest = 0;
  if (v4 && half4_.used() == half4_.limit()) oldest = oldest_of_some(half4_, rng_, age);
  if (!v4 && half6_.used() == half6_.limit()) oldest = oldest_of_some(half6_, rng_, age);
  if (oldest == 0) return true;
  if (!spend_on_flood(s, now)) return false;
  counters_.add(Counter::kHalfOpenEvicted);
  drop_half_open(Ref(v4 ? Place::kHalf4 : Place::kHalf6, oldest));
  return true;
}

// `used` is the highest sequence number of the tuple's previous connection, if it is still in TIME-WAIT.
void Tcp::input_listen(Listener& listener, uint32_t slot, Segment& s, Instant now, const Seq32* used) {
  if (listener.waiting >= listener.backlog) {
    drop(s, Counter::kDropBacklog);
    return;
  }
  const bool v4 = s.local.is_v4();
  if (uses_cookie(listener, v4)) {
    answer_with_cookie(slot, s, now);
    return;
  }
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  HalfOpen syn = read_syn(slot, s, options);
  syn.iss = initial_sequence({s.local, s.remote, s.local_port, s.remote_port}, now);
  if (used != nullptr && syn.iss <= *used) syn.iss = *used + 65'536;  // RFC 1122 4.2.2.13
  if (judge_fast_open(listener, s, options, syn, now)) {
    open_early(slot, syn, s, now);
    return;
  }
  if (!make_room_for_half_open(s, now)) return;
  const uint32_t index = v4 ? half4_.allocate() : half6_.allocate();
  MR_ASSERT(index != 0);
  const Ref ref(v4 ? Place::kHalf4 : Place::kHalf6, index);
  if (!table_.insert(s.hash, ref)) {
    v4 ? half4_.release(index) : half6_.release(index);
    drop(s, Counter::kDropTableFull);
    return;
  }
  if (v4) {
    half4_[index].set_addresses(s.local, s.remote);
  } else {
    half6_[index].set_addresses(s.local, s.remote);
  }
  HalfOpen& h = half(ref);
  syn.gen = h.gen;
  h = syn;
  ++listener.half_open;
  done(s);
  send_syn_ack(ref, now);
  wheel_.arm(ref.raw, now + microseconds(settings_.rto_initial_us));
}

// What a SYN offers, and what its SYN-ACK will; all but `iss`.
HalfOpen Tcp::read_syn(uint32_t slot, const Segment& s, const wire::TcpOptions& options) const {
  const Listener& listener = listeners_[slot];
  HalfOpen h;
  h.local_port = s.local_port;
  h.remote_port = s.remote_port;
  h.irs = s.seq;
  h.listener = slot;
  h.window = s.window;
  h.mss = peer_mss(options, s.local.is_v4());
  h.interface = static_cast<uint8_t>(s.interface);
  if (options.has_timestamps && settings_.timestamps != 0) {
    h.flags |= kMiniTimestamps;
    h.ts_recent = options.ts_val;
  }
  if (options.sack_permitted && settings_.sack != 0) h.flags |= kMiniSack;
  if (options.has_wscale && settings_.window_scaling != 0) {
    h.flags |= kMiniWindowScale;
    h.wscale = options.wscale & 0xf;
    h.own_wscale = shift_for(listener.options) & 0xf;
  }
  h.own_window = syn_window(listener);
  const EcnMode ecn = grants_ecn(s, listener.options);
  if (ecn == EcnMode::kClassic) h.flags |= kMiniEcn;
  h.accurate_ecn = ecn == EcnMode::kAccurate;
  h.ecn = s.ecn & kEcnBits;
  return h;
}

// The receive buffer that a connection of the listener begins with; a SYN's window is never scaled (RFC 7323 2.2).
uint16_t Tcp::syn_window(const Listener& listener) const {
  const uint32_t wanted = listener.options.receive_buffer;
  const uint32_t bytes = wanted != 0 ? wanted : static_cast<uint32_t>(settings_.receive_buffer);
  return static_cast<uint16_t>(std::min(bytes, 65'535u));
}

// RFC 7323 2.3: the scale holds for the connection's life, so it must allow for the largest buffer that it may get.
uint8_t Tcp::shift_for(const SocketOptions& options) const {
  if (options.receive_buffer != 0) return window_shift(options.receive_buffer);
  return window_shift(static_cast<uint64_t>(std::max(settings_.receive_buffer, settings_.receive_buffer_max)));
}

// The answer to a SYN, of what read_syn() made of it. `ts_val` counts if both sides have timestamps.
Tcp::Bare Tcp::syn_ack(const HalfOpen& h, const Tuple& t, uint32_t ts_val) const {
  Bare b;
  b.tuple = t;
  b.seq = h.iss;
  b.ack = h.irs + 1;
  b.flags = kSyn | kAck;
  if ((h.flags & kMiniEcn) != 0) b.ace = kClassicGrant;                  // RFC 3168 6.1.1
  if (h.accurate_ecn && h.retries < 2) b.ace = ace_of_codepoint(h.ecn);  // RFC 9768 3.1.1, 3.2.3.2.2
  b.options.has_mss = true;
  b.syn = true;
  b.user_mss = listeners_[h.listener].options.mss;
  b.mark(listeners_[h.listener].options);
  b.window = h.own_window;
  b.options.sack_permitted = (h.flags & kMiniSack) != 0;
  if ((h.flags & kMiniTimestamps) != 0) {
    b.options.has_timestamps = true;
    b.options.ts_val = ts_val;
    b.options.ts_ecr = h.ts_recent;
  }
  if ((h.flags & kMiniWindowScale) != 0) {
    b.options.has_wscale = true;
    b.options.wscale = h.own_wscale;
  }
  return b;
}

void Tcp::send_syn_ack(Ref ref, Instant now) {
  const HalfOpen& h = half(ref);
  const Tuple t = tuple_of(ref);
  const bool ts = (h.flags & kMiniTimestamps) != 0;
  Bare b = syn_ack(h, t, ts ? milliseconds_of(now) + timestamp_offset(t) : 0);
  offer_cookie(listeners_[h.listener], t, h.flags, b.options, now);
  counters_.add(Counter::kSynAcksOut);
  send_bare(b, now);
}

void Tcp::drop_half_open(Ref ref) {
  HalfOpen& h = half(ref);
  wheel_.cancel(ref.raw);
  Listener& listener = listeners_[h.listener];
  if (listener.half_open > 0) --listener.half_open;
  table_.erase(hash_(tuple_of(ref)), ref);
  if (ref.place() == Place::kHalf4) {
    half4_.release(ref.index());
  } else {
    half6_.release(ref.index());
  }
}

// How many timeouts of the SYN-ACK a complete handshake may wait for data.
uint32_t Tcp::deferred_timeouts(const Listener& l) const {
  uint32_t n = 0;
  for (int64_t us = 0; us < l.options.defer_accept.us() && n < kMostDeferred; ++n) us += settings_.rto_initial_us << n;
  return n;
}

// Whether somebody forges SYNs on the entry's addresses and ports: more than one did not fit it, or there is a flood.
// The peer may then be any of those who sent one, so each is answered with a cookie, and whoever answers that has it.
// By RFC 9293 3.10.7.4 alone the entry of the first forged SYN would keep the client out.
bool Tcp::is_contested(HalfOpen& h, Instant now) {
  const bool before = h.contested;
  h.contested = true;
  return before || cookies_.outstanding(now);
}

// SYN-RECEIVED of a passive open (RFC 9293 3.10.7.4).
void Tcp::input_half_open(Ref ref, Segment& s, Instant now) {
  HalfOpen& h = half(ref);
  const Seq32 next = h.irs + 1;
  const Seq32 edge = next + h.own_window;
  const auto acknowledge = [&] {
    Bare b;
    b.tuple = tuple_of(ref);
    b.seq = h.iss + 1;
    b.ack = next;
    b.flags = kAck;
    if (h.accurate_ecn) b.ace = kFirstCount;
    b.window = static_cast<uint16_t>((h.own_window + (1u << h.own_wscale) - 1) >> h.own_wscale);
    b.mark(listeners_[h.listener].options);
    if ((h.flags & kMiniTimestamps) != 0) {
      b.options.has_timestamps = true;
      b.options.ts_val = milliseconds_of(now) + timestamp_offset(b.tuple);
      b.options.ts_ecr = h.ts_recent;
    }
    send_bare(b, now);
  };
  if (s.has(kRst)) {
    if (s.seq == next) {
      drop_half_open(ref);  // a passive open goes back to LISTEN
      counters_.add(Counter::kResetsIn);
      packets_.free(s.packet);
      s.packet = nullptr;
    } else {
      const bool in_window = s.seq > next && s.seq < edge;
      drop(s, Counter::kDropReset);
      if (in_window && challenge_allowed(now)) acknowledge();
    }
    return;
  }
  if (s.has(kSyn)) {
    const bool again = s.seq == h.irs && !s.has(kAck);
    if (!again && !s.has(kAck) && settings_.syncookies != 0 && is_contested(h, now)) {
      if (ip_.accepts(s.remote, s.local, s.interface)) {
        answer_with_cookie(h.listener, s, now);
      } else {
        drop(s, Counter::kDropAddress);
      }
      return;
    }
    // The peer's timer sent it again, unless the network made a copy: that has the same timestamp.
    const bool copy = (h.flags & kMiniTimestamps) != 0 && s.has_ts && s.ts_val == h.ts_recent;
    if (again && !copy) h.flags |= kMiniSynAgain;
    if (again && !syn_again(ref, s, now)) return;
    const bool in_window = s.seq >= next && s.seq < edge;
    drop(s, again ? Counter::kDropDuplicate : Counter::kDropSyn);
    if (again) {
      send_syn_ack(ref, now);
    } else if (in_window) {
      drop_half_open(ref);  // RFC 9293 3.10.7.4 fourth: a passive open goes back to LISTEN
    } else if (challenge_allowed(now)) {
      acknowledge();
    }
    return;
  }
  // Another SYN made this entry, after or before the one that was answered with a cookie: a late copy, or a forged one.
  const bool foreign = s.has(kAck) && s.ack != h.iss + 1;
  if (foreign && cookies_.outstanding(now) && input_cookie(listeners_[h.listener], h.listener, ref, s, now)) return;
  const bool old_ts = (h.flags & kMiniTimestamps) != 0 && s.has_ts &&
                      static_cast<int32_t>(s.ts_val - h.ts_recent) < 0;
  if (old_ts || s.seq < next || s.seq >= edge) {
    drop(s, old_ts ? Counter::kDropPaws : Counter::kDropWindow);
    if (challenge_allowed(now)) acknowledge();
    return;
  }
  if (!s.has(kAck)) {
    drop(s, Counter::kDropNoAck);
    return;
  }
  if (s.ack != h.iss + 1) {
    send_reset_for(s, now);
    drop(s, Counter::kDropAck);
    return;
  }
  if (listeners_[h.listener].sock == 0) {  // closed meanwhile: nobody will ever accept it
    send_reset_for(s, now);
    drop_half_open(ref);
    drop(s, Counter::kDropNoConnection);
    return;
  }
  // tcp(7) TCP_DEFER_ACCEPT: an ACK that brings nothing does not wake the program, until its time is over. The SYN-ACK
  // is then sent again, and the answer to that does.
  if (s.length == 0 && !s.has(kFin) && h.retries < deferred_timeouts(listeners_[h.listener])) {
    h.flags |= kMiniDeferred;
    drop(s, Counter::kDropDeferred);
    return;
  }
  if (!promote(ref, s, now)) return;
  input_conn(find(s).index(), s, now);
}

// A connection of what a handshake agreed on, with a socket in the listener's queue; `old` is the half-open entry that
// it replaces, if there is one. 0 if there is no room for it; the segment is dropped then.
uint32_t Tcp::new_passive_conn(const HalfOpen& h, const Tuple& t, Ref old, Segment& s) {
  Listener& listener = listeners_[h.listener];
  if (listener.sock == 0 || listener.waiting >= listener.backlog) {
    drop(s, Counter::kDropBacklog);  // the SYN-ACK is sent again later; the peer's data too
    return 0;
  }
  const bool room = old || !table_.full();
  const auto route = ip_.route(t.remote, t.local, 0);
  const uint32_t index = route && room ? conns_.allocate() : 0;
  const uint32_t sock = index != 0 ? owner_.accepted(listener.sock, index) : 0;
  if (sock == 0) {
    if (index != 0) conns_.release(index);
    drop(s, Counter::kDropTableFull);
    return 0;
  }
  if (old) drop_half_open(old);
  const bool inserted = table_.insert(s.hash, Ref(Place::kConn, index));
  MR_ASSERT(inserted);
  Conn& c = conns_[index];
  c.local = t.local;
  c.remote = t.remote;
  c.local_port = t.local_port;
  c.remote_port = t.remote_port;
  c.sock = sock;
  if (t.local.is_v4()) c.options |= kOptV4;
  ConnCold& cold_state = cold(index);
  cold_state = {};
  apply_options(c, cold_state, listener.options);
  apply_rare_options(index, listener.options);
  cold_state.iss = h.iss;
  cold_state.peer_mss = h.mss;
  c.ts_offset = timestamp_offset(t);
  c.snd_una = h.iss + 1;
  c.snd_nxt = h.iss + 1;
  c.rcv_nxt = h.irs + 1;
  c.last_ack_sent = c.rcv_nxt;
  c.ts_recent = h.ts_recent;
  if ((h.flags & kMiniTimestamps) != 0) c.options |= kOptTimestamps;
  if ((h.flags & kMiniSack) != 0) c.options |= kOptSack;
  if ((h.flags & kMiniEcn) != 0) c.rx_flags |= kRxEcn;
  if (h.accurate_ecn) begin_accurate(index, h);
  if ((h.flags & kMiniWindowScale) != 0) {
    c.options |= kOptWindowScale;
    c.snd_wscale = h.wscale;
    c.rcv_wscale = h.own_wscale;
  }
  // The window of the handshake's last segment counts from here on, scaled.
  c.snd_wnd = MR_PLANTED(syn_window_scaled) ? static_cast<uint32_t>(h.window) << c.snd_wscale : h.window;
  c.max_snd_wnd = c.snd_wnd;
  c.snd_wl1 = h.irs;
  c.snd_wl2 = c.snd_una;
  c.rcv_adv = c.rcv_nxt + h.own_window;
  const bool deferred = (h.flags & kMiniDeferred) != 0;
  if (h.retries > 0 && !deferred) c.rto_us = kRtoAfterLostSyn;
  init_conn(index, *route);
  return index;
}

// The connection waits to be accepted.
void Tcp::announce_passive_conn(uint32_t index, Listener& listener, Instant now) {
  Conn& c = conns_[index];
  c.last_rx_ms = milliseconds_of(now);
  counters_.add(Counter::kPassiveOpens);
  ++listener.waiting;
  effects_.push_back({listener.sock, kAcceptable});
  if ((c.options & kOptKeepalive) != 0) arm(index, keepalive_deadline(index, now));
}

// The handshake is complete: the half-open entry becomes a connection. False if it could not; the segment is dropped.
bool Tcp::promote(Ref ref, Segment& s, Instant now) {
  const HalfOpen h = half(ref);
  const uint32_t index = new_passive_conn(h, tuple_of(ref), ref, s);
  if (index == 0) return false;
  Listener& listener = listeners_[h.listener];
  Conn& c = conns_[index];
  const bool deferred = (h.flags & kMiniDeferred) != 0;  // then timeouts are no losses, and the ACK came long ago
  if (h.retries == 0 && !deferred &&
      (h.flags & kMiniSynAgain) == 0) {  // RFC 6298 2.2 and 3: one SYN-ACK, and its answer
    const int64_t rtt_ns = now.ns() - (h.timer.deadline_ns - settings_.rto_initial_us * 1'000);
    if (rtt_ns > 0) take_rtt_sample(c, rtt_ns);
  }
  start_controller(index, controller_row(listener.options), now);
  if ((h.retries > 0 && !deferred) || (h.flags & kMiniSynAgain) != 0)
    c.cwnd = c.mss;  // RFC 5681 3.1: SYN or SYN-ACK was lost
  set_state(index, State::kEstablished);
  announce_passive_conn(index, listener, now);
  return true;
}

// RFC 9293 3.10.7.3.
void Tcp::input_syn_sent(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  ConnCold& cold_state = cold(index);
  const bool ack_ok = s.has(kAck) && s.ack > cold_state.iss && s.ack <= c.snd_nxt;
  if (s.has(kAck) && !ack_ok) {
    if (!s.has(kRst)) send_reset_for(s, now);
    drop(s, Counter::kDropAck);
    return;
  }
  if (s.has(kRst)) {
    if (!ack_ok) {
      drop(s, Counter::kDropReset);
      return;
    }
    counters_.add(Counter::kResetsIn);
    packets_.free(s.packet);
    s.packet = nullptr;
    fail_conn(index, Error::kConnectionRefused);
    return;
  }
  if (!s.has(kSyn)) {
    drop(s, Counter::kDropNotSyn);
    return;
  }
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  cold_state.peer_mss = peer_mss(options, (c.options & kOptV4) != 0);
  c.rcv_nxt = s.seq + 1;
  c.last_ack_sent = c.rcv_nxt;
  c.rcv_adv = c.rcv_nxt + (c.rcv_limit < 65'535 ? c.rcv_limit : 65'535);
  c.last_rx_ms = milliseconds_of(now);
  // What both sides offered holds; the rest of what we offered is withdrawn.
  if (!options.has_timestamps) c.options &= static_cast<uint8_t>(~kOptTimestamps);
  if (!options.sack_permitted) c.options &= static_cast<uint8_t>(~kOptSack);
  if ((c.rx_flags & kRxEcn) != 0 && !agree_on_ecn(index, s, ack_ok)) c.rx_flags &= static_cast<uint8_t>(~kRxEcn);
  if (!options.has_wscale) {
    c.options &= static_cast<uint8_t>(~kOptWindowScale);
    c.rcv_wscale = 0;
  } else if ((c.options & kOptWindowScale) != 0) {
    c.snd_wscale = options.wscale;
  }
  c.ts_recent = options.ts_val;
  c.snd_wnd = MR_PLANTED(syn_window_scaled) ? static_cast<uint32_t>(s.window) << c.snd_wscale : s.window;
  c.max_snd_wnd = c.snd_wnd;
  c.snd_wl1 = s.seq;
  c.snd_wl2 = s.has(kAck) ? s.ack : c.snd_una;
  const auto route = ip_.route(c.remote, c.local, 0);
  if (route) init_conn(index, *route);
  if (ack_ok) {
    c.tx_flags &= static_cast<uint8_t>(~kTxSynQueued);
    set_state(index, State::kEstablished);
    const bool again = c.retries > 0;
    AckNews news{.now = now};
    ack_advance(index, s.ack, news);
    answered_early(index, options, again, now);
    notify(c, kConnected | kWritable);
    if (!route || !tell_at_once(index, now)) c.rx_flags |= kRxAckNow;
    mark_dirty(index);
    if ((c.options & kOptKeepalive) != 0) arm(index, keepalive_deadline(index, now));
    s.seq += 1;  // the SYN is consumed; text and FIN may follow it
    s.flags &= static_cast<uint8_t>(~kSyn);
    cut_at_window(c, s);
    process_text(index, s, now);
    return;
  }
  // Simultaneous open: our SYN goes out again, with an ACK.
  set_state(index, State::kSynReceived);
  c.tx_flags |= kTxSynQueued;
  mark_dirty(index);
  done(s);
}

// RFC 9293 3.10.7.4 for TIME-WAIT; RFC 6191 and RFC 1122 4.2.2.13 for a new SYN; RFC 1337 for RST.
void Tcp::input_time_wait(Ref ref, Segment& s, Instant now) {
  TimeWait& w = wait(ref);
  if (s.has(kRst)) {  // a RST must not cut TIME-WAIT short
    drop(s, Counter::kDropTimeWait);
    return;
  }
  const bool ts = (w.flags & kMiniTimestamps) != 0;
  if (s.has(kSyn) && !s.has(kAck)) {
    // RFC 6191 2: newer by timestamp, or new in using timestamps, or newer by sequence number.
    const int32_t later = ts && s.has_ts ? static_cast<int32_t>(s.ts_val - w.ts_recent) : 0;
    const bool newer = later > 0 || (!ts && s.has_ts) || (later == 0 && s.seq > w.rcv_nxt);
    uint32_t slot = 0;
    Listener* listener = find_listener(s.local, s.local_port, slot, {s.remote, s.remote_port});
    if (newer && listener != nullptr && ip_.accepts(s.remote, s.local, s.interface)) {
      counters_.add(Counter::kTimeWaitRecycled);
      const Seq32 used = w.snd_nxt;
      drop_time_wait(ref);
      input_listen(*listener, slot, s, now, &used);
      return;
    }
  }
  const bool old_ts = ts && s.has_ts && static_cast<int32_t>(s.ts_val - w.ts_recent) < 0;
  const bool fin_again = s.has(kFin) && s.end() == w.rcv_nxt;
  if (fin_again && !old_ts) wheel_.arm(ref.raw, now + microseconds(settings_.time_wait_us));
  const bool answer = s.span() > 0 || s.seq != w.rcv_nxt || old_ts;
  drop(s, Counter::kDropTimeWait);
  if (!answer || (!fin_again && !challenge_allowed(now))) return;
  Bare b;
  b.tuple = tuple_of(ref);
  b.seq = w.snd_nxt;
  b.ack = w.rcv_nxt;
  b.flags = kAck;
  b.window = static_cast<uint16_t>(w.rcv_wnd >> w.rcv_wscale);
  b.traffic_class = w.traffic_class;
  b.hop_limit = w.hop_limit;
  if (ts) {
    b.options.has_timestamps = true;
    b.options.ts_val = milliseconds_of(now) + w.ts_offset;
    b.options.ts_ecr = w.ts_recent;
  }
  send_bare(b, now);
}

// A full table gives up the entry nearest to its end, or nearly so, rather than end the new connection at once: its
// peer may still need an acknowledgment.
void Tcp::make_room_for_time_wait(bool v4) {
  const auto due = [](const TimeWait& w) { return w.timer.deadline_ns; };
  uint32_t oldest = 0;
  if (v4 && wait4_.used() == wait4_.limit()) oldest = oldest_of_some(wait4_, rng_, due);
  if (!v4 && wait6_.used() == wait6_.limit()) oldest = oldest_of_some(wait6_, rng_, due);
  if (oldest == 0) return;
  counters_.add(Counter::kTimeWaitEvicted);
  drop_time_wait(Ref(v4 ? Place::kWait4 : Place::kWait6, oldest));
}

// The connection's storage shrinks to a TIME-WAIT entry; the socket keeps what it received.
void Tcp::enter_time_wait(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  set_state(index, State::kTimeWait);
  const bool v4 = (c.options & kOptV4) != 0;
  make_room_for_time_wait(v4);
  const uint32_t entry = v4 ? wait4_.allocate() : wait6_.allocate();
  MR_ASSERT(entry != 0);
  const Ref ref(v4 ? Place::kWait4 : Place::kWait6, entry);
  if (v4) {
    wait4_[entry].set_addresses(c.local, c.remote);
  } else {
    wait6_[entry].set_addresses(c.local, c.remote);
  }
  TimeWait& w = wait(ref);
  w.local_port = c.local_port;
  w.remote_port = c.remote_port;
  w.snd_nxt = c.snd_nxt;
  w.rcv_nxt = c.rcv_nxt;
  w.rcv_wnd = static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt);
  w.ts_recent = c.ts_recent;
  w.ts_offset = c.ts_offset;
  w.rcv_wscale = c.rcv_wscale;
  if (c.marked != 0) {
    w.traffic_class = rare(index).traffic_class;
    w.hop_limit = rare(index).hop_limit;
  }
  if ((c.options & kOptTimestamps) != 0) w.flags |= kMiniTimestamps;
  const Tuple t{c.local, c.remote, c.local_port, c.remote_port};
  const uint8_t wscale = c.rcv_wscale;
  const bool acknowledge = (c.rx_flags & kRxAckNow) != 0;
  counters_.add(Counter::kTimeWaits);
  destroy(index);
  const bool inserted = table_.insert(hash_(t), ref);
  MR_ASSERT(inserted);
  wheel_.arm(ref.raw, now + microseconds(settings_.time_wait_us));
  if (!acknowledge) return;
  // The acknowledgment of the FIN that brought us here.
  Bare b;
  b.tuple = t;
  b.seq = w.snd_nxt;
  b.ack = w.rcv_nxt;
  b.flags = kAck;
  b.window = static_cast<uint16_t>(w.rcv_wnd >> wscale);
  b.traffic_class = w.traffic_class;
  b.hop_limit = w.hop_limit;
  if ((w.flags & kMiniTimestamps) != 0) {
    b.options.has_timestamps = true;
    b.options.ts_val = milliseconds_of(now) + w.ts_offset;
    b.options.ts_ecr = w.ts_recent;
  }
  send_bare(b, now);
}

void Tcp::drop_time_wait(Ref ref) {
  wheel_.cancel(ref.raw);
  table_.erase(hash_(tuple_of(ref)), ref);
  if (ref.place() == Place::kWait4) {
    wait4_.release(ref.index());
  } else {
    wait6_.release(ref.index());
  }
}

}  // namespace millrace::tcp
