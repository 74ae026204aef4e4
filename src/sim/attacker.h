// Forged segments that a stack must survive: blind resets and SYNs inside the window (RFC 5961), old segments of a
// wrapped sequence space (PAWS, RFC 7323 5), acknowledgments of what was never sent (RFC 5961 5).
#pragma once

#include <array>
#include <optional>

#include "base/rng.h"
#include "sim/observer.h"

namespace millrace::sim {

struct Forged {
  int victim = 0;  ///< host
  Bytes bytes;
};

/// A forged segment against one of the observed connections; nothing if none is in a state to be attacked.
[[nodiscard]] std::optional<Forged> forge(Observer& observer, base::Rng& rng, const std::array<MacAddr, 2>& macs);

}  // namespace millrace::sim
