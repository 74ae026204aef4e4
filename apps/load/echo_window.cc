// The payload of numbered requests. See echo_window.h.
#include "load/echo_window.h"

#include <cstring>

namespace millrace::load {
namespace {

uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
  return x ^ x >> 32;
}

}  // namespace

// The sequence number, then words that follow from it and the flow.
void stamp_datagram(std::span<std::byte> into, uint32_t flow, uint64_t sequence) {
  std::memcpy(into.data(), &sequence, 8);
  uint64_t word = mixed(sequence * 0x9e3779b97f4a7c15ULL + flow);
  size_t at = 8;
  for (; at + 8 <= into.size(); at += 8, word += 0x9e3779b97f4a7c15ULL) std::memcpy(&into[at], &word, 8);
  std::memcpy(into.data() + at, &word, into.size() - at);
}

std::optional<uint64_t> read_stamp(std::span<const std::byte> payload, uint32_t flow, size_t size) {
  if (payload.size() != size) return std::nullopt;
  uint64_t sequence = 0;
  std::memcpy(&sequence, payload.data(), 8);
  uint64_t word = mixed(sequence * 0x9e3779b97f4a7c15ULL + flow);
  uint64_t wrong = 0;
  size_t at = 8;
  for (; at + 8 <= size; at += 8, word += 0x9e3779b97f4a7c15ULL) {
    uint64_t got = 0;
    std::memcpy(&got, &payload[at], 8);
    wrong |= got ^ word;
  }
  if (wrong != 0 || (at != size && std::memcmp(payload.data() + at, &word, size - at) != 0)) return std::nullopt;
  return sequence;
}

}  // namespace millrace::load
