// See segment_template.h.
#include "load/segment_template.h"

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::load {

namespace {

/// Where the timestamps' value lies within the options; 0: there are none.
size_t find_timestamps(wire::Bytes options) {
  for (size_t at = 0; at + 1 < options.size();) {
    const auto kind = static_cast<wire::TcpOptionKind>(options[at]);
    if (kind == wire::TcpOptionKind::kEnd) break;
    if (kind == wire::TcpOptionKind::kTimestamps) return at + 2;
    at += kind == wire::TcpOptionKind::kNop ? 1 : wire::load_u8(&options[at + 1]);
  }
  return 0;
}

}  // namespace

void emit_below(const SegmentRoute& route, uint8_t protocol, size_t bytes, wire::MutableBytes frame) {
  const bool v4 = route.target.addr.is_v4();
  const auto type = v4 ? wire::EtherType::kIpv4 : wire::EtherType::kIpv6;
  wire::EthernetHeader{route.to, route.from, type}.emit(frame);
  const wire::MutableBytes out = frame.subspan(wire::kEthernetSize);
  if (v4) {
    wire::Ipv4Header ip;
    ip.total_length = static_cast<uint16_t>(wire::kIpv4MinSize + bytes);
    ip.dont_fragment = true;
    ip.protocol = protocol;
    ip.source = route.source;
    ip.destination = route.target.addr;
    ip.emit(out);
    return;
  }
  wire::Ipv6Header ip;
  ip.payload_length = static_cast<uint16_t>(bytes);
  ip.next_header = protocol;
  ip.source = route.source;
  ip.destination = route.target.addr;
  ip.emit(out);
}

SegmentTemplate::SegmentTemplate(const SegmentRoute& route, wire::TcpFlags flags, uint16_t window,
                                 wire::Bytes options, wire::Bytes payload)
    : device_checksum_(route.device_checksum) {
  const bool v4 = route.target.addr.is_v4();
  l3_bytes_ = static_cast<uint8_t>(v4 ? wire::kIpv4MinSize : wire::kIpv6Size);
  l4_bytes_ = static_cast<uint8_t>(wire::kTcpMinSize + options.size());
  tcp_at_ = static_cast<uint16_t>(wire::kEthernetSize + l3_bytes_);
  const size_t tcp_bytes = l4_bytes_ + payload.size();
  MR_ASSERT(options.size() % 4 == 0 && tcp_at_ + tcp_bytes <= pkt::kFrameRoom);
  bytes_.resize(tcp_at_ + tcp_bytes);
  const wire::MutableBytes frame(bytes_);
  emit_below(route, wire::kProtocolTcp, tcp_bytes, frame);
  wire::TcpHeader tcp;
  tcp.destination_port = route.target.port;
  tcp.header_length = l4_bytes_;
  tcp.flags = flags;
  tcp.window = window;
  tcp.emit(frame.subspan(tcp_at_));
  std::byte* behind = frame.data() + tcp_at_ + wire::kTcpMinSize;
  if (!options.empty()) std::memcpy(behind, options.data(), options.size());
  if (!payload.empty()) std::memcpy(behind + options.size(), payload.data(), payload.size());
  const size_t timestamps = find_timestamps(options);
  if (timestamps != 0) timestamps_at_ = static_cast<uint16_t>(tcp_at_ + wire::kTcpMinSize + timestamps);

  const uint64_t pseudo =
      wire::pseudo_sum(route.source, route.target.addr, wire::kProtocolTcp, static_cast<uint32_t>(tcp_bytes));
  if (device_checksum_) {
    wire::store_be16(frame.data() + tcp_at_ + wire::kTcpChecksumAt, wire::fold(pseudo));
    tx_flags_ = pkt::kTxTcpChecksum | (v4 ? pkt::kTxIpv4 : pkt::kTxIpv6);
    return;
  }
  // Folded, so that adding the fields cannot overflow.
  sum_ = wire::sum_be16(wire::fold(wire::add_sums(pseudo, wire::sum_bytes(frame.subspan(tcp_at_)))));
}

void SegmentTemplate::write(pkt::Packet& frame, const Fields& fields) const {
  std::byte* at = frame.append(static_cast<uint16_t>(bytes_.size()));
  std::memcpy(at, bytes_.data(), bytes_.size());
  std::byte* tcp = at + tcp_at_;
  wire::store_be16(tcp, fields.source_port);
  wire::store_be32(tcp + 4, fields.seq.raw());
  wire::store_be32(tcp + 8, fields.ack.raw());
  if (timestamps_at_ != 0) {
    wire::store_be32(at + timestamps_at_, fields.ts_value);
    wire::store_be32(at + timestamps_at_ + 4, fields.ts_echo);
  }
  if (device_checksum_) {
    frame.flags |= tx_flags_;
    frame.set_tx_lengths(wire::kEthernetSize, l3_bytes_, l4_bytes_, 0);
    return;
  }
  uint64_t sum = sum_ + wire::sum_be16(fields.source_port) + wire::sum_be32(fields.seq.raw()) +
                 wire::sum_be32(fields.ack.raw());
  if (timestamps_at_ != 0) sum += uint64_t{wire::sum_be32(fields.ts_value)} + wire::sum_be32(fields.ts_echo);
  wire::store_be16(tcp + wire::kTcpChecksumAt, wire::finish(sum));
}

}  // namespace millrace::load
