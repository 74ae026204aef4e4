// Opening, naming and closing sockets.
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "calls.h"
#include "stack/impl.h"

namespace millrace::packetdrill {

Calls::Calls(const Flags& flags, Engine& engine) : flags_(flags), engine_(engine) {
  engine_.on_event([this](const Event& e) { note(e); });
}

Descriptor* Calls::create(Descriptor::Kind kind) {
  std::unique_ptr<Descriptor> stale;
  Descriptor* d = descriptors_.create(kind, stale);
  if (stale != nullptr) give_up(*stale);
  return d;
}

// A socket whose number the kernel closed: nobody can ask for it any more, and the peer is not told.
void Calls::give_up(Descriptor& d) {
  if (!d.handle.valid()) return;
  (void)engine_.request(d.kind == Descriptor::Kind::kListener ? Request(req::Close{d.handle})
                                                              : Request(req::Abort{d.handle}));
}

Descriptor* Calls::stream(int fd) {
  Descriptor* d = descriptors_.find(fd);
  if (d == nullptr) return nullptr;
  return d->kind == Descriptor::Kind::kSocket || d->kind == Descriptor::Kind::kListener ? d : nullptr;
}

std::optional<stack::SocketInfo> Calls::info(const Descriptor& d) {
  if (!d.handle.valid()) return std::nullopt;
  return engine_.worker().socket(d.handle);
}

Instant Calls::limit_after(int64_t timeout_us, bool first_thread_waits) const {
  if (timeout_us > 0) return engine_.now() + microseconds(timeout_us);
  return first_thread_waits ? engine_.now() + flags_.rx_limit : kNever;
}

Outcome Calls::until_ready(Lock& lock, const Descriptor& d, bool may_block, int64_t timeout_us,
                           const std::function<Outcome()>& attempt) {
  Outcome outcome = attempt();
  if (outcome || outcome.error() != EAGAIN || !may_block || d.nonblocking) return outcome;
  (void)engine_.wait(
      lock,
      [&] {
        outcome = attempt();
        return outcome || outcome.error() != EAGAIN;
      },
      limit_after(timeout_us, engine_.on_first_thread()));
  return outcome;
}

Outcome Calls::socket(int domain, int type, int protocol) {
  if (domain != AF_INET && domain != AF_INET6) return failed(EAFNOSUPPORT);
  if ((type & 0xf) != SOCK_STREAM) return failed(EPROTONOSUPPORT);
  if (protocol != 0 && protocol != IPPROTO_TCP) return failed(EPROTONOSUPPORT);
  Descriptor* d = create(Descriptor::Kind::kSocket);
  if (d == nullptr) return failed(EMFILE);
  d->family = domain;
  d->nonblocking = (type & SOCK_NONBLOCK) != 0;
  d->options.no_delay = false;
  d->options.fast_open_key = flags_.fast_open_key;
  d->options.fast_open_old_key = flags_.fast_open_old_key;
  return d->fd;
}

Outcome Calls::bind(int fd, const sockaddr* address, socklen_t length) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  const auto local = endpoint_of(address, length, d->family);
  if (!local) return failed(local.error());
  if (d->handle.valid() || d->bound) return failed(EINVAL);
  d->local = *local;
  d->bound = true;
  return 0;
}

Outcome Calls::listen(int fd, int backlog) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  if (d->kind == Descriptor::Kind::kListener) return 0;
  if (d->handle.valid()) return failed(EINVAL);
  if (!d->bound && d->family == AF_INET) d->local = {IpAddr::any_v4(), 0};
  req::Listen r{d->local, static_cast<uint32_t>(backlog < 0 ? 0 : backlog) + 1, static_cast<uint64_t>(fd), d->options};
  // Without a port, the first free one of those that connections use.
  const bool any = d->local.port == 0;
  if (any) r.local.port = static_cast<uint16_t>(flags_.tcp.port_low);
  auto opened = engine_.request(r);
  while (any && !opened && opened.error() == Error::kAddressInUse && r.local.port < flags_.tcp.port_high) {
    ++r.local.port;
    opened = engine_.request(r);
  }
  if (!opened) return failed(errno_of(opened.error()));
  d->local = r.local;
  d->handle = opened->handle;
  d->kind = Descriptor::Kind::kListener;
  return 0;
}

Outcome Calls::accept(Lock& lock, int fd, sockaddr* address, socklen_t* length) {
  Descriptor* listener = stream(fd);
  if (listener == nullptr) return failed(EBADF);
  if (listener->kind != Descriptor::Kind::kListener) return failed(EINVAL);
  Handle taken;
  const Outcome outcome = until_ready(lock, *listener, true, listener->receive_timeout_us, [&]() -> Outcome {
    const auto accepted = engine_.request(req::Accept{listener->handle});
    if (!accepted) return failed(errno_of(accepted.error()));
    taken = accepted->handle;
    return 0;
  });
  if (!outcome) return outcome;
  Descriptor* d = create(Descriptor::Kind::kSocket);
  if (d == nullptr) return failed(EMFILE);
  d->family = listener->family;
  d->options = listener->options;
  d->local = listener->local;
  d->bound = true;
  d->connected_told = true;
  d->linger_s = listener->linger_s;
  d->receive_timeout_us = listener->receive_timeout_us;
  d->send_timeout_us = listener->send_timeout_us;
  d->handle = taken;
  (void)engine_.request(req::SetUser{taken, static_cast<uint64_t>(d->fd)});
  store_peer(d->fd, address, length);
  return d->fd;
}

void Calls::store_peer(int fd, sockaddr* address, socklen_t* length) {
  const Descriptor* d = stream(fd);
  if (d == nullptr) return;
  Endpoint remote;
  if (engine_.request(req::Names{d->handle, nullptr, &remote})) store_endpoint(remote, d->family, address, length);
}

// Where a connect() stands: 0, EAGAIN while it is under way, or why it failed.
Outcome Calls::finish_connect(Descriptor& d) {
  const auto state = info(d);
  if (state && state->connecting) return failed(EAGAIN);
  if (const int error = take_error(d); error != 0) {
    (void)engine_.request(req::Close{d.handle});
    d.handle = {};
    return failed(error);
  }
  if (!state) return failed(ECONNABORTED);
  d.connected_told = true;
  return 0;
}

Outcome Calls::disconnect(Descriptor& d) {
  if (d.handle.valid()) give_up(d);
  d.handle = {};
  d.kind = Descriptor::Kind::kSocket;
  d.deferred.reset();
  d.connected_told = d.read_shut = d.write_shut = d.wants_space = false;
  return 0;
}

Outcome Calls::connect(Lock& lock, int fd, const sockaddr* address, socklen_t length) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  if (address == nullptr) return failed(EFAULT);
  if (length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) return disconnect(*d);
  const auto remote = endpoint_of(address, length, d->family);
  if (!remote) return failed(remote.error());
  if (d->kind == Descriptor::Kind::kListener) return failed(EISCONN);
  if (d->handle.valid()) {
    if (d->connected_told) return failed(EISCONN);
    const Outcome outcome = finish_connect(*d);
    if (outcome || outcome.error() != EAGAIN) return outcome;
    if (d->nonblocking) return failed(EALREADY);
  } else {
    if (d->deferred) return failed(EISCONN);
    // connect(2) with TCP_FASTOPEN_CONNECT: the SYN waits for the first write if that may go with it.
    if (d->fast_open_connect && engine_.worker().impl().tcp.knows_cookie_of(remote->addr, engine_.now())) {
      d->deferred = *remote;
      return 0;
    }
    const auto user = static_cast<uint64_t>(fd);
    const auto begun = engine_.request(req::Connect{*remote, d->local, user, d->options, 0, d->fast_open_connect});
    if (!begun) return failed(errno_of(begun.error()));
    d->handle = begun->handle;
    if (d->nonblocking) return failed(EINPROGRESS);
  }
  const Outcome outcome = until_ready(lock, *d, true, d->send_timeout_us, [&] { return finish_connect(*d); });
  if (!outcome && outcome.error() == EAGAIN) return failed(EINPROGRESS);
  return outcome;
}

Outcome Calls::close(Lock& lock, int fd) {
  Descriptor* d = descriptors_.find(fd);
  if (d == nullptr) return failed(EBADF);
  if (d->pipe != nullptr && d->kind == Descriptor::Kind::kPipeIn) d->pipe->writer_closed = true;
  if (d->handle.valid()) {
    const Handle handle = d->handle;
    const bool is_stream = d->kind == Descriptor::Kind::kSocket;
    if (is_stream && d->linger_s == 0) {
      (void)engine_.request(req::Abort{handle});
    } else {
      // SO_LINGER: until everything is acknowledged, or the time is over.
      if (is_stream && d->linger_s > 0) {
        (void)engine_.request(req::Shutdown{handle});
        const auto sent = [&] {
          const auto state = engine_.worker().socket(handle);
          return !state || !state->alive || state->send_queue == 0;
        };
        (void)engine_.wait(lock, sent, engine_.now() + seconds(d->linger_s));
      }
      (void)engine_.request(req::Close{handle});
    }
  }
  descriptors_.remove(fd);
  return 0;
}

Outcome Calls::shutdown(int fd, int how) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return failed(EINVAL);
  if (!d->handle.valid()) return failed(ENOTCONN);
  if (d->kind == Descriptor::Kind::kListener) {  // only the reading side of a listener can be shut
    return how == SHUT_WR ? Outcome(0) : disconnect(*d);
  }
  const auto state = info(*d);
  if (!state || !state->alive) return failed(ENOTCONN);
  if (state->connecting) return disconnect(*d);
  if (how != SHUT_WR) d->read_shut = true;
  if (how != SHUT_RD) {
    d->write_shut = true;
    (void)engine_.request(req::Shutdown{d->handle});
  }
  for (auto& [other, set] : descriptors_.all()) {
    if (const auto found = set->watched.find(fd); found != set->watched.end()) found->second.pending = true;
  }
  return 0;
}

Outcome Calls::fcntl(int fd, int command, long argument) {
  Descriptor* d = descriptors_.find(fd);
  if (d == nullptr) return failed(EBADF);
  switch (command) {
    case F_GETFL: return O_RDWR | (d->nonblocking ? O_NONBLOCK : 0);
    case F_SETFL: d->nonblocking = (argument & O_NONBLOCK) != 0; return 0;
    case F_GETFD: return FD_CLOEXEC;
    case F_SETFD: return 0;
    default: return failed(EINVAL);
  }
}

Outcome Calls::ioctl(int fd, unsigned long request, int* argument) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(descriptors_.find(fd) == nullptr ? EBADF : ENOTTY);
  if (argument == nullptr) return failed(EFAULT);
  if (d->kind == Descriptor::Kind::kListener) return failed(EINVAL);
  const auto state = info(*d);
  switch (request) {
    case SIOCINQ: *argument = state ? static_cast<int>(state->receive_queue) : 0; return 0;  // FIONREAD too
    case SIOCOUTQ: *argument = state ? static_cast<int>(state->send_queue) : 0; return 0;
    case SIOCOUTQNSD: *argument = state ? static_cast<int>(state->tcp.unsent) : 0; return 0;
    case FIONBIO: d->nonblocking = *argument != 0; return 0;
    default: return failed(ENOTTY);
  }
}

}  // namespace millrace::packetdrill
