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

}  // namespace millrace::sim
