#include "impair/frame.h"

#include "wire/bytes.h"
#include "wire/ethernet.h"

namespace millrace::impair {
namespace {

using wire::load_be16;

constexpr size_t kIp = wire::kEthernetSize;
constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;

wire::EtherType type_of(std::span<const std::byte> frame) {
  if (frame.size() < kIp + kIpv4Header) return wire::EtherType{};
  return static_cast<wire::EtherType>(load_be16(frame.data() + 12));
}

}  // namespace

uint32_t length_by_header(std::span<const std::byte> frame) {
  const wire::EtherType type = type_of(frame);
  // A length of zero is what the kernel writes into packets of more than 64 KiB.
  if (type == wire::EtherType::kIpv4) {
    const uint16_t length = load_be16(frame.data() + kIp + 2);
    return static_cast<uint32_t>(kIp) + (length == 0 ? 65'536 : length);
  }
  if (type == wire::EtherType::kIpv6) {
    return static_cast<uint32_t>(kIp + kIpv6Header) + load_be16(frame.data() + kIp + 4);
  }
  return 0;
}

bool mark_congestion(std::span<std::byte> frame) {
  const wire::EtherType type = type_of(frame);
  const bool v4 = type == wire::EtherType::kIpv4;
  if (!v4 && type != wire::EtherType::kIpv6) return false;
  std::byte* const ip = frame.data() + kIp;
  const uint16_t word = load_be16(ip);  // version, class with its two ECN bits, and more
  const uint16_t experienced = v4 ? 0x0003 : 0x0030;
  if ((word & experienced) == 0 || (word & experienced) == experienced) return false;
  const auto marked = static_cast<uint16_t>(word | experienced);
  wire::store_be16(ip, marked);
  if (!v4) return true;
  // RFC 1624: the checksum follows the word.
  uint32_t sum = static_cast<uint16_t>(~load_be16(ip + 10)) + uint32_t{static_cast<uint16_t>(~word)} + marked;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  wire::store_be16(ip + 10, static_cast<uint16_t>(~sum));
  return true;
}

}  // namespace millrace::impair
