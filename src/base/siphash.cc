#include "base/siphash.h"

#include <cstring>

namespace millrace::base {

uint64_t siphash(const SipKey& key, std::span<const std::byte> bytes) {
  SipState s(key);
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    s.absorb(word);
  }
  uint64_t last = static_cast<uint64_t>(bytes.size()) << 56;
  for (size_t i = 0; at + i < bytes.size(); ++i) {
    last |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
  }
  s.absorb(last);
  return s.finish();
}

}  // namespace millrace::base
