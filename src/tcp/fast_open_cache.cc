// The tables of fast open, on both sides (fast_open.h).
#include <cstring>

#include "base/siphash.h"
#include "tcp/fast_open.h"

namespace millrace::tcp {

FastOpenCookie fast_open_cookie(const base::SipKey& key, const IpAddr& client, const IpAddr& server) {
  std::array<std::byte, 32> addresses;
  const size_t skip = client.is_v4() ? 12 : 0;
  const size_t width = 16 - skip;
  std::memcpy(addresses.data(), client.bytes().data() + skip, width);
  std::memcpy(addresses.data() + width, server.bytes().data() + skip, width);
  const uint64_t hash = base::siphash(key, std::span(addresses).first(2 * width));
  FastOpenCookie cookie;
  cookie.length = 8;
  for (size_t i = 0; i < 8; ++i) cookie.bytes[i] = static_cast<std::byte>(hash >> (8 * i));
  return cookie;
}

FastOpenCache::Entry* FastOpenCache::set_of(const IpAddr& server) {
  std::array<uint64_t, 2> words;
  std::memcpy(words.data(), server.bytes().data(), 16);
  return &entries_[base::siphash(secret_, words) % (kEntries / kWays) * kWays];
}

const FastOpenCache::Entry* FastOpenCache::find(const IpAddr& server) {
  if (entries_.empty()) return nullptr;
  Entry* set = set_of(server);
  for (size_t i = 0; i < kWays; ++i) {
    if (set[i].used == 0 || set[i].server != server) continue;
    set[i].used = ++uses_;
    return &set[i];
  }
  return nullptr;
}

void FastOpenCache::put(const IpAddr& server, const FastOpenCookie& cookie, uint16_t mss) {
  entries_.resize(kEntries);
  Entry* set = set_of(server);
  Entry* best = set;
  for (size_t i = 0; i < kWays; ++i) {
    if (set[i].used != 0 && set[i].server == server) {
      best = &set[i];
      break;
    }
    if (set[i].used < best->used) best = &set[i];
  }
  *best = {server, cookie, mss, ++uses_};
}

}  // namespace millrace::tcp
