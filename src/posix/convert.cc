#include "posix/convert.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace millrace::posix {

int errno_of(Error error) {
  switch (error) {
    case Error::kWouldBlock: return EAGAIN;
    case Error::kInvalid: return EINVAL;
    case Error::kBadHandle: return EBADF;
    case Error::kNotConnected: return ENOTCONN;
    case Error::kAlreadyConnected: return EISCONN;
    case Error::kInProgress: return EINPROGRESS;
    case Error::kConnectionRefused: return ECONNREFUSED;
    case Error::kConnectionReset: return ECONNRESET;
    case Error::kConnectionAborted: return ECONNABORTED;
    case Error::kTimedOut: return ETIMEDOUT;
    case Error::kHostUnreachable: return EHOSTUNREACH;
    case Error::kNetUnreachable: return ENETUNREACH;
    case Error::kNetDown: return ENETDOWN;
    case Error::kAddressInUse: return EADDRINUSE;
    case Error::kAddressNotHere: return EADDRNOTAVAIL;
    case Error::kAlreadyExists: return EEXIST;
    case Error::kNotFound: return ENOENT;
    case Error::kBrokenPipe: return EPIPE;
    case Error::kNoMemory: return ENOMEM;
    case Error::kNoBuffers: return ENOBUFS;
    case Error::kTooMany: return ENFILE;
    case Error::kTooBig: return EMSGSIZE;
    case Error::kNotSupported: return EOPNOTSUPP;
    case Error::kPermission: return EPERM;
    case Error::kIo: return EIO;
  }
  return EIO;
}

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

void write_address(const Endpoint& endpoint, int family, sockaddr* out, socklen_t* length) {
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
  std::memcpy(out, &in, std::min<size_t>(*length, sizeof in));
  *length = sizeof in;
}

Duration duration_of(const timespec& t) {
  constexpr int64_t kLongest = INT64_MAX / 4'000'000'000;  // more is for ever
  if (t.tv_sec > kLongest) return Duration(INT64_MAX / 4);
  return seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

std::optional<Duration> milliseconds_of(int timeout) {
  if (timeout < 0) return std::nullopt;
  return milliseconds(timeout);
}

}  // namespace millrace::posix
