// Token bucket (RFC 4443 2.4 f): `rate` takes a second on average, `burst` at once. Time comes in with each take.
#pragma once

#include <algorithm>
#include <cstdint>

#include "millrace/time.h"

namespace millrace::ip {

class TokenBucket {
 public:
  TokenBucket(uint32_t rate, uint32_t burst) : rate_(rate), full_(int64_t{burst} * kToken), level_(full_) {}

  /// Whether one more may pass at `now`; takes the token if so.
  bool take(Instant now) {
    refill(now);
    if (level_ < kToken) return false;
    level_ -= kToken;
    return true;
  }

 private:
  static constexpr int64_t kToken = 1'000'000'000;  // one token, in nanoseconds times rate

  void refill(Instant now) {
    if (now <= last_ || rate_ == 0) return;
    // After two seconds beyond what fills the bucket nothing changes; the cap keeps the product in range.
    const int64_t most = full_ / rate_ + 1;
    const int64_t elapsed = last_ == Instant(INT64_MIN) ? most : std::min((now - last_).ns(), most);
    level_ = std::min(full_, level_ + elapsed * rate_);
    last_ = now;
  }

  int64_t rate_;
  int64_t full_;
  int64_t level_;
  Instant last_{INT64_MIN};
};

}  // namespace millrace::ip
