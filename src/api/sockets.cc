// Sockets: from ff_socket() to ff_close(), reading and writing, descriptors.
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "api/state.h"

namespace millrace::api {
namespace {

constexpr int kMarks = SOCK_FSTACK | SOCK_KERNEL;
constexpr size_t kMostBytes = 0x7ffff000;  // of one call, as the kernel cuts it

pcblddr_func_t choose_local = nullptr;

iovec piece_of(const void* data, size_t bytes) {
  return {const_cast<void*>(data), bytes < kMostBytes ? bytes : kMostBytes};
}

std::span<const iovec> span_of(const iovec& piece) { return {&piece, 1}; }

long receive(int fd, std::span<const iovec> into, int flags, sockaddr* from, socklen_t* length) {
  posix::Received details{from, length, 0};
  return the_stack().receive(fd, into, flags, &details);
}

// Asks the program for the local address of a socket that has none.
long choose_address(int s, const sockaddr* to) {
  sockaddr_in6 local{};
  socklen_t length = sizeof local;
  if (const long bad = the_stack().getsockname(s, reinterpret_cast<sockaddr*>(&local), &length); bad < 0) return bad;
  if (local.sin6_port != 0) return 0;
  const bool v6 = to->sa_family == AF_INET6;
  sockaddr_in from4{};
  sockaddr_in6 from6{};
  from4.sin_family = AF_INET;
  from6.sin6_family = AF_INET6;
  sockaddr_in6 copy{};
  memcpy(&copy, to, v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  auto* copy4 = reinterpret_cast<sockaddr_in*>(&copy);
  const int refused = v6 ? choose_local(AF_INET6, &copy.sin6_addr, ntohs(copy.sin6_port), &from6.sin6_addr)
                         : choose_local(AF_INET, &copy4->sin_addr, ntohs(copy4->sin_port), &from4.sin_addr);
  if (refused != 0) return 0;
  if (v6 ? IN6_IS_ADDR_UNSPECIFIED(&from6.sin6_addr) : from4.sin_addr.s_addr == 0) return 0;
  return v6 ? the_stack().bind(s, reinterpret_cast<const sockaddr*>(&from6), sizeof from6)
            : the_stack().bind(s, reinterpret_cast<const sockaddr*>(&from4), sizeof from4);
}

}  // namespace

Address::Address(const linux_sockaddr* address, socklen_t length)
    : address_(reinterpret_cast<const sockaddr*>(address)) {
  if (address == nullptr || length < sizeof(short) || address->sa_family != AF_INET6_FREEBSD) return;
  memcpy(&copy_, address, length < sizeof copy_ ? length : sizeof copy_);
  copy_.sin6_family = AF_INET6;
  address_ = reinterpret_cast<const sockaddr*>(&copy_);
}

}  // namespace millrace::api

using namespace millrace;
using api::result;
using api::the_stack;

int ff_socket(int domain, int type, int protocol) {
  if ((type & api::kMarks) == SOCK_KERNEL) return result(-EPROTONOSUPPORT);
  return result(the_stack().socket(domain == AF_INET6_FREEBSD ? AF_INET6 : domain, type & ~api::kMarks, protocol));
}

int ff_bind(int s, const struct linux_sockaddr* addr, socklen_t addrlen) {
  return result(the_stack().bind(s, api::Address(addr, addrlen).get(), addrlen));
}

int ff_listen(int s, int backlog) { return result(the_stack().listen(s, backlog)); }

int ff_accept(int s, struct linux_sockaddr* addr, socklen_t* addrlen) {
  const long flags = the_stack().fcntl(s, F_GETFL, 0);
  if (flags < 0) return result(flags);
  return ff_accept4(s, addr, addrlen, (flags & O_NONBLOCK) != 0 ? SOCK_NONBLOCK : 0);
}

int ff_accept4(int s, struct linux_sockaddr* addr, socklen_t* addrlen, int flags) {
  return result(the_stack().accept4(s, reinterpret_cast<sockaddr*>(addr), addrlen, flags));
}

int ff_connect(int s, const struct linux_sockaddr* name, socklen_t namelen) {
  const api::Address to(name, namelen);
  if (api::choose_local != nullptr && name != nullptr && namelen >= sizeof(sockaddr_in)) {
    if (const long bad = api::choose_address(s, to.get()); bad < 0) return result(bad);
  }
  return result(the_stack().connect(s, to.get(), namelen));
}

int ff_shutdown(int s, int how) { return result(the_stack().shutdown(s, how)); }
int ff_close(int fd) { return result(the_stack().close(fd)); }

int ff_getsockname(int s, struct linux_sockaddr* name, socklen_t* namelen) {
  if (name == nullptr || namelen == nullptr) return result(-EFAULT);
  return result(the_stack().getsockname(s, reinterpret_cast<sockaddr*>(name), namelen));
}

int ff_getpeername(int s, struct linux_sockaddr* name, socklen_t* namelen) {
  if (name == nullptr || namelen == nullptr) return result(-EFAULT);
  return result(the_stack().getpeername(s, reinterpret_cast<sockaddr*>(name), namelen));
}

int ff_setsockopt(int s, int level, int optname, const void* optval, socklen_t optlen) {
  return result(the_stack().setsockopt(s, level, optname, optval, optlen));
}

int ff_getsockopt(int s, int level, int optname, void* optval, socklen_t* optlen) {
  return result(the_stack().getsockopt(s, level, optname, optval, optlen));
}

void ff_regist_pcblddr_fun(pcblddr_func_t func) { api::choose_local = func; }

ssize_t ff_read(int d, void* buf, size_t nbytes) { return ff_recv(d, buf, nbytes, 0); }

ssize_t ff_readv(int fd, const struct iovec* iov, int iovcnt) {
  if (iovcnt < 0 || iovcnt > IOV_MAX) return result<ssize_t>(-EINVAL);
  return result<ssize_t>(the_stack().receive(fd, {iov, static_cast<size_t>(iovcnt)}, 0));
}

ssize_t ff_recv(int s, void* buf, size_t len, int flags) {
  const iovec piece = api::piece_of(buf, len);
  return result<ssize_t>(the_stack().receive(s, api::span_of(piece), flags));
}

ssize_t ff_recvfrom(int s, void* buf, size_t len, int flags, struct linux_sockaddr* from, socklen_t* fromlen) {
  const iovec piece = api::piece_of(buf, len);
  return result<ssize_t>(api::receive(s, api::span_of(piece), flags, reinterpret_cast<sockaddr*>(from), fromlen));
}

ssize_t ff_recvmsg(int s, struct msghdr* msg, int flags) {
  if (msg == nullptr) return result<ssize_t>(-EFAULT);
  return result<ssize_t>(the_stack().recvmsg(s, msg, flags));
}

ssize_t ff_write(int fd, const void* buf, size_t nbytes) {
  if (api::is_chain(buf)) return ff_zc_send(fd, buf, nbytes);
  return ff_send(fd, buf, nbytes, 0);
}

ssize_t ff_writev(int fd, const struct iovec* iov, int iovcnt) {
  if (iovcnt < 0 || iovcnt > IOV_MAX) return result<ssize_t>(-EINVAL);
  return result<ssize_t>(the_stack().send(fd, {iov, static_cast<size_t>(iovcnt)}, MSG_NOSIGNAL));
}

ssize_t ff_send(int s, const void* buf, size_t len, int flags) {
  const iovec piece = api::piece_of(buf, len);
  return result<ssize_t>(the_stack().send(s, api::span_of(piece), flags | MSG_NOSIGNAL));
}

ssize_t ff_sendto(int s, const void* buf, size_t len, int flags, const struct linux_sockaddr* to, socklen_t tolen) {
  const iovec piece = api::piece_of(buf, len);
  return result<ssize_t>(
      the_stack().send(s, api::span_of(piece), flags | MSG_NOSIGNAL, api::Address(to, tolen).get(), tolen));
}

ssize_t ff_sendmsg(int s, const struct msghdr* msg, int flags) {
  if (msg == nullptr) return result<ssize_t>(-EFAULT);
  msghdr copy = *msg;
  const api::Address to(static_cast<const linux_sockaddr*>(msg->msg_name), msg->msg_namelen);
  copy.msg_name = const_cast<sockaddr*>(to.get());
  return result<ssize_t>(the_stack().sendmsg(s, &copy, flags | MSG_NOSIGNAL));
}

int ff_fcntl(int fd, int cmd, ...) {
  va_list list;
  va_start(list, cmd);
  const long value = va_arg(list, long);
  va_end(list);
  return result(the_stack().fcntl(fd, cmd, value));
}

int ff_ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* value = va_arg(list, void*);
  va_end(list);
  return result(the_stack().ioctl(fd, request, value));
}

int ff_dup(int oldfd) { return result(the_stack().dup(oldfd)); }
int ff_dup2(int oldfd, int newfd) { return result(the_stack().dup2(oldfd, newfd)); }
int ff_fdisused(int fd) { return the_stack().ours(fd) ? 1 : 0; }
int ff_getmaxfd(void) { return posix::OwnNumbers::kLimit; }
