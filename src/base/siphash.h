// SipHash-2-4 (Aumasson and Bernstein): the keyed function behind initial sequence numbers, ports and table hashes
// that an attacker must not predict.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::base {

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

/// 64-bit SipHash-2-4 of `bytes` under `key`.
[[nodiscard]] uint64_t siphash(const SipKey& key, std::span<const std::byte> bytes);

}  // namespace millrace::base
