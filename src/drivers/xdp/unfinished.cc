#include "drivers/xdp/unfinished.h"

#include "wire/bytes.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"
#include "wire/tcp.h"

namespace millrace::drivers::xdp {
namespace {

using wire::load_be16;
using wire::load_u8;

constexpr uint32_t kEthernet = 14;
constexpr uint32_t kIp4Header = 20;
constexpr uint32_t kIp6Header = 40;
constexpr uint16_t kTypeIp4 = 0x0800;
constexpr uint16_t kTypeIp6 = 0x86dd;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kTcp = 6;
constexpr uint32_t kUdpChecksumAt = 6;

struct Transport {
  uint8_t protocol = 0;
  uint32_t at = 0;         // in the frame
  uint32_t length = 0;     // header and payload
  uint64_t addresses = 0;  // partial sum
};

// A protocol of 0: none that could be unfinished.
Transport find_transport(const pkt::Packet& frame) {
  const std::byte* ip = frame.data() + kEthernet;
  const uint16_t type = load_be16(frame.data() + 12);
  if (type == kTypeIp4 && frame.len >= kEthernet + kIp4Header) {
    const uint32_t header = (load_u8(ip) & 15u) * 4;
    const uint32_t total = load_be16(ip + 2);
    if (load_u8(ip) >> 4 != 4 || header < kIp4Header || total < header || (load_be16(ip + 6) & 0x3fff) != 0) return {};
    return {load_u8(ip + 9), kEthernet + header, total - header, wire::sum_bytes(ip + 12, 8)};
  }
  if (type == kTypeIp6 && frame.len >= kEthernet + kIp6Header) {
    return {load_u8(ip + 6), kEthernet + kIp6Header, load_be16(ip + 4), wire::sum_bytes(ip + 8, 32)};
  }
  return {};
}

}  // namespace

void mark_unfinished_checksum(pkt::Packet& frame) {
  if (frame.len < kEthernet) return;
  const Transport t = find_transport(frame);
  if (t.protocol != kTcp && t.protocol != kUdp) return;
  const uint32_t field = t.at + (t.protocol == kTcp ? wire::kTcpChecksumAt : kUdpChecksumAt);
  if (field + 2 > frame.len) return;
  const uint64_t pseudo = wire::add_sums(t.addresses, wire::sum_be16(t.protocol) + wire::sum_be32(t.length));
  if (load_be16(frame.data() + field) == wire::fold(pseudo)) frame.flags |= pkt::kRxL4ChecksumNone;
}

bool mark_merged(pkt::Packet& frame, uint16_t mtu) {
  if (frame.len < kEthernet) return false;
  const Transport t = find_transport(frame);
  if (t.protocol != kTcp || t.at + wire::kTcpMinSize > frame.len) return false;
  const uint32_t headers = t.at - kEthernet + (load_u8(frame.data() + t.at + 12) >> 4) * 4u;
  if (headers >= mtu) return false;
  frame.flags |= pkt::kRxMerged;
  frame.set_tx_lengths(0, 0, 0, mtu - headers);
  return true;
}

}  // namespace millrace::drivers::xdp
