// More accurate ECN feedback (RFC 9768), without its TCP options: the count of marked packets in three bits of the
// header, both ways, and its negotiation.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr uint32_t kFewPackets = 4;  // where packets are merged on their way an acknowledgment usually covers more

bool is_bare_ack(const Segment& s) {
  return s.length == 0 && !s.has(kFin) &&
         (s.plain || wire::TcpOptions::parse({s.options, s.option_bytes}).sack_count == 0);
}

}  // namespace

// What a segment's header adds: the handshake's encodings, or our count.
uint16_t Tcp::accurate_flags(uint32_t index, Seq32 seq, uint32_t length, uint8_t flags, uint8_t& traffic_class) {
  const Conn& c = conns_[index];
  EcnState& e = ecn(index);
  if ((flags & kSyn) != 0) {
    if (e.fallen) return 0;
    return ace_flags((flags & kAck) != 0 ? ace_of_codepoint(e.heard) : kAceBits);
  }
  e.unsaid = 0;
  if (e.tells && length == 0 && (flags & kFin) == 0 && c.reasm == 0) {  // RFC 9768 3.2.2.1
    e.tells = false;
    return ace_flags(ace_of_codepoint(e.heard));
  }
  if (length > 0 && seq == c.snd_nxt && !e.muted) traffic_class = kEct0;
  return ace_flags(e.in & kAceBits);
}

// The receiver (RFC 9768 3.2, 3.2.2.5.1): what comes in marked is counted, and the count goes out soon.
void Tcp::count_marks(uint32_t index, const Segment& s) {
  Conn& c = conns_[index];
  EcnState& e = ecn(index);
  if (s.marked) {
    ++e.in;
    e.unsaid = static_cast<uint8_t>(std::min(e.unsaid + 1, 7));
    const int most = s.length > 0 || c.ack_pending != 0 ? 2 : 3;
    if ((s.length > 0 && !e.after_mark) || e.unsaid >= most) {
      c.rx_flags |= kRxAckNow;
      mark_dirty(index);
    }
  }
  e.after_mark = s.marked;
}

// The sender: bytes that were marked, of those that the acknowledgment covers; the mark of a segment without data
// counts as one of a byte.
uint32_t Tcp::count_echoes(uint32_t index, const Segment& s, const AckNews& news) {
  const Conn& c = conns_[index];
  EcnState& e = ecn(index);
  if (s.ack < c.snd_una) return 0;  // superseded
  const uint8_t ace = s.ace();
  if (e.hears) {
    e.hears = false;
    if (is_bare_ack(s)) {  // RFC 9768 table 4: it tells how our SYN-ACK arrived
      if (ace == 0) e.deaf = true;
      if (ace == kMarkSeen) e.out = kFirstCount + 1;
      e.muted |= ace == 0 || (ace > kUnchanged && ace != kFirstCount && ace != kAceBits);  // 3.2.2.3
      return ace == kMarkSeen ? 1 : 0;
    }
  }
  const uint32_t packets = (news.advanced + c.mss - 1u) / c.mss;
  const uint32_t delta = (ace - e.out) & kAceBits;
  e.out = ace;
  const uint32_t marked = marked_packets(delta, packets, e.usual < 8 * kFewPackets);
  if (packets > 0) e.usual = static_cast<uint8_t>((7u * e.usual + 8 * std::min(packets, 31u)) / 8);
  if (marked == 0 || e.deaf) return 0;
  return std::clamp<uint32_t>(marked * c.mss, 1, std::max(news.advanced, 1u));
}

// A connection whose SYN was `h`, or with a cookie would have been.
void Tcp::begin_accurate(uint32_t index, const HalfOpen& h) {
  EcnState& e = ecn(index);
  e.accurate = e.hears = true;
  e.heard = h.ecn;
  e.muted = h.not_ect || h.retries > 1;  // RFC 9768 3.1.5
  conns_[index].rx_flags |= kRxEcn;
}

// What the answer to our SYN makes of what that asked for: false if we do without ECN.
bool Tcp::agree_on_ecn(uint32_t index, const Segment& s, bool syn_ack) {
  EcnState& e = ecn(index);
  if (!e.accurate) return syn_ack && (s.flags & (kEce | kCwr)) == kEce;  // RFC 3168 6.1.1
  const uint8_t ace = s.ace();
  e.fallen = false;
  e.heard = s.ecn;
  if (!syn_ack) {  // RFC 9768 3.1.2: a simultaneous open; as a server, but that the classic kind is not granted
    e.hears = true;
    return ace != 0 && ace != kClassicSyn;
  }
  if (ace == kClassicGrant) {
    e.accurate = false;
    return true;
  }
  if (ace == 0 || ace == kAceBits) return false;  // the latter reflects the flags of any SYN
  e.tells = true;
  if (s.marked) ++e.in;
  e.muted = ace != kUnchanged && ace != kFirstCount;  // 3.2.2.3: our SYN, which was not ECN-capable, did not arrive so
  if (ace == kMarkSeen) conns_[index].cwnd = conns_[index].mss;
  return true;
}

// RFC 9768 3.2.2.1: a bare acknowledgment tells how the SYN-ACK arrived, whatever else could go with it.
bool Tcp::tell_at_once(uint32_t index, Instant now) {
  if (!has_accurate_ecn(index)) return false;
  ack_at_once(index, conns_[index].snd_nxt, now);
  return true;
}

// The peer sent its SYN again. False if it asks for another kind of feedback, which nobody may (RFC 9768 3.1.5): the
// entry is gone, and the segment taken.
bool Tcp::syn_again(Ref ref, Segment& s, Instant now) {
  HalfOpen& h = half(ref);
  const uint8_t ace = s.ace();
  const bool classic = (h.flags & kMiniEcn) != 0;
  bool other = false;
  if (h.accurate_ecn) {
    other = ace == kClassicSyn;
    h.ecn = s.ecn & kEcnBits;
    h.not_ect |= ace == 0;
  } else if (classic && !s.has(kEce)) {  // RFC 3168 6.1.1.1: tried without
    h.flags &= static_cast<uint8_t>(~kMiniEcn);
  } else {
    other = classic && ace != kClassicSyn && settings_.ecn >= 3;
  }
  if (!other) return true;
  send_reset_for(s, now);
  drop_half_open(ref);
  drop(s, Counter::kDropSyn);
  return false;
}

}  // namespace millrace::tcp
