// syscall(3): libc's door to bare system calls is a way round its other functions. Calls that may concern a socket take
// the way of the function of that name. io_uring is refused as by a kernel that has none, so that programs use the
// calls that can be served. System calls that a program makes without libc are not seen.
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "shim/next.h"

namespace millrace::shim {
namespace {

using Arguments = std::array<long, 6>;

template <class T>
T as(long argument) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(argument);
  } else {
    return static_cast<T>(argument);
  }
}

// Calls `function` with as many of the arguments as it takes.
template <class Result, class... Types, size_t... At>
long pass(Result (*function)(Types...), const Arguments& a, std::index_sequence<At...>) {
  return function(as<Types>(a[At])...);
}

template <class Result, class... Types>
long pass(Result (*function)(Types...), const Arguments& a) {
  return pass(function, a, std::index_sequence_for<Types...>());
}

bool served(long number, const Arguments& a, long& result) {
  const auto to = [&](auto* function) {
    result = pass(function, a);
    return true;
  };
  switch (number) {
    case SYS_io_uring_setup: result = libc_result(-ENOSYS); return true;
    case SYS_socket: return to(&::socket);
    case SYS_bind: return to(&::bind);
    case SYS_listen: return to(&::listen);
    case SYS_accept: return to(&::accept);
    case SYS_accept4: return to(&::accept4);
    case SYS_connect: return to(&::connect);
    case SYS_shutdown: return to(&::shutdown);
    case SYS_getsockname: return to(&::getsockname);
    case SYS_getpeername: return to(&::getpeername);
    case SYS_getsockopt: return to(&::getsockopt);
    case SYS_setsockopt: return to(&::setsockopt);
    case SYS_read: return to(&::read);
    case SYS_write: return to(&::write);
    case SYS_readv: return to(&::readv);
    case SYS_writev: return to(&::writev);
    case SYS_recvfrom: return to(&::recvfrom);
    case SYS_sendto: return to(&::sendto);
    case SYS_recvmsg: return to(&::recvmsg);
    case SYS_sendmsg: return to(&::sendmsg);
    case SYS_recvmmsg: return to(&::recvmmsg);
    case SYS_sendmmsg: return to(&::sendmmsg);
    case SYS_sendfile: return to(&::sendfile);
    case SYS_splice: return to(&::splice);
    case SYS_close: return to(&::close);
    case SYS_dup: return to(&::dup);
    case SYS_dup2: return to(&::dup2);
    case SYS_dup3: return to(&::dup3);
    case SYS_fcntl: result = ::fcntl(as<int>(a[0]), as<int>(a[1]), a[2]); return true;
    case SYS_ioctl: result = ::ioctl(as<int>(a[0]), as<unsigned long>(a[1]), as<void*>(a[2])); return true;
    case SYS_poll: return to(&::poll);
    case SYS_ppoll: return to(&::ppoll);
    case SYS_select: return to(&::select);
    case SYS_epoll_create: return to(&::epoll_create);
    case SYS_epoll_create1: return to(&::epoll_create1);
    case SYS_epoll_ctl: return to(&::epoll_ctl);
    case SYS_epoll_wait: return to(&::epoll_wait);
    case SYS_epoll_pwait: return to(&::epoll_pwait);
    case SYS_epoll_pwait2: return to(&::epoll_pwait2);
    case SYS_close_range: result = ::close_range(as<unsigned>(a[0]), as<unsigned>(a[1]), as<int>(a[2])); return true;
    default: return false;
  }
}

}  // namespace

MILLRACE_EXPORT(long, syscall, (long number, ...)) {
  Arguments a;
  va_list list;
  va_start(list, number);
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  long result = 0;
  const bool active = the_stack.load(std::memory_order_relaxed) != nullptr && posix::inside == 0;
  if (active && served(number, a, result)) return result;
  return libc_result(call(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

}  // namespace millrace::shim
