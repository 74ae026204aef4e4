#include "sim/link.h"

#include <span>

#include "impair/frame.h"
#include "sim/frame_view.h"

namespace millrace::sim {
namespace {
constexpr uint32_t kMillion = 1'000'000;
constexpr Duration kLongestBurst = milliseconds(700);
constexpr uint64_t kWireOverhead = 24;  // preamble, check sequence, gap
}  // namespace

bool Link::strikes(Fault fault, uint32_t per_million, uint64_t so_far) {
  if (per_million == 0) return false;
  return (so_far == 0 && stats_.sent >= due_[fault]) || rng_.chance(per_million, kMillion);
}

bool Link::lose() {
  const LinkFaults& f = config_.faults;
  if (!up_) {
    ++stats_.lost_in_partition;
    return true;
  }
  if (f.burst_enter != 0) {
    // A burst ends by chance, or in time: a quiet connection must not find the wire dead for minutes.
    const bool stays = !rng_.chance(f.burst_leave, kMillion) && heap_.now() - bad_since_ < kLongestBurst;
    if (bad_) {
      bad_ = stays;
    } else if (strikes(kBurst, f.burst_enter, stats_.lost_in_burst)) {
      bad_ = true;
      bad_since_ = heap_.now();
    }
    if (bad_ && strikes(kBurst, f.burst_loss, stats_.lost_in_burst)) {
      ++stats_.lost_in_burst;
      return true;
    }
  }
  if (strikes(kLoss, f.loss, stats_.lost)) {
    ++stats_.lost;
    return true;
  }
  return false;
}

// Whether the frame carries a fragment that is not its datagram's first.
bool Link::is_later_fragment(const Frame& frame) {
  const bool v4 = load16(&frame.bytes[12]) == kEthIpv4;
  if (v4) return (load16(&frame.bytes[20]) & 0x1fff) != 0;
  return frame.bytes.size() >= 62 && frame.bytes[20] == 44 && (load16(&frame.bytes[56]) & 0xfff8) != 0;
}

// Flips up to 15 bits inside one 16-bit word, which the Internet checksum always notices. Only IP frames: ARP has no
// checksum, on a real wire the frame check sequence guards it. Only one fragment of a datagram: two flips may cancel.
void Link::corrupt(Frame& frame) {
  if (frame.bytes.size() < 34) return;
  const uint16_t type = load16(&frame.bytes[12]);
  if ((type != kEthIpv4 && type != kEthIpv6) || is_later_fragment(frame)) return;
  const size_t word = 14 + 2 * rng_.below((frame.bytes.size() - 14) / 2);
  const uint16_t before = load16(&frame.bytes[word]);
  const auto after =
      static_cast<uint16_t>(before ^ (1u << rng_.below(16)) ^ (rng_.chance(1, 4) ? 1u << rng_.below(15) : 0));
  if (after == before || (before == 0 && after == 0xffff) || (before == 0xffff && after == 0)) return;
  store16(&frame.bytes[word], after);
  ++stats_.corrupted;
}

void Link::deliver_at(Instant when, Frame* frame) {
  heap_.at(when, [this, frame] {
    ++stats_.delivered;
    sink_(frame);
  });
}

void Link::send(Frame* frame) {
  ++stats_.sent;
  const Instant now = heap_.now();
  const Instant start = std::max(now, busy_until_);
  const auto bits = static_cast<__int128>(frame->bytes.size() + kWireOverhead) * 8;
  const auto serial_ns = static_cast<int64_t>(bits * 1'000'000'000 / config_.bits_per_second);
  const auto queued = static_cast<__int128>((start - now).ns()) * config_.bits_per_second / 8'000'000'000;
  // A short queue that never fills by itself turns one frame away all the same.
  const bool shortage = config_.queue_bytes < kAmpleQueue && !healed_ && stats_.lost_in_queue == 0 &&
                        stats_.sent >= due_[kQueue];
  if (queued > config_.queue_bytes || shortage) {
    ++stats_.lost_in_queue;
    frames_.drop(frame);
    return;
  }
  busy_until_ = start + Duration(serial_ns);
  if (queued > config_.mark_bytes) {
    stats_.marked += impair::mark_congestion(std::as_writable_bytes(std::span(frame->bytes))) ? 1 : 0;
  }
  if (lose()) {
    frames_.drop(frame);
    return;
  }
  const LinkFaults& f = config_.faults;
  Instant arrival = busy_until_ + config_.delay;
  if (strikes(kDuplicate, f.duplicate, stats_.duplicated)) {
    ++stats_.duplicated;
    deliver_at(arrival + Duration(static_cast<int64_t>(rng_.below(2'000'000))), frames_.copy(*frame));
  }
  if (strikes(kCorrupt, f.corrupt, stats_.corrupted)) corrupt(*frame);
  if (strikes(kReorder, f.reorder, stats_.reordered)) {
    ++stats_.reordered;
    arrival = arrival + Duration(static_cast<int64_t>(rng_.between(1'000, static_cast<uint64_t>(f.reorder_by.ns()))));
  }
  deliver_at(arrival, frame);
}

}  // namespace millrace::sim
