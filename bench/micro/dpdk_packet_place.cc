// Where should the core's packet metadata lie: over the rte_mbuf itself (the 128 bytes are the Packet), or in a line
// of its own in the mbuf's private area, filled on receive and copied back on transmit? Real mempools, a synthetic
// device on both sides, and the memory traffic of one request-response: the device writes an mbuf, the core reads its
// metadata and the frame's headers, rewrites both, the device reads what a transmit reads.
//
//   bench_dpdk_packet_place --no-huge --no-shconf --no-pci -m 1024
//   bench_dpdk_packet_place --in-memory --no-pci -m 512        (with 256 huge pages of 2 MiB)
#include <fmt/core.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "pkt/packet.h"

namespace {

using millrace::pkt::Packet;

constexpr size_t kBurst = 32;
constexpr size_t kPairs = 31;
constexpr size_t kFrameBytes = 118;  // Ethernet, IPv4, TCP with timestamps, 52 bytes of request
constexpr uint64_t kTxFlags = millrace::pkt::kTxTcpChecksum | millrace::pkt::kTxIpv4 | millrace::pkt::kTxIpChecksum;

/// The private-area variant: everything the core wants, in one line.
struct alignas(64) Meta {
  std::byte* buf;
  uint64_t flags;
  uint64_t tx_offload;
  Meta* next;
  uint32_t total;
  uint32_t rss;
  uint16_t off;
  uint16_t len;
  uint16_t segs;
  uint16_t refs;
  uint16_t buf_len;
  uint16_t vlan;
};
static_assert(sizeof(Meta) == 64);

Meta* meta_of(rte_mbuf* m) { return reinterpret_cast<Meta*>(m + 1); }
rte_mbuf* mbuf_of(Meta* m) { return reinterpret_cast<rte_mbuf*>(m) - 1; }

/// What a receive does to an mbuf: the rearm word and the receive fields of the first line.
void device_receive(rte_mbuf* m, uint32_t hash) {
  m->data_off = RTE_PKTMBUF_HEADROOM;
  m->refcnt = 1;
  m->nb_segs = 1;
  m->port = 0;
  m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH;
  m->packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4 | RTE_PTYPE_L4_TCP;
  m->pkt_len = kFrameBytes;
  m->data_len = kFrameBytes;
  m->vlan_tci = 0;
  m->hash.rss = hash;
}

struct Descriptor {
  uint64_t addr;
  uint64_t flags;
  uint64_t offload;
  uint32_t len;
  uint32_t segs;
};

/// What a transmit reads of an mbuf.
void device_transmit(const rte_mbuf* m, Descriptor& d) {
  d.addr = m->buf_iova + m->data_off;
  d.flags = m->ol_flags;
  d.offload = m->tx_offload;
  d.len = m->data_len;
  d.segs = m->nb_segs + (m->next != nullptr ? 1U : 0U);
}

/// Reads and rewrites the headers as a request-response does. Returns something that depends on all of it.
uint64_t turn_headers(std::byte* data) {
  std::array<uint64_t, 8> line;
  std::memcpy(line.data(), data, sizeof line);
  uint64_t sum = 0;
  for (const uint64_t word : line) sum += word;
  std::array<std::byte, 6> mac;
  std::memcpy(mac.data(), data, 6);
  std::memmove(data, data + 6, 6);
  std::memcpy(data + 6, mac.data(), 6);
  line[4] += sum;
  std::memcpy(data + 26, &line[4], 8);
  std::memcpy(data + 38, &sum, 8);
  return sum;
}

/// The frames in flight: mbufs leave at the head and come back at the tail, as through receive rings of that size.
class Flight {
 public:
  Flight(rte_mempool* pool, size_t count) : mbufs_(count) {
    if (rte_pktmbuf_alloc_bulk(pool, mbufs_.data(), static_cast<unsigned>(count)) != 0) std::abort();
    for (rte_mbuf* m : mbufs_) std::memset(rte_pktmbuf_mtod(m, char*), 0x45, kFrameBytes);
  }
  ~Flight() { rte_pktmbuf_free_bulk(mbufs_.data(), static_cast<unsigned>(mbufs_.size())); }
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;
  std::span<rte_mbuf*> burst(size_t i) { return {mbufs_.data() + i * kBurst % mbufs_.size(), kBurst}; }

 private:
  std::vector<rte_mbuf*> mbufs_;
};

uint64_t g_sink = 0;

void overlay_burst(std::span<rte_mbuf*> mbufs, std::array<Descriptor, kBurst>& ring) {
  for (size_t i = 0; i < kBurst; ++i) device_receive(mbufs[i], static_cast<uint32_t>(i));
  for (size_t i = 0; i < kBurst; ++i) {
    if (i + 4 < kBurst) __builtin_prefetch(reinterpret_cast<Packet*>(mbufs[i + 4])->data());
    auto* p = reinterpret_cast<Packet*>(mbufs[i]);
    if (p->segs != 1 || p->total != p->len || (p->flags & millrace::pkt::kRxL4ChecksumBad) != 0) std::abort();
    g_sink += turn_headers(p->data()) + p->rss;
    p->flags = kTxFlags;
    p->len = static_cast<uint16_t>(p->len - 4);
    p->total = p->len;
    p->next = nullptr;
    p->set_tx_lengths(14, 20, 32, 0);
  }
  for (size_t i = 0; i < kBurst; ++i) device_transmit(mbufs[i], ring[i]);
}

void meta_in(rte_mbuf* m) {
  Meta* meta = meta_of(m);
  meta->buf = static_cast<std::byte*>(m->buf_addr);
  meta->flags = m->ol_flags;
  meta->next = nullptr;
  meta->total = m->pkt_len;
  meta->rss = m->hash.rss;
  meta->off = m->data_off;
  meta->len = m->data_len;
  meta->segs = m->nb_segs;
  meta->refs = m->refcnt;
  meta->buf_len = m->buf_len;
  meta->vlan = m->vlan_tci;
}

void meta_out(Meta* meta) {
  rte_mbuf* m = mbuf_of(meta);
  m->ol_flags = meta->flags;
  m->pkt_len = meta->total;
  m->data_off = meta->off;
  m->data_len = meta->len;
  m->nb_segs = meta->segs;
  m->tx_offload = meta->tx_offload;
  m->next = nullptr;
}

void private_burst(std::span<rte_mbuf*> mbufs, std::array<Descriptor, kBurst>& ring) {
  for (size_t i = 0; i < kBurst; ++i) device_receive(mbufs[i], static_cast<uint32_t>(i));
  for (size_t i = 0; i < kBurst; ++i) {
    if (i + 4 < kBurst) __builtin_prefetch(rte_pktmbuf_mtod(mbufs[i + 4], void*));
    if (i + 4 < kBurst) __builtin_prefetch(meta_of(mbufs[i + 4]), 1);
    meta_in(mbufs[i]);
  }
  for (size_t i = 0; i < kBurst; ++i) {
    Meta* p = meta_of(mbufs[i]);
    if (p->segs != 1 || p->total != p->len || (p->flags & millrace::pkt::kRxL4ChecksumBad) != 0) std::abort();
    g_sink += turn_headers(p->buf + p->off) + p->rss;
    p->flags = kTxFlags;
    p->len = static_cast<uint16_t>(p->len - 4);
    p->total = p->len;
    p->tx_offload = 14 | 20 << 7 | 32 << 16;
  }
  for (size_t i = 0; i < kBurst; ++i) meta_out(meta_of(mbufs[i]));
  for (size_t i = 0; i < kBurst; ++i) device_transmit(mbufs[i], ring[i]);
}

template <class Burst>
double cycles_per_packet(Flight& flight, size_t packets, Burst burst) {
  static std::array<Descriptor, kBurst> ring;
  const uint64_t start = rte_rdtsc_precise();
  for (size_t i = 0; i < packets / kBurst; ++i) {
    burst(flight.burst(i), ring);
    g_sink += ring[i % kBurst].offload;
  }
  return static_cast<double>(rte_rdtsc_precise() - start) / static_cast<double>(packets);
}

double quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<size_t>(std::lround(q * static_cast<double>(v.size() - 1)))];
}

void compare(rte_mempool* plain, rte_mempool* with_private, size_t working_set) {
  Flight a_flight(plain, working_set);
  Flight b_flight(with_private, working_set);
  const size_t packets = std::max<size_t>(working_set * 8, 262'144);
  std::vector<double> a, b, ratio;
  for (size_t pair = 0; pair < kPairs + 1; ++pair) {
    const double x = cycles_per_packet(a_flight, packets, overlay_burst);
    const double y = cycles_per_packet(b_flight, packets, private_burst);
    if (pair == 0) continue;  // warm-up
    a.push_back(x);
    b.push_back(y);
    ratio.push_back(y / x);
  }
  fmt::print("{:>8} mbufs  overlay {:6.1f}  private {:6.1f}  private/overlay {:.2f} [{:.2f} .. {:.2f}]\n", working_set,
             quantile(a, 0.5), quantile(b, 0.5), quantile(ratio, 0.5), quantile(ratio, 0.1), quantile(ratio, 0.9));
}

}  // namespace

int main(int argc, char** argv) {
  rte_log_set_global_level(RTE_LOG_ERR);
  if (rte_eal_init(argc, argv) < 0) {
    fmt::print(stderr, "rte_eal_init: {}\n", rte_strerror(rte_errno));
    return 1;
  }
  constexpr unsigned kCount = 65'536;
  constexpr uint16_t kRoom = RTE_PKTMBUF_HEADROOM + 2048;
  rte_mempool* plain = rte_pktmbuf_pool_create("plain", kCount, 0, 0, kRoom, SOCKET_ID_ANY);
  rte_mempool* with_private = rte_pktmbuf_pool_create("private", kCount, 0, sizeof(Meta), kRoom, SOCKET_ID_ANY);
  if (plain == nullptr || with_private == nullptr) {
    fmt::print(stderr, "no memory for two pools of {} mbufs\n", kCount);
    return 1;
  }
  fmt::print("TSC cycles per packet, median of {} interleaved pairs [10th .. 90th percentile of the ratio]\n", kPairs);
  for (const size_t working_set : {size_t{1024}, size_t{8192}, size_t{65536}}) {
    compare(plain, with_private, working_set);
  }
  fmt::print("(checksum of work: {:x})\n", g_sink);
  return rte_eal_cleanup();
}
