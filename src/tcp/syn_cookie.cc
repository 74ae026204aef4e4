#include "tcp/syn_cookie.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace millrace::tcp {
namespace {

// What is usual, from the least that we believe on.
constexpr uint16_t kMss[] = {kMinMss, 536, 1'200, 1'360, 1'400, 1'440, 1'460, 8'940};

constexpr uint32_t kUsualMss = 6;

constexpr uint32_t kHashBits = 0x0fffffff;

uint64_t digest(const base::SipKey& key, const Tuple& t, Seq32 irs) {
  const uint64_t rest = uint64_t{t.local_port} << 48 | uint64_t{t.remote_port} << 32 | irs.raw();
  if (t.local.is_v4()) {
    const uint64_t addresses = uint64_t{t.local.v4_value()} << 32 | t.remote.v4_value();
    return base::siphash(key, std::array<uint64_t, 2>{addresses, rest});
  }
  std::array<uint64_t, 5> words{};
  std::memcpy(words.data(), t.local.bytes().data(), 16);
  std::memcpy(words.data() + 2, t.remote.bytes().data(), 16);
  words[4] = rest;
  return base::siphash(key, words);
}

}  // namespace

SynCookies::Made SynCookies::make(const Tuple& t, Seq32 irs, uint16_t mss, Instant now) {
  const uint64_t epoch = epoch_of(now);
  last_ = epoch;
  made_ = true;
  uint32_t index = kUsualMss;
  if (mss != kMss[kUsualMss]) index = static_cast<uint32_t>(std::upper_bound(kMss + 1, std::end(kMss), mss) - kMss - 1);
  const uint64_t hash = digest(keys_.at(epoch), t, irs);
  const uint32_t iss = (static_cast<uint32_t>(hash) & kHashBits) | static_cast<uint32_t>(epoch & 1) << 31 | index << 28;
  return {Seq32(iss), static_cast<uint32_t>(hash >> 32)};
}

std::optional<SynCookies::Found> SynCookies::check(const Tuple& t, Seq32 irs, Seq32 iss, Instant now) {
  uint64_t epoch = epoch_of(now);
  if ((epoch & 1) != iss.raw() >> 31) {
    if (epoch == 0) return std::nullopt;
    --epoch;
  }
  const uint64_t hash = digest(keys_.at(epoch), t, irs);
  if (((static_cast<uint32_t>(hash) ^ iss.raw()) & kHashBits) != 0) return std::nullopt;
  return Found{kMss[iss.raw() >> 28 & 7], static_cast<uint32_t>(hash >> 32)};
}

}  // namespace millrace::tcp
