// Guards one address of ours: asks the link whether somebody else has it, announces it, and defends it. Duplicate
// address detection (RFC 4862 5.4; optimistic: RFC 4429) and IPv4 conflict detection (RFC 5227) are the same machine
// with different numbers. Pure state: what to send is returned.
//
//   kWaiting -> kProbing -> kAnnouncing -> kSettled;  any -> kLost by a conflict
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "millrace/time.h"

namespace millrace::autoconf {

/// RFC 4862 5.4 and RFC 4861 10; RFC 5227 1.1.
struct GuardTiming {
  uint8_t probes = 1;
  Duration first_delay = seconds(1);      ///< the first probe waits between 0 and this
  Duration probe_min = seconds(1);        ///< between probes, and the last one waits for answers as long
  Duration probe_max = seconds(1);
  Duration announce_wait{};  ///< from the last probe to the first announcement, instead of the above, if set
  uint8_t announcements = 1;
  Duration announce_interval = seconds(2);
  Duration defend_interval{};             ///< at most one defence in this time; 0: conflicts are not answered
  bool retransmit_timer = false;          ///< the interface's stands for probe_min and probe_max (RFC 4862 5.1)
};
inline constexpr GuardTiming kDadTiming{.retransmit_timer = true};
inline constexpr GuardTiming kAcdTiming{3, seconds(1), seconds(1), seconds(2), seconds(2), 2, seconds(2), seconds(10)};

/// What becomes of an IPv4 address that another station goes on claiming (RFC 5227 2.4 b and c).
enum class Defence : uint8_t { kGiveUp, kKeep };

enum class GuardSend : uint8_t { kNone, kProbe, kAnnounce };
struct GuardStep {
  GuardSend send = GuardSend::kNone;
  bool passed = false;  ///< nobody objected: the address is ours
  bool lost = false;    ///< somebody else has it
  bool operator==(const GuardStep&) const = default;
};

class Guard {
 public:
  enum class State : uint8_t { kIdle, kWaiting, kProbing, kAnnouncing, kSettled, kLost };

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] Instant deadline() const { return deadline_; }
  /// Whether the question is still open.
  [[nodiscard]] bool testing() const { return state_ == State::kWaiting || state_ == State::kProbing; }

  /// Starts the test; with `at_once` the first probe does not wait. tick() is due at deadline().
  void start(const GuardTiming& timing, bool at_once, Instant now, base::Rng& rng);
  /// No test: the address is ours, and its one announcement is the caller's.
  void settle(const GuardTiming& timing);
  /// `retransmit`: the interface's RetransTimer (RFC 4861 10), if routers said one.
  GuardStep tick(Instant now, base::Rng& rng, Duration retransmit = seconds(1));
  /// Another station uses or claims the address.
  GuardStep conflict(Defence defence, Instant now);

 private:
  void enter(State state, Instant deadline) {
    state_ = state;
    deadline_ = deadline;
  }

  const GuardTiming* timing_ = &kDadTiming;
  State state_ = State::kIdle;
  uint8_t sent_ = 0;
  Instant deadline_ = kNever;
  Instant defended_at_{INT64_MIN};
};

}  // namespace millrace::autoconf
