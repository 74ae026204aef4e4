// Forged segments that a stack must survive: blind resets and SYNs inside the window (RFC 5961), old segments of a
// wrapped sequence space (PAWS, RFC 7323 5), acknowledgments of what was never sent (RFC 5961 5), segments just outside
// the window, SYNs from hosts that do not exist; and genuine bytes cut anew, as a middlebox or a retransmission may.
#pragma once

#include <array>
#include <optional>

#include "base/rng.h"
#include "sim/observer.h"

namespace millrace::sim {

struct Forged {
  int victim = 0;  ///< host
  Bytes bytes;
  bool genuine = false;  ///< the peer's own bytes in another cut: to be obeyed
};

/// A SYN from nowhere for a listener that one of the observed connections belongs to; its answer reaches nobody.
[[nodiscard]] std::optional<Forged> forge_syn(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs);

/// A forged segment against one of the observed connections; nothing if none is in a state to be attacked. `prompt`
/// says of each host that a frame is dealt with before anything that comes later.
[[nodiscard]] std::optional<Forged> forge(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs,
                                          const std::array<bool, 2>& prompt);

}  // namespace millrace::sim
