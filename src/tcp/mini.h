// State by storage: a handshake in progress and a TIME-WAIT each have an entry of their own, at most 64 bytes for IPv4
// and 96 for IPv6. Neither can send data; only a Conn can.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "tcp/types.h"

namespace millrace::tcp {

/// Offers of a peer's SYN that the entry keeps (HalfOpen::flags, TimeWait::flags).
enum MiniFlag : uint8_t {
  kMiniTimestamps = 1 << 0,
  kMiniSack = 1 << 1,
  kMiniWindowScale = 1 << 2,
  kMiniSynAgain = 1 << 3,              ///< the peer sent its SYN again: ours was lost
  kMiniEcn = 1 << 4,                   ///< granted
  kMiniFastOpen = 1 << 5,              ///< the SYN-ACK brings a cookie
  kMiniDeferred = 1 << 7,              ///< the handshake is complete, and its data awaited
  kMiniFastOpenExperimental = 1 << 6,  ///< in the option that asked for it
};

/// SYN-RECEIVED of a passive open.
struct HalfOpen {
  base::TimerNode timer;  ///< retransmits the SYN-ACK
  uint32_t gen = 0;
  uint32_t link = 0;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  Seq32 iss;
  Seq32 irs;
  uint32_t ts_recent = 0;
  uint32_t listener = 0;
  uint16_t window = 0;  ///< of the SYN, unscaled
  uint16_t mss = 0;
  uint8_t wscale : 4 = 0;
  uint8_t own_wscale : 4 = 0;  ///< what our SYN-ACK offered; settings may change meanwhile
  uint8_t flags = 0;
  uint8_t retries : 7 = 0;
  bool contested : 1 = false;  ///< another SYN came for the same addresses and ports
  uint8_t interface = 0;
  uint16_t own_window = 0;  ///< of our SYN-ACK, unscaled
  uint8_t ecn : 2 = 0;      ///< the IP header's ECN field of the newest SYN
  bool accurate_ecn : 1 = false;  ///< granted (RFC 9768), and not kMiniEcn
  bool not_ect : 1 = false;       ///< the peer sent its SYN without as well
};
static_assert(sizeof(HalfOpen) <= 56);

struct TimeWait {
  base::TimerNode timer;
  uint32_t gen = 0;
  uint32_t link = 0;
  uint16_t local_port = 0;
  uint16_t remote_port = 0;
  Seq32 snd_nxt;
  Seq32 rcv_nxt;
  uint32_t rcv_wnd = 0;
  uint32_t ts_recent = 0;
  uint32_t ts_offset = 0;
  uint8_t flags = 0;
  uint8_t rcv_wscale = 0;
  uint8_t traffic_class = 0;  ///< of what it answers
  uint8_t hop_limit = 0;
};
static_assert(sizeof(TimeWait) <= 56);

/// The two addresses, in the width of the family.
template <class Mini>
struct Mini4 : Mini {
  uint32_t local = 0;  // host order
  uint32_t remote = 0;
  void set_addresses(const IpAddr& l, const IpAddr& r) {
    local = l.v4_value();
    remote = r.v4_value();
  }
  [[nodiscard]] Tuple tuple() const {
    return {IpAddr::v4(local), IpAddr::v4(remote), this->local_port, this->remote_port};
  }
};

template <class Mini>
struct Mini6 : Mini {
  IpAddr local;
  IpAddr remote;
  void set_addresses(const IpAddr& l, const IpAddr& r) {
    local = l;
    remote = r;
  }
  [[nodiscard]] Tuple tuple() const { return {local, remote, this->local_port, this->remote_port}; }
};

/// The oldest of up to eight neighbours in a full slab; age(object) grows from old to young.
template <class Mini, class Age>
[[nodiscard]] uint32_t oldest_of_some(const base::Slab<Mini>& slab, base::Rng& rng, Age&& age) {
  const auto start = static_cast<uint32_t>(rng.below(slab.limit()));
  uint32_t best = 1 + start;
  for (uint32_t i = 1; i < 8 && i < slab.limit(); ++i) {
    const uint32_t index = 1 + (start + i) % slab.limit();
    if (age(slab[index]) < age(slab[best])) best = index;
  }
  return best;
}

static_assert(sizeof(Mini4<HalfOpen>) <= 64 && sizeof(Mini4<TimeWait>) <= 64);
static_assert(sizeof(Mini6<HalfOpen>) <= 96 && sizeof(Mini6<TimeWait>) <= 96);

}  // namespace millrace::tcp
