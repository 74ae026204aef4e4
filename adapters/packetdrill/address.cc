#include "address.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace millrace::packetdrill {

tl::expected<Endpoint, int> endpoint_of(const sockaddr* from, socklen_t length, int family) {
  if (from == nullptr) return failed(EFAULT);
  if (length < sizeof(sa_family_t)) return failed(EINVAL);
  if (from->sa_family != family) return failed(EAFNOSUPPORT);
  if (family == AF_INET) {
    if (length < sizeof(sockaddr_in)) return failed(EINVAL);
    sockaddr_in in;
    std::memcpy(&in, from, sizeof in);
    return Endpoint{IpAddr::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (length < sizeof(sockaddr_in6) - sizeof(uint32_t)) return failed(EINVAL);
  sockaddr_in6 in6{};
  std::memcpy(&in6, from, std::min<size_t>(length, sizeof in6));
  std::array<uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &in6.sin6_addr, bytes.size());
  return Endpoint{IpAddr(bytes), ntohs(in6.sin6_port)};
}

void store_endpoint(const Endpoint& endpoint, int family, sockaddr* to, socklen_t* length) {
  if (to == nullptr || length == nullptr) return;
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.addr.v4_value());
    std::memcpy(&storage, &in, sizeof in);
  } else {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(endpoint.port);
    std::memcpy(&in6.sin6_addr, endpoint.addr.bytes().data(), 16);
    std::memcpy(&storage, &in6, sizeof in6);
    size = sizeof in6;
  }
  std::memcpy(to, &storage, std::min(size, *length));
  *length = size;
}

}  // namespace millrace::packetdrill
