// Identifications of the datagrams that we fragment (RFC 6864 4.2, RFC 7739 5.3): nobody else can predict them, and
// those for one pair of addresses repeat only after a whole round of 65,536 (IPv4) or 2^32 (IPv6). A keyed hash of the
// pair gives where its sequence starts and which of a few shared counters moves it on.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "base/siphash.h"
#include "millrace/address.h"

namespace millrace::ip {

class DatagramIds {
 public:
  /// Of several workers each takes every so many-th number, so that what one sends is never mixed with another's.
  explicit DatagramIds(uint64_t seed, uint32_t workers = 1, uint32_t worker = 0)
      : shift_(static_cast<uint32_t>(std::bit_width(workers - 1))), worker_(worker), counters_(kCounters) {
    base::Rng rng(seed);
    key_ = {rng.next(), rng.next()};
    for (uint32_t& counter : counters_) counter = static_cast<uint32_t>(rng.next());
  }

  /// The next one; IPv4 uses the low 16 bits. `protocol` is part of what must not repeat in IPv4, 0 in IPv6.
  [[nodiscard]] uint32_t next(const IpAddr& source, const IpAddr& destination, uint8_t protocol) {
    std::array<std::byte, 33> bytes;
    std::memcpy(bytes.data(), source.bytes().data(), 16);
    std::memcpy(bytes.data() + 16, destination.bytes().data(), 16);
    bytes[32] = std::byte{protocol};
    const uint64_t hash = base::siphash(key_, bytes);
    const uint32_t number = static_cast<uint32_t>(hash) + counters_[(hash >> 32) % kCounters]++;
    return number << shift_ | worker_;
  }

 private:
  static constexpr size_t kCounters = 1'024;
  uint32_t shift_;
  uint32_t worker_;
  base::SipKey key_;
  std::vector<uint32_t> counters_;
};

}  // namespace millrace::ip
