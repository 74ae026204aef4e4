#include "sim/recorded_sources.h"

#include <cstring>

namespace millrace::sim {

void encode_config(Writer& out, const stack::WorkerConfig& config) {
  out.u64(config.frames->capacity());
  out.u64(config.references->capacity());
  out.fixed(config.seed);
  out.u64(config.max_connections);
  out.u64(config.max_half_open);
  out.u64(config.max_time_wait);
  out.u64(config.max_neighbours);
  out.u64(config.max_datagram_sockets);
  out.u64(config.max_messages);
  out.u64(config.block_bytes);
  for (const tcp::SettingRow& row : tcp::kSettingRows) out.u64(static_cast<uint64_t>(config.tcp.*row.field));
  for (const ip::SettingRow& row : ip::kSettingRows) out.u64(static_cast<uint64_t>(config.ip.*row.field));
  for (const udp::SettingRow& row : udp::kSettingRows) out.u64(static_cast<uint64_t>(config.udp.*row.field));
  out.fixed(static_cast<uint64_t>(config.start.ns()));
  out.u64(config.shard);
  out.u8(config.shards != nullptr);
  if (config.shards != nullptr) out.bytes(std::as_bytes(std::span(config.shards, 1)));
}

DecodedConfig decode_config(Reader& in) {
  DecodedConfig d;
  d.frame_capacity = in.u64();
  d.reference_capacity = in.u64();
  d.config.seed = in.fixed();
  d.config.max_connections = static_cast<uint32_t>(in.u64());
  d.config.max_half_open = static_cast<uint32_t>(in.u64());
  d.config.max_time_wait = static_cast<uint32_t>(in.u64());
  d.config.max_neighbours = static_cast<uint32_t>(in.u64());
  d.config.max_datagram_sockets = static_cast<uint32_t>(in.u64());
  d.config.max_messages = static_cast<uint32_t>(in.u64());
  d.config.block_bytes = in.u64();
  for (const tcp::SettingRow& row : tcp::kSettingRows) d.config.tcp.*row.field = static_cast<int64_t>(in.u64());
  for (const ip::SettingRow& row : ip::kSettingRows) d.config.ip.*row.field = static_cast<int64_t>(in.u64());
  for (const udp::SettingRow& row : udp::kSettingRows) d.config.udp.*row.field = static_cast<int64_t>(in.u64());
  d.config.start = Instant(static_cast<int64_t>(in.fixed()));
  d.config.shard = static_cast<uint32_t>(in.u64());
  d.sharded = in.u8() != 0;
  if (d.sharded) {
    const auto map = in.bytes();
    if (map.size() == sizeof d.shards) std::memcpy(static_cast<void*>(&d.shards), map.data(), map.size());
  }
  return d;
}

void encode_interface(Writer& out, const link::NetifConfig& config) {
  const link::DeviceLimits& l = config.limits;
  out.string(config.name);
  out.u8(static_cast<uint8_t>(config.kind));
  for (const uint8_t b : config.mac.bytes) out.u8(b);
  out.u64(l.mtu);
  out.u64(l.max_segments);
  out.u64(l.max_tso_bytes);
  out.u8(static_cast<uint8_t>(l.tso_v4 | l.tso_v6 << 1 | l.tx_checksum_v4 << 2 | l.tx_checksum_v6 << 3 |
                              l.tx_ip_checksum << 4));
  out.u64(l.headroom);
}

link::NetifConfig decode_interface(Reader& in) {
  link::NetifConfig config;
  link::DeviceLimits& l = config.limits;
  config.name = in.string();
  config.kind = static_cast<link::LinkKind>(in.u8());
  for (auto& b : config.mac.bytes) b = in.u8();
  l.mtu = static_cast<uint16_t>(in.u64());
  l.max_segments = static_cast<uint16_t>(in.u64());
  l.max_tso_bytes = static_cast<uint32_t>(in.u64());
  const uint8_t bits = in.u8();
  l.tso_v4 = (bits & 1) != 0;
  l.tso_v6 = (bits & 2) != 0;
  l.tx_checksum_v4 = (bits & 4) != 0;
  l.tx_checksum_v6 = (bits & 8) != 0;
  l.tx_ip_checksum = (bits & 16) != 0;
  l.headroom = static_cast<uint16_t>(in.u64());
  return config;
}

void encode_packet(Writer& out, const pkt::Packet& packet) {
  out.u64(packet.flags);
  out.u64(packet.tx_offload);
  out.u64(packet.rss);
  out.u64(packet.vlan);
  out.u64(packet.segs);
  for (const pkt::Packet* p = &packet; p != nullptr; p = p->next) {
    out.u64(p->off);
    out.bytes(p->bytes());
  }
}

pkt::Packet* decode_packet(Reader& in, pkt::PacketPool& pool) {
  const uint64_t flags = in.u64();
  const uint64_t tx_offload = in.u64();
  const auto rss = static_cast<uint32_t>(in.u64());
  const auto vlan = static_cast<uint16_t>(in.u64());
  const uint64_t segments = in.u64();
  pkt::Packet* head = nullptr;
  for (uint64_t i = 0; i < segments; ++i) {
    const uint64_t off = in.u64();
    const auto data = in.bytes();
    pkt::Packet* p = nullptr;
    if (in.bad() || pool.allocate({&p, 1}) == 0) return head;
    MR_ASSERT(off + data.size() <= p->buf_len);
    p->off = static_cast<uint16_t>(off);
    p->len = static_cast<uint16_t>(data.size());
    p->total = p->len;
    p->segs = 1;
    p->flags = 0;
    p->next = nullptr;
    p->tx_offload = 0;
    p->ext = nullptr;
    std::memcpy(p->data(), data.data(), data.size());
    if (head == nullptr) head = p;
    else pkt::chain(*head, p);
  }
  if (head == nullptr) return nullptr;
  head->flags = flags;
  head->tx_offload = tx_offload;
  head->rss = rss;
  head->vlan = vlan;
  return head;
}

}  // namespace millrace::sim
