#include "neigh/reachability.h"

namespace millrace::neigh {

const char* name_of(State state) {
  switch (state) {
    case State::kIncomplete: return "INCOMPLETE";
    case State::kReachable: return "REACHABLE";
    case State::kStale: return "STALE";
    case State::kDelay: return "DELAY";
    case State::kProbe: return "PROBE";
    case State::kFailed: return "FAILED";
    case State::kStatic: return "PERMANENT";
  }
  return "?";
}

void Reachability::set_static(const MacAddr& mac) {
  mac_ = mac;
  enter(State::kStatic, kNever);
}

Step Reachability::use(Instant now, const Timing& timing) {
  switch (state_) {
    case State::kFailed:  // RFC 4861 7.2.2: create INCOMPLETE, multicast the solicitation
      sent_ = 1;
      enter(State::kIncomplete, now + timing.retransmit);
      return {.send = Solicit::kMulticast};
    case State::kStale:  // RFC 4861 7.3.3
      enter(State::kDelay, now + timing.delay_first_probe);
      return {};
    default:
      return {};
  }
}

Step Reachability::hear_advert(const Advert& advert, Instant now, Duration reachable) {
  if (state_ == State::kStatic || state_ == State::kFailed) return {};
  if (state_ == State::kIncomplete) {
    if (!advert.mac) return {};  // RFC 4861 7.2.5: of no use on a link with addresses
    mac_ = *advert.mac;
    router_ = advert.router;
    if (advert.solicited) {
      reach(now, reachable);
    } else {
      enter(State::kStale, kNever);
    }
    return {.resolved = true};
  }
  const bool differs = advert.mac && *advert.mac != mac_;
  if (differs && !advert.override_flag) {
    // RFC 4861 7.2.5 I: keep the old address, doubt it.
    if (state_ == State::kReachable) enter(State::kStale, kNever);
    return {};
  }
  // RFC 4861 7.2.5 II
  if (differs) mac_ = *advert.mac;
  router_ = advert.router;
  if (advert.solicited) {
    reach(now, reachable);
  } else if (differs) {
    enter(State::kStale, kNever);
  }
  return {};
}

Step Reachability::hear_source(const MacAddr& mac) {
  if (state_ == State::kStatic) return {};
  const bool waiting = state_ == State::kIncomplete;
  if (has_mac() && mac == mac_) return {};  // RFC 4861 7.2.3: the state of a known address does not change
  mac_ = mac;
  enter(State::kStale, kNever);
  return {.resolved = waiting};
}

void Reachability::confirm(Instant now, Duration reachable) {
  // RFC 4861 7.3.1: only for a neighbour whose address is in use.
  if (state_ == State::kStatic || !has_mac()) return;
  reach(now, reachable);
}

void Reachability::suspect(Instant now) {
  if (state_ == State::kReachable || state_ == State::kStale || state_ == State::kDelay) enter(State::kDelay, now);
}

Step Reachability::tick(Instant now, const Timing& timing) {
  if (now < deadline_) return {};
  switch (state_) {
    case State::kReachable:
      enter(State::kStale, kNever);
      return {};
    case State::kDelay:
      sent_ = 1;
      enter(State::kProbe, now + timing.retransmit);
      return {.send = Solicit::kUnicast};
    case State::kIncomplete:
    case State::kProbe: {
      const bool unicast = state_ == State::kProbe;
      if (sent_ >= (unicast ? timing.max_unicast_solicit : timing.max_multicast_solicit)) {
        enter(State::kFailed, kNever);
        return {.failed = true};
      }
      ++sent_;
      deadline_ = now + timing.retransmit;
      return {.send = unicast ? Solicit::kUnicast : Solicit::kMulticast};
    }
    default:
      return {};
  }
}

}  // namespace millrace::neigh
