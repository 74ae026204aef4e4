#include "autoconf/guard.h"

#include "base/assert.h"

namespace millrace::autoconf {
namespace {

Duration random_between(Duration low, Duration high, base::Rng& rng) {
  return Duration(static_cast<int64_t>(rng.between(static_cast<uint64_t>(low.ns()), static_cast<uint64_t>(high.ns()))));
}

}  // namespace

void Guard::start(const GuardTiming& timing, bool at_once, Instant now, base::Rng& rng) {
  timing_ = &timing;
  sent_ = 0;
  defended_at_ = Instant{INT64_MIN};
  enter(State::kWaiting, at_once ? now : now + random_between({}, timing.first_delay, rng));
}

void Guard::settle(const GuardTiming& timing) {
  timing_ = &timing;
  defended_at_ = Instant{INT64_MIN};
  enter(State::kSettled, kNever);
}

GuardStep Guard::tick(Instant now, base::Rng& rng, Duration retransmit) {
  MR_ASSERT(state_ == State::kWaiting || state_ == State::kProbing || state_ == State::kAnnouncing);
  const GuardTiming& t = *timing_;
  if (state_ == State::kAnnouncing) {
    ++sent_;
    enter(sent_ < t.announcements ? State::kAnnouncing : State::kSettled,
          sent_ < t.announcements ? now + t.announce_interval : kNever);
    return {GuardSend::kAnnounce};
  }
  if (sent_ < t.probes) {
    ++sent_;
    const bool last = sent_ == t.probes && t.announce_wait > Duration();
    const Duration wait = t.retransmit_timer ? retransmit : random_between(t.probe_min, t.probe_max, rng);
    enter(State::kProbing, now + (last ? t.announce_wait : wait));
    return {GuardSend::kProbe};
  }
  // RFC 5227 2.3, RFC 9131 3: the link hears of the address at once.
  sent_ = 1;
  const bool more = sent_ < t.announcements;
  enter(more ? State::kAnnouncing : State::kSettled, more ? now + t.announce_interval : kNever);
  return {GuardSend::kAnnounce, true};
}

GuardStep Guard::conflict(Defence defence, Instant now) {
  if (state_ == State::kLost || state_ == State::kIdle) return {};
  if (testing()) {  // RFC 4862 5.4.5, RFC 5227 2.1.1
    enter(State::kLost, kNever);
    return {GuardSend::kNone, false, true};
  }
  if (timing_->defend_interval == Duration()) return {};
  // RFC 5227 2.4: one defence; a second conflict soon after it means that the other station does not give way.
  const bool again = defended_at_ != Instant{INT64_MIN} && now - defended_at_ < timing_->defend_interval;
  if (!again) {
    defended_at_ = now;
    return {GuardSend::kAnnounce};
  }
  if (defence == Defence::kKeep) return {};
  enter(State::kLost, kNever);
  return {GuardSend::kNone, false, true};
}

}  // namespace millrace::autoconf
