// SynShed: how many SYNs are answered for which there is no room (RFC 4987 3), and which. While more come than the
// budget answers, a SYN is looked at before anything else is done with it: one that comes again, as a client's does
// after a second and a forged one does not, has half of the budget to itself; of those seen for the first time the
// other half is let in, and the rest is remembered and dropped.
//
// What was dropped is remembered as sixteen bits of a keyed hash over addresses, ports and sequence number, in buckets
// of four, of which the oldest gives way: 4 MiB, taken when the first flood comes. At a million a second nine of ten
// are still known a second later.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"
#include "base/siphash.h"
#include "ip/ratelimit.h"
#include "millrace/time.h"

namespace millrace::tcp {

class SynShed {
 public:
  /// `rate`: SYNs a second; 0: no limit. `memory` outlives this.
  SynShed(base::MemorySource& memory, const base::SipKey& key, uint32_t rate);
  /// Does not forget what was seen.
  void set_rate(uint32_t rate);

  /// Whether one more SYN may be answered; it is counted if so.
  bool take(Instant now) {
    if (rate_ == 0 || all_.take(now)) return true;
    refused(now);
    return false;
  }
  /// Whether more came lately than were answered, so that lets_in() is to be asked.
  [[nodiscard]] bool active(Instant now) const { return now < until_; }

  /// Of a SYN: `ip` and `tcp` point to its headers, which are complete.
  [[nodiscard]] uint64_t hash(const std::byte* ip, const std::byte* tcp) const;
  void prefetch(uint64_t hash) const {
    if (buckets_ != nullptr) __builtin_prefetch(&buckets_[place(hash)], 1);
  }
  /// Whether the SYN goes its way, on which take() has the last word. One that does not is remembered.
  bool lets_in(uint64_t hash, Instant now);

 private:
  static constexpr uint32_t kBucketBits = 19;
  [[nodiscard]] static size_t place(uint64_t hash) { return hash >> (64 - kBucketBits); }
  void refused(Instant now);

  base::MemorySource& memory_;
  base::SipKey key_;
  uint32_t rate_ = 0;
  ip::TokenBucket all_{0, 0};
  ip::TokenBucket first_{0, 0};
  Instant until_{};
  uint64_t* buckets_ = nullptr;  // four marks each, the newest in the low bits; 0: none
};

}  // namespace millrace::tcp
