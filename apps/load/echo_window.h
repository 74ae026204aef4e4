// EchoWindow: which numbered requests of one flow are on their way. Answers count once each, in any order; what has not
// come back when a whole span of newer ones went out is lost. Every 64th request is timed, one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace millrace::load {

/// What `sequence` of `flow` carries, and whether bytes are that. `size` is at least 16.
void stamp_datagram(std::span<std::byte> into, uint32_t flow, uint64_t sequence);
/// The sequence number in the payload; nothing if any byte is wrong.
[[nodiscard]] std::optional<uint64_t> read_stamp(std::span<const std::byte> payload, uint32_t flow, size_t size);

class EchoWindow {
 public:
  static constexpr uint32_t kSpan = 4'096;
  static constexpr uint32_t kLargest = kSpan / 2;  ///< requests that may be on their way

  enum class Answer : uint8_t {
    kGood,
    kTimed,     ///< good, and the round trip began at timed_at()
    kNotAsked,  ///< of a number that was never sent
    kAgain,     ///< answered before, or given up
  };

  /// Number of the next request.
  [[nodiscard]] uint64_t next() const { return next_; }
  [[nodiscard]] uint32_t in_flight() const { return in_flight_; }
  [[nodiscard]] uint64_t timed_at() const { return timed_at_; }

  /// Request next() has gone out. `clock` is asked for every 64th. False: the one a span ago is lost, and given up.
  template <class Clock>
  bool sent(Clock&& clock) {
    uint64_t& word = waiting_[next_ % kSpan / 64];
    const uint64_t bit = uint64_t{1} << next_ % 64;
    const bool lost = (word & bit) != 0;
    if (lost && timed_ + kSpan == next_) timed_ = kNone;
    word |= bit;
    if (next_ % 64 == 0 && timed_ == kNone) {
      timed_ = next_;
      timed_at_ = clock();
    }
    ++next_;
    in_flight_ += lost ? 0 : 1;
    return !lost;
  }

  Answer take(uint64_t sequence) {
    if (sequence >= next_) return Answer::kNotAsked;
    uint64_t& word = waiting_[sequence % kSpan / 64];
    const uint64_t bit = uint64_t{1} << sequence % 64;
    if (sequence + kSpan < next_ || (word & bit) == 0) return Answer::kAgain;
    word &= ~bit;
    --in_flight_;
    quiet_ticks_ = 0;
    if (sequence != timed_) return Answer::kGood;
    timed_ = kNone;
    return Answer::kTimed;
  }

  /// Once a tick: how many are given up, because none has come back for so many ticks.
  uint32_t give_up_after(uint32_t ticks) {
    if (in_flight_ == 0 || ++quiet_ticks_ <= ticks) return 0;
    const uint32_t lost = in_flight_;
    in_flight_ = 0;
    waiting_.fill(0);
    timed_ = kNone;
    quiet_ticks_ = 0;
    return lost;
  }

 private:
  static constexpr uint64_t kNone = UINT64_MAX;
  uint64_t next_ = 0;
  uint32_t in_flight_ = 0;
  uint32_t quiet_ticks_ = 0;  // since the last answer
  uint64_t timed_ = kNone;    // the request whose round trip is being measured
  uint64_t timed_at_ = 0;
  std::array<uint64_t, kSpan / 64> waiting_{};  // by sequence modulo kSpan
};

}  // namespace millrace::load
