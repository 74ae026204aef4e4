#include "tcp/syn_cookie.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

namespace millrace::tcp {
namespace {

// What is usual, from the least that we believe on.
constexpr uint16_t kMss[] = {kMinMss, 536, 1'200, 1'360, 1'400, 1'440, 1'460, 8'940};

constexpr uint32_t kHashBits = 0x0fffffff;

uint32_t digest(const base::SipKey& key, const Tuple& t, Seq32 irs) {
  const uint64_t rest = uint64_t{t.local_port} << 48 | uint64_t{t.remote_port} << 32 | irs.raw();
  if (t.local.is_v4()) {
    const uint64_t addresses = uint64_t{t.local.v4_value()} << 32 | t.remote.v4_value();
    return static_cast<uint32_t>(base::siphash(key, std::array<uint64_t, 2>{addresses, rest}));
  }
  std::array<uint64_t, 5> words{};
  std::memcpy(words.data(), t.local.bytes().data(), 16);
  std::memcpy(words.data() + 2, t.remote.bytes().data(), 16);
  words[4] = rest;
  return static_cast<uint32_t>(base::siphash(key, words));
}

}  // namespace

Seq32 SynCookies::make(const Tuple& t, Seq32 irs, uint16_t mss, Instant now) {
  const uint64_t epoch = epoch_of(now);
  last_ = epoch;
  made_ = true;
  const auto index = static_cast<uint32_t>(std::upper_bound(std::begin(kMss) + 1, std::end(kMss), mss) - kMss - 1);
  return Seq32((digest(keys_.at(epoch), t, irs) & kHashBits) | static_cast<uint32_t>(epoch & 1) << 31 | index << 28);
}

std::optional<uint16_t> SynCookies::check(const Tuple& t, Seq32 irs, Seq32 iss, Instant now) {
  uint64_t epoch = epoch_of(now);
  if ((epoch & 1) != iss.raw() >> 31) {
    if (epoch == 0) return std::nullopt;
    --epoch;
  }
  if (((digest(keys_.at(epoch), t, irs) ^ iss.raw()) & kHashBits) != 0) return std::nullopt;
  return kMss[iss.raw() >> 28 & 7];
}

}  // namespace millrace::tcp
