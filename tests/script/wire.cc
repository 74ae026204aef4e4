// The script's device and its peer's hand: from Segment to frame and back.
#include <algorithm>
#include <cstring>
#include <span>

#include "ip/header.h"
#include "stack/impl.h"
#include "vocabulary.h"
#include "wire/checksum.h"
#include "wire/describe.h"
#include "wire/ethernet.h"
#include "wire/ip_protocol.h"
#include "wire/tcp.h"

namespace millrace::script {
namespace {

constexpr size_t kEthernet = 14;

wire::TcpOptions options_of(const Segment& s, uint32_t peer_sees_iss) {
  wire::TcpOptions o;
  if (s.mss) o.has_mss = true, o.mss = *s.mss;
  if (s.wscale && *s.wscale >= 0) o.has_wscale = true, o.wscale = static_cast<uint8_t>(*s.wscale);
  o.sack_permitted = s.sack_ok.value_or(false);
  if (s.ts.value_or(false)) o.has_timestamps = true, o.ts_val = *s.ts_val, o.ts_ecr = *s.ts_ecr;
  if (s.fast_open && s.fast_open->there) {
    tcp::FastOpenCookie cookie{{}, static_cast<uint8_t>(s.fast_open->cookie.size()), s.fast_open->experimental};
    std::ranges::copy(std::as_bytes(std::span(s.fast_open->cookie)), cookie.bytes.begin());
    cookie.put_into(o);
  }
  if (s.sack) {
    for (const auto& [left, right] : *s.sack) {
      o.sack.at(o.sack_count++) = {base::Seq32(peer_sees_iss + left), base::Seq32(peer_sees_iss + right)};
    }
  }
  return o;
}

uint64_t sum_of(std::span<const std::byte> bytes) { return wire::sum_bytes(bytes.data(), bytes.size()); }

}  // namespace

// --- In --------------------------------------------------------------------------------------------------------------

void Script::send(const At& at, Segment s) {
  if (failed_) return;
  (void)at;
  Flow& f = flow(port_);
  s.port = port_;
  const bool syn = (s.flags & SYN) != 0;
  const uint32_t span = s.len + (syn ? 1 : 0) + ((s.flags & FIN) != 0 ? 1 : 0);
  if (!s.seq) s.seq = syn ? 0 : f.next_seq;
  if (!s.ack && (s.flags & ACK) != 0) s.ack = f.next_ack;
  if (!s.win) s.win = 65'535;
  if (syn) f.peer_ts = s.ts.value_or(false);
  if (!syn && (s.flags & RST) == 0 && !s.ts) s.ts = f.peer_ts && f.our_ts;
  if (s.ts.value_or(false)) {
    if (!s.ts_val) s.ts_val = peer_clock();
    if (!s.ts_ecr) s.ts_ecr = (s.flags & ACK) != 0 ? f.last_ts_val : 0;
  }
  if ((s.flags & RST) == 0 && static_cast<int32_t>(*s.seq + span - f.next_seq) > 0) f.next_seq = *s.seq + span;
  log("<", s);

  std::byte options[wire::kTcpMaxOptions] = {};
  size_t option_bytes = 0;
  if (s.has_raw_options) {
    option_bytes = (s.raw_options.size() + 3) / 4 * 4;
    std::memcpy(options, s.raw_options.data(), s.raw_options.size());
  } else {
    const wire::TcpOptions o = options_of(s, f.our_iss);
    option_bytes = syn ? o.emit_syn(options) : o.emit(options);
    // The emitter holds what it sends to the rules; a script may break them.
    if (s.wscale.value_or(0) > wire::kMaxWindowScale) options[option_bytes - 1] = static_cast<std::byte>(*s.wscale);
  }
  std::vector<std::byte> tcp(wire::kTcpMinSize + option_bytes + s.len);
  wire::TcpHeader h;
  h.source_port = port_;
  h.destination_port = f.local_port;
  h.seq = base::Seq32(f.peer_iss + *s.seq);
  h.ack = s.ack ? base::Seq32(f.our_iss + *s.ack) : base::Seq32();
  h.header_length = static_cast<uint8_t>(wire::kTcpMinSize + option_bytes);
  h.flags = wire::TcpFlags(s.flags);
  h.ae = s.ae;
  h.window = static_cast<uint16_t>(*s.win);
  h.urgent = s.urgent;
  h.emit(tcp);
  std::memcpy(tcp.data() + wire::kTcpMinSize, options, option_bytes);
  const uint32_t first = *s.seq + (syn ? 1 : 0) - 1;
  for (uint32_t i = 0; i < s.len; ++i) tcp[wire::kTcpMinSize + option_bytes + i] = pattern(first + i);
  const uint64_t pseudo = wire::pseudo_sum(remote(), local(), wire::kProtocolTcp, static_cast<uint32_t>(tcp.size()));
  uint16_t sum = wire::finish(wire::add_sums(pseudo, sum_of(tcp)));
  if (s.corrupt) sum ^= 0x0101;
  wire::store_be16(tcp.data() + wire::kTcpChecksumAt, sum);

  std::vector<std::byte> datagram(ip::ip_header_size(local()));
  ip::write_ip_header(datagram.data(), remote(), local(), wire::kProtocolTcp, static_cast<uint32_t>(tcp.size()), 64,
                      s.ecn.value_or(0), true);
  datagram.insert(datagram.end(), tcp.begin(), tcp.end());
  inject(std::move(datagram));
}

void Script::inject(std::vector<std::byte> ip_datagram) {
  std::vector<std::byte> frame(kEthernet);
  const auto type = variant_.v6 ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4;
  wire::EthernetHeader{{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}, type}.emit(frame);
  frame.insert(frame.end(), ip_datagram.begin(), ip_datagram.end());
  if (frame.size() < 60) frame.resize(60);
  const bool closed = frames_->closed;
  frames_->closed = false;
  pkt::Packet* p = nullptr;
  const size_t n = frames_->allocate({&p, 1});
  frames_->closed = closed;
  if (n == 0) return fail({}, "the script ran out of frames");
  p->off = pkt::kHeadroom;
  p->flags = 0;
  p->segs = 1;
  p->next = nullptr;
  p->len = 0;
  p->total = 0;
  p->tx_offload = 0;
  std::memcpy(p->append(static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
  burst_.push_back(p);
  if (!holding_) deliver();
}

void Script::deliver() {
  holding_ = false;
  std::vector<pkt::Packet*> burst;
  burst.swap(burst_);
  worker_->input(interface_, burst, now_);
  collect();
}

void Script::icmp_unreachable(uint8_t code, int32_t offset) { icmp(variant_.v6 ? 1 : 3, code, 0, offset); }

void Script::icmp_too_big(uint16_t mtu, int32_t offset) {
  icmp(variant_.v6 ? 2 : 3, variant_.v6 ? 0 : 4, mtu, offset);
}

void Script::icmp(uint8_t type, uint8_t code, uint32_t rest, int32_t offset) {
  if (failed_) return;
  if (last_ip_.empty()) return fail({}, "no segment to quote");
  std::vector<std::byte> quoted(last_ip_.begin(),
                                last_ip_.begin() + std::min<long>(static_cast<long>(last_ip_.size()), 64));
  std::byte* sequence = quoted.data() + ip::ip_header_size(local()) + 4;
  wire::store_be32(sequence, wire::load_be32(sequence) + static_cast<uint32_t>(offset));
  std::vector<std::byte> message(8);
  message[0] = std::byte{type};
  message[1] = std::byte{code};
  wire::store_be32(message.data() + 4, rest);
  message.insert(message.end(), quoted.begin(), quoted.end());
  const uint8_t protocol = variant_.v6 ? 58 : 1;
  uint64_t sum = sum_of(message);
  const auto length = static_cast<uint32_t>(message.size());
  if (variant_.v6) sum = wire::add_sums(sum, wire::pseudo_sum(remote(), local(), protocol, length));
  wire::store_be16(message.data() + 2, wire::finish(sum));
  std::vector<std::byte> datagram(ip::ip_header_size(local()));
  ip::write_ip_header(datagram.data(), remote(), local(), protocol, length, 64, 0, true);
  datagram.insert(datagram.end(), message.begin(), message.end());
  trace_ += "  ICMP type " + std::to_string(type) + ", code " + std::to_string(code) + "\n";
  inject(std::move(datagram));
}

// --- Out -------------------------------------------------------------------------------------------------------------

void Script::collect() {
  pkt::Packet* out[32];
  for (;;) {
    const size_t n = worker_->output(interface_, out, now_);
    for (size_t i = 0; i < n; ++i) {
      take(*out[i]);
      if (keep_) {
        held_.push_back(out[i]);
      } else {
        worker_->impl().packets.free(out[i]);
      }
    }
    if (n < std::size(out)) break;
  }
  if (pumping_) return;  // a pump leaves events alone
  const auto events = worker_->events();
  events_.insert(events_.end(), events.begin(), events.end());
  worker_->clear_events();
}

void Script::device_keeps(bool keep) {
  keep_ = keep;
  if (keep) return;
  for (pkt::Packet* p : held_) worker_->impl().packets.free(p);
  held_.clear();
}

// One frame as the device got it. What the device promised to do is done here.
void Script::take(const pkt::Packet& frame) {
  std::vector<std::byte> bytes(frame.total);
  (void)pkt::copy_out(frame, 0, bytes);
  const std::byte* ip_header = bytes.data() + kEthernet;
  const size_t ip_bytes = ip::ip_header_size(local());
  const bool ours = bytes.size() >= kEthernet + ip_bytes + wire::kTcpMinSize &&
                    wire::load_be16(bytes.data() + 12) == (variant_.v6 ? 0x86dd : 0x0800) &&
                    wire::load_u8(ip_header + (variant_.v6 ? 6 : 9)) == wire::kProtocolTcp;
  if (!ours) {
    trace_ += "  > " + wire::describe(bytes) + "\n";
    return;
  }
  if (!variant_.tso && frame.segs != 1) fail({}, "a chain for a device that takes one segment a frame");
  const bool cut = (frame.flags & pkt::kTxTcpSeg) != 0;
  if (!cut && bytes.size() > kEthernet + size_t{options_.mtu}) fail({}, "a frame beyond the MTU");
  ++frames_count_;
  if (!variant_.v6 && !wire::is_valid(wire::sum_bytes(ip_header, 20))) fail({}, "wrong IPv4 header checksum");
  last_ip_.assign(bytes.begin() + kEthernet, bytes.end());
  take_tcp(std::span(bytes).subspan(kEthernet + ip_bytes), frame);
}

void Script::take_tcp(std::span<const std::byte> segment, const pkt::Packet& frame) {
  const auto length = static_cast<uint32_t>(segment.size());
  const bool cut = (frame.flags & pkt::kTxTcpSeg) != 0;
  if ((frame.flags & pkt::kTxTcpChecksum) == 0) {
    const uint64_t pseudo = wire::pseudo_sum(local(), remote(), wire::kProtocolTcp, length);
    if (!wire::is_valid(wire::add_sums(pseudo, sum_of(segment)))) fail({}, "wrong TCP checksum");
  } else {
    if (!variant_.tso) fail({}, "a checksum left to a device that cannot sum");
    const uint64_t pseudo = wire::pseudo_sum(local(), remote(), wire::kProtocolTcp, cut ? 0 : length);
    const uint16_t field = wire::load_be16(segment.data() + wire::kTcpChecksumAt);
    if (field != wire::fold(pseudo)) fail({}, "wrong sum of the pseudo-header for the device");
  }
  if (!cut) return record(segment);
  const size_t header = frame.l4_len();
  const auto payload = segment.subspan(header);
  for (size_t at = 0; at < payload.size(); at += frame.seg_size()) {
    const size_t n = std::min<size_t>(frame.seg_size(), payload.size() - at);
    std::vector<std::byte> piece(segment.begin(), segment.begin() + static_cast<long>(header));
    wire::store_be32(piece.data() + 4, wire::load_be32(piece.data() + 4) + static_cast<uint32_t>(at));
    if (at + n < payload.size()) piece[13] &= static_cast<std::byte>(~(FIN | PSH));
    piece.insert(piece.end(), payload.begin() + static_cast<long>(at), payload.begin() + static_cast<long>(at + n));
    record(piece);
  }
}

// A segment on the wire, in the script's terms.
void Script::record(std::span<const std::byte> segment) {
  const auto view = wire::TcpView::check(segment);
  if (!view) return fail({}, "malformed TCP header");
  const auto options = wire::TcpOptions::parse(view->options());
  if (options.malformed) fail({}, "malformed options");
  Segment s;
  s.flags = view->flags().raw();
  s.ae = view->ae();
  s.port = view->destination_port();
  s.urgent = view->urgent();
  const auto second = static_cast<uint8_t>(last_ip_[1]);
  const auto first = static_cast<uint8_t>(last_ip_[0]);
  const auto traffic_class = static_cast<uint8_t>(variant_.v6 ? first << 4 | second >> 4 : second);
  s.ecn = traffic_class & 3;
  s.dscp = traffic_class & 0xfc;
  s.ttl = static_cast<uint8_t>(last_ip_[variant_.v6 ? 7 : 8]);
  Flow& f = flow(s.port);
  f.local_port = view->source_port();
  const bool syn = (s.flags & SYN) != 0;
  if (syn) {
    f.our_iss = view->seq().raw();
    f.know_our_iss = true;
    f.our_ts = options.has_timestamps;
    f.our_scale = options.has_wscale ? options.wscale : 0;
  }
  s.seq = view->seq().raw() - f.our_iss;
  if ((s.flags & ACK) != 0) s.ack = view->ack().raw() - f.peer_iss;
  s.win = view->window();
  s.len = static_cast<uint32_t>(segment.size() - view->header_length());
  s.time = now_;
  if (options.has_mss) s.mss = options.mss;
  if (options.has_wscale) s.wscale = options.wscale;
  if (options.has_fast_open) {
    FastOpen fast{true, {}, options.fast_open_experimental};
    for (uint8_t i = 0; i < options.fast_open_length; ++i) {
      fast.cookie.push_back(static_cast<uint8_t>(options.fast_open_cookie[i]));
    }
    s.fast_open = fast;
  }
  if (options.sack_permitted) s.sack_ok = true;
  s.ts = options.has_timestamps;
  if (options.has_timestamps) {
    s.ts_val = options.ts_val;
    s.ts_ecr = options.ts_ecr;
    f.last_ts_val = options.ts_val;
  }
  if (options.sack_count != 0) {
    Blocks blocks;
    for (uint8_t i = 0; i < options.sack_count; ++i) {
      blocks.emplace_back(options.sack[i].left.raw() - f.peer_iss, options.sack[i].right.raw() - f.peer_iss);
    }
    s.sack = blocks;
    if (!variant_.sack) fail({}, "SACK blocks without negotiation");
  }
  if (!*s.ts) s.ts.reset();
  log(">", s);
  s.ts = options.has_timestamps;
  const uint32_t end = *s.seq + s.len + (syn ? 1 : 0) + ((s.flags & FIN) != 0 ? 1 : 0);
  if ((s.flags & RST) == 0 && static_cast<int32_t>(end - f.next_ack) > 0) f.next_ack = end;
  const auto payload = segment.subspan(view->header_length());
  for (uint32_t i = 0; i < payload.size(); ++i) {
    if (payload[i] == pattern(*s.seq + (syn ? 1 : 0) - 1 + i)) continue;
    fail({}, "byte " + std::to_string(*s.seq + i) + " of our stream is wrong on the wire");
    break;
  }
  out_.push_back(std::move(s));
}

}  // namespace millrace::script
