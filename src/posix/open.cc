// From socket() to shutdown(): opening, naming and half-closing.
#include <netinet/in.h>

#include <cerrno>
#include <utility>

#include "posix/blocking.h"
#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr int kTypeBits = 0xf;
constexpr int kMaxBacklog = 4'096;  // net.core.somaxconn

}  // namespace

bool Stack::wanted(int domain, int type, int protocol) {
  if (domain != AF_INET && domain != AF_INET6) return false;
  const int kind = type & kTypeBits;
  return (kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) ||
         (kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP));
}

Stream* Stack::stream_of(int fd) {
  File* file = descriptors_.find(fd);
  return file != nullptr && file->kind() == FileKind::kStream ? static_cast<Stream*>(file) : nullptr;
}

Socket* Stack::socket_of(int fd) {
  File* file = descriptors_.find(fd);
  return file != nullptr && file->is_socket() ? static_cast<Socket*>(file) : nullptr;
}

uint64_t Stack::new_slot(Socket& stream) {
  if (free_slots_.empty()) {
    slots_.push_back(&stream);
    return slots_.size() - 1;
  }
  const uint64_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = &stream;
  return slot;
}

bool Stack::start() {
  const Lock lock(*this);
  return !lock.busy() && bring_up();
}

int Stack::new_number(int domain, int type, int protocol) {
  return numbers_ != nullptr ? numbers_->take() : kernel::socket(domain, type, protocol);
}

long Stack::end_number(int fd) {
  if (numbers_ == nullptr) return kernel::close(fd);
  numbers_->give(fd);
  return 0;
}

long Stack::socket(int domain, int type, int protocol) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (!bring_up()) return -ENETDOWN;
  if (numbers_ != nullptr && !wanted(domain, type, protocol)) {
    return domain == AF_INET || domain == AF_INET6 ? -EPROTONOSUPPORT : -EAFNOSUPPORT;
  }
  const int fd = new_number(domain, type, protocol);
  if (fd < 0) return fd;
  std::unique_ptr<Socket> socket;
  if ((type & kTypeBits) == SOCK_STREAM) {
    auto stream = std::make_unique<Stream>(*transport_, domain);
    stream->options.no_delay = false;
    socket = std::move(stream);
  } else {
    socket = std::make_unique<Datagram>(*transport_, domain);
  }
  socket->nonblocking = (type & SOCK_NONBLOCK) != 0;
  if (!descriptors_.set(fd, socket.get())) {
    if (numbers_ == nullptr) return fd;  // too high a number: the kernel's
    end_number(fd);
    return -ENOMEM;
  }
  socket->slot = new_slot(*socket);
  socket->numbers = 1;
  socket.release();
  ++live_sockets_;
  return fd;
}

void Stack::give_to_kernel(Socket& socket) {
  for (Watch* watch : std::vector<Watch*>(socket.watches)) {
    const epoll_event event{watch->events, watch->data};
    auto& set = static_cast<Epoll&>(*watch->set);  // there are no kqueues where the kernel has sockets
    (void)kernel::epoll_ctl(set.number(), EPOLL_CTL_ADD, watch->fd, &event);
    set.has_kernels = true;
    set.remove(*watch);
  }
  descriptors_.each(0, UINT32_MAX, [&](int number, File* file) {
    if (file == &socket) descriptors_.set(number, nullptr);
  });
  socket.numbers = 0;
}

long Stack::bind(int fd, const sockaddr* address, socklen_t length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  Endpoint wanted;
  if (address != nullptr && length >= sizeof(sockaddr_in) && socket->family == AF_INET) {
    // Linux lets AF_UNSPEC stand for the unspecified address.
    sockaddr_in in{};
    __builtin_memcpy(&in, address, sizeof in);
    if (in.sin_family == AF_UNSPEC && in.sin_addr.s_addr == 0) wanted = {IpAddr::any_v4(), ntohs(in.sin_port)};
  }
  if (!(wanted.addr.is_v4() && wanted.addr.is_unspecified())) {
    if (address == nullptr) return -EFAULT;
    if (const int bad = read_address(address, length, socket->family, wanted); bad < 0) return bad;
  }
  Stream* stream = stream_of(fd);
  if (stream != nullptr ? stream->state != Stream::State::kFresh || stream->claim != 0 : socket->handle.valid()) {
    return -EINVAL;
  }
  if (is_kernels(wanted.addr)) {
    Hold hold(*this, *socket);
    give_to_kernel(*socket);
    hold.release();
    return kernel::call(SYS_bind, fd, kernel::arg(address), length);
  }
  if (socket->v6_only && socket->family == AF_INET6 && wanted.addr.is_v4()) return -EINVAL;
  if (stream == nullptr) return datagram_of(fd)->open(wanted);
  if (wanted.addr.is_multicast() || wanted.addr.is_limited_broadcast()) return -EADDRNOTAVAIL;
  if (!wanted.addr.is_unspecified() && !transport_->is_local(wanted.addr)) return -EADDRNOTAVAIL;
  Transport::Claim claim;
  claim.local = wanted;
  claim.reuse_address = stream->reuse_address;
  claim.reuse_port = stream->reuse_port;
  claim.v6_only = stream->v6_only;
  const auto reserved = transport_->reserve(claim);
  if (!reserved) return -errno_of(reserved.error());
  stream->claim = reserved->id;
  stream->local = reserved->local;
  stream->chosen_port = wanted.port == 0;
  return 0;
}

long Stack::listen(int fd, int backlog) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Stream* stream = stream_of(fd);
  if (stream == nullptr) return socket_of(fd) != nullptr ? -EOPNOTSUPP : no_socket(fd);
  if (stream->fenced) return -EBADF;
  if (stream->state == Stream::State::kListening) return 0;
  if (stream->state != Stream::State::kFresh) return -EINVAL;
  if (stream->claim == 0) {
    Transport::Claim claim;
    claim.local = stream->local;
    if (claim.local.addr.is_unspecified() && stream->family == AF_INET) claim.local.addr = IpAddr::any_v4();
    claim.reuse_address = stream->reuse_address;
    claim.reuse_port = stream->reuse_port;
    const auto reserved = transport_->reserve(claim);
    if (!reserved) return -errno_of(reserved.error());
    stream->claim = reserved->id;
    stream->local = reserved->local;
    stream->chosen_port = true;
  }
  if (const auto done = transport_->reserve_listen(stream->claim); !done) return -errno_of(done.error());
  // As Linux counts: a queue of n holds n + 1; a negative one is the largest.
  const auto room = static_cast<uint32_t>(backlog < 0 || backlog > kMaxBacklog ? kMaxBacklog : backlog) + 1;
  const auto reply = transport_->request(req::Listen{stream->local, room, stream->slot, stream->options});
  if (!reply) {
    transport_->unlisten(stream->claim);
    return -errno_of(reply.error());
  }
  stream->handle = reply->handle;
  stream->state = Stream::State::kListening;
  stream->readable = false;
  return 0;
}

long Stack::accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return -EINVAL;
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Stream* listener = stream_of(fd);
  if (listener == nullptr) return socket_of(fd) != nullptr ? -EOPNOTSUPP : no_socket(fd);
  if (listener->fenced) return -EBADF;
  if (listener->state != Stream::State::kListening) return -EINVAL;
  if (!listener->can_read()) look_around();
  const Instant until = listener->receive_timeout.ns() == 0 ? kNever : transport_->now() + listener->receive_timeout;
  Hold hold(*this, *listener);
  long result = -EAGAIN;
  while (result == -EAGAIN) {
    if (!listener->can_read()) {
      if (listener->state != Stream::State::kListening) {
        result = -EINVAL;
        break;
      }
      if (ended_) {
        result = -EBADF;
        break;
      }
      if (listener->nonblocking) break;
      const Woke woke = wait_socket(
          hold, [&] { return listener->state != Stream::State::kListening || listener->can_read(); }, until);
      if (woke == Woke::kTimeout) break;
      if (woke == Woke::kSignal && (until != kNever || !restarts())) result = -EINTR;
      continue;
    }
    const int fresh = new_number(listener->family, SOCK_STREAM | flags, 0);
    if (fresh < 0) {
      result = fresh;
      break;
    }
    auto stream = std::make_unique<Stream>(*transport_, listener->family);
    stream->slot = new_slot(*stream);
    const auto taken = transport_->request(req::Accept{listener->handle, stream->slot});
    listener->certain = false;
    if (!taken || !descriptors_.set(fresh, stream.get())) {
      if (taken) (void)transport_->request(req::Abort{taken->handle});
      slots_[stream->slot] = nullptr;
      free_slots_.push_back(stream->slot);
      end_number(fresh);
      if (!taken && taken.error() != Error::kWouldBlock) result = -errno_of(taken.error());
      listener->readable = taken.has_value();
      continue;
    }
    stream->handle = taken->handle;
    stream->state = Stream::State::kConnected;
    stream->nonblocking = (flags & SOCK_NONBLOCK) != 0;
    stream->writable = stream->readable = true;  // look before believing
    stream->numbers = 1;
    stream->options = listener->options;
    stream->reuse_address = listener->reuse_address;
    stream->reuse_port = listener->reuse_port;
    stream->linger = listener->linger;
    stream->linger_s = listener->linger_s;
    stream->low_water = listener->low_water;
    stream->urgent_inline = listener->urgent_inline;
    stream->receive_timeout = listener->receive_timeout;
    stream->send_timeout = listener->send_timeout;
    stream->inherited = listener->given;
    stream->claim = listener->claim;
    transport_->hold(stream->claim);
    (void)transport_->request(req::Names{taken->handle, &stream->local, &stream->remote});
    write_address(stream->remote, stream->family, address, length);
    stream.release();
    ++live_sockets_;
    result = fresh;
  }
  return result;
}

long Stack::start_connect(Stream& stream, const Endpoint& remote) {
  const IpAddr& to = remote.addr;
  if (stream.v6_only && stream.family == AF_INET6 && to.is_v4()) return -ENETUNREACH;
  if (to.is_multicast() || to.is_limited_broadcast()) return -ENETUNREACH;
  req::Connect connect;
  connect.remote = remote;
  connect.user = stream.slot;
  connect.options = stream.options;
  if (stream.claim != 0) connect.local = stream.local;
  const auto reply = transport_->request(connect);
  if (!reply) return reply.error() == Error::kWouldBlock ? -EINTR : -errno_of(reply.error());
  stream.handle = reply->handle;
  stream.state = Stream::State::kConnecting;
  stream.broken = stream.error_waits = stream.ended = stream.readable = stream.writable = false;
  stream.shut_read = stream.shut_write = false;
  stream.remote = remote;
  (void)transport_->request(req::Names{stream.handle, &stream.local, nullptr});
  flush();
  return -EINPROGRESS;
}

long Stack::take_error(Stream& stream) {
  DatagramError error;
  if (!stream.error_waits) return 0;
  stream.error_waits = false;
  if (!transport_->request(req::TakeError{stream.handle, &error})) return 0;
  return stream.errno_for(static_cast<Error>(error.error));
}

// What connect() says once the attempt is over: the first to ask is told, as after a kernel's.
long Stack::finish_connect(Stream& stream) {
  if (!stream.broken) {
    stream.unclaimed = false;
    return 0;
  }
  const long error = take_error(stream);
  (void)transport_->request(req::Close{stream.handle});
  stream.handle = {};
  stream.state = Stream::State::kFresh;
  stream.broken = false;
  return error != 0 ? -error : -ECONNABORTED;
}

long Stack::connect(int fd, const sockaddr* address, socklen_t length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  if (address == nullptr) return -EFAULT;
  if (length < sizeof(sa_family_t)) return -EINVAL;
  Endpoint named;
  if (!socket->handle.valid() && read_address(address, length, socket->family, named) == 0 &&
      (is_kernels(named.addr) || (named.addr.is_unspecified() && !options_.loopback))) {
    Hold hold(*this, *socket);
    give_to_kernel(*socket);
    hold.release();
    const Away away(*this);
    return blocking::connect(fd, address, length);
  }
  if (Datagram* datagram = datagram_of(fd)) return connect_datagram(*datagram, address, length);
  Stream* stream = stream_of(fd);
  if (address->sa_family == AF_UNSPEC) {  // dissolves the association
    if (stream->handle.valid()) (void)transport_->request(req::Abort{stream->handle});
    flush();
    stream->handle = {};
    stream->state = Stream::State::kFresh;
    return 0;
  }
  if (stream->state == Stream::State::kListening) return -EISCONN;
  if (stream->state == Stream::State::kConnected) {
    if (stream->unclaimed || stream->broken) return finish_connect(*stream);
    return -EISCONN;
  }
  long result = -EALREADY;
  if (stream->state == Stream::State::kFresh) {
    Endpoint remote;
    if (const int bad = read_address(address, length, stream->family, remote); bad < 0) return bad;
    if (remote.addr.is_unspecified()) {  // Linux takes it for the host itself
      remote.addr = remote.addr.is_v4() ? IpAddr::v4(127, 0, 0, 1) : *IpAddr::parse("::1");
    }
    result = start_connect(*stream, remote);
    if (result != -EINPROGRESS) return result;
  }
  if (stream->nonblocking) {
    look_around();
    if (stream->state == Stream::State::kConnected && result == -EALREADY) return finish_connect(*stream);
    return result;
  }
  Hold hold(*this, *stream);
  const Instant until = stream->send_timeout.ns() == 0 ? kNever : transport_->now() + stream->send_timeout;
  Woke woke = Woke::kSignal;
  do {
    woke = wait_socket(
        hold, [&] { return stream->state != Stream::State::kConnecting; }, until);
  } while (woke == Woke::kSignal && until == kNever && restarts());
  if (stream->state == Stream::State::kConnected) {
    result = finish_connect(*stream);
  } else if (woke == Woke::kSignal) {
    result = -EINTR;
  } else if (stream->state == Stream::State::kFresh) {
    result = -ECONNABORTED;  // another thread took it apart
  }
  return result;
}

long Stack::shutdown(int fd, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (socket_of(fd) == nullptr) return no_socket(fd);
  if (socket_of(fd)->fenced) return -EBADF;
  if (Datagram* datagram = datagram_of(fd)) {
    if (!datagram->is_connected()) return -ENOTCONN;
    datagram->shut_read = datagram->shut_read || how != SHUT_WR;
    datagram->shut_write = datagram->shut_write || how != SHUT_RD;
    notify(*datagram, kReadBits | kWriteBits | EPOLLRDHUP | EPOLLHUP);
    ring_ready();
    return 0;
  }
  Stream* stream = stream_of(fd);
  switch (stream->state) {
    case Stream::State::kFresh: return -ENOTCONN;
    case Stream::State::kListening:
      if (how == SHUT_WR) return 0;
      (void)transport_->request(req::Close{stream->handle});
      transport_->unlisten(stream->claim);
      stream->handle = {};
      stream->state = Stream::State::kFresh;
      if (stream->chosen_port) {
        transport_->release(std::exchange(stream->claim, 0));
        stream->local.port = 0;
      }
      break;
    case Stream::State::kConnecting:
      (void)transport_->request(req::Abort{stream->handle});
      stream->handle = {};
      stream->state = Stream::State::kFresh;
      break;
    case Stream::State::kConnected: {
      if (stream->broken) return -ENOTCONN;
      if (how != SHUT_WR) stream->shut_read = true;
      if (how == SHUT_RD || stream->shut_write) break;
      const auto shut = transport_->request(req::Shutdown{stream->handle});
      if (!shut && shut.error() == Error::kNotConnected) return -ENOTCONN;
      stream->shut_write = true;
      break;
    }
  }
  flush();
  notify(*stream, kReadBits | kWriteBits | EPOLLRDHUP | EPOLLHUP);
  ring_ready();
  return 0;
}

long Stack::getsockname(int fd, sockaddr* address, socklen_t* length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  const Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  if (socket->local.port == 0 && numbers_ == nullptr) {
    return kernel::call(SYS_getsockname, fd, kernel::arg(address), kernel::arg(length));
  }
  if (*length > INT32_MAX) return -EINVAL;
  write_address(socket->local, socket->family, address, length);
  return 0;
}

long Stack::getpeername(int fd, sockaddr* address, socklen_t* length) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  const Socket* socket = socket_of(fd);
  if (socket == nullptr) return no_socket(fd);
  if (socket->fenced) return -EBADF;
  if (Stream* stream = stream_of(fd)) {
    // What ended it may not have been taken in yet.
    const bool connected = stream->state == Stream::State::kConnected && !stream->broken;
    if (!connected || !stream->look().alive) return -ENOTCONN;
  } else if (!datagram_of(fd)->is_connected()) {
    return -ENOTCONN;
  }
  if (*length > INT32_MAX) return -EINVAL;
  write_address(socket->remote, socket->family, address, length);
  return 0;
}

}  // namespace millrace::posix
