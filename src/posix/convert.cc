#include "posix/convert.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace millrace::posix {

int read_address(const sockaddr* address, socklen_t length, int family, Endpoint& out) {
  if (length < sizeof(sa_family_t) || (family == AF_INET && length < sizeof(sockaddr_in))) return -EINVAL;
  if (family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    if (in.sin_family != AF_INET) return -EAFNOSUPPORT;
    out = {IpAddr::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
    return 0;
  }
  constexpr socklen_t kShortest = 24;  // without the scope, RFC 2133's form, which Linux takes
  sa_family_t given = 0;
  std::memcpy(&given, address, sizeof given);
  if (given != AF_INET6) return -EAFNOSUPPORT;
  if (length < kShortest) return -EINVAL;
  sockaddr_in6 in{};
  std::memcpy(&in, address, std::min<size_t>(length, sizeof in));
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
  out = {IpAddr(bytes), ntohs(in.sin6_port)};
  return 0;
}

IfIndex scope_of(const sockaddr* address, socklen_t length) {
  sockaddr_in6 in{};
  if (length < sizeof in) return IfIndex::kNone;
  std::memcpy(&in, address, sizeof in);
  const bool needs = IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr) || IN6_IS_ADDR_MULTICAST(&in.sin6_addr);
  if (in.sin6_family != AF_INET6 || !needs || in.sin6_scope_id > UINT16_MAX) return IfIndex::kNone;
  return static_cast<IfIndex>(in.sin6_scope_id);
}

void write_address(const Endpoint& endpoint, int family, sockaddr* out, socklen_t* length, IfIndex scope) {
  if (out == nullptr || length == nullptr) return;
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.addr.is_v4() ? endpoint.addr.v4_value() : 0);
    std::memcpy(out, &in, std::min<size_t>(*length, sizeof in));
    *length = sizeof in;
    return;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(endpoint.port);
  std::memcpy(&in.sin6_addr, endpoint.addr.bytes().data(), 16);
  if (endpoint.addr.is_link_local() && endpoint.addr.is_v6()) in.sin6_scope_id = static_cast<uint32_t>(scope);
  std::memcpy(out, &in, std::min<size_t>(*length, sizeof in));
  *length = sizeof in;
}

Instant monotonic_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant(t.tv_sec * 1'000'000'000 + t.tv_nsec);
}

Duration duration_of(const timespec& t) {
  constexpr int64_t kLongest = INT64_MAX / 4'000'000'000;  // more is for ever
  if (t.tv_sec > kLongest) return Duration(INT64_MAX / 4);
  return seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

}  // namespace millrace::posix
