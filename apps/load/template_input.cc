// What TemplateClient does with received frames. The usual one, the next bytes of an open connection with an
// acknowledgment that makes sense, is taken in take(); everything else has its own function. See template_client.h.
#include <algorithm>

#include "load/template_client.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::load {

namespace {

constexpr size_t kBurst = 64;

bool checksum_good(const pkt::Packet& p, uint32_t tcp_at, uint32_t tcp_bytes, const IpAddr& from, const IpAddr& to) {
  const uint64_t said = p.flags & pkt::kRxL4ChecksumMask;
  if (said == pkt::kRxL4ChecksumGood || said == pkt::kRxL4ChecksumNone) return true;
  if (said == pkt::kRxL4ChecksumBad) return false;
  wire::Checksum sum(wire::pseudo_sum(from, to, wire::kProtocolTcp, tcp_bytes));
  uint32_t skip = tcp_at;
  uint32_t left = tcp_bytes;
  for (const pkt::Packet* s = &p; s != nullptr && left > 0; s = s->next) {
    const uint32_t here = std::min<uint32_t>(s->len - skip, left);
    sum.add({s->data() + skip, here});
    left -= here;
    skip = 0;
  }
  return sum.is_valid();
}

}  // namespace

uint32_t TemplateClient::source_index(const IpAddr& local) const {
  const auto count = static_cast<uint32_t>(settings_.sources.size());
  for (uint32_t s = 0; s < count; ++s) {
    if (settings_.sources[s] == local) return s;
  }
  return kNobody;
}

/// Whether the frame belongs to a connection of ours; fills `found`. A frame that is ours and of no use has no
/// connection.
bool TemplateClient::claim(pkt::Packet& p, Found& found) {
  found.packet = &p;
  const auto ethernet = wire::EthernetView::check(p.bytes());
  if (!ethernet) return false;
  constexpr auto kIpAt = static_cast<uint32_t>(wire::kEthernetSize);
  const uint32_t padding_or_more = p.total - kIpAt;  // what check() may not see of a chain
  if (ethernet->type() == wire::EtherType::kIpv4 && settings_.target.addr.is_v4()) {
    if (p.len < kIpAt + wire::kIpv4MinSize) return false;
    const auto ip = wire::Ipv4View::check_quoted(ethernet->payload());
    if (!ip || ip->total_length() > padding_or_more || ip->protocol() != wire::kProtocolTcp || ip->is_fragment()) {
      return false;
    }
    if (ip->source() != settings_.target.addr) return false;
    return locate(found, kIpAt + ip->header_length(), ip->payload_length(), ip->source(), ip->destination());
  }
  if (ethernet->type() != wire::EtherType::kIpv6 || settings_.target.addr.is_v4()) return false;
  const auto ip = wire::Ipv6View::check_quoted(ethernet->payload());
  if (!ip || ip->total_length() > padding_or_more || ip->next_header() != wire::kProtocolTcp) return false;
  if (ip->source() != settings_.target.addr) return false;
  return locate(found, kIpAt + static_cast<uint32_t>(wire::kIpv6Size), ip->payload_length(), ip->source(),
                ip->destination());
}

bool TemplateClient::locate(Found& found, uint32_t tcp_at, uint32_t tcp_bytes, const IpAddr& source,
                            const IpAddr& destination) {
  const pkt::Packet& p = *found.packet;
  if (tcp_at >= p.len) return false;
  const auto tcp = wire::TcpView::check({p.data() + tcp_at, p.len - tcp_at});
  if (!tcp || tcp->source_port() != settings_.target.port || tcp->destination_port() < settings_.first_port) {
    return false;
  }
  const auto sources = static_cast<uint32_t>(settings_.sources.size());
  const uint32_t s = source_index(destination);
  if (s == kNobody) return false;
  const uint64_t conn = uint64_t{tcp->destination_port() - uint32_t{settings_.first_port}} * sources + s;
  if (conn >= conns_.size()) return false;
  found.conn = static_cast<uint32_t>(conn);
  found.tcp = tcp;
  found.header = tcp_at + tcp->header_length();
  if (tcp_bytes < tcp->header_length()) {
    ++counters_.malformed;
    found.conn = kNobody;
    return true;
  }
  found.payload = tcp_bytes - tcp->header_length();
  if (!checksum_good(p, tcp_at, tcp_bytes, source, destination)) {
    ++counters_.bad_checksum;
    found.conn = kNobody;
  }
  return true;
}

size_t TemplateClient::input(std::span<pkt::Packet*> frames, Instant now) {
  now_ = now;
  std::array<Found, kBurst> found;
  size_t others = 0;
  for (size_t at = 0; at < frames.size();) {
    size_t n = 0;
    for (; at < frames.size() && n < kBurst; ++at) {
      if (!claim(*frames[at], found[n])) {
        frames[others++] = frames[at];
        continue;
      }
      if (found[n].conn != kNobody) __builtin_prefetch(&conns_[found[n].conn], 1);
      ++n;
    }
    for (size_t k = 0; k < n; ++k) {
      if (found[k].conn != kNobody) take(found[k]);
      packets_.free(found[k].packet);
    }
  }
  return others;
}

/// RFC 7323 5.3: false for a segment older than what came before, or without timestamps where they are agreed.
bool TemplateClient::timestamps_good(const Found& found, Conn& conn, uint32_t& value) {
  uint32_t echo = 0;
  if (!found.tcp->only_timestamps(value, echo)) {
    const wire::TcpOptions options = wire::TcpOptions::parse(found.tcp->options());
    if (!options.has_timestamps) return found.tcp->flags().rst();
    value = options.ts_val;
  }
  return static_cast<int32_t>(value - conn.ts_recent) >= 0;
}

/// Takes the acknowledgment number and the window; false: it acknowledges what was not sent.
bool TemplateClient::take_ack(const Found& found, Conn& conn) {
  const base::Seq32 ack = found.tcp->ack();
  if (ack > conn.snd_nxt) return false;
  if (ack < conn.snd_una) return true;  // an old one
  conn.window = found.tcp->window();
  if (ack != conn.snd_nxt) return true;  // a part of the one segment on its way: as good as none of it
  conn.snd_una = ack;
  conn.tries = 0;
  if ((conn.flags & (kWantsData | kWantsControl)) != 0) queue(found.conn);
  return true;
}

void TemplateClient::take(const Found& found) {
  Conn& conn = conns_[found.conn];
  const wire::TcpFlags flags = found.tcp->flags();
  uint32_t value = conn.ts_recent;
  const bool usual = conn.state == State::kOpen && (flags & ~wire::kPsh) == wire::kAck &&
                     found.tcp->seq() == conn.rcv_nxt;
  if (!usual) return take_unusual(found, conn);
  if (timestamps_ && !timestamps_good(found, conn, value)) {
    ++counters_.no_timestamps;
    conn.flags |= kOwesAck;
    return queue(found.conn);
  }
  if (!take_ack(found, conn)) {
    ++counters_.bad_ack;
    conn.flags |= kOwesAck;
    return queue(found.conn);
  }
  conn.ts_recent = value;
  if (found.payload == 0) return;
  conn.rcv_nxt += found.payload;
  const bool second = (conn.flags & kOwesAck) != 0;
  conn.flags |= kOwesAck;
  deliver(found);
  // RFC 9293 3.8.6.3 MUST-58, SHLD-19: with the next request, at the latest with the second segment or after a delay.
  if ((conn.flags & kQueued) != 0) return;
  if (second) return queue(found.conn);
  delayed_.push_back({now_, found.conn});
}

void TemplateClient::deliver(const Found& found) {
  uint32_t skip = found.header;
  uint32_t left = found.payload;
  for (const pkt::Packet* s = found.packet; s != nullptr && left > 0; s = s->next) {
    const uint32_t here = std::min<uint32_t>(s->len - std::min<uint32_t>(skip, s->len), left);
    if (here > 0) user_.received(found.conn, {reinterpret_cast<const char*>(s->data()) + skip, here});
    skip -= std::min<uint32_t>(skip, s->len);
    if (here > 0) skip = 0;
    left -= here;
  }
}

/// RFC 9293 3.10.7.3.
void TemplateClient::take_answer_to_syn(const Found& found, Conn& conn) {
  const wire::TcpFlags flags = found.tcp->flags();
  const base::Seq32 ack = found.tcp->ack();
  const bool sent = (conn.flags & kWantsControl) == 0;
  if (!sent || !flags.ack() || ack != conn.snd_nxt) {
    if (flags.rst() || !flags.ack()) {
      ++counters_.unexpected;
      return;
    }
    // An older connection's: reset it and begin anew, where it ended.
    ++counters_.bad_ack;
    conn.snd_una = conn.snd_nxt = ack;
    conn.flags |= kWantsReset | kWantsControl;
    return queue(found.conn);
  }
  if (flags.rst()) return end(found.conn, ErrorKind::kRefused);
  if (!flags.syn()) {
    ++counters_.unexpected;
    return;
  }
  const wire::TcpOptions options = wire::TcpOptions::parse(found.tcp->options());
  if (!agreed_) {
    agreed_ = true;
    const bool changed = timestamps_ != options.has_timestamps;
    timestamps_ = timestamps_ && options.has_timestamps;
    if (changed) build_templates();
    peer_shift_ = options.has_wscale ? options.wscale : 0;
  }
  const size_t option_bytes = timestamps_ ? wire::kTcpTimestampsSize : 0;
  const size_t peer_mss = options.has_mss ? options.mss : 536;  // RFC 9293 3.7.1 MUST-15
  const bool same = options.has_timestamps == timestamps_ && (options.has_wscale ? options.wscale : 0) == peer_shift_;
  if (!same || peer_mss < settings_.request.size() + option_bytes) {
    abort(found.conn);
    return user_.broken(found.conn, ErrorKind::kConnect);
  }
  conn.snd_una = ack;
  conn.rcv_nxt = found.tcp->seq() + 1;
  conn.ts_recent = options.ts_val;
  conn.tries = 0;
  // Before the scale holds (RFC 7323 2.2); the first segment behind it says the real window.
  conn.window = static_cast<uint16_t>(found.tcp->window() >> peer_shift_);
  conn.state = State::kOpen;
  conn.flags |= kOwesAck;
  queue(found.conn);
  user_.opened(found.conn);
}

/// Anything but the next bytes of an open connection (RFC 9293 3.10.7.4).
void TemplateClient::take_unusual(const Found& found, Conn& conn) {
  if (conn.state == State::kConnecting) return take_answer_to_syn(found, conn);
  const wire::TcpFlags flags = found.tcp->flags();
  const base::Seq32 seq = found.tcp->seq();
  const uint32_t length = found.payload + (flags.fin() ? 1 : 0);
  if (flags.rst()) {
    if (conn.state != State::kClosed && seq == conn.rcv_nxt) return end(found.conn, ErrorKind::kReset);
    ++counters_.unexpected;
    return;
  }
  uint32_t value = conn.ts_recent;
  if (flags.syn() || !flags.ack() || (timestamps_ && !timestamps_good(found, conn, value))) {
    ++(flags.ack() && !flags.syn() ? counters_.no_timestamps : counters_.unexpected);
    conn.flags |= kOwesAck;  // RFC 5961 4
    return queue(found.conn);
  }
  if (seq != conn.rcv_nxt) {
    if (seq > conn.rcv_nxt) ++counters_.out_of_order;
    if (seq < conn.rcv_nxt && (length > 0 || conn.state == State::kOpen)) ++counters_.duplicates;
    if (seq < conn.rcv_nxt && length == 0) return;
    // What is behind a hole acknowledges all the same.
    if (seq > conn.rcv_nxt && !take_ack(found, conn)) ++counters_.bad_ack;
    conn.flags |= kOwesAck;
    return queue(found.conn);
  }
  if (!take_ack(found, conn)) {
    ++counters_.bad_ack;
    conn.flags |= kOwesAck;
    return queue(found.conn);
  }
  conn.ts_recent = value;
  conn.rcv_nxt += length;
  if (length > 0) {
    conn.flags |= kOwesAck;
    queue(found.conn);
  }
  if (found.payload > 0) {
    if (conn.state == State::kOpen) deliver(found);
    if (conn.state != State::kOpen) ++counters_.unexpected;
  }
  if (flags.fin()) conn.flags |= kPeerEnded;
  if (flags.fin() && conn.state == State::kOpen) {
    close(found.conn);
    return user_.broken(found.conn, ErrorKind::kEnded);
  }
  const bool fin_sent = conn.state == State::kClosing && (conn.flags & kWantsControl) == 0;
  if (fin_sent && conn.snd_una == conn.snd_nxt && (conn.flags & kPeerEnded) != 0) {
    conn.state = State::kClosed;  // the acknowledgment of the server's FIN still goes out
    user_.closed(found.conn);
  }
}

void TemplateClient::end(uint32_t i, ErrorKind why) {
  Conn& conn = conns_[i];
  const bool opening = conn.state == State::kConnecting;
  conn.state = State::kClosed;
  conn.flags &= kQueued;
  if (why == ErrorKind::kTimedOut && !opening) {
    conn.flags |= kWantsReset;
    queue(i);
  }
  user_.broken(i, why);
}

}  // namespace millrace::load
