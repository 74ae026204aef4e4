// Packet metadata <-> the virtio_net_hdr in front of each frame on a TAP (virtio 1.2, 5.1.6). Host byte order, which
// is what the kernel's TAP uses on little-endian machines.
#pragma once

#include <cstdint>

#include "pkt/packet.h"

namespace millrace::drivers::tap {

/// virtio_net_hdr without the count of merged buffers. (The kernel's own header is not C++.)
struct Header {
  static constexpr uint8_t kNeedsChecksum = 1;  ///< VIRTIO_NET_HDR_F_NEEDS_CSUM
  static constexpr uint8_t kDataValid = 2;      ///< VIRTIO_NET_HDR_F_DATA_VALID
  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoEcn = 0x80;      ///< joins a type: the segments carry CWR

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t hdr_len = 0;
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;  ///< from csum_start
};
static_assert(sizeof(Header) == 10);

/// The header for a frame to be sent, from its flags and lengths.
[[nodiscard]] Header header_for(const pkt::Packet& frame);

/// Sets the receive flags of a frame that came with `header`.
void apply_header(const Header& header, pkt::Packet& frame);

/// Fills the IPv4 header checksum that the core left to the device (kTxIpChecksum): a TAP has no such offload.
void fill_ip_checksum(pkt::Packet& frame);

/// A frame that the kernel is to cut carries a pseudo-header sum that includes the TCP length, while the core leaves it
/// out (pkt/packet.h). Adds it in place; returns what stood there before, for undo().
class LengthInChecksum {
 public:
  explicit LengthInChecksum(pkt::Packet& frame);
  void undo();

 private:
  std::byte* field_ = nullptr;
  uint16_t before_ = 0;
};

}  // namespace millrace::drivers::tap
