// A raw peer for the core's micro-benchmarks: it makes the client's frames of N connections from a template and reads
// the worker's answers, with as little work as possible, outside the timed region.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include <fmt/core.h>

#include "base/assert.h"
#include "pkt/pool.h"
#include "stack/worker.h"
#include "wire/bytes.h"
#include "wire/checksum.h"

namespace millrace::bench {

inline constexpr MacAddr kPeerMac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddr kWorkerMac{{2, 0, 0, 0, 0, 2}};
inline constexpr uint32_t kWorkerAddr = 0x0a000002;  // 10.0.0.2
inline constexpr uint16_t kPort = 7;
// The peer's tuples: so many ports at each address, then the next.
inline constexpr uint32_t kFirstAddr = 0x0a010000;
inline constexpr uint16_t kFirstPort = 1'024;
inline constexpr uint32_t kPortsPerAddr = 60'000;

/// What the peer knows of one connection.
struct PeerConn {
  uint32_t addr = 0;
  uint16_t port = 0;
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint32_t ts_ecr = 0;
  uint32_t rss = 0;
};

inline void print_panic(const char* expression, const char* file, int line) {
  fmt::print(stderr, "{}:{}: {}\n", file, line, expression);
}

/// A frame from `source` to the worker with `tcp_bytes` behind the IPv4 header, the first `zeroed` of them 0. `good`:
/// the device's word on its checksums; else finish_checksums() must follow.
inline pkt::Packet* tcp_frame(pkt::PacketPool& pool, uint32_t source, uint32_t tcp_bytes, uint32_t zeroed, bool good) {
  pkt::Packet* p = nullptr;
  MR_ASSERT(pool.allocate({&p, 1}) == 1);
  p->off = pkt::kHeadroom;
  p->len = 0;
  p->total = 0;
  p->segs = 1;
  p->next = nullptr;
  p->flags = good ? pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood : 0;
  std::byte* at = p->append(static_cast<uint16_t>(34 + tcp_bytes));
  wire::store_mac(at, kWorkerMac);
  wire::store_mac(at + 6, kPeerMac);
  wire::store_be16(at + 12, 0x0800);
  std::byte* ip = at + 14;
  std::memset(ip, 0, 20 + zeroed);
  wire::store_be16(ip, 0x4500);
  wire::store_be16(ip + 2, static_cast<uint16_t>(20 + tcp_bytes));
  wire::store_be16(ip + 6, 0x4000);
  wire::store_be16(ip + 8, 0x4006);
  wire::store_be32(ip + 12, source);
  wire::store_be32(ip + 16, kWorkerAddr);
  return p;
}

inline void finish_checksums(pkt::Packet* p, uint32_t source) {
  std::byte* ip = p->data() + 14;
  wire::store_be16(ip + 10, wire::finish(wire::sum_bytes(ip, 20)));
  const uint32_t length = p->total - 34;
  const uint64_t pseudo = wire::pseudo_sum(IpAddr::v4(source), IpAddr::v4(kWorkerAddr), 6, length);
  wire::store_be16(ip + 36, wire::finish(wire::add_sums(pseudo, wire::sum_bytes(ip + 20, length))));
}

class Peer {
 public:
  /// `device_checksums`: frames come with the device's word that their checksums are good, and answers leave theirs to
  /// the device. Otherwise both are computed, by the peer outside and by the worker inside the timed region.
  /// `follows`: the worker is a replica, which learns addresses and neighbours from the control worker.
  Peer(stack::Worker& worker, pkt::PacketPool& pool, bool device_checksums, bool follows = false)
      : worker_(worker), pool_(pool), device_checksums_(device_checksums) {
    base::set_panic_hook(print_panic);
    link::NetifConfig netif;
    netif.name = "bench0";
    netif.mac = kWorkerMac;
    netif.limits.tx_checksum_v4 = device_checksums;
    netif.limits.tx_ip_checksum = device_checksums;
    interface_ = *worker_.add_interface(netif);
    if (follows) return;
    require(worker_.request(req::SetLink{interface_, true}, now_));
    require(worker_.request(req::AddAddress{interface_, {IpAddr::v4(kWorkerAddr), 8}}, now_));
    drain();
  }

  /// Connections are those of worker `shard` from now on, and their frames carry their hash, as from a NIC with this
  /// map. Borrowed. The control worker must know the neighbours: add_neighbours(). `settle` carries news between the
  /// workers while connections are opened.
  void set_shard(const steer::ShardMap& map, uint32_t shard, std::function<void()> settle) {
    rss_flag_ = pkt::kRxRssHash;
    map_ = &map;
    shard_ = shard;
    settle_ = std::move(settle);
  }
  /// For the control worker: those of `tuples` connections, of all workers.
  void add_neighbours(uint32_t tuples) {
    for (uint32_t i = 0; i < tuples; i += kPortsPerAddr) {
      require(
          worker_.request(req::AddNeighbour{interface_, IpAddr::v4(kFirstAddr + i / kPortsPerAddr), kPeerMac}, now_));
    }
  }
  /// Frames carry this RSS hash of the device from now on.
  void set_rss(uint32_t hash) {
    rss_flag_ = pkt::kRxRssHash;
    rss_ = hash;
  }
  [[nodiscard]] IfIndex interface() const { return interface_; }
  [[nodiscard]] Instant now() const { return now_; }
  void advance_time(Duration d) { now_ = now_ + d; }

  /// Makes and touches the peer's own room for `count` connections, so that it does not count as the worker's.
  void reserve(uint32_t count) {
    conns_.assign(count, PeerConn{});
    index_.assign(count, 0);
    const auto reply = worker_.request(req::Listen{{IpAddr::any_v4(), kPort}, 65'535, 0, {}}, now_);
    require(reply);
    listener_ = reply->handle;
  }

  /// Opens `count` connections through the whole handshake.
  void open(uint32_t count) {
    if (conns_.empty()) reserve(count);
    if (map_ == nullptr) add_neighbours(count);
    uint32_t tuple = 0;
    for (uint32_t i = 0; i < count; ++i) {
      PeerConn& c = conns_[i];
      do {
        c.addr = kFirstAddr + tuple / kPortsPerAddr;
        c.port = static_cast<uint16_t>(kFirstPort + tuple++ % kPortsPerAddr);
      } while (!is_own(c));
      if (index_.size() < tuple) index_.resize(tuple);
      index_[tuple - 1] = i;
      c.rss = map_ != nullptr ? map_->hash(flow_of(c)) : rss_;
      c.seq = i * 7919;
      give(frame(c, 0x02, {}));
      c.seq += 1;
      const auto read_ack = [](PeerConn& conn, const std::byte* tcp) { conn.ack = wire::load_be32(tcp + 4) + 1; };
      take(read_ack);
      if (settle_) {  // a replica asks for a neighbour when it has something to send there
        settle_();
        take(read_ack);
      }
      give(frame(c, 0x10, {}));
      now_ = now_ + microseconds(1);
      require(worker_.request(req::Accept{listener_, i}, now_));
      (void)worker_.events();
      worker_.clear_events();
    }
    drain();
  }

  [[nodiscard]] size_t size() const { return conns_.size(); }

  /// A data segment of connection `index`.
  pkt::Packet* request(uint32_t index, std::span<const std::byte> payload, bool push = true) {
    PeerConn& c = conns_[index];
    pkt::Packet* p = frame(c, push ? 0x18 : 0x10, payload);
    c.seq += static_cast<uint32_t>(payload.size());
    return p;
  }

  /// Reads answers and gives their packets back; returns the payload bytes.
  size_t answer(std::span<pkt::Packet*> frames, std::span<const std::byte> expected) {
    size_t bytes = 0;
    for (pkt::Packet* p : frames) {
      const std::byte* tcp = p->data() + 34;
      const uint32_t header = static_cast<uint32_t>(wire::load_u8(tcp + 12) >> 4) * 4;
      const uint32_t length = p->total - 34 - header;
      PeerConn& c = conn_of(p);
      MR_ASSERT(wire::load_be32(tcp + 4) == c.ack);
      MR_ASSERT(length == 0 || std::memcmp(tcp + header, expected.data(), length) == 0);
      c.ack += length;
      c.ts_ecr = wire::load_be32(tcp + 24);
      bytes += length;
      release(p);
    }
    return bytes;
  }

 private:
  static steer::Flow flow_of(const PeerConn& c) { return {IpAddr::v4(c.addr), IpAddr::v4(kWorkerAddr), c.port, kPort}; }
  [[nodiscard]] bool is_own(const PeerConn& c) const { return map_ == nullptr || map_->of_flow(flow_of(c)) == shard_; }
  static void require(const Result<Reply>& r) { MR_ASSERT(r.has_value()); }

  PeerConn& conn_of(const pkt::Packet* p) {
    const uint32_t addr = wire::load_be32(p->data() + 30);
    const uint16_t port = wire::load_be16(p->data() + 36);
    return conns_[index_[(addr - kFirstAddr) * kPortsPerAddr + port - kFirstPort]];
  }

  void release(pkt::Packet* p) {
    MR_ASSERT(p->next == nullptr && p->refs == 1);
    pool_.release({&p, 1});
  }

  void give(pkt::Packet* p) { worker_.input(interface_, {&p, 1}, now_); }

  template <class Read>
  void take(Read&& read) {
    pkt::Packet* out[8];
    const size_t n = worker_.output(interface_, out, now_);
    for (size_t i = 0; i < n; ++i) {
      if (wire::load_be16(out[i]->data() + 12) == 0x0800) read(conn_of(out[i]), out[i]->data() + 34);
      release(out[i]);
    }
  }
  void drain() {
    pkt::Packet* out[64];
    for (size_t n = 64; n == 64;) {
      n = worker_.output(interface_, out, now_);
      for (size_t i = 0; i < n; ++i) release(out[i]);
    }
  }

  pkt::Packet* frame(const PeerConn& c, uint8_t flags, std::span<const std::byte> payload) {
    const bool syn = (flags & 2) != 0;
    const uint32_t header = syn ? 40 : 32;
    const auto bytes = static_cast<uint32_t>(header + payload.size());
    pkt::Packet* p = tcp_frame(pool_, c.addr, bytes, header, device_checksums_);
    p->flags |= rss_flag_;
    p->rss = c.rss;
    std::byte* tcp = p->data() + 34;
    wire::store_be16(tcp, c.port);
    wire::store_be16(tcp + 2, kPort);
    wire::store_be32(tcp + 4, c.seq);
    wire::store_be32(tcp + 8, syn ? 0 : c.ack);
    wire::store_be16(tcp + 12, static_cast<uint16_t>(header / 4 << 12 | flags));
    wire::store_be16(tcp + 14, 512);
    if (syn) {
      wire::store_be32(tcp + 20, 0x020405b4);
      wire::store_be32(tcp + 24, 0x0402080a);
      wire::store_be32(tcp + 28, static_cast<uint32_t>(now_.us() / 1'000));
      wire::store_be32(tcp + 36, 0x01030307);
    } else {
      wire::store_be32(tcp + 20, 0x0101080a);
      wire::store_be32(tcp + 24, static_cast<uint32_t>(now_.us() / 1'000));
      wire::store_be32(tcp + 28, c.ts_ecr);
    }
    std::memcpy(tcp + header, payload.data(), payload.size());
    if (!device_checksums_) finish_checksums(p, c.addr);
    return p;
  }

  stack::Worker& worker_;
  pkt::PacketPool& pool_;
  bool device_checksums_;
  uint64_t rss_flag_ = 0;
  uint32_t rss_ = 0;
  const steer::ShardMap* map_ = nullptr;
  uint32_t shard_ = 0;
  std::function<void()> settle_;
  IfIndex interface_{};
  Handle listener_{};
  Instant now_{1'000'000'000};
  std::vector<PeerConn> conns_;
  std::vector<uint32_t> index_;  // of the connection, by tuple
};

}  // namespace millrace::bench
