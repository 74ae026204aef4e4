// Cookies of fast open (fast_open.h).
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

}  // namespace millrace::tcp
