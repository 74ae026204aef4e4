// SipHash-2-4 (Aumasson and Bernstein): the keyed function behind initial sequence numbers, ports, cookies and table
// hashes that an attacker must not predict.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::base {

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

/// Its inner state, for those below.
class SipState {
 public:
  explicit SipState(const SipKey& key)
      : v0_(key.k0 ^ 0x736f6d6570736575ULL),
        v1_(key.k1 ^ 0x646f72616e646f6dULL),
        v2_(key.k0 ^ 0x6c7967656e657261ULL),
        v3_(key.k1 ^ 0x7465646279746573ULL) {}

  void absorb(uint64_t word) {
    v3_ ^= word;
    round();
    round();
    v0_ ^= word;
  }
  [[nodiscard]] uint64_t finish() {
    v2_ ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }
  uint64_t v0_, v1_, v2_, v3_;
};

/// 64-bit SipHash-2-4 of `bytes` under `key`.
[[nodiscard]] uint64_t siphash(const SipKey& key, std::span<const std::byte> bytes);

/// The same of whole words, each standing for its eight bytes from the least significant on; inline.
template <size_t N>
[[nodiscard]] uint64_t siphash(const SipKey& key, const std::array<uint64_t, N>& words) {
  SipState s(key);
  for (const uint64_t word : words) s.absorb(word);
  s.absorb(uint64_t{8 * N} << 56);
  return s.finish();
}

}  // namespace millrace::base
