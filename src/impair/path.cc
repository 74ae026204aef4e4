#include "impair/path.h"

#include <algorithm>

#include "base/assert.h"

namespace millrace::impair {

void PathConfig::set_bursts(uint32_t rate, double length) {
  MR_ASSERT(length >= 1 && rate < kBillion);
  burst_loss = kBillion;
  burst_leave = static_cast<uint32_t>(static_cast<double>(kBillion) / length);
  // In the long run the bad state holds enter / (enter + leave) of the frames.
  const double share = static_cast<double>(rate) / kBillion;
  const double enter = static_cast<double>(burst_leave) * share / (1 - share);
  burst_enter = static_cast<uint32_t>(std::min(enter, static_cast<double>(kBillion)));
}

uint64_t queue_bytes_of(uint64_t bits_per_second, Duration round_trip, double products) {
  constexpr uint64_t kLeast = 2 * (1'514 + kWireOverhead);
  constexpr double kMost = 1e10;
  const double seconds = static_cast<double>(round_trip.ns()) / 1e9;
  const double bytes = static_cast<double>(bits_per_second) / 8 * seconds * products;
  return std::max(kLeast, static_cast<uint64_t>(std::min(bytes, kMost)));
}

uint64_t Path::backlog(Instant now) const {
  if (busy_until_ <= now) return 0;
  const auto ns = static_cast<unsigned __int128>((busy_until_ - now).ns());
  return static_cast<uint64_t>(ns * config_.bits_per_second / 8'000'000'000u);
}

Fate Path::chance() {
  if (config_.burst_enter != 0) {
    const bool was_bad = bad_;
    bad_ = bad_ ? !strikes(config_.burst_leave) : strikes(config_.burst_enter);
    if (bad_ && !was_bad) ++stats_.bursts;
    if (bad_ && strikes(config_.burst_loss)) return Fate::kLostInBurst;
  }
  return strikes(config_.loss) ? Fate::kLost : Fate::kDelivered;
}

Instant Path::arrival() {
  int64_t delay = config_.delay.ns();
  if (const int64_t jitter = config_.jitter.ns(); jitter != 0) {
    delay += static_cast<int64_t>(rng_.between(0, static_cast<uint64_t>(2 * jitter))) - jitter;
  }
  const Instant straight = busy_until_ + Duration(std::max<int64_t>(delay, 0));
  if (strikes(config_.reorder)) {
    ++stats_.reordered;
    return straight + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(config_.reorder_by.ns()) + 1)));
  }
  latest_ = std::max(latest_, straight);
  return latest_;
}

Verdict Path::send(Instant now, uint32_t bytes) {
  ++stats_.frames;
  stats_.bytes += bytes;
  Verdict verdict;
  if (config_.bits_per_second != 0) {
    const uint64_t before = backlog(now);
    stats_.deepest_queue = std::max(stats_.deepest_queue, before);
    if (before > config_.queue_bytes) {
      ++stats_.lost_in_queue;
      verdict.fate = Fate::kLostInQueue;
      return verdict;
    }
    verdict.mark = before > config_.mark_bytes;
    const auto bits = static_cast<unsigned __int128>(bytes + kWireOverhead) * 8;
    const auto serial = static_cast<int64_t>(bits * 1'000'000'000u / config_.bits_per_second);
    busy_until_ = std::max(now, busy_until_) + Duration(serial);
  } else {
    busy_until_ = std::max(now, busy_until_);
  }
  stats_.marked += verdict.mark ? 1 : 0;
  verdict.fate = chance();
  if (verdict.fate != Fate::kDelivered) {
    ++(verdict.fate == Fate::kLost ? stats_.lost : stats_.lost_in_burst);
    return verdict;
  }
  verdict.at[verdict.copies++] = arrival();
  if (strikes(config_.duplicate)) {
    ++stats_.duplicated;
    verdict.at[verdict.copies++] = arrival();
  }
  stats_.delivered += verdict.copies;
  return verdict;
}

}  // namespace millrace::impair
