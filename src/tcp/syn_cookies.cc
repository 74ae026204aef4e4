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

// A SYN for which there is no room is answered within a budget: what is beyond it costs no more than to be read, so
// that connections go on. A client's SYN comes again.
bool Tcp::spend_on_flood(Segment& s, Instant now) {
  if (shed_.take(now)) return true;
  drop(s, Counter::kDropFlood);
  return false;
}

// A SYN with the usual options, which most are, gets the same ones back: its SYN-ACK is written at once. False, and
// nothing done, if there is more to it.
bool Tcp::answer_usual_syn(const Listener& listener, Segment& s, Instant now) {
  if (!wire::TcpOptions::is_usual_syn({s.options, s.option_bytes}) || settings_.timestamps == 0 ||
      settings_.sack == 0 || settings_.window_scaling == 0) {
    return false;
  }
  const auto route = ip_.route_back(s.remote, s.local, s.interface);
  pkt::Packet* p = route ? packets_.frame() : nullptr;
  if (p == nullptr) return false;
  const bool v4 = s.local.is_v4();
  const link::DeviceLimits& limits = ip_.limits(route->interface);
  const uint16_t offered = wire::load_be16(s.options + 2);
  const auto made =
      cookies_.make({s.local, s.remote, s.local_port, s.remote_port}, s.seq, std::max(offered, kMinMss), now);
  const EcnMode ecn = grants_ecn(s, listener.options);
  SynOffer offer{std::min(wire::load_u8(s.options + 19), wire::kMaxWindowScale), true, ecn != EcnMode::kNone};
  uint32_t flags = kSyn | kAck;
  if (ecn != EcnMode::kNone) flags |= ace_flags(ecn == EcnMode::kClassic ? kClassicGrant : ace_of_codepoint(s.ecn));
  constexpr uint32_t kHeader = wire::kTcpMinSize + 20;
  std::byte* tcp = p->append(kHeader);
  wire::store_be16(tcp, s.local_port);
  wire::store_be16(tcp + 2, s.remote_port);
  wire::store_be32(tcp + 4, made.iss.raw());
  wire::store_be32(tcp + 8, (s.seq + 1).raw());
  wire::store_be32(tcp + 12, kHeader / 4 << 28 | flags << 16 | syn_window(listener));
  wire::store_be32(tcp + 16, 0);
  wire::store_be32(tcp + 20, 0x0204'0000u | own_mss(limits.mtu, v4, listener.options.mss));
  wire::store_be32(tcp + 24, 0x0402'080au);
  wire::store_be32(tcp + 28, offer.put_into(milliseconds_of(now) + made.ts_offset));
  wire::store_be32(tcp + 32, s.ts_val);
  wire::store_be32(tcp + 36, 0x0103'0300u | shift_for(listener.options));
  finish(p, s.local, s.remote, kHeader, 0, 1, socket_class(listener.options), listener.options.hop_limit, limits);
  done(s);
  counters_.add(Counter::kSynAcksOut);
  counters_.add(Counter::kCookiesSent);
  counters_.add(Counter::kSegmentsOut);
  if (ip_.frame(route->hop, p, now)) ip_.transmit(route->interface, p, ip::Lane::kFirst);
  return true;
}

void Tcp::answer_with_cookie(uint32_t slot, Segment& s, Instant now) {
  if (!spend_on_flood(s, now)) return;
  if (answer_usual_syn(listeners_[slot], s, now)) return;
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  HalfOpen h = read_syn(slot, s, options);
  const bool ts = (h.flags & kMiniTimestamps) != 0;
  if (!ts) {  // nowhere to keep what the SYN offers
    h.flags = 0;
    h.accurate_ecn = false;
  }
  const Tuple t{s.local, s.remote, s.local_port, s.remote_port};
  const SynCookies::Made made = cookies_.make(t, s.seq, h.mss, now);
  h.iss = made.iss;
  Bare b = syn_ack(h, t, milliseconds_of(now) + made.ts_offset);
  b.accepted_at = s.interface;
  if (ts) {
    SynOffer offer;
    offer.sack = (h.flags & kMiniSack) != 0;
    offer.ecn = (h.flags & kMiniEcn) != 0 || h.accurate_ecn;
    if ((h.flags & kMiniWindowScale) != 0) offer.wscale = h.wscale;
    b.options.ts_val = offer.put_into(b.options.ts_val);
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
  h.own_window = syn_window(listener);
  if (s.has_ts && settings_.timestamps != 0) {
    const SynOffer offer = SynOffer::of(s.ts_ecr);
    h.flags |= kMiniTimestamps;
    h.ts_recent = s.ts_val;
    if (offer.sack) h.flags |= kMiniSack;
    // RFC 9768 5.1: neither 0 nor 1 comes from a peer that was granted accurate feedback.
    h.accurate_ecn = offer.ecn && settings_.ecn >= 3 && s.ace() > 1;
    if (offer.ecn && !h.accurate_ecn) h.flags |= kMiniEcn;
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
