// Opening, sending and sending again of TemplateClient. See template_client.h.
#include "load/template_client.h"

#include <algorithm>

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::load {

namespace {

constexpr uint16_t kWindow = 0xffff;
constexpr uint8_t kShift = 7;  // 8 MiB: never in the way
constexpr uint32_t kSweeps = 256;
constexpr Duration kAckDelay = milliseconds(40);
constexpr size_t kCompactFrom = 4096;

uint16_t tick_of(Instant now) { return static_cast<uint16_t>(now.ns() >> 22); }
uint32_t timestamp_of(Instant now) { return static_cast<uint32_t>(now.ns() >> 20); }

}  // namespace

TemplateClient::TemplateClient(const TemplateSettings& settings, const runtime::FramePort& port, User& user)
    : settings_(settings), port_(port), user_(user), packets_(*port.packets), conns_(settings.connections) {
  MR_ASSERT(!settings_.sources.empty() && settings_.connections > 0);
  timestamps_ = settings_.timestamps;
  build_templates();
}

void TemplateClient::build_templates() {
  const bool v4 = settings_.target.addr.is_v4();
  const size_t ip_bytes = v4 ? wire::kIpv4MinSize : wire::kIpv6Size;
  mss_ = static_cast<uint16_t>(port_.limits.mtu - ip_bytes - wire::kTcpMinSize);
  wire::TcpOptions syn;
  syn.has_mss = syn.has_wscale = true;
  syn.has_timestamps = timestamps_;
  syn.mss = mss_;
  syn.wscale = kShift;
  std::array<std::byte, wire::kTcpMaxOptions> syn_options;
  const wire::Bytes offered(syn_options.data(), syn.emit_syn(syn_options));
  std::array<std::byte, wire::kTcpTimestampsSize> stamps;
  wire::emit_timestamps(stamps.data(), 0, 0);
  const wire::Bytes usual = timestamps_ ? wire::Bytes(stamps) : wire::Bytes();
  const wire::Bytes request = std::as_bytes(std::span(settings_.request));
  templates_.clear();
  for (const IpAddr& source : settings_.sources) {
    const SegmentRoute route{port_.mac, settings_.next_hop, source, settings_.target,
                             v4 ? port_.limits.tx_checksum_v4 : port_.limits.tx_checksum_v6};
    templates_.push_back({SegmentTemplate(route, wire::kSyn, kWindow, offered, {}),
                          SegmentTemplate(route, wire::kAck, kWindow, usual, {}),
                          SegmentTemplate(route, wire::kAck | wire::kPsh, kWindow, usual, request),
                          SegmentTemplate(route, wire::kFin | wire::kAck, kWindow, usual, {}),
                          SegmentTemplate(route, wire::kRst, 0, {}, {})});
  }
}

void TemplateClient::queue(uint32_t i) {
  Conn& conn = conns_[i];
  if ((conn.flags & kQueued) != 0) return;
  conn.flags |= kQueued;
  queue_.push_back(i);
}

void TemplateClient::open(uint32_t i) {
  Conn& conn = conns_[i];
  MR_ASSERT(conn.state == State::kClosed);
  const uint8_t queued = conn.flags & kQueued;
  const uint64_t began = conn.began;
  conn = {};
  conn.began = began;
  conn.state = State::kConnecting;
  conn.snd_una = conn.snd_nxt = base::Seq32((settings_.seed + i) * 2'654'435'761u);
  conn.flags = queued | kWantsControl;
  queue(i);
}

void TemplateClient::request(uint32_t i) {
  Conn& conn = conns_[i];
  if (conn.state != State::kOpen) return;
  conn.flags |= kWantsData;
  if (conn.snd_una == conn.snd_nxt) queue(i);  // else its acknowledgment does
}

void TemplateClient::close(uint32_t i) {
  Conn& conn = conns_[i];
  if (conn.state != State::kOpen) return;
  conn.state = State::kClosing;
  conn.flags |= kWantsControl;
  queue(i);
}

void TemplateClient::abort(uint32_t i) {
  Conn& conn = conns_[i];
  if (conn.state == State::kClosed) return;
  conn.state = State::kClosed;
  conn.flags = (conn.flags & kQueued) | kWantsReset;
  queue(i);
}

/// RFC 9293 3.8.6: nothing is sent beyond the window.
bool TemplateClient::window_open(const Conn& conn) const {
  return uint32_t{conn.window} << peer_shift_ >= request_bytes();
}

/// Decides what the connection sends now, and moves its state past it. kKinds: nothing.
TemplateClient::Kind TemplateClient::next_segment(Conn& conn) {
  if ((conn.flags & kWantsReset) != 0) {
    conn.flags &= static_cast<uint8_t>(~kWantsReset);
    return kReset;
  }
  if ((conn.flags & kResend) != 0) {
    conn.flags &= static_cast<uint8_t>(~kResend);
    if (conn.snd_una == conn.snd_nxt) return kKinds;
    conn.flags &= static_cast<uint8_t>(~kOwesAck);
    if (conn.state == State::kConnecting) return kSyn;
    return conn.state == State::kClosing && (conn.flags & kWantsControl) == 0 ? kFin : kRequest;
  }
  if (conn.state == State::kConnecting && (conn.flags & kWantsControl) != 0) {
    conn.flags &= static_cast<uint8_t>(~kWantsControl);
    conn.snd_nxt += 1;
    return kSyn;
  }
  const bool all_acked = conn.snd_una == conn.snd_nxt;
  if ((conn.flags & kWantsData) != 0 && all_acked) {
    if (window_open(conn)) {
      conn.flags &= static_cast<uint8_t>(~(kWantsData | kOwesAck));
      conn.snd_nxt += request_bytes();
      return kRequest;
    }
    ++counters_.closed_window;
  }
  if (conn.state == State::kClosing && (conn.flags & (kWantsControl | kWantsData)) == kWantsControl && all_acked) {
    conn.flags &= static_cast<uint8_t>(~(kWantsControl | kOwesAck));
    conn.snd_nxt += 1;
    return kFin;
  }
  if ((conn.flags & kOwesAck) != 0) {
    conn.flags &= static_cast<uint8_t>(~kOwesAck);
    return kAck;
  }
  return kKinds;
}

size_t TemplateClient::output(std::span<pkt::Packet*> out, Instant now) {
  now_ = now;
  size_t n = 0;
  while (n < out.size() && head_ < queue_.size()) {
    pkt::Packet* p = packets_.frame();
    if (p == nullptr) {
      ++counters_.no_packets;
      break;
    }
    const uint32_t i = queue_[head_++];
    Conn& conn = conns_[i];
    conn.flags &= static_cast<uint8_t>(~kQueued);
    emit(i, conn, *p, now);
    if (conn.state == State::kConnecting && (conn.flags & kWantsControl) != 0) queue(i);  // a reset came first
    if (p->len == 0) {
      packets_.free(p);
      continue;
    }
    out[n++] = p;
  }
  if (head_ == queue_.size()) {
    queue_.clear();
    head_ = 0;
  } else if (head_ >= kCompactFrom && head_ >= queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
  return n;
}

void TemplateClient::emit(uint32_t i, Conn& conn, pkt::Packet& p, Instant now) {
  const bool idle = conn.snd_una == conn.snd_nxt;
  const bool again = (conn.flags & kResend) != 0;
  const Kind kind = next_segment(conn);
  if (kind == kKinds) return;
  const auto sources = static_cast<uint32_t>(settings_.sources.size());
  const uint32_t source = sources == 1 ? 0 : i % sources;
  const uint32_t turn = sources == 1 ? i : i / sources;
  const bool sends = kind == kSyn || kind == kRequest || kind == kFin;
  const bool first = sends && (idle || again);
  if (first) conn.sent_at = tick_of(now);
  base::Seq32 seq = conn.snd_nxt;
  if (sends) seq = conn.snd_una;  // one segment at a time is on its way
  const SegmentTemplate::Fields fields{static_cast<uint16_t>(settings_.first_port + turn), seq,
                                       kind == kSyn ? base::Seq32() : conn.rcv_nxt, timestamp_of(now),
                                       conn.ts_recent};
  templates_[source][kind].write(p, fields);
}

void TemplateClient::sweep(Instant now) {
  while (!delayed_.empty() && delayed_.front().since + kAckDelay <= now) {
    const uint32_t i = delayed_.front().conn;
    delayed_.pop_front();
    if ((conns_[i].flags & kOwesAck) != 0) queue(i);
  }
  const auto count = static_cast<uint32_t>(conns_.size());
  const auto limit = static_cast<uint16_t>(std::max<int64_t>(1, settings_.resend_after.ns() >> 22));
  const uint16_t tick = tick_of(now);
  for (uint32_t n = count / kSweeps + 1; n > 0; --n) {
    const uint32_t i = sweep_at_;
    sweep_at_ = sweep_at_ + 1 == count ? 0 : sweep_at_ + 1;
    Conn& conn = conns_[i];
    if (conn.state == State::kClosed || (conn.flags & kQueued) != 0 || conn.snd_una == conn.snd_nxt) continue;
    if (static_cast<uint16_t>(tick - conn.sent_at) < limit) continue;
    if (++conn.tries >= settings_.tries) {
      end(i, ErrorKind::kTimedOut);
      continue;
    }
    ++counters_.resent;
    conn.flags |= kResend;
    queue(i);
  }
}

}  // namespace millrace::load
