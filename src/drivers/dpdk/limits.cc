#include "drivers/dpdk/limits.h"

#include <algorithm>

namespace millrace::drivers::dpdk {
namespace {

/// Beyond this, longer chains gain nothing and eat the transmit ring.
constexpr uint16_t kMostSegments = 64;
/// For PMDs that offer multi-segment frames but say no number.
constexpr uint16_t kUnsaidSegments = 8;
/// An IP datagram's greatest length bounds what may be cut, headers included.
constexpr uint32_t kMostTsoBytes = 65'535;
/// The limit on segments that a PMD reports; 0 and 65,535 mean that it said nothing.
uint16_t said(uint16_t n) { return n == 0 ? UINT16_MAX : n; }

uint16_t max_segments(const rte_eth_dev_info& info, const Offloads& offloads, uint16_t tx_ring) {
  if ((offloads.tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) == 0) return 1;
  const uint16_t reported = std::min(said(info.tx_desc_lim.nb_seg_max), said(info.tx_desc_lim.nb_mtu_seg_max));
  const auto by_ring = static_cast<uint16_t>(std::max(tx_ring / 4, 1));
  if (reported == UINT16_MAX && info.tx_desc_lim.nb_seg_max == 0) return std::min(kUnsaidSegments, by_ring);
  return std::min({reported, kMostSegments, by_ring});
}

}  // namespace

Offloads choose_offloads(const DeviceSpec& spec, const conf::Interface& interface, const rte_eth_dev_info& info) {
  Offloads want;
  want.tx = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  want.rx = RTE_ETH_RX_OFFLOAD_SCATTER;
  if (interface.checksum) {
    want.tx |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    want.rx |= RTE_ETH_RX_OFFLOAD_CHECKSUM;
    if (interface.tso) want.tx |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
    if (spec.lro) want.rx |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
  }
  want.tx &= info.tx_offload_capa;
  want.rx &= info.rx_offload_capa;
  return want;
}

link::DeviceLimits make_limits(const DeviceSpec& spec, const conf::Interface& interface, const rte_eth_dev_info& info,
                               const Offloads& offloads, const GuestFeatures& guest, uint16_t mtu) {
  link::DeviceLimits limits;
  limits.mtu = mtu;
  limits.max_segments = max_segments(info, offloads, spec.tx_ring);
  limits.headroom = spec.is_virtio() ? kVirtioHeader : 0;
  limits.tx_ip_checksum = (offloads.tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  limits.tx_checksum_v4 = (offloads.tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
  limits.tso_v4 = (offloads.tx & RTE_ETH_TX_OFFLOAD_TCP_TSO) != 0;
  limits.tso_v6 = limits.tso_v4;
  if (spec.is_vhost()) {
    // The PMD never offers segmentation, but passes large frames on to a guest that agreed to take them; and without
    // the guest's consent it computes checksums itself, which we do no worse.
    limits.tx_checksum_v4 = limits.tx_checksum_v4 && guest.known && guest.checksum;
    limits.tso_v4 = interface.tso && limits.tx_checksum_v4 && guest.tso_v4;
    limits.tso_v6 = interface.tso && limits.tx_checksum_v4 && guest.tso_v6;
  }
  limits.tx_checksum_v6 = limits.tx_checksum_v4;
  limits.tso_v4 = limits.tso_v4 && limits.tx_checksum_v4;
  limits.tso_v6 = limits.tso_v6 && limits.tx_checksum_v6;
  limits.max_tso_bytes = limits.tso_v4 || limits.tso_v6 ? kMostTsoBytes : 0;
  return limits;
}

}  // namespace millrace::drivers::dpdk
