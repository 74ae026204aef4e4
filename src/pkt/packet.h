// Packet: one segment of a frame, or the head of a chain of segments. Its 128 bytes stand exactly where a DPDK
// rte_mbuf stands, field for field and flag for flag, so that in the DPDK build a received mbuf *is* a Packet and no
// metadata is copied (docs/ARCHITECTURE.md, "Where Packet lies", has the measurement). drivers/dpdk asserts every
// offset. The core itself knows no rte_* name; in a build without DPDK the same struct comes from plain pools.
//
// Ownership: a Packet pointer is a counted reference to its whole chain. Whoever takes a Packet* as an argument named
// "takes" must pass it on or free() it through the PacketCache.
//
// Checksum and segmentation metadata are the device conventions that DPDK and virtio share: flags, the lengths of the
// L2, L3 and L4 headers, and the segment size. On transmit with kTxTcpSeg the TCP checksum field holds the pseudo-
// header sum without the length; with kTxTcpChecksum alone, the pseudo-header sum with the length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"

namespace millrace::pkt {

// Receive flags.
inline constexpr uint64_t kRxIpChecksumBad = 1ULL << 4;
inline constexpr uint64_t kRxIpChecksumGood = 1ULL << 7;
inline constexpr uint64_t kRxL4ChecksumBad = 1ULL << 3;
inline constexpr uint64_t kRxL4ChecksumGood = 1ULL << 8;
/// The sender's stack has not filled the L4 checksum (virtual links); the data is as good as verified.
inline constexpr uint64_t kRxL4ChecksumNone = kRxL4ChecksumBad | kRxL4ChecksumGood;
inline constexpr uint64_t kRxL4ChecksumMask = kRxL4ChecksumBad | kRxL4ChecksumGood;
inline constexpr uint64_t kRxMerged = 1ULL << 16;  ///< several segments merged by the device (LRO)
inline constexpr uint64_t kRxRssHash = 1ULL << 1;
// Of frames between workers; no device sets them.
inline constexpr uint64_t kRxShared = 1ULL << 39;  ///< every worker has been given it, or a copy
inline constexpr uint64_t kRxLooped = 1ULL << 40;  ///< a socket of this host sent it to a group; it was on no link
/// How many processes that share an address have looked at it in vain: six bits.
inline constexpr uint32_t kRxHopsShift = 32;
inline constexpr uint64_t kRxHopsMask = 63;

// Transmit flags.
inline constexpr uint64_t kTxTcpSeg = 1ULL << 50;
inline constexpr uint64_t kTxTcpChecksum = 1ULL << 52;
inline constexpr uint64_t kTxUdpChecksum = 3ULL << 52;
inline constexpr uint64_t kTxL4Mask = 3ULL << 52;
inline constexpr uint64_t kTxIpChecksum = 1ULL << 54;
inline constexpr uint64_t kTxIpv4 = 1ULL << 55;
inline constexpr uint64_t kTxIpv6 = 1ULL << 56;

/// The data lies in memory counted by `ext`, not behind the Packet.
inline constexpr uint64_t kExternal = 1ULL << 61;

/// Counts the references to a piece of memory outside any Packet. When a device or the core drops the last one,
/// `release` is called. Stands where rte_mbuf_ext_shared_info stands.
struct ExtInfo {
  void (*release)(void* addr, void* opaque) = nullptr;
  void* opaque = nullptr;
  uint16_t refs = 0;
  uint16_t marks = 0;  ///< the owner's own; devices leave it alone
};

struct [[gnu::may_alias]] alignas(64) Packet {
  // First line.
  std::byte* buf;       ///< start of the buffer: headroom, data, tailroom
  uint64_t iova;        ///< address of `buf` as devices see it
  uint16_t off;         ///< data starts at buf + off
  uint16_t refs;        ///< references to this segment
  uint16_t segs;        ///< segments in the chain (head only)
  uint16_t port;        ///< device port it came from (drivers only)
  uint64_t flags;       ///< kRx*, kTx*, kExternal
  uint32_t ptype;       ///< device's idea of the packet type; the core does not trust it
  uint32_t total;       ///< bytes in the whole chain (head only)
  uint16_t len;         ///< bytes in this segment
  uint16_t vlan;        ///< VLAN tag, when stripped by the device
  uint32_t rss;         ///< hash computed by the device, if kRxRssHash
  uint32_t fdir_hi;     ///< device's
  uint16_t vlan_outer;  ///< device's
  uint16_t buf_len;     ///< bytes at `buf`
  void* pool;           ///< owner, known to the PacketPool that made it

  // Second line.
  Packet* next;         ///< next segment of the chain
  uint64_t tx_offload;  ///< l2_len:7 l3_len:9 l4_len:8 seg_size:16, low bits first
  ExtInfo* ext;         ///< with kExternal
  uint16_t priv_size;   ///< device's
  uint16_t timesync;    ///< device's
  uint8_t dynamic[36];  ///< device's dynamic fields

  [[nodiscard]] std::byte* data() const { return buf + off; }
  template <class T = std::byte>
  [[nodiscard]] T* at(uint32_t offset) const {
    return reinterpret_cast<T*>(buf + off + offset);
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return {buf + off, len}; }
  [[nodiscard]] uint16_t headroom() const { return off; }
  [[nodiscard]] uint16_t tailroom() const { return static_cast<uint16_t>(buf_len - off - len); }

  /// Drops `n` bytes from the front of a head segment that holds them.
  void pull(uint16_t n) {
    MR_ASSERT(n <= len);
    off = static_cast<uint16_t>(off + n);
    len = static_cast<uint16_t>(len - n);
    total -= n;
  }
  /// Grows the head segment by `n` bytes in its headroom and returns the new start.
  std::byte* push(uint16_t n) {
    MR_ASSERT(n <= off);
    off = static_cast<uint16_t>(off - n);
    len = static_cast<uint16_t>(len + n);
    total += n;
    return data();
  }
  /// Grows a single-segment packet by `n` bytes in its tailroom and returns where they start.
  std::byte* append(uint16_t n) {
    MR_ASSERT(n <= tailroom() && next == nullptr);
    std::byte* p = data() + len;
    len = static_cast<uint16_t>(len + n);
    total += n;
    return p;
  }

  void set_tx_lengths(uint32_t l2, uint32_t l3, uint32_t l4, uint32_t seg_size) {
    tx_offload = l2 | uint64_t{l3} << 7 | uint64_t{l4} << 16 | uint64_t{seg_size} << 24;
  }
  [[nodiscard]] uint32_t l2_len() const { return tx_offload & 0x7f; }
  [[nodiscard]] uint32_t l3_len() const { return (tx_offload >> 7) & 0x1ff; }
  [[nodiscard]] uint32_t l4_len() const { return (tx_offload >> 16) & 0xff; }
  /// Payload bytes of each segment that the device is to cut (kTxTcpSeg), or that it merged (kRxMerged).
  [[nodiscard]] uint32_t seg_size() const { return (tx_offload >> 24) & 0xffff; }
};
static_assert(sizeof(Packet) == 128 && offsetof(Packet, next) == 64);

/// Headroom that every packet handed to the core, and every packet that the core makes, has before its data.
inline constexpr uint16_t kHeadroom = 128;
/// Bytes of data that one buffer of a frame pool holds behind the headroom.
inline constexpr uint16_t kFrameRoom = 2048;

/// Appends the chain `tail` (taken) to the chain `head`.
void chain(Packet& head, Packet* tail);

/// memcpy out of the compiler's sight: where it knows a bound of the length, as of a segment's, it makes a `rep movs`
/// of it, which starts slowly.
void copy_bytes(std::byte* to, const std::byte* from, size_t n);

/// Copies up to out.size() bytes, starting `offset` bytes into the chain; returns how many there were.
size_t copy_out(const Packet& head, uint32_t offset, std::span<std::byte> out);

}  // namespace millrace::pkt
