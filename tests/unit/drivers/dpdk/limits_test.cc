// From what a port reports to what the core may rely on.
#include "drivers/dpdk/limits.h"

#include <gtest/gtest.h>

namespace millrace::drivers::dpdk {
namespace {

constexpr uint64_t kAllTx = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
                            RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;

rte_eth_dev_info capable(uint64_t tx = kAllTx) {
  rte_eth_dev_info info{};
  info.tx_offload_capa = tx;
  info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER;
  info.tx_desc_lim.nb_seg_max = UINT16_MAX;
  info.tx_desc_lim.nb_mtu_seg_max = UINT16_MAX;
  return info;
}

struct Case {
  DeviceSpec spec = *parse_spec("0000:03:00.0");
  conf::Interface interface {};
  rte_eth_dev_info info = capable();
  GuestFeatures guest{};
  [[nodiscard]] link::DeviceLimits limits() const {
    return make_limits(spec, interface, info, choose_offloads(spec, interface, info), guest, 1500);
  }
};

TEST(DpdkLimits, PassOnWhatTheDeviceOffers) {
  const auto limits = Case{}.limits();
  EXPECT_TRUE(limits.tso_v4 && limits.tso_v6 && limits.tx_checksum_v4 && limits.tx_checksum_v6 &&
              limits.tx_ip_checksum);
  EXPECT_EQ(limits.max_tso_bytes, 65'535U);
  EXPECT_EQ(limits.max_segments, 64);
  EXPECT_EQ(limits.mtu, 1500);
  EXPECT_EQ(limits.headroom, 0);
}

TEST(DpdkLimits, OfferNothingWhereTheDeviceOffersNothing) {
  Case c;
  c.info = capable(0);
  const auto limits = c.limits();
  EXPECT_FALSE(limits.tso_v4 || limits.tso_v6 || limits.tx_checksum_v4 || limits.tx_checksum_v6 ||
               limits.tx_ip_checksum);
  EXPECT_EQ(limits.max_tso_bytes, 0U);
  EXPECT_EQ(limits.max_segments, 1);
}

TEST(DpdkLimits, ObeyTheUsersSwitches) {
  Case c;
  c.interface.tso = false;
  EXPECT_FALSE(c.limits().tso_v4);
  EXPECT_TRUE(c.limits().tx_checksum_v4);
  c.interface.checksum = false;
  EXPECT_FALSE(c.limits().tx_checksum_v4);
  EXPECT_EQ(choose_offloads(c.spec, c.interface, c.info).rx & RTE_ETH_RX_OFFLOAD_TCP_LRO, 0U);
}

TEST(DpdkLimits, NeverSegmentWithoutChecksums) {
  Case c;
  c.info = capable(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO);
  EXPECT_FALSE(c.limits().tso_v4);
  EXPECT_EQ(c.limits().max_tso_bytes, 0U);
}

TEST(DpdkLimits, TakeTheSmallerOfTheReportedSegmentLimits) {
  Case c;
  c.info.tx_desc_lim.nb_seg_max = 40;
  c.info.tx_desc_lim.nb_mtu_seg_max = 8;
  EXPECT_EQ(c.limits().max_segments, 8);
}

TEST(DpdkLimits, DistrustASegmentLimitOfZero) {
  Case c;
  c.info.tx_desc_lim.nb_seg_max = 0;
  c.info.tx_desc_lim.nb_mtu_seg_max = 0;
  EXPECT_EQ(c.limits().max_segments, 8);
}

TEST(DpdkLimits, LeaveRoomInASmallRing) {
  Case c;
  c.spec = *parse_spec("0000:03:00.0,tx_ring=64");
  EXPECT_EQ(c.limits().max_segments, 16);
}

TEST(DpdkLimits, AskVirtioForItsHeadersRoom) {
  Case c;
  c.spec = *parse_spec("net_virtio_user0,path=/s");
  EXPECT_GE(c.limits().headroom, 12);
}

TEST(DpdkLimits, OfVhostAreTheGuests) {
  Case c;
  c.spec = *parse_spec("net_vhost0,iface=/s,tso=1");
  c.info = capable(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
  EXPECT_FALSE(c.limits().tx_checksum_v4);
  c.guest = {true, true, true, false};
  EXPECT_TRUE(c.limits().tx_checksum_v4 && c.limits().tso_v4);
  EXPECT_FALSE(c.limits().tso_v6);
  c.guest = {true, false, true, true};
  EXPECT_FALSE(c.limits().tso_v4 || c.limits().tx_checksum_v4);
}

}  // namespace
}  // namespace millrace::drivers::dpdk
