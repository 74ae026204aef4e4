// A fast 64-bit digest for comparing runs and buffers. Not for secrets.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace millrace::sim {

inline uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

inline uint64_t hash_bytes(std::span<const uint8_t> data, uint64_t start = 0) {
  uint64_t h = start ^ (data.size() * 0x9e3779b97f4a7c15ULL);
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, data.data() + i, 8);
    h = (h ^ word) * 0x9fb21c651e98df25ULL;
    h ^= h >> 32;
  }
  uint64_t tail = 0;
  if (i < data.size()) std::memcpy(&tail, data.data() + i, data.size() - i);
  return mix64(h ^ tail);
}

}  // namespace millrace::sim
