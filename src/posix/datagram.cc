#include "posix/datagram.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr size_t kMostErrors = 64;  // of one socket, beyond what the worker keeps
constexpr size_t kLongest = 65'535;
constexpr size_t kMostSegments = 64;

}  // namespace

void Datagram::note_event(uint32_t mask) {
  if ((mask & kReadable) != 0) {
    readable = true;
    certain = false;
  }
  if ((mask & kWritable) != 0) writable = true;
  if ((mask & kError) != 0) error_waits = true;
}

// What Linux's datagram_poll() reports.
uint32_t Datagram::ready() {
  uint32_t mask = 0;
  gather_errors();
  if (has_error() || !errors.empty()) mask |= EPOLLERR;
  if (shut_read) mask |= kReadBits | EPOLLRDHUP;
  if (shut_read && shut_write) mask |= EPOLLHUP;
  if (can_read()) mask |= kReadBits;
  if (writable) mask |= kWriteBits;
  return mask;
}

void Datagram::gather_errors() {
  if (!options.error_queue || !error_waits || !handle.valid()) return;
  error_waits = false;
  DatagramError error;
  while (errors.size() < kMostErrors && transport_.request(req::TakeError{handle, &error})) {
    errors.push_back(error);
    pending = error.expired ? EHOSTUNREACH : errno_of(static_cast<Error>(error.error));
  }
  // The worker keeps one of a connected socket for the next call as well.
  if (pending != 0) (void)transport_.request(req::ReceiveBatch{handle, {}});
}

long Datagram::open(const Endpoint& wanted) {
  DatagramOptions o = options;
  o.v6_only = v6_only;
  o.reuse = reuse_address || reuse_port;
  const auto reply = transport_.request(req::OpenDatagram{wanted, DatagramKind::kUdp, slot, o});
  if (!reply) return reply.error() == Error::kWouldBlock ? -EINTR : -errno_of(reply.error());
  handle = reply->handle;
  learn_names();
  for (const req::JoinGroup& join : std::exchange(joins, {})) {
    (void)transport_.request(req::JoinGroup{handle, join.group, join.interface, join.source});
  }
  return 0;
}

long Datagram::open_if_need_be() {
  if (handle.valid()) return 0;
  return open({family == AF_INET ? IpAddr::any_v4() : IpAddr(), 0});
}

void Datagram::learn_names() { (void)transport_.request(req::Names{handle, &local, &remote}); }

Datagram* Stack::datagram_of(int fd) {
  File* file = descriptors_.find(fd);
  return file != nullptr && file->kind() == FileKind::kDatagram ? static_cast<Datagram*>(file) : nullptr;
}

long Stack::connect_datagram(Datagram& socket, const sockaddr* address, socklen_t length) {
  Endpoint remote;
  if (address->sa_family != AF_UNSPEC) {
    if (const int bad = read_address(address, length, socket.family, remote); bad < 0) return bad;
    if (remote.addr.is_unspecified()) {
      remote.addr = remote.addr.is_v4() ? IpAddr::v4(127, 0, 0, 1) : *IpAddr::parse("::1");
    }
  } else if (!socket.handle.valid()) {
    return 0;
  }
  if (const long bad = socket.open_if_need_be(); bad < 0) return bad;
  const auto reply = transport_->request(req::ConnectDatagram{socket.handle, remote});
  socket.learn_names();
  return reply ? 0 : -errno_of(reply.error());
}

// Where it goes, and what its control messages ask for.
long Stack::address_message(Datagram& socket, Message& m, const sockaddr* to, socklen_t length, const msghdr* control) {
  if (to != nullptr) {
    if (const int bad = read_address(to, length, socket.family, m.remote); bad < 0) return bad;
    if (m.remote.port == 0) return -EINVAL;
    m.interface = scope_of(to, length);
    if (m.remote.addr.is_unspecified()) {
      m.remote.addr = m.remote.addr.is_v4() ? IpAddr::v4(127, 0, 0, 1) : *IpAddr::parse("::1");
    }
  } else if (!socket.is_connected()) {
    const long bad = socket.open_if_need_be();  // Linux gives it a port first
    return bad < 0 ? bad : -EDESTADDRREQ;
  }
  m.segment = socket.segment;
  if (control != nullptr && control->msg_controllen != 0) {
    const Endpoint named = m.remote;
    if (to == nullptr) m.remote = socket.remote;
    if (const long bad = read_control(*control, m); bad < 0) return bad;
    if (!m.remote.addr.is_multicast() && !m.remote.addr.is_link_local()) m.interface = IfIndex::kNone;
    m.remote = named;
    if (!m.local.is_unspecified() && !transport_->is_local(m.local)) return -EINVAL;
  }
  if (m.segment == 0 || m.data.size() <= m.segment) {
    m.segment = 0;
  } else if (m.data.size() > kMostSegments * m.segment) {
    return -EINVAL;
  }
  return 0;
}

// One message, or several of UDP_SEGMENT's size. Its pieces are put together first if there are several.
long Stack::send_datagram(Datagram& socket, Hold& hold, std::span<const iovec> data, int flags, const sockaddr* to,
                          socklen_t length, const msghdr* control) {
  std::vector<std::byte> whole;
  Message m;
  if (data.size() == 1) {
    m.data = {static_cast<const std::byte*>(data[0].iov_base), data[0].iov_len};
  } else {
    for (const iovec& piece : data) {
      const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
      whole.insert(whole.end(), bytes, bytes + piece.iov_len);
    }
    m.data = whole;
  }
  if (m.data.size() > kLongest) return -EMSGSIZE;
  if (socket.shut_write) return broken_pipe(flags);
  if (const long bad = address_message(socket, m, to, length, control); bad < 0) return bad;
  if (const long bad = socket.open_if_need_be(); bad < 0) return bad;
  if (const long bad = pending_error(socket); bad < 0) return bad;
  const bool wait_for_room = !socket.nonblocking && (flags & MSG_DONTWAIT) == 0;
  const Instant until = socket.send_timeout.ns() == 0 ? kNever : transport_->now() + socket.send_timeout;
  for (;;) {
    const auto reply = transport_->request(req::SendBatch{socket.handle, {&m, 1}});
    flush();
    if (reply) return static_cast<long>(m.data.size());
    if (reply.error() != Error::kWouldBlock) {
      socket.error_waits = false;
      return -errno_of(reply.error());
    }
    socket.writable = false;
    if (!wait_for_room) return -EAGAIN;
    const Woke woke = wait_socket(
        hold, [&] { return socket.writable || socket.has_error(); }, until);
    if (woke == Woke::kTimeout) return -EAGAIN;
    if (woke == Woke::kSignal && (until != kNever || !restarts())) return -EINTR;
  }
}

// One message, dealt out over the pieces; what does not fit is lost.
long Stack::receive_datagram(Datagram& socket, Hold& hold, std::span<const iovec> into, int flags, Received* details) {
  if ((flags & MSG_ERRQUEUE) != 0) return receive_error(socket, details);
  if ((flags & MSG_OOB) != 0) return -EOPNOTSUPP;
  size_t room = 0;
  for (const iovec& piece : into) room += piece.iov_len;
  std::vector<std::byte> whole;
  Message m;
  std::byte nothing{};
  if (into.size() == 1) {
    m.into = {static_cast<std::byte*>(into[0].iov_base), into[0].iov_len};
  } else {
    whole.resize(std::min<size_t>(room, UINT16_MAX));
    m.into = whole;
  }
  if (m.into.empty()) m.into = {&nothing, 1};  // room of none would mean to borrow
  const bool wait_for_data = !socket.nonblocking && (flags & MSG_DONTWAIT) == 0;
  const Instant until = socket.receive_timeout.ns() == 0 ? kNever : transport_->now() + socket.receive_timeout;
  bool turned = false;
  for (;;) {
    if (const long bad = pending_error(socket); bad < 0) return bad;
    Error why = Error::kWouldBlock;
    if (socket.handle.valid()) {
      const auto reply = transport_->request(req::ReceiveBatch{socket.handle, {&m, 1}, (flags & MSG_PEEK) != 0});
      if (reply && reply->bytes == 1) break;
      if (!reply) why = reply.error();
    }
    if (why != Error::kWouldBlock) {
      socket.error_waits = false;
      return -errno_of(why);
    }
    socket.readable = false;
    if (socket.shut_read) return 0;
    if (!wait_for_data) {
      if (turned || driven_) return -EAGAIN;
      turn();
      turned = true;
      continue;
    }
    const Woke woke = wait_socket(
        hold, [&] { return socket.can_read() || socket.has_error() || socket.shut_read; }, until);
    if (woke == Woke::kTimeout) return -EAGAIN;
    if (woke == Woke::kSignal && (until != kNever || !restarts())) return -EINTR;
  }
  socket.certain = false;
  size_t copied = std::min(m.data.size(), room);
  if (into.size() != 1) {
    size_t done = 0;
    for (const iovec& piece : into) {
      const size_t n = std::min(piece.iov_len, copied - done);
      std::memcpy(piece.iov_base, m.data.data() + done, n);
      done += n;
      if (done == copied) break;
    }
  }
  if (details != nullptr) {
    write_address(m.remote, socket.family, details->address, details->length, m.interface);
    details->flags = m.length > copied ? MSG_TRUNC : 0;
    if (details->control != nullptr) tell(*details->control, socket.family, socket.told, m);
  }
  return static_cast<long>((flags & MSG_TRUNC) != 0 ? m.length : copied);
}

// What IP_RECVERR left for the next call of any kind, as a negative errno number.
long Stack::pending_error(Datagram& socket) {
  socket.gather_errors();
  return -std::exchange(socket.pending, 0);
}

// The oldest entry of the error queue. The bytes of the datagram that it is about are not kept.
long Stack::receive_error(Datagram& socket, Received* details) {
  socket.gather_errors();
  if (socket.errors.empty()) {
    turn();
    socket.gather_errors();
  }
  if (socket.errors.empty()) return -EAGAIN;
  const DatagramError error = socket.errors.front();
  socket.errors.pop_front();
  // As Linux: the next one is pending, or none is.
  socket.pending = socket.errors.empty() ? 0 : errno_of(static_cast<Error>(socket.errors.front().error));
  if (details != nullptr) {
    write_address(error.destination, socket.family, details->address, details->length);
    details->flags = MSG_ERRQUEUE;
    if (details->control != nullptr) tell_error(*details->control, socket.family, error);
  }
  return 0;
}

}  // namespace millrace::posix
