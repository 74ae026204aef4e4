// Proof at compile time that pkt::Packet stands where rte_mbuf stands, pkt::ExtInfo where rte_mbuf_ext_shared_info
// stands, and that every flag has DPDK's value. If a DPDK release moves a field, this file stops the build.
#include <rte_mbuf.h>

#include "pkt/packet.h"

namespace millrace::drivers {
namespace {

using pkt::ExtInfo;
using pkt::Packet;
using Shared = rte_mbuf_ext_shared_info;

template <size_t kOurs, size_t kTheirs, size_t kOurSize, size_t kTheirSize>
constexpr bool same_place() {
  return kOurs == kTheirs && kOurSize == kTheirSize;
}

#define MR_SAME_FIELD(ours, theirs)                                                                  \
  static_assert(same_place<offsetof(Packet, ours), offsetof(rte_mbuf, theirs), sizeof(Packet::ours), \
                           sizeof(rte_mbuf::theirs)>())

static_assert(sizeof(Packet) == sizeof(rte_mbuf));
static_assert(alignof(Packet) == alignof(rte_mbuf));
MR_SAME_FIELD(buf, buf_addr);
MR_SAME_FIELD(iova, buf_iova);
MR_SAME_FIELD(off, data_off);
MR_SAME_FIELD(refs, refcnt);
MR_SAME_FIELD(segs, nb_segs);
MR_SAME_FIELD(port, port);
MR_SAME_FIELD(flags, ol_flags);
MR_SAME_FIELD(ptype, packet_type);
MR_SAME_FIELD(total, pkt_len);
MR_SAME_FIELD(len, data_len);
MR_SAME_FIELD(vlan, vlan_tci);
MR_SAME_FIELD(rss, hash.rss);
MR_SAME_FIELD(fdir_hi, hash.fdir.hi);
MR_SAME_FIELD(vlan_outer, vlan_tci_outer);
MR_SAME_FIELD(buf_len, buf_len);
MR_SAME_FIELD(pool, pool);
MR_SAME_FIELD(next, next);
MR_SAME_FIELD(tx_offload, tx_offload);
MR_SAME_FIELD(ext, shinfo);
MR_SAME_FIELD(priv_size, priv_size);
MR_SAME_FIELD(timesync, timesync);
MR_SAME_FIELD(dynamic, dynfield1);
#undef MR_SAME_FIELD

static_assert(sizeof(ExtInfo) == sizeof(Shared));
static_assert(offsetof(ExtInfo, release) == offsetof(Shared, free_cb));
static_assert(offsetof(ExtInfo, opaque) == offsetof(Shared, fcb_opaque));
static_assert(offsetof(ExtInfo, refs) == offsetof(Shared, refcnt) && sizeof(ExtInfo::refs) == sizeof(Shared::refcnt));

// tx_offload: l2_len:7 l3_len:9 l4_len:8 tso_segsz:16, low bits first.
static_assert(RTE_MBUF_L2_LEN_OFS == 0 && RTE_MBUF_L2_LEN_BITS == 7);
static_assert(RTE_MBUF_L3_LEN_OFS == 7 && RTE_MBUF_L3_LEN_BITS == 9);
static_assert(RTE_MBUF_L4_LEN_OFS == 16 && RTE_MBUF_L4_LEN_BITS == 8);
static_assert(RTE_MBUF_TSO_SEGSZ_OFS == 24 && RTE_MBUF_TSO_SEGSZ_BITS == 16);

static_assert(pkt::kRxIpChecksumBad == RTE_MBUF_F_RX_IP_CKSUM_BAD);
static_assert(pkt::kRxIpChecksumGood == RTE_MBUF_F_RX_IP_CKSUM_GOOD);
static_assert(pkt::kRxL4ChecksumBad == RTE_MBUF_F_RX_L4_CKSUM_BAD);
static_assert(pkt::kRxL4ChecksumGood == RTE_MBUF_F_RX_L4_CKSUM_GOOD);
static_assert(pkt::kRxL4ChecksumNone == RTE_MBUF_F_RX_L4_CKSUM_NONE);
static_assert(pkt::kRxL4ChecksumMask == RTE_MBUF_F_RX_L4_CKSUM_MASK);
static_assert(pkt::kRxMerged == RTE_MBUF_F_RX_LRO);
static_assert(pkt::kRxRssHash == RTE_MBUF_F_RX_RSS_HASH);
// DPDK gives the free flags away from the lowest one up.
static_assert(pkt::kRxShared >= RTE_MBUF_F_FIRST_FREE && pkt::kRxShared <= RTE_MBUF_F_LAST_FREE);
static_assert(pkt::kRxHopsMask << pkt::kRxHopsShift < pkt::kRxShared &&
              1ULL << pkt::kRxHopsShift >= RTE_MBUF_F_FIRST_FREE);
static_assert(pkt::kRxLooped >= RTE_MBUF_F_FIRST_FREE && pkt::kRxLooped <= RTE_MBUF_F_LAST_FREE);
static_assert(pkt::kTxTcpSeg == RTE_MBUF_F_TX_TCP_SEG);
static_assert(pkt::kTxTcpChecksum == RTE_MBUF_F_TX_TCP_CKSUM);
static_assert(pkt::kTxUdpChecksum == RTE_MBUF_F_TX_UDP_CKSUM);
static_assert(pkt::kTxL4Mask == RTE_MBUF_F_TX_L4_MASK);
static_assert(pkt::kTxIpChecksum == RTE_MBUF_F_TX_IP_CKSUM);
static_assert(pkt::kTxIpv4 == RTE_MBUF_F_TX_IPV4);
static_assert(pkt::kTxIpv6 == RTE_MBUF_F_TX_IPV6);
static_assert(pkt::kExternal == RTE_MBUF_F_EXTERNAL);

static_assert(pkt::kHeadroom == RTE_PKTMBUF_HEADROOM);

}  // namespace
}  // namespace millrace::drivers
