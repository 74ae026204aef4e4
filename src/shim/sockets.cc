// Opening, naming and half-closing of sockets, and their options.
#include "shim/next.h"

namespace millrace::shim {

MILLRACE_EXPORT(int, socket, (int domain, int type, int protocol)) {
  posix::Stack* stack = the_stack.load(std::memory_order_relaxed);
  if (stack == nullptr || posix::inside != 0 || !posix::Stack::wanted(domain, type, protocol)) {
    return behind().socket(domain, type, protocol);
  }
  return static_cast<int>(libc_result(stack->socket(domain, type, protocol)));
}

MILLRACE_EXPORT(int, bind, (int fd, const sockaddr* address, socklen_t length)) {
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->bind(fd, address, length)));
  return behind().bind(fd, address, length);
}

MILLRACE_EXPORT(int, listen, (int fd, int backlog)) {
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->listen(fd, backlog)));
  return behind().listen(fd, backlog);
}

MILLRACE_EXPORT(int, accept, (int fd, sockaddr* address, socklen_t* length)) {
  if (auto* stack = owner_of_point(fd)) return static_cast<int>(libc_result(stack->accept4(fd, address, length, 0)));
  return behind().accept(fd, address, length);
}

MILLRACE_EXPORT(int, accept4, (int fd, sockaddr* address, socklen_t* length, int flags)) {
  if (auto* stack = owner_of_point(fd))
    return static_cast<int>(libc_result(stack->accept4(fd, address, length, flags)));
  return behind().accept4(fd, address, length, flags);
}

MILLRACE_EXPORT(int, connect, (int fd, const sockaddr* address, socklen_t length)) {
  if (auto* stack = owner_of_point(fd)) return static_cast<int>(libc_result(stack->connect(fd, address, length)));
  return behind().connect(fd, address, length);
}

MILLRACE_EXPORT(int, shutdown, (int fd, int how)) {
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->shutdown(fd, how)));
  return behind().shutdown(fd, how);
}

MILLRACE_EXPORT(int, getsockname, (int fd, sockaddr* address, socklen_t* length)) {
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->getsockname(fd, address, length)));
  return behind().getsockname(fd, address, length);
}

MILLRACE_EXPORT(int, getpeername, (int fd, sockaddr* address, socklen_t* length)) {
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->getpeername(fd, address, length)));
  return behind().getpeername(fd, address, length);
}

MILLRACE_EXPORT(int, getsockopt, (int fd, int level, int name, void* value, socklen_t* length)) {
  if (auto* stack = owner_of(fd)) {
    return static_cast<int>(libc_result(stack->getsockopt(fd, level, name, value, length)));
  }
  return behind().getsockopt(fd, level, name, value, length);
}

MILLRACE_EXPORT(int, setsockopt, (int fd, int level, int name, const void* value, socklen_t length)) {
  if (auto* stack = owner_of(fd)) {
    return static_cast<int>(libc_result(stack->setsockopt(fd, level, name, value, length)));
  }
  return behind().setsockopt(fd, level, name, value, length);
}

}  // namespace millrace::shim
