#include "sim/toeplitz.h"

#include <cstring>

#include "base/assert.h"

namespace millrace::sim {

uint32_t toeplitz(const RssKey& key, std::span<const uint8_t> input) {
  MR_ASSERT(input.size() + 4 <= key.size());
  uint32_t hash = 0;
  uint32_t window = load32(key.data());
  for (size_t i = 0; i < input.size(); ++i) {
    for (int bit = 7; bit >= 0; --bit) {
      if ((input[i] >> bit & 1) != 0) hash ^= window;
      window = window << 1 | (key[i + 4] >> bit & 1u);
    }
  }
  return hash;
}

uint32_t rss_hash(const RssKey& key, const TcpView& view) {
  std::array<uint8_t, 36> input{};
  const size_t width = view.v6 ? 16 : 4;
  std::memcpy(input.data(), view.source.bytes().data() + 16 - width, width);
  std::memcpy(input.data() + width, view.destination.bytes().data() + 16 - width, width);
  store16(&input[2 * width], view.source_port);
  store16(&input[2 * width + 2], view.destination_port);
  return toeplitz(key, {input.data(), 2 * width + 4});
}

uint32_t rss_hash(const RssKey& key, std::span<const uint8_t> frame) {
  constexpr uint8_t kUdp = 17;
  constexpr size_t kIp = 14;
  if (frame.size() < kIp + 28) return 0;
  const uint8_t* ip = frame.data() + kIp;
  const bool v6 = load16(ip - 2) == kEthIpv6;
  if (!v6 && load16(ip - 2) != kEthIpv4) return 0;
  if (v6 && frame.size() < kIp + 48) return 0;
  const size_t addresses = v6 ? 32 : 8;
  const size_t header = v6 ? 40 : 20;
  const bool ports = v6 ? ip[6] == kUdp : ip[0] == 0x45 && ip[9] == kUdp && (load16(ip + 6) & 0x3fff) == 0;
  std::array<uint8_t, 36> input{};
  std::memcpy(input.data(), ip + (v6 ? 8 : 12), addresses);
  std::memcpy(&input[addresses], ip + header, 4);
  return toeplitz(key, {input.data(), addresses + (ports ? 4 : 0)});
}

}  // namespace millrace::sim
