#include "posix/own_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace millrace::posix {
namespace {

enum class Of : uint8_t { kAny, kStreams, kDatagrams };

struct Row {
  int level;
  int name;
  Of of;
  size_t bytes;  // of the shortest value
  int least;
  int greatest;  // of an int
  int fallback;
};

constexpr size_t kInt = sizeof(int);
constexpr int kBufferLeast = 2'048;

constexpr Row kRows[] = {
    {SOL_SOCKET, SO_DEBUG, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_REUSEADDR, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_REUSEPORT, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_DONTROUTE, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_BROADCAST, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_SNDBUF, Of::kAny, kInt, INT_MIN, INT_MAX, 1'048'576},
    {SOL_SOCKET, SO_RCVBUF, Of::kAny, kInt, INT_MIN, INT_MAX, 262'144},
    {SOL_SOCKET, SO_KEEPALIVE, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_OOBINLINE, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_NO_CHECK, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_PRIORITY, Of::kAny, kInt, 0, 6, 0},
    {SOL_SOCKET, SO_LINGER, Of::kAny, sizeof(struct linger), INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_RCVLOWAT, Of::kAny, kInt, INT_MIN, INT_MAX, 1},
    {SOL_SOCKET, SO_RCVTIMEO, Of::kAny, sizeof(timeval), INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_SNDTIMEO, Of::kAny, sizeof(timeval), INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_TIMESTAMP, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_TIMESTAMPNS, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_TIMESTAMP, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_TIMESTAMPNS, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {SOL_SOCKET, SO_MAX_PACING_RATE, Of::kAny, kInt, INT_MIN, INT_MAX, -1},
    {IPPROTO_TCP, TCP_NODELAY, Of::kStreams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_TCP, TCP_MAXSEG, Of::kStreams, kInt, 0, 65'495, 1'460},
    {IPPROTO_TCP, TCP_CORK, Of::kStreams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_TCP, TCP_KEEPIDLE, Of::kStreams, kInt, 1, 32'767, 7'200},
    {IPPROTO_TCP, TCP_KEEPINTVL, Of::kStreams, kInt, 1, 32'767, 75},
    {IPPROTO_TCP, TCP_KEEPCNT, Of::kStreams, kInt, 1, 127, 9},
    {IPPROTO_TCP, TCP_SYNCNT, Of::kStreams, kInt, 1, 127, 6},
    {IPPROTO_TCP, TCP_LINGER2, Of::kStreams, kInt, INT_MIN, INT_MAX, 60},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Of::kStreams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_TCP, TCP_QUICKACK, Of::kStreams, kInt, INT_MIN, INT_MAX, 1},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Of::kStreams, kInt, 0, INT_MAX, 0},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, Of::kStreams, kInt, INT_MIN, INT_MAX, -1},
    {IPPROTO_IP, IP_TOS, Of::kAny, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_TTL, Of::kAny, 1, -1, 255, 64},
    {IPPROTO_IP, IP_MULTICAST_TTL, Of::kDatagrams, 1, -1, 255, 1},
    {IPPROTO_IP, IP_MULTICAST_LOOP, Of::kDatagrams, 1, INT_MIN, INT_MAX, 1},
    {IPPROTO_IP, IP_PKTINFO, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVTTL, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVTOS, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVERR, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVERR, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_UDP, UDP_SEGMENT, Of::kDatagrams, kInt, 0, 65'535, 0},
    {IPPROTO_UDP, UDP_GRO, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_PKTINFO, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVTTL, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVTOS, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_IP, IP_RECVERR, Of::kDatagrams, 1, INT_MIN, INT_MAX, 0},
    {IPPROTO_UDP, UDP_SEGMENT, Of::kDatagrams, kInt, 0, UINT16_MAX, 0},
    {IPPROTO_UDP, UDP_GRO, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_RECVERR, Of::kDatagrams, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_V6ONLY, Of::kAny, kInt, INT_MIN, INT_MAX, 0},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, Of::kAny, kInt, -1, 255, 64},
    {IPPROTO_IPV6, IPV6_TCLASS, Of::kAny, kInt, -1, 255, 0},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, Of::kDatagrams, kInt, -1, 255, 1},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, Of::kDatagrams, kInt, 0, 1, 1},
};

const Row* find_row(const Socket& socket, int level, int name) {
  const bool stream = socket.kind() == FileKind::kStream;
  if (level == IPPROTO_IPV6 && socket.family != AF_INET6) return nullptr;
  for (const Row& row : kRows) {
    if (row.level != level || row.name != name) continue;
    if (row.of == Of::kAny || (row.of == Of::kStreams) == stream) return &row;
  }
  return nullptr;
}

int int_of(const void* value, size_t length) {
  int result = 0;
  std::memcpy(&result, value, std::min(length, sizeof result));
  return result;
}

long answer(const void* from, size_t bytes, void* value, socklen_t* length) {
  const size_t n = std::min<size_t>(bytes, *length);
  std::memcpy(value, from, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}

// What a socket is and nobody can set.
std::optional<int> fixed(const Socket& socket, int level, int name) {
  if (level != SOL_SOCKET) return std::nullopt;
  const bool stream = socket.kind() == FileKind::kStream;
  switch (name) {
    case SO_TYPE: return stream ? SOCK_STREAM : SOCK_DGRAM;
    case SO_DOMAIN: return socket.family;
    case SO_PROTOCOL: return stream ? IPPROTO_TCP : IPPROTO_UDP;
    case SO_SNDLOWAT: return 1;
    default: return std::nullopt;
  }
}

}  // namespace

long judge_option(const Socket& socket, int level, int name, const void* value, socklen_t length) {
  const Row* row = find_row(socket, level, name);
  if (row == nullptr) return -ENOPROTOOPT;
  if (length < row->bytes) return -EINVAL;
  if (value == nullptr) return -EFAULT;
  if (row->bytes == sizeof(timeval)) {
    timeval t{};
    std::memcpy(&t, value, sizeof t);
    return t.tv_usec < 0 || t.tv_usec >= 1'000'000 ? -EDOM : 0;
  }
  if (row->bytes > kInt) return 0;
  const int given = int_of(value, length);
  return given < row->least || given > row->greatest ? -EINVAL : 0;
}

void keep_option(Socket& s, int level, int name, const void* value, socklen_t length) {
  if (s.given == nullptr) s.given = std::make_shared<std::vector<GivenOption>>();
  // Sockets that were accepted hold the list as it was.
  if (s.given.use_count() > 1) s.given = std::make_shared<std::vector<GivenOption>>(*s.given);
  std::erase_if(*s.given, [&](const GivenOption& o) { return o.level == level && o.name == name; });
  const auto* bytes = static_cast<const std::byte*>(value);
  s.given->push_back({level, name, {bytes, bytes + length}});
}

long held_option(const Socket& socket, int level, int name, void* value, socklen_t* length) {
  if (const auto own = fixed(socket, level, name)) return answer(&*own, sizeof *own, value, length);
  const Row* row = find_row(socket, level, name);
  if (row == nullptr) return -ENOPROTOOPT;
  if (socket.given != nullptr) {
    for (const GivenOption& o : *socket.given) {
      if (o.level != level || o.name != name) continue;
      if (row->bytes > kInt) return answer(o.value.data(), o.value.size(), value, length);
      const int given = int_of(o.value.data(), o.value.size());
      const bool buffer = level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF);
      const int held = buffer ? std::max(given, kBufferLeast) : given;
      return answer(&held, sizeof held, value, length);
    }
  }
  const std::byte nothing[sizeof(timeval)] = {};
  if (row->bytes > kInt) return answer(nothing, row->bytes, value, length);
  return answer(&row->fallback, sizeof row->fallback, value, length);
}

}  // namespace millrace::posix
