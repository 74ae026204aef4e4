#include "drivers/tap/virtio.h"

#include <arpa/inet.h>

#include <cstring>

#include "wire/checksum.h"

namespace millrace::drivers::tap {
namespace {

constexpr uint16_t kIpChecksumOffset = 10;
constexpr uint16_t kTcpChecksumOffset = 16;
constexpr uint16_t kUdpChecksumOffset = 6;

bool wants_checksum(const pkt::Packet& frame) { return (frame.flags & (pkt::kTxL4Mask | pkt::kTxTcpSeg)) != 0; }

bool is_udp(const pkt::Packet& frame) { return (frame.flags & pkt::kTxL4Mask) == pkt::kTxUdpChecksum; }

}  // namespace

Header header_for(const pkt::Packet& frame) {
  Header header{};
  if (!wants_checksum(frame)) return header;
  const uint32_t l4_at = frame.l2_len() + frame.l3_len();
  header.flags = Header::kNeedsChecksum;
  header.csum_start = static_cast<uint16_t>(l4_at);
  header.csum_offset = is_udp(frame) ? kUdpChecksumOffset : kTcpChecksumOffset;
  const uint32_t headers = l4_at + frame.l4_len();
  // A frame that fits one segment must not be marked for cutting.
  if ((frame.flags & pkt::kTxTcpSeg) != 0 && frame.total > headers + frame.seg_size()) {
    header.gso_type = (frame.flags & pkt::kTxIpv6) != 0 ? Header::kGsoTcp6 : Header::kGsoTcp4;
    header.gso_size = static_cast<uint16_t>(frame.seg_size());
    header.hdr_len = static_cast<uint16_t>(headers);
  }
  return header;
}

void apply_header(const Header& header, pkt::Packet& frame) {
  if ((header.flags & Header::kNeedsChecksum) != 0) {
    frame.flags |= pkt::kRxL4ChecksumNone;
  } else if ((header.flags & Header::kDataValid) != 0) {
    frame.flags |= pkt::kRxL4ChecksumGood;
  }
  const uint8_t type = header.gso_type & ~Header::kGsoEcn;
  if (type == Header::kGsoTcp4 || type == Header::kGsoTcp6) {
    frame.flags |= pkt::kRxMerged;
    frame.set_tx_lengths(0, 0, 0, header.gso_size);
  }
}

void fill_ip_checksum(pkt::Packet& frame) {
  const uint32_t length = frame.l3_len();
  if ((frame.flags & pkt::kTxIpChecksum) == 0 || frame.l2_len() + length > frame.len) return;
  std::byte* header = frame.data() + frame.l2_len();
  wire::store_be16(header + kIpChecksumOffset, 0);
  wire::store_be16(header + kIpChecksumOffset, wire::finish(wire::sum_bytes(header, length)));
}

LengthInChecksum::LengthInChecksum(pkt::Packet& frame) {
  if ((frame.flags & pkt::kTxTcpSeg) == 0) return;
  const uint32_t l4_at = frame.l2_len() + frame.l3_len();
  if (l4_at + kTcpChecksumOffset + sizeof(uint16_t) > frame.len) return;
  field_ = frame.data() + l4_at + kTcpChecksumOffset;
  std::memcpy(&before_, field_, sizeof before_);
  uint32_t sum = uint32_t{ntohs(before_)} + (frame.total - l4_at);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  const uint16_t after = htons(static_cast<uint16_t>(sum));
  std::memcpy(field_, &after, sizeof after);
}

void LengthInChecksum::undo() {
  if (field_ != nullptr) std::memcpy(field_, &before_, sizeof before_);
}

}  // namespace millrace::drivers::tap
