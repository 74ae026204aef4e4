// The entry point of libmillrace_packetdrill.so and the table of C functions that it fills: each takes the lock, makes
// the call, and translates what came out into a number and errno.
#include <netinet/in.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "calls.h"
#include "interface.h"

namespace millrace::packetdrill {
namespace {

struct Context {
  explicit Context(const Flags& f) : flags(f), engine(flags), calls(flags, engine) {}
  Flags flags;
  Engine engine;
  Calls calls;
};

Context& of(void* context) { return *static_cast<Context*>(context); }

long result(const Outcome& outcome) {
  if (outcome) return *outcome;
  errno = outcome.error();
  return -1;
}

template <class Call>
long locked(void* context, Call&& call) {
  Context& c = of(context);
  Engine::Lock lock = c.engine.lock();
  return result(call(c.calls, lock));
}

void do_free(void* context) { delete static_cast<Context*>(context); }

int do_socket(void* p, int domain, int type, int protocol) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.socket(domain, type, protocol); }));
}
int do_bind(void* p, int fd, const sockaddr* address, socklen_t length) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.bind(fd, address, length); }));
}
int do_listen(void* p, int fd, int backlog) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.listen(fd, backlog); }));
}
int do_accept(void* p, int fd, sockaddr* address, socklen_t* length) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.accept(l, fd, address, length); }));
}
int do_connect(void* p, int fd, const sockaddr* address, socklen_t length) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.connect(l, fd, address, length); }));
}

ssize_t receive(void* p, int fd, std::span<const iovec> into, int flags) {
  return locked(p, [&](Calls& c, Calls::Lock& l) { return c.receive(l, fd, into, flags); });
}
ssize_t do_read(void* p, int fd, void* buffer, size_t bytes) {
  const iovec into{buffer, bytes};
  return receive(p, fd, {&into, 1}, 0);
}
ssize_t do_readv(void* p, int fd, const iovec* pieces, int count) {
  return receive(p, fd, {pieces, static_cast<size_t>(count)}, 0);
}
ssize_t do_recv(void* p, int fd, void* buffer, size_t bytes, int flags) {
  const iovec into{buffer, bytes};
  return receive(p, fd, {&into, 1}, flags);
}
ssize_t do_recvfrom(void* p, int fd, void* buffer, size_t bytes, int flags, sockaddr*, socklen_t* length) {
  const ssize_t got = do_recv(p, fd, buffer, bytes, flags);
  if (got >= 0 && length != nullptr) *length = 0;  // a stream's bytes have no sender of their own
  return got;
}
ssize_t do_recvmsg(void* p, int fd, msghdr* message, int flags) {
  return locked(p, [&](Calls& c, Calls::Lock& l) {
    const Outcome got = c.receive(l, fd, {message->msg_iov, message->msg_iovlen}, flags);
    if (!got) return got;
    message->msg_namelen = 0;
    message->msg_flags = 0;
    c.store_queue(fd, *message);
    return got;
  });
}

ssize_t send(void* p, int fd, std::span<const iovec> from, int flags, const sockaddr* to = nullptr,
             socklen_t length = 0) {
  return locked(p, [&](Calls& c, Calls::Lock& l) { return c.send(l, fd, from, flags, to, length); });
}
ssize_t do_write(void* p, int fd, const void* buffer, size_t bytes) {
  const iovec from{const_cast<void*>(buffer), bytes};
  return send(p, fd, {&from, 1}, 0);
}
ssize_t do_writev(void* p, int fd, const iovec* pieces, int count) {
  return send(p, fd, {pieces, static_cast<size_t>(count)}, 0);
}
ssize_t do_send(void* p, int fd, const void* buffer, size_t bytes, int flags) {
  const iovec from{const_cast<void*>(buffer), bytes};
  return send(p, fd, {&from, 1}, flags);
}
ssize_t do_sendto(void* p, int fd, const void* buffer, size_t bytes, int flags, const sockaddr* to, socklen_t length) {
  const iovec from{const_cast<void*>(buffer), bytes};
  return send(p, fd, {&from, 1}, flags, to, length);
}
ssize_t do_sendmsg(void* p, int fd, const msghdr* message, int flags) {
  return send(p, fd, {message->msg_iov, message->msg_iovlen}, flags, static_cast<const sockaddr*>(message->msg_name),
              message->msg_namelen);
}

int do_fcntl(void* p, int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.fcntl(fd, command, argument); }));
}
int do_ioctl(void* p, int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  int* argument = va_arg(arguments, int*);
  va_end(arguments);
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.ioctl(fd, request, argument); }));
}
int do_close(void* p, int fd) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.close(l, fd); }));
}
int do_shutdown(void* p, int fd, int how) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.shutdown(fd, how); }));
}
int do_getsockopt(void* p, int fd, int level, int name, void* value, socklen_t* length) {
  return static_cast<int>(
      locked(p, [&](Calls& c, Calls::Lock&) { return c.get_option(fd, level, name, value, length); }));
}
int do_setsockopt(void* p, int fd, int level, int name, const void* value, socklen_t length) {
  return static_cast<int>(
      locked(p, [&](Calls& c, Calls::Lock&) { return c.set_option(fd, level, name, value, length); }));
}
int do_poll(void* p, pollfd* fds, nfds_t count, int timeout_ms) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.poll(l, {fds, count}, timeout_ms); }));
}

int do_netdev_send(void* p, const void* datagram, size_t bytes) {
  Engine& engine = of(p).engine;
  const Engine::Lock lock = engine.lock();
  return engine.deliver({static_cast<const std::byte*>(datagram), bytes}) ? 0 : -1;
}
int do_netdev_receive(void* p, void* buffer, size_t* bytes, long long* usecs) {
  Context& c = of(p);
  const Engine::Lock lock = c.engine.lock();
  const Instant limit = *usecs > 0 ? Instant(*usecs * 1'000) : c.engine.now() + c.flags.rx_limit;
  const auto sent = c.engine.next_sent(limit);
  if (!sent) {
    *bytes = 0;
    return 0;
  }
  if (sent->bytes.size() > *bytes) return -1;
  std::copy(sent->bytes.begin(), sent->bytes.end(), static_cast<std::byte*>(buffer));
  *bytes = sent->bytes.size();
  *usecs = sent->at.us();
  return 0;
}
int do_usleep(void* p, uint32_t usecs) {
  Engine& engine = of(p).engine;
  const Engine::Lock lock = engine.lock();
  engine.pass_time(engine.now() + microseconds(usecs));
  return 0;
}
int do_gettimeofday(void* p, timeval* tv, void*) {
  Engine& engine = of(p).engine;
  const Engine::Lock lock = engine.lock();
  const int64_t us = engine.read_clock().us();
  if (tv != nullptr) *tv = {us / 1'000'000, us % 1'000'000};
  return 0;
}

int do_epoll_create(void* p, int size) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.epoll_create(size); }));
}
int do_epoll_ctl(void* p, int set, int operation, int fd, epoll_event* event) {
  return static_cast<int>(
      locked(p, [&](Calls& c, Calls::Lock&) { return c.epoll_control(set, operation, fd, event); }));
}
int do_epoll_wait(void* p, int set, epoll_event* events, int most, int timeout_ms) {
  const std::span<epoll_event> room(events, most > 0 ? static_cast<size_t>(most) : 0);
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.epoll_wait(l, set, room, timeout_ms); }));
}
int do_pipe(void* p, int* ends) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock&) { return c.pipe(ends); }));
}
int do_splice(void* p, int from, loff_t*, int to, loff_t*, size_t bytes, unsigned flags) {
  return static_cast<int>(locked(p, [&](Calls& c, Calls::Lock& l) { return c.splice(l, from, to, bytes, flags); }));
}

constexpr Table kTable{nullptr,        do_free,           do_socket,   do_bind,         do_listen,       do_accept,
                       do_connect,     do_read,           do_readv,    do_recv,         do_recvfrom,     do_recvmsg,
                       do_write,       do_writev,         do_send,     do_sendto,       do_sendmsg,      do_fcntl,
                       do_ioctl,       do_close,          do_shutdown, do_getsockopt,   do_setsockopt,   do_poll,
                       do_netdev_send, do_netdev_receive, do_usleep,   do_gettimeofday, do_epoll_create, do_epoll_ctl,
                       do_epoll_wait,  do_pipe,           do_splice};

}  // namespace
}  // namespace millrace::packetdrill

extern "C" [[gnu::visibility("default")]] void packetdrill_interface_init(const char* flags, void* table) {
  using namespace millrace::packetdrill;
  const char* more = std::getenv("MILLRACE_PD_FLAGS");
  const Flags parsed = read_flags(flags == nullptr ? "" : flags, more == nullptr ? "" : more);
  auto context = std::make_unique<Context>(parsed);
  if (parsed.port_mode || !context->engine.ready()) {
    static constexpr char kWhy[] = "millrace: this build drives the stack with mode=core and clock=virtual only\n";
    (void)!write(STDERR_FILENO, kWhy, sizeof kWhy - 1);
    std::abort();
  }
  auto* out = static_cast<Table*>(table);
  *out = kTable;
  out->context = context.release();
}
