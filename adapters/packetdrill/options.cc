// getsockopt and setsockopt: Linux's numbers and units on one side, SocketOptions on the other.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "calls.h"
#include "memory.h"
#include "tcp/cc/controller.h"
#include "tcp/linux_info.h"

namespace millrace::packetdrill {
namespace {

constexpr int kLeastSendBuffer = 4'608;  // what Linux makes of smaller values
constexpr int kLeastReceiveBuffer = 2'304;

// Linux takes shorter values of the options that are flags or numbers for invalid.
std::optional<int> read_int(const void* value, socklen_t length) {
  int out = 0;
  if (length < sizeof out) return std::nullopt;
  std::memcpy(&out, value, sizeof out);
  return out;
}

// Options of IP may be a byte.
std::optional<int> read_byte_or_int(const void* value, socklen_t length) {
  if (length == 0 || length >= sizeof(int)) return length == 0 ? std::nullopt : read_int(value, length);
  return static_cast<int>(*static_cast<const uint8_t*>(value));
}

Outcome write_bytes(std::span<const std::byte> from, void* value, socklen_t* length) {
  const auto n = std::min<size_t>(from.size(), *length);
  if (!copy_to_caller(value, from.first(n))) return failed(EFAULT);
  *length = static_cast<socklen_t>(n);
  return 0;
}

Outcome write_int(int number, void* value, socklen_t* length) {
  if (static_cast<int>(*length) < 0) return failed(EINVAL);
  return write_bytes(std::as_bytes(std::span(&number, 1)), value, length);
}

int seconds_of(Duration d, int standard_us_in_s) {
  return d.ns() > 0 ? static_cast<int>(d.us() / 1'000'000) : standard_us_in_s;
}

int64_t microseconds_of(const void* value) {
  timeval tv{};
  std::memcpy(&tv, value, sizeof tv);
  return int64_t{tv.tv_sec} * 1'000'000 + tv.tv_usec;
}

}  // namespace

// What the program set reaches the worker at once if there is something to set it on.
Outcome Calls::apply_options(Descriptor& d) {
  if (!d.handle.valid()) return 0;
  const auto set = engine_.request(req::SetOptions{d.handle, d.options});
  return set || set.error() == Error::kNotConnected ? Outcome(0) : Outcome(failed(errno_of(set.error())));
}

Outcome Calls::set_socket_option(Descriptor& d, int name, const void* value, socklen_t length) {
  const auto number = read_int(value, length);
  if (!number) return failed(EINVAL);
  switch (name) {
    case SO_REUSEADDR:
    case SO_REUSEPORT:
    case SO_OOBINLINE:
    case SO_PRIORITY:
    case SO_MARK:
    case SO_BUSY_POLL: return 0;
    case SO_KEEPALIVE: d.options.keepalive = *number != 0; return apply_options(d);
    case SO_SNDBUF: d.options.send_buffer = static_cast<uint32_t>(std::max(*number, kLeastSendBuffer / 2)); break;
    case SO_RCVBUF: d.options.receive_buffer = static_cast<uint32_t>(std::max(*number, kLeastReceiveBuffer / 2)); break;
    case SO_LINGER: {
      linger l{};
      if (length < sizeof l) return failed(EINVAL);
      std::memcpy(&l, value, sizeof l);
      d.linger_s = l.l_onoff != 0 ? std::max(l.l_linger, 0) : -1;
      return 0;
    }
    case SO_RCVTIMEO:
    case SO_SNDTIMEO:
      if (length < sizeof(timeval)) return failed(EINVAL);
      (name == SO_RCVTIMEO ? d.receive_timeout_us : d.send_timeout_us) = microseconds_of(value);
      return 0;
    default: return failed(ENOPROTOOPT);
  }
  return apply_options(d);
}

Outcome Calls::set_tcp_option(Descriptor& d, int name, const void* value, socklen_t length) {
  SocketOptions& o = d.options;
  if (name == TCP_CONGESTION) {
    const auto* text = static_cast<const char*>(value);
    const std::string_view asked(text, strnlen(text, length));
    if (tcp::cc::find_controller(asked) == tcp::cc::kNoController) return failed(ENOENT);
    o.congestion_control = ControllerName(asked);
    return apply_options(d);
  }
  if (name == TCP_FASTOPEN_KEY) {  // one key, or two: the second is the one before
    constexpr socklen_t kKey = 16;
    if (length != kKey && length != 2 * kKey) return failed(EINVAL);
    std::memcpy(o.fast_open_key.data(), value, kKey);
    std::memcpy(o.fast_open_old_key.data(), static_cast<const std::byte*>(value) + length - kKey, kKey);
    return apply_options(d);
  }
  const auto number = read_int(value, length);
  if (!number) return failed(EINVAL);
  const int n = *number;
  const auto duration = [&](Duration& into, int most) -> Outcome {
    if (n < 1 || n > most) return failed(EINVAL);
    into = seconds(n);
    return apply_options(d);
  };
  switch (name) {
    case TCP_NODELAY: o.no_delay = n != 0; break;
    case TCP_CORK: o.cork = n != 0; break;
    case TCP_USER_TIMEOUT:
      if (n < 0) return failed(EINVAL);
      o.user_timeout = milliseconds(n);
      break;
    case TCP_SYNCNT:
      if (n < 1 || n > 127) return failed(EINVAL);
      o.syn_retries = static_cast<uint8_t>(n);
      break;
    case TCP_FASTOPEN:
      if (n < 0 || (d.handle.valid() && d.kind != Descriptor::Kind::kListener)) return failed(EINVAL);
      o.fast_open_queue = static_cast<uint32_t>(n);
      break;
    case TCP_FASTOPEN_CONNECT:
      if (n < 0 || n > 1 || d.handle.valid()) return failed(EINVAL);
      d.fast_open_connect = n != 0;
      return 0;
    case TCP_DEFER_ACCEPT: o.defer_accept = seconds(std::clamp(n, 0, 65'535)); break;
    case TCP_LINGER2: o.fin_wait_2 = n > 0 ? seconds(std::min(n, 120)) : Duration(); break;
    case TCP_NOTSENT_LOWAT: o.unsent_low_water = static_cast<uint32_t>(n); break;
    case TCP_QUICKACK: {
      SocketOptions once = o;
      once.quick_ack = n != 0;
      if (!d.handle.valid() || d.kind == Descriptor::Kind::kListener) return 0;
      const auto set = engine_.request(req::SetOptions{d.handle, once});
      return set ? Outcome(0) : Outcome(failed(errno_of(set.error())));
    }
    case TCP_INQ:
      if (n != 0 && n != 1) return failed(EINVAL);
      d.tells_queue = n != 0;
      return 0;
    case TCP_MAXSEG:
      if (n != 0 && (n < 88 || n > 32'767)) return failed(EINVAL);
      o.mss = static_cast<uint16_t>(n);
      break;
    case TCP_KEEPIDLE: return duration(o.keepalive_idle, 32'767);
    case TCP_KEEPINTVL: return duration(o.keepalive_interval, 32'767);
    case TCP_KEEPCNT:
      if (n < 1 || n > 127) return failed(EINVAL);
      o.keepalive_probes = static_cast<uint8_t>(n);
      break;
    default: return failed(ENOPROTOOPT);
  }
  return apply_options(d);
}

Outcome Calls::set_option(int fd, int level, int name, const void* value, socklen_t length) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(descriptors_.find(fd) == nullptr ? EBADF : ENOTSOCK);
  if (value == nullptr) return failed(EFAULT);
  if (level == SOL_SOCKET) return set_socket_option(*d, name, value, length);
  if (level == IPPROTO_TCP) return set_tcp_option(*d, name, value, length);
  const auto number = read_byte_or_int(value, length);
  if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    if (!number) return failed(EINVAL);
    const bool v6 = level == IPPROTO_IPV6;
    if (name == (v6 ? IPV6_TCLASS : IP_TOS)) {
      d->options.traffic_class = static_cast<uint8_t>(*number & 0xfc);  // ECN's bits are not the program's
      return apply_options(*d);
    }
    if (name == (v6 ? IPV6_UNICAST_HOPS : IP_TTL)) {
      if (*number < -1 || *number == 0 || *number > 255) return failed(EINVAL);
      d->options.hop_limit = static_cast<uint8_t>(std::max(*number, 0));
      return apply_options(*d);
    }
    if (name == (v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER) || name == (v6 ? IPV6_RECVERR : IP_RECVERR) ||
        (v6 && name == IPV6_V6ONLY) || (!v6 && name == IP_FREEBIND)) {
      return 0;
    }
  }
  return failed(ENOPROTOOPT);
}

Outcome Calls::tcp_info(Descriptor& d, void* value, socklen_t* length) {
  const auto state = info(d);
  tcp::Info none;
  if (d.kind == Descriptor::Kind::kListener) none.state = tcp::State::kListen;
  const TcpInfo out = tcp::linux_info(state && state->tcp.full ? state->tcp : none, engine_.now());
  return write_bytes(std::as_bytes(std::span(&out, 1)), value, length);
}

Outcome Calls::get_option(int fd, int level, int name, void* value, socklen_t* length) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(descriptors_.find(fd) == nullptr ? EBADF : ENOTSOCK);
  if (length == nullptr) return failed(EFAULT);
  const SocketOptions& o = d->options;
  const auto state = info(*d);
  const bool connected = state && state->tcp.full;
  if (level == SOL_SOCKET) {
    const auto timeout = [&](int64_t us) {
      const timeval tv{us / 1'000'000, us % 1'000'000};
      return write_bytes(std::as_bytes(std::span(&tv, 1)), value, length);
    };
    switch (name) {
      case SO_ERROR: return write_int(take_error(*d), value, length);
      case SO_TYPE: return write_int(SOCK_STREAM, value, length);
      case SO_PROTOCOL: return write_int(IPPROTO_TCP, value, length);
      case SO_DOMAIN: return write_int(d->family, value, length);
      case SO_ACCEPTCONN: return write_int(d->kind == Descriptor::Kind::kListener ? 1 : 0, value, length);
      case SO_KEEPALIVE: return write_int(o.keepalive ? 1 : 0, value, length);
      case SO_REUSEADDR: return write_int(1, value, length);
      // Linux tells twice what was asked for, since it counts its own structures too.
      case SO_SNDBUF:
        return write_int(
            o.send_buffer != 0 ? static_cast<int>(2 * o.send_buffer) : static_cast<int>(flags_.tcp.send_buffer), value,
            length);
      case SO_RCVBUF:
        return write_int(o.receive_buffer != 0 ? static_cast<int>(2 * o.receive_buffer)
                                               : static_cast<int>(flags_.tcp.receive_buffer),
                         value, length);
      case SO_LINGER: {
        const linger l{d->linger_s >= 0 ? 1 : 0, std::max(d->linger_s, 0)};
        return write_bytes(std::as_bytes(std::span(&l, 1)), value, length);
      }
      case SO_RCVTIMEO: return timeout(d->receive_timeout_us);
      case SO_SNDTIMEO: return timeout(d->send_timeout_us);
      default: return failed(ENOPROTOOPT);
    }
  }
  if (level == IPPROTO_IP && name == IP_TOS) return write_int(o.traffic_class, value, length);
  if (level == IPPROTO_IPV6 && name == IPV6_TCLASS) return write_int(o.traffic_class, value, length);
  if ((level == IPPROTO_IP && name == IP_TTL) || (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS)) {
    return write_int(o.hop_limit != 0 ? o.hop_limit : 64, value, length);
  }
  if (level != IPPROTO_TCP) return failed(ENOPROTOOPT);
  switch (name) {
    case TCP_INFO: return tcp_info(*d, value, length);
    case TCP_CONGESTION: {
      constexpr size_t kNameMax = 16;  // TCP_CA_NAME_MAX
      std::string_view now = o.congestion_control.view();
      if (now.empty()) now = tcp::cc::kNames[flags_.tcp.congestion_control];
      if (connected) now = state->tcp.controller;
      std::array<char, kNameMax> text{};
      now.copy(text.data(), text.size() - 1);
      return write_bytes(std::as_bytes(std::span(text)), value, length);
    }
    case TCP_NODELAY: return write_int(o.no_delay ? 1 : 0, value, length);
    case TCP_USER_TIMEOUT: return write_int(static_cast<int>(o.user_timeout.ms()), value, length);
    case TCP_SYNCNT:
      return write_int(o.syn_retries != 0 ? o.syn_retries : static_cast<int>(flags_.tcp.syn_retries), value, length);
    case TCP_FASTOPEN: return write_int(static_cast<int>(o.fast_open_queue), value, length);
    case TCP_FASTOPEN_CONNECT: return write_int(d->fast_open_connect ? 1 : 0, value, length);
    case TCP_FASTOPEN_KEY: {
      if (*length < sizeof o.fast_open_key) return failed(EINVAL);
      return write_bytes(std::as_bytes(std::span(o.fast_open_key)), value, length);
    }
    case TCP_DEFER_ACCEPT: {  // as it is rounded: one, two, four ... seconds more
      int64_t s = 0;
      for (int64_t step = 1; s < o.defer_accept.us() / 1'000'000; step *= 2) s += step;
      return write_int(static_cast<int>(s), value, length);
    }
    case TCP_LINGER2: return write_int(seconds_of(o.fin_wait_2, 60), value, length);
    case TCP_CORK: return write_int(o.cork ? 1 : 0, value, length);
    case TCP_NOTSENT_LOWAT: return write_int(static_cast<int>(o.unsent_low_water), value, length);
    case TCP_INQ: return write_int(d->tells_queue ? 1 : 0, value, length);
    case TCP_MAXSEG: {
      // What a segment holds, its timestamps included, as Linux counts; before there is a connection, what was asked.
      const int mss = connected ? static_cast<int>(state->tcp.mss) : (o.mss != 0 ? o.mss : 536);
      return write_int(mss, value, length);
    }
    case TCP_KEEPIDLE: return write_int(seconds_of(o.keepalive_idle, 7'200), value, length);
    case TCP_KEEPINTVL: return write_int(seconds_of(o.keepalive_interval, 75), value, length);
    case TCP_KEEPCNT: return write_int(o.keepalive_probes != 0 ? o.keepalive_probes : 9, value, length);
    default: return failed(ENOPROTOOPT);
  }
}

}  // namespace millrace::packetdrill
