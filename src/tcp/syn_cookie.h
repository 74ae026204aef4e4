// SYN cookies (RFC 4987 3.6): what a half-open entry would remember, inside the SYN-ACK's own numbers.
//
// The initial sequence number: 1 bit for the key's epoch, 3 bits for the peer's MSS (rounded down to one of eight), 28
// bits of SipHash over both addresses, both ports and the peer's initial sequence number. A key lives for kLife and is
// taken for as long again, so that a cookie is good for one to two minutes; a guess is right once in 2^28 times. What
// the peer offered beside the MSS lies in the low bits of the SYN-ACK's timestamp, which the peer's ACK echoes: whoever
// changes them changes only its own connection. The offset of the connection's timestamps is the other half of the
// hash.
#pragma once

#include <cstdint>
#include <optional>

#include "base/rotating_key.h"
#include "tcp/types.h"

namespace millrace::tcp {

class SynCookies {
 public:
  explicit SynCookies(const base::SipKey& secret) : keys_(secret) {}

  static constexpr Duration kLife = seconds(64);

  struct Made {
    Seq32 iss;
    uint32_t ts_offset = 0;
  };
  struct Found {
    uint16_t mss = 0;
    uint32_t ts_offset = 0;
  };

  /// What answers a SYN of sequence number `irs`; `mss` is the peer's.
  [[nodiscard]] Made make(const Tuple& t, Seq32 irs, uint16_t mss, Instant now);
  /// The peer's MSS and our offset, if `iss` is what make() gave for this tuple and `irs` not too long ago.
  [[nodiscard]] std::optional<Found> check(const Tuple& t, Seq32 irs, Seq32 iss, Instant now);
  /// Whether a cookie that is still good may be on its way: without one, an ACK needs no hash.
  [[nodiscard]] bool outstanding(Instant now) const { return made_ && epoch_of(now) - last_ <= 1; }

 private:
  [[nodiscard]] static uint64_t epoch_of(Instant now) { return static_cast<uint64_t>(now.ns() / kLife.ns()); }

  base::RotatingKey keys_;
  uint64_t last_ = 0;  ///< epoch of the last cookie
  bool made_ = false;
};

/// What a SYN offers beside its MSS, as six bits.
struct SynOffer {
  static constexpr uint32_t kBits = 63;
  static constexpr uint8_t kNoScale = 15;

  uint8_t wscale = kNoScale;
  bool sack = false;
  bool ecn = false;

  [[nodiscard]] constexpr uint32_t bits() const { return wscale | (sack ? 16u : 0u) | (ecn ? 32u : 0u); }
  [[nodiscard]] static constexpr SynOffer of(uint32_t timestamp) {
    return {static_cast<uint8_t>(timestamp & 15), (timestamp & 16) != 0, (timestamp & 32) != 0};
  }
  /// The newest timestamp with these bits that is not later than `now`: those that follow must not go back.
  [[nodiscard]] constexpr uint32_t put_into(uint32_t now) const {
    const uint32_t stamp = (now & ~kBits) | bits();
    return stamp - now <= kBits && stamp != now ? stamp - (kBits + 1) : stamp;
  }
  bool operator==(const SynOffer&) const = default;
};

}  // namespace millrace::tcp
