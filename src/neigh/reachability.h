// Reachability of one neighbour, for ARP and for Neighbour Discovery alike: the state machine of RFC 4861 7.3 and its
// appendix C as pure state. Events come in with `now`; what is to be done comes out as a Step. Nothing is sent here.
//
// Read first: RFC 4861 7.2, 7.3; RFC 826; RFC 1122 2.3.2.
#pragma once

#include <cstdint>
#include <optional>

#include "millrace/address.h"
#include "millrace/time.h"

namespace millrace::neigh {

enum class State : uint8_t {
  kIncomplete,  ///< being resolved: no link-layer address yet
  kReachable,   ///< confirmed less than the reachable time ago
  kStale,       ///< has an address; nothing was sent since the confirmation ran out
  kDelay,       ///< in use, waiting for the upper layer to confirm
  kProbe,       ///< in use, being asked by unicast
  kFailed,      ///< did not answer
  kStatic,      ///< set by the operator; never expires
};

/// As in `ip neighbour`: "REACHABLE", "STALE" ...
[[nodiscard]] const char* name_of(State state);

/// RFC 4861 section 10.
struct Timing {
  Duration reachable_base = seconds(30);  ///< each confirmation lasts 0.5 to 1.5 times this
  Duration retransmit = seconds(1);
  Duration delay_first_probe = seconds(5);
  uint8_t max_multicast_solicit = 3;
  uint8_t max_unicast_solicit = 3;
};

enum class Solicit : uint8_t { kNone, kMulticast, kUnicast };

/// What the caller has to do after an event.
struct Step {
  Solicit send = Solicit::kNone;
  bool resolved = false;  ///< the address became known: packets that waited may go
  bool failed = false;    ///< gave up: packets that waited must be dropped
  bool operator==(const Step&) const = default;
};

/// An answer about the neighbour: a Neighbour Advertisement, or an ARP reply (solicited and override).
struct Advert {
  std::optional<MacAddr> mac;
  bool solicited = false;
  bool override_flag = false;
  bool router = false;
};

/// Invariant: `deadline` is kNever except in kIncomplete, kReachable, kDelay and kProbe.
class Reachability {
 public:
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const MacAddr& mac() const { return mac_; }
  [[nodiscard]] bool is_router() const { return router_; }
  /// When tick() is due.
  [[nodiscard]] Instant deadline() const { return deadline_; }
  /// Whether packets may be sent to mac() in this state. In kStale each first use must go through use().
  [[nodiscard]] bool has_mac() const { return state_ != State::kIncomplete && state_ != State::kFailed; }

  /// What another table says of the neighbour; no timer runs here.
  void mirror(State state, const MacAddr& mac) {
    mac_ = mac;
    enter(state, kNever);
  }
  /// The operator's word: no event changes it any more.
  void set_static(const MacAddr& mac);
  /// A packet is about to be sent to the neighbour: starts resolution, or the delay before probing.
  Step use(Instant now, const Timing& timing);
  /// An advertisement. `reachable` is how long a confirmation made now lasts.
  Step hear_advert(const Advert& advert, Instant now, Duration reachable);
  /// A packet of the neighbour carried its own link-layer address: a solicitation, an ARP request.
  Step hear_source(const MacAddr& mac);
  /// The upper layer made forward progress through the neighbour.
  void confirm(Instant now, Duration reachable);
  /// The upper layer doubts it (RFC 1122 3.3.1.4): it is asked as soon as tick() runs.
  void suspect(Instant now);
  /// The deadline passed.
  Step tick(Instant now, const Timing& timing);

 private:
  void enter(State state, Instant deadline) {
    state_ = state;
    deadline_ = deadline;
  }
  void reach(Instant now, Duration reachable) { enter(State::kReachable, now + reachable); }

  State state_ = State::kFailed;  // as good as unknown: the first use starts resolution
  uint8_t sent_ = 0;              // solicitations in kIncomplete and kProbe
  bool router_ = false;
  MacAddr mac_{};
  Instant deadline_ = kNever;
};

}  // namespace millrace::neigh
