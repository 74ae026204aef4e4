// What one direction of a bad path does to frames, as pure state: a bottleneck of some rate with a drop-tail queue,
// then a delay that varies, loss (independent and in bursts), duplication and reordering. The caller brings time and
// frames; the same code stands behind the link emulator and the simulator's WAN table.
//
// Invariants: fates depend on the seed, the sizes and the instants of frames and on nothing else; without reordering
// frames leave in the order in which they came, however much the delay varies.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "base/rng.h"
#include "millrace/time.h"

namespace millrace::impair {

/// Probabilities are in parts per billion.
inline constexpr uint32_t kBillion = 1'000'000'000;
/// What Ethernet adds to a frame on the wire: preamble, check sequence, gap.
inline constexpr uint32_t kWireOverhead = 24;

struct PathConfig {
  uint64_t bits_per_second = 0;    ///< of the bottleneck, kWireOverhead included; 0: no bottleneck, no queue
  uint64_t queue_bytes = 1 << 20;  ///< a frame that finds more than this is dropped
  uint64_t mark_bytes = std::numeric_limits<uint64_t>::max();  ///< a frame that finds more is marked (RFC 3168 5)
  Duration delay{};                                            ///< one way
  Duration jitter{};                                           ///< the delay is uniform in delay +- jitter
  uint32_t loss = 0;                                           ///< of each frame alone
  uint32_t burst_enter = 0;        ///< Gilbert-Elliott: from the good state to the bad, at each frame
  uint32_t burst_leave = 0;        ///< back
  uint32_t burst_loss = kBillion;  ///< in the bad state
  uint32_t duplicate = 0;
  uint32_t reorder = 0;                   ///< of frames that are held back, so that later ones overtake
  Duration reorder_by = milliseconds(5);  ///< by at most so much more

  /// Bursts of `length` frames in the mean, all lost, which lose the share `rate` of all frames. `length` >= 1, `rate`
  /// below a billion.
  void set_bursts(uint32_t rate, double length);
};

/// Bytes of a queue of so many bandwidth-delay products, but never less than two full frames: with less, every second
/// frame of a pair sent back to back is lost, whoever sends it.
[[nodiscard]] uint64_t queue_bytes_of(uint64_t bits_per_second, Duration round_trip, double products);

enum class Fate : uint8_t { kDelivered, kLostInQueue, kLost, kLostInBurst };

struct Verdict {
  Fate fate = Fate::kDelivered;
  bool mark = false;            ///< congestion experienced
  uint8_t copies = 0;           ///< 0 to 2
  std::array<Instant, 2> at{};  ///< when each copy comes out
};

struct PathStats {
  uint64_t frames = 0;
  uint64_t bytes = 0;  ///< of frames, without overhead
  uint64_t delivered = 0;
  uint64_t lost_in_queue = 0;
  uint64_t lost = 0;
  uint64_t lost_in_burst = 0;
  uint64_t bursts = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t marked = 0;         ///< asked for; whoever holds the frame knows if its sender was ready for it
  uint64_t deepest_queue = 0;  ///< bytes that a frame found before it
};

class Path {
 public:
  Path(const PathConfig& config, uint64_t seed) : config_(config), rng_(seed) {}

  /// A frame of so many bytes enters. `now` never goes back.
  [[nodiscard]] Verdict send(Instant now, uint32_t bytes);
  [[nodiscard]] const PathStats& stats() const { return stats_; }
  [[nodiscard]] const PathConfig& config() const { return config_; }
  /// Rates, delays and chances change from the next frame on; what has been sent keeps its instants.
  void change(const PathConfig& config) { config_ = config; }

 private:
  [[nodiscard]] uint64_t backlog(Instant now) const;
  [[nodiscard]] Fate chance();
  [[nodiscard]] Instant arrival();
  bool strikes(uint32_t per_billion) { return per_billion != 0 && rng_.chance(per_billion, kBillion); }

  PathConfig config_;
  base::Rng rng_;
  PathStats stats_;
  Instant busy_until_{};
  Instant latest_{};  ///< when the last frame in order comes out
  bool bad_ = false;
};

}  // namespace millrace::impair
