// The transmit half: limits, checksums, segmentation, completion.
#include <cstring>

#include "sim/hash.h"
#include "sim/nic.h"
#include "sim/text.h"

namespace millrace::sim {
namespace {

constexpr uint8_t kTcp = 6;

void cut_ip(uint8_t* ip, bool v6, uint32_t index, uint32_t bytes_after_eth) {
  if (v6) {
    store16(ip + 4, static_cast<uint16_t>(bytes_after_eth - 40));
    return;
  }
  store16(ip + 2, static_cast<uint16_t>(bytes_after_eth));
  store16(ip + 4, static_cast<uint16_t>(load16(ip + 4) + index));
  store16(ip + 10, 0);
  store16(ip + 10, static_cast<uint16_t>(~ones_sum({ip, size_t{ip[0] & 15u} * 4})));
}

}  // namespace

Bytes gather(const pkt::Packet& packet) {
  Bytes out(packet.total);
  const size_t n = pkt::copy_out(packet, 0, {reinterpret_cast<std::byte*>(out.data()), out.size()});
  out.resize(n);
  return out;
}

void free_chain(pkt::Packet* packet, pkt::PacketPool& packets, pkt::PacketPool& references) {
  while (packet != nullptr) {
    pkt::Packet* next = packet->next;
    MR_ASSERT(packet->refs > 0);
    if (packet->refs > 1) {
      --packet->refs;
      packet = next;
      continue;
    }
    packet->next = nullptr;
    packet->segs = 1;
    if ((packet->flags & pkt::kExternal) != 0) {
      pkt::ExtInfo* info = packet->ext;
      void* addr = packet->buf;
      packet->flags = 0;
      packet->ext = nullptr;
      references.release({&packet, 1});
      if (--info->refs == 0) info->release(addr, info->opaque);
    } else {
      packets.release({&packet, 1});
    }
    packet = next;
  }
}

// What the core was told about the device, held against what it sends.
std::string Nic::check_limits(const pkt::Packet& packet, const Bytes& bytes) const {
  const link::DeviceLimits& limits = config_.limits;
  uint32_t segments = 0;
  uint32_t total = 0;
  for (const pkt::Packet* p = &packet; p != nullptr; p = p->next) {
    ++segments;
    total += p->len;
    if (p->refs == 0) return "a segment without a reference was sent";
    if (p->len == 0 && packet.segs > 1) return "an empty segment was sent";
  }
  if (segments != packet.segs || total != packet.total) return "segs or total do not match the chain";
  if (total < 14) return "frame shorter than an Ethernet header";
  if (segments > limits.max_segments) return text(segments, " segments, the device takes ", limits.max_segments);
  if (packet.off < limits.headroom) return "headroom of the device not kept";
  const bool tso = (packet.flags & pkt::kTxTcpSeg) != 0;
  const bool v6 = (packet.flags & pkt::kTxIpv6) != 0;
  const bool v4 = (packet.flags & pkt::kTxIpv4) != 0;
  const uint16_t type = load16(&bytes[12]);
  if (!tso && total > uint32_t{limits.mtu} + 14) return text("frame of ", total, " bytes, MTU ", limits.mtu);
  const bool l4 = tso || (packet.flags & pkt::kTxL4Mask) != 0;
  if (!l4 && (packet.flags & pkt::kTxIpChecksum) == 0) return {};
  if (v4 == v6 || type != (v4 ? kEthIpv4 : kEthIpv6)) return "offload without the right IP version flag";
  if (packet.l2_len() != 14) return "wrong l2_len";
  const uint32_t ip_len = v6 ? 40 : (bytes[14] & 15u) * 4;
  if (packet.l3_len() != ip_len) return "wrong l3_len";
  // A device that cuts frames rewrites their IPv4 headers and so fills the checksums.
  const bool ip_checksum = v4 && (limits.tx_ip_checksum || tso);
  if ((packet.flags & pkt::kTxIpChecksum) != 0 && !ip_checksum) return "IP checksum offload not offered";
  if (!l4) return {};
  if (!(v6 ? limits.tx_checksum_v6 : limits.tx_checksum_v4)) return "checksum offload not offered";
  if (bytes[14 + (v6 ? 6 : 9)] != kTcp) return {};
  const uint32_t tcp = 14 + ip_len;
  const uint32_t header = bytes[tcp + 12] >> 4 << 2;
  const uint32_t l4_len = total - tcp;
  const uint16_t want = pseudo_sum(&bytes[14], v6, kTcp, tso ? 0 : l4_len);
  if (load16(&bytes[tcp + 16]) != want) return "the checksum field does not hold the pseudo-header sum";
  if (!tso) return {};
  if (!(v6 ? limits.tso_v6 : limits.tso_v4)) return "segmentation offload not offered";
  if (total > limits.max_tso_bytes) return text("TSO frame of ", total, " bytes, limit ", limits.max_tso_bytes);
  if (packet.l4_len() != header) return "wrong l4_len";
  if (packet.seg_size() == 0 || packet.seg_size() + header + ip_len > limits.mtu) return "TSO segment exceeds the MTU";
  if (total <= tcp + header) return "TSO frame without payload";
  if ((bytes[tcp + 13] & (kSyn | kRst | kUrg)) != 0) return "TSO frame with SYN, RST or URG";
  return {};
}

// Device convention: the L4 field already holds the pseudo-header sum, the device adds the rest.
void Nic::finish_checksums(const pkt::Packet& packet, Bytes& frame) const {
  if ((packet.flags & pkt::kTxIpChecksum) != 0) {
    uint8_t* ip = &frame[14];
    store16(ip + 10, 0);
    store16(ip + 10, static_cast<uint16_t>(~ones_sum({ip, packet.l3_len()})));
  }
  if ((packet.flags & pkt::kTxL4Mask) == 0) return;
  const size_t l4 = packet.l2_len() + packet.l3_len();
  const bool udp = (packet.flags & pkt::kTxL4Mask) == pkt::kTxUdpChecksum;
  uint8_t* field = &frame[l4 + (udp ? 6 : 16)];
  const auto sum = static_cast<uint16_t>(~ones_sum(std::span(frame).subspan(l4)));
  store16(field, udp && sum == 0 ? uint16_t{0xffff} : sum);  // RFC 768: zero would mean none
}

void Nic::cut(const pkt::Packet& packet, const Bytes& whole, std::vector<Bytes>& out) const {
  const bool v6 = (packet.flags & pkt::kTxIpv6) != 0;
  const size_t l4 = packet.l2_len() + packet.l3_len();
  const size_t headers = l4 + packet.l4_len();
  const size_t step = packet.seg_size();
  uint32_t index = 0;
  for (size_t at = headers; at < whole.size(); at += step, ++index) {
    const size_t n = std::min(step, whole.size() - at);
    const bool last = at + n == whole.size();
    Bytes& frame = out.emplace_back(headers + n);
    std::memcpy(frame.data(), whole.data(), headers);
    std::memcpy(frame.data() + headers, whole.data() + at, n);
    cut_ip(&frame[14], v6, index, static_cast<uint32_t>(frame.size() - 14));
    uint8_t* tcp = &frame[l4];
    store32(tcp + 4, load32(tcp + 4) + static_cast<uint32_t>(at - headers));
    if (!last) tcp[13] &= static_cast<uint8_t>(~(kFin | kPsh));
    if (index != 0) tcp[13] &= static_cast<uint8_t>(~kCwr);
    store16(tcp + 16, 0);
    const auto l4_len = static_cast<uint32_t>(frame.size() - l4);
    const uint16_t pseudo = pseudo_sum(&frame[14], v6, kTcp, l4_len);
    store16(tcp + 16, static_cast<uint16_t>(~ones_sum({tcp, l4_len}, pseudo)));
  }
}

void Nic::transmit(std::span<pkt::Packet* const> packets) {
  for (pkt::Packet* packet : packets) {
    MR_ASSERT(tx_.size() < config_.tx_ring);
    ++stats_.tx_packets;
    Sending& sending = tx_.emplace_back();
    sending.packet = packet;
    Bytes bytes = gather(*packet);
    sending.digest = hash_bytes(bytes);
    const std::string wrong = check_limits(*packet, bytes);
    if (!wrong.empty()) {
      hooks_.fail("device: " + wrong);
    } else if ((packet->flags & pkt::kTxTcpSeg) != 0) {
      cut(*packet, bytes, sending.frames);
      if (sending.frames.size() > 1) ++stats_.tx_cut;
    } else {
      finish_checksums(*packet, bytes);
      sending.frames.push_back(std::move(bytes));
    }
    size_t wire_bytes = 0;
    for (Bytes& frame : sending.frames) {
      if (config_.pad && frame.size() < 60) frame.resize(60);
      hooks_.sent(frame);
      wire_bytes += frame.size() + 24;
    }
    const auto ns = static_cast<int64_t>(wire_bytes * 8'000'000'000 / config_.bits_per_second);
    tx_busy_until_ = std::max(tx_busy_until_, heap_.now()) + Duration(ns);
    heap_.at(tx_busy_until_, [this] { complete(); });
  }
}

void Nic::complete() {
  Sending sending = std::move(tx_.front());
  tx_.pop_front();
  if (hash_bytes(gather(*sending.packet)) != sending.digest) {
    hooks_.fail("device: bytes of a frame changed before it had been sent");
  }
  for (Bytes& frame : sending.frames) {
    ++stats_.tx_frames;
    hooks_.wire(frames_.make(std::move(frame)));
  }
  free_packet(sending.packet);
  hooks_.wake();
}

void Nic::free_packet(pkt::Packet* packet) {
  hooks_.completed(packet);
  free_chain(packet, packets_, references_);
}

}  // namespace millrace::sim
