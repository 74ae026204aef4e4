#include "steer/shard_map.h"

#include <bit>
#include <cstring>

#include "base/assert.h"
#include "base/rng.h"

namespace millrace::steer {
namespace {

constexpr size_t kEvenTable = 128;

std::array<uint8_t, kKeyBytes> random_key(base::Rng& rng) {
  std::array<uint8_t, kKeyBytes> key;
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(rng.next());
  return key;
}

}  // namespace

ShardMap::ShardMap(uint32_t workers, uint64_t seed) : workers_(workers) {
  MR_ASSERT(workers >= 1 && workers <= kMaxWorkers);
  mask_ = kEvenTable - 1;
  for (size_t i = 0; i < kEvenTable; ++i) table_[i] = static_cast<uint8_t>(i % workers);
  base::Rng rng(seed);
  take_key(random_key(rng));
  factor_ = rng.next() | 1;
}

ShardMap::ShardMap(uint32_t workers, const std::array<uint8_t, kKeyBytes>& key, std::span<const uint16_t> table,
                   bool device_hash)
    : workers_(workers), device_hash_(device_hash) {
  MR_ASSERT(workers >= 1 && workers <= kMaxWorkers);
  MR_ASSERT(std::has_single_bit(table.size()) && table.size() <= kMaxTable);
  // A small table is repeated until each worker could have two entries: the low bits choose as before.
  size_t entries = table.size();
  while (entries < size_t{2} * workers) entries *= 2;
  mask_ = static_cast<uint32_t>(entries - 1);
  std::array<uint32_t, kMaxWorkers> owned{};
  for (size_t i = 0; i < entries; ++i) {
    const uint32_t queue = table[i % table.size()];
    table_[i] = static_cast<uint8_t>(queue < workers ? queue : i % workers);
    ++owned[table_[i]];
  }
  const auto give = [&](size_t i, uint32_t worker) {
    if (owned[table_[i]] < 2) return;
    --owned[table_[i]];
    table_[i] = static_cast<uint8_t>(worker);
    ++owned[worker];
  };
  // A fair share, not one entry: the hash is linear, and all ports toward one peer may miss a single entry.
  for (uint32_t worker = 0; worker < workers; ++worker) {
    if (owned[worker] != 0) continue;
    for (size_t i = worker; i < entries; i += workers) give(i, worker);
    for (size_t i = 0; i < entries && owned[worker] == 0; ++i) give(i, worker);
  }
  take_key(key);
}

// Bit i of the input, counted from its most significant, adds the 32 bits of the key that start at bit i.
void ShardMap::take_key(const std::array<uint8_t, kKeyBytes>& key) {
  const auto window = [&](size_t bit) {
    uint64_t word = 0;
    for (size_t i = 0; i < 5; ++i) word = word << 8 | key[bit / 8 + i];
    return static_cast<uint32_t>(word >> (8 - bit % 8));
  };
  for (size_t nibble = 0; nibble < adds_.size(); ++nibble) {
    for (uint32_t value = 0; value < 16; ++value) {
      uint32_t sum = 0;
      for (size_t bit = 0; bit < 4; ++bit) {
        if ((value & (8u >> bit)) != 0) sum ^= window(nibble * 4 + bit);
      }
      adds_[nibble][value] = sum;
    }
  }
}

uint32_t ShardMap::hash(const Flow& flow) const {
  std::array<uint8_t, 36> input;
  const size_t width = flow.source.is_v4() ? 4 : 16;
  std::memcpy(input.data(), flow.source.bytes().data() + 16 - width, width);
  std::memcpy(input.data() + width, flow.destination.bytes().data() + 16 - width, width);
  const std::array<uint8_t, 4> ports = {
      static_cast<uint8_t>(flow.source_port >> 8), static_cast<uint8_t>(flow.source_port),
      static_cast<uint8_t>(flow.destination_port >> 8), static_cast<uint8_t>(flow.destination_port)};
  std::memcpy(input.data() + 2 * width, ports.data(), ports.size());
  uint32_t sum = 0;
  for (size_t i = 0; i < 2 * width + 4; ++i) {
    sum ^= adds_[2 * i][input[i] >> 4] ^ adds_[2 * i + 1][input[i] & 15];
  }
  return sum;
}

uint32_t ShardMap::of_fragment(const IpAddr& source, const IpAddr& destination, uint32_t id) const {
  return of_flow({source, destination, static_cast<uint16_t>(id >> 16), static_cast<uint16_t>(id)});
}

}  // namespace millrace::steer
