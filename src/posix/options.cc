// Socket options. The shadow keeps and judges their values; those that mean something here are carried over.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "posix/convert.h"
#include "posix/own_options.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

int int_of(const void* value, socklen_t length) {
  int result = 0;
  std::memcpy(&result, value, std::min<size_t>(length, sizeof result));
  return result;
}

Duration time_of(const void* value, socklen_t length) {
  timeval t{};
  std::memcpy(&t, value, std::min<size_t>(length, sizeof t));
  return duration_of({t.tv_sec, t.tv_usec * 1'000});
}

long answer(const void* value, size_t bytes, void* out, socklen_t* length) {
  const size_t n = std::min<size_t>(bytes, *length);
  std::memcpy(out, value, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}

// Whether it changed what the worker should know.
bool carry_tcp(SocketOptions& o, int name, int value) {
  switch (name) {
    case TCP_NODELAY: o.no_delay = value != 0; return true;
    case TCP_CORK: o.cork = value != 0; return true;
    case TCP_KEEPIDLE: o.keepalive_idle = seconds(value); return true;
    case TCP_KEEPINTVL: o.keepalive_interval = seconds(value); return true;
    case TCP_KEEPCNT: o.keepalive_probes = static_cast<uint8_t>(value); return true;
    case TCP_USER_TIMEOUT: o.user_timeout = milliseconds(value); return true;
    case TCP_MAXSEG: o.mss = static_cast<uint16_t>(value); return true;
    case TCP_SYNCNT: o.syn_retries = static_cast<uint8_t>(value); return true;
    case TCP_QUICKACK: o.quick_ack = value != 0; return true;
    case TCP_DEFER_ACCEPT: o.defer_accept = value > 0 ? seconds(value) : Duration(); return true;
    case TCP_NOTSENT_LOWAT: o.unsent_low_water = static_cast<uint32_t>(value); return true;
    case TCP_LINGER2: o.fin_wait_2 = value > 0 ? seconds(value) : Duration(); return true;
    default: return false;
  }
}

// The DSCP and the hop limit of what a stream sends.
bool carry_ip(SocketOptions& o, int level, int name, int value) {
  const bool hops = level == IPPROTO_IP ? name == IP_TTL : level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS;
  const bool dscp = level == IPPROTO_IP ? name == IP_TOS : level == IPPROTO_IPV6 && name == IPV6_TCLASS;
  if (hops) o.hop_limit = static_cast<uint8_t>(value < 0 ? 0 : value);
  if (dscp) o.traffic_class = static_cast<uint8_t>(value < 0 ? 0 : value);
  return hops || dscp;
}

// Who keeps the values of a socket: its shadow, or nobody but us.
struct Keeper {
  int fd;
  const Socket& socket;
  bool own;

  [[nodiscard]] long get(int level, int name, void* value, socklen_t* length) const {
    return own ? held_option(socket, level, name, value, length) : kernel::getsockopt(fd, level, name, value, length);
  }
  /// A buffer size, without what the kernel adds for its own overhead: it doubles them.
  [[nodiscard]] uint32_t buffer(int name) const {
    int value = 0;
    socklen_t length = sizeof value;
    if (get(SOL_SOCKET, name, &value, &length) != 0) return 0;
    return own ? static_cast<uint32_t>(value) : static_cast<uint32_t>(value) / 2;
  }
};

// What streams and datagram sockets share.
bool carry_common(Socket& s, int level, int name, const void* value, socklen_t length) {
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    s.v6_only = int_of(value, length) != 0;
    return true;
  }
  if (level != SOL_SOCKET) return false;
  switch (name) {
    case SO_REUSEADDR: s.reuse_address = int_of(value, length) != 0; return true;
    case SO_REUSEPORT: s.reuse_port = int_of(value, length) != 0; return true;
    case SO_RCVTIMEO: s.receive_timeout = time_of(value, length); return true;
    case SO_SNDTIMEO: s.send_timeout = time_of(value, length); return true;
    default: return false;
  }
}

// Whether it changed what the worker should know.
bool carry_datagram(const Keeper& keeper, DatagramOptions& o, int level, int name, int value) {
  if (level == SOL_SOCKET) {
    switch (name) {
      case SO_BROADCAST: o.broadcast = value != 0; return true;
      case SO_SNDBUF: o.send_buffer = keeper.buffer(SO_SNDBUF) * 2; return true;
      case SO_RCVBUF: o.receive_buffer = keeper.buffer(SO_RCVBUF) * 2; return true;
      case SO_NO_CHECK: o.no_checksum = value != 0; return true;
      default: return false;
    }
  }
  if (level == IPPROTO_IP) {
    switch (name) {
      case IP_TTL: o.hop_limit = static_cast<uint8_t>(value < 0 ? 0 : value); return true;
      case IP_TOS: o.traffic_class = static_cast<uint8_t>(value); return true;
      case IP_MULTICAST_TTL: o.multicast_hop_limit = static_cast<uint8_t>(value < 0 ? 1 : value); return true;
      case IP_MULTICAST_LOOP: o.multicast_loop = value != 0; return true;
      case IP_RECVERR: o.error_queue = value != 0; return true;
      default: return false;
    }
  }
  if (level == IPPROTO_IPV6) {
    switch (name) {
      case IPV6_UNICAST_HOPS: o.hop_limit = static_cast<uint8_t>(value < 0 ? 0 : value); return true;
      case IPV6_TCLASS: o.traffic_class = static_cast<uint8_t>(value < 0 ? 0 : value); return true;
      case IPV6_MULTICAST_HOPS: o.multicast_hop_limit = static_cast<uint8_t>(value < 0 ? 1 : value); return true;
      case IPV6_MULTICAST_LOOP: o.multicast_loop = value != 0; return true;
      case IPV6_RECVERR: o.error_queue = value != 0; return true;
      default: return false;
    }
  }
  return false;
}

bool carry_socket(const Keeper& keeper, Stream& s, int name, const void* value, socklen_t length) {
  switch (name) {
    case SO_RCVLOWAT: {
      const int least = int_of(value, length);
      s.low_water = least < 0 ? INT_MAX : static_cast<uint32_t>(std::max(least, 1));
      return false;
    }
    case SO_OOBINLINE: s.urgent_inline = int_of(value, length) != 0; return false;
    case SO_KEEPALIVE: s.options.keepalive = int_of(value, length) != 0; return true;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE: s.options.send_buffer = keeper.buffer(SO_SNDBUF); return true;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE: s.options.receive_buffer = keeper.buffer(SO_RCVBUF); return true;
    case SO_LINGER: {
      struct linger linger {};
      std::memcpy(&linger, value, std::min<size_t>(length, sizeof linger));
      s.linger = linger.l_onoff != 0;
      s.linger_s = linger.l_linger;
      return false;
    }
    case SO_MAX_PACING_RATE: {
      uint64_t rate = 0;
      std::memcpy(&rate, value, std::min<size_t>(length, sizeof rate));
      const bool none = length < sizeof rate ? rate == UINT32_MAX : rate == UINT64_MAX;
      s.options.max_pacing_rate = none ? 0 : rate;
      return true;
    }
    default: return false;
  }
}

// The shadow of an accepted socket does not know what the listener was told.
void settle_inherited(const Keeper& keeper, Stream& s) {
  if (s.inherited == nullptr) return;
  if (keeper.own) {
    s.given = std::move(s.inherited);
    return;
  }
  for (const GivenOption& o : *s.inherited) {
    (void)kernel::setsockopt(keeper.fd, o.level, o.name, o.value.data(), static_cast<socklen_t>(o.value.size()));
  }
  s.inherited = nullptr;
}

// States of tcp_info that programs tell apart.
uint8_t state_of(const Stream& s) {
  switch (s.state) {
    case Stream::State::kListening: return TCP_LISTEN;
    case Stream::State::kConnecting: return TCP_SYN_SENT;
    case Stream::State::kConnected:
      if (s.broken) return TCP_CLOSE;
      if (s.ended) return s.shut_write ? TCP_LAST_ACK : TCP_CLOSE_WAIT;
      return s.shut_write ? TCP_FIN_WAIT2 : TCP_ESTABLISHED;
    case Stream::State::kFresh: break;
  }
  return TCP_CLOSE;
}

}  // namespace

void Stack::settle_options(int fd, Stream& stream) { settle_inherited({fd, stream, numbers_ != nullptr}, stream); }

void Stack::apply_options(Stream& stream) {
  if (stream.state == Stream::State::kFresh || stream.broken) return;
  (void)transport_->request(req::SetOptions{stream.handle, stream.options});
  stream.options.quick_ack.reset();
  flush();
}

long Stack::setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  Stream* stream = stream_of(fd);
  Datagram* datagram = datagram_of(fd);
  const Keeper keeper{fd, *socket, numbers_ != nullptr};
  if (stream != nullptr) settle_inherited(keeper, *stream);
  if (stream != nullptr && level == IPPROTO_TCP && name == TCP_CONGESTION) {
    return set_controller(*stream, value, length);
  }
  if (datagram != nullptr && (level == IPPROTO_IP || level == IPPROTO_IPV6)) {
    if (const auto done = set_group(*datagram, level, name, value, length)) return *done;
    if (const auto done = set_group_interface(*datagram, level, name, value, length)) return *done;
  }
  const bool bound =
      stream != nullptr ? stream->claim != 0 || stream->state != Stream::State::kFresh : datagram->handle.valid();
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && bound) return -EINVAL;
  const long done = keeper.own ? judge_option(*socket, level, name, value, length)
                               : kernel::setsockopt(fd, level, name, value, length);
  if (done < 0) return done;
  if (stream != nullptr || keeper.own) keep_option(*socket, level, name, value, length);
  if (carry_common(*socket, level, name, value, length)) {
    if (stream != nullptr) {
      stream->options.v6_only = stream->v6_only;
      stream->options.reuse_port = stream->reuse_port;
    }
  }
  if (datagram != nullptr) {
    const int number = int_of(value, length);
    if (level == IPPROTO_UDP && name == UDP_SEGMENT) datagram->segment = static_cast<uint16_t>(number);
    const bool merges = carry_told(datagram->told, level, name, number) && level == IPPROTO_UDP;
    if (merges) datagram->options.merge = number != 0;
    const bool tell = carry_datagram(keeper, datagram->options, level, name, number) || merges;
    if (!datagram->options.error_queue) datagram->errors.clear();
    if (tell && datagram->handle.valid()) {
      (void)transport_->request(req::SetDatagramOptions{datagram->handle, datagram->options});
    }
    return 0;
  }
  bool tell = false;
  if (level == SOL_SOCKET) tell = carry_socket(keeper, *stream, name, value, length);
  if (level == IPPROTO_TCP) tell = carry_tcp(stream->options, name, int_of(value, length));
  if (level != IPPROTO_TCP) tell = carry_ip(stream->options, level, name, int_of(value, length)) || tell;
  if (tell) apply_options(*stream);
  return 0;
}

// The kernel's list of controllers is another.
long Stack::set_controller(Stream& stream, const void* value, socklen_t length) {
  if (length < 1) return -EINVAL;
  const auto* text = static_cast<const char*>(value);
  const ControllerName before = stream.options.congestion_control;
  stream.options.congestion_control = ControllerName(std::string_view(text, strnlen(text, length)));
  if (stream.state == Stream::State::kFresh) return 0;
  const auto done = transport_->request(req::SetOptions{stream.handle, stream.options});
  if (!done) stream.options.congestion_control = before;
  return done ? 0 : -errno_of(done.error());
}

// A receive of nothing tells the error that waits, and takes it.
long Stack::take_datagram_error(Datagram& socket) {
  if (const long error = pending_error(socket); error < 0) return -error;
  socket.error_waits = false;
  if (!socket.handle.valid()) return 0;
  const auto reply = transport_->request(req::ReceiveBatch{socket.handle, {}});
  return reply || reply.error() == Error::kWouldBlock ? 0 : errno_of(reply.error());
}

long Stack::getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  if (value == nullptr || length == nullptr) return -EFAULT;
  if (*length > INT32_MAX) return -EINVAL;
  const Keeper keeper{fd, *socket, numbers_ != nullptr};
  if (Datagram* datagram = datagram_of(fd)) {
    if (const auto known = group_option(*datagram, level, name)) return answer(&*known, sizeof *known, value, length);
    if (level != SOL_SOCKET || name != SO_ERROR) return keeper.get(level, name, value, length);
    look_around();
    const int error = static_cast<int>(take_datagram_error(*datagram));
    return answer(&error, sizeof error, value, length);
  }
  Stream* stream = stream_of(fd);
  settle_inherited(keeper, *stream);
  if (level == SOL_SOCKET && name == SO_ERROR) {
    if (stream->state == Stream::State::kConnecting) look_around();
    const int error = static_cast<int>(take_error(*stream));
    return answer(&error, sizeof error, value, length);
  }
  if (level == SOL_SOCKET && name == SO_ACCEPTCONN) {
    const int listening = stream->state == Stream::State::kListening ? 1 : 0;
    return answer(&listening, sizeof listening, value, length);
  }
  if (level == IPPROTO_TCP && name == TCP_CONGESTION && !stream->options.congestion_control.empty()) {
    char text[16] = {};
    const std::string_view held = stream->options.congestion_control.view();
    std::copy(held.begin(), held.end(), text);
    return answer(text, sizeof text, value, length);
  }
  if (level == IPPROTO_TCP && name == TCP_INFO) {
    TcpInfo known;
    const bool alive = stream->state == Stream::State::kConnected || stream->state == Stream::State::kConnecting;
    if (alive && transport_->request(req::ReadTcpInfo{stream->handle, &known})) {
      return answer(&known, sizeof known, value, length);
    }
    tcp_info info{};
    info.tcpi_state = state_of(*stream);
    return answer(&info, sizeof info, value, length);
  }
  return keeper.get(level, name, value, length);
}

}  // namespace millrace::posix
