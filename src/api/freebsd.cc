// The calls that take FreeBSD's numbers, and those that have no meaning here.
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "api/state.h"

namespace millrace::api {
namespace {

struct Number {
  int level;  // Linux's
  int theirs;
  int ours;
};

constexpr int kTheirSocketLevel = 0xffff;

constexpr Number kOptions[] = {
    {SOL_SOCKET, 0x0001, SO_DEBUG},
    {SOL_SOCKET, 0x0002, SO_ACCEPTCONN},
    {SOL_SOCKET, 0x0004, SO_REUSEADDR},
    {SOL_SOCKET, 0x0008, SO_KEEPALIVE},
    {SOL_SOCKET, 0x0010, SO_DONTROUTE},
    {SOL_SOCKET, 0x0020, SO_BROADCAST},
    {SOL_SOCKET, 0x0080, SO_LINGER},
    {SOL_SOCKET, 0x0100, SO_OOBINLINE},
    {SOL_SOCKET, 0x0200, SO_REUSEPORT},
    {SOL_SOCKET, 0x1001, SO_SNDBUF},
    {SOL_SOCKET, 0x1002, SO_RCVBUF},
    {SOL_SOCKET, 0x1003, SO_SNDLOWAT},
    {SOL_SOCKET, 0x1004, SO_RCVLOWAT},
    {SOL_SOCKET, 0x1005, SO_SNDTIMEO},
    {SOL_SOCKET, 0x1006, SO_RCVTIMEO},
    {SOL_SOCKET, 0x1007, SO_ERROR},
    {SOL_SOCKET, 0x1008, SO_TYPE},
    {SOL_SOCKET, 0x1016, SO_PROTOCOL},
    {IPPROTO_TCP, 1, TCP_NODELAY},
    {IPPROTO_TCP, 2, TCP_MAXSEG},
    {IPPROTO_TCP, 4, TCP_CORK},
    {IPPROTO_TCP, 32, TCP_INFO},
    {IPPROTO_TCP, 64, TCP_CONGESTION},
    {IPPROTO_TCP, 256, TCP_KEEPIDLE},
    {IPPROTO_TCP, 512, TCP_KEEPINTVL},
    {IPPROTO_TCP, 1'024, TCP_KEEPCNT},
    {IPPROTO_IP, 3, IP_TOS},
    {IPPROTO_IP, 4, IP_TTL},
    {IPPROTO_IP, 10, IP_MULTICAST_TTL},
    {IPPROTO_IP, 11, IP_MULTICAST_LOOP},
    {IPPROTO_IP, 12, IP_ADD_MEMBERSHIP},
    {IPPROTO_IP, 13, IP_DROP_MEMBERSHIP},
    {IPPROTO_IPV6, 4, IPV6_UNICAST_HOPS},
    {IPPROTO_IPV6, 10, IPV6_MULTICAST_HOPS},
    {IPPROTO_IPV6, 11, IPV6_MULTICAST_LOOP},
    {IPPROTO_IPV6, 12, IPV6_JOIN_GROUP},
    {IPPROTO_IPV6, 13, IPV6_LEAVE_GROUP},
    {IPPROTO_IPV6, 27, IPV6_V6ONLY},
    {IPPROTO_IPV6, 61, IPV6_TCLASS},
};

// False: there is none of that number.
bool translate(int& level, int& name) {
  if (level == kTheirSocketLevel) level = SOL_SOCKET;
  for (const Number& n : kOptions) {
    if (n.level != level || n.theirs != name) continue;
    name = n.ours;
    return true;
  }
  return false;
}

}  // namespace
}  // namespace millrace::api

using namespace millrace;
using api::result;

int ff_setsockopt_freebsd(int s, int level, int optname, const void* optval, socklen_t optlen) {
  if (!api::translate(level, optname)) return result(-ENOPROTOOPT);
  return ff_setsockopt(s, level, optname, optval, optlen);
}

int ff_getsockopt_freebsd(int s, int level, int optname, void* optval, socklen_t* optlen) {
  if (!api::translate(level, optname)) return result(-ENOPROTOOPT);
  return ff_getsockopt(s, level, optname, optval, optlen);
}

int ff_ioctl_freebsd(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* value = va_arg(list, void*);
  va_end(list);
  constexpr unsigned long kTheirFionbio = 0x8004667e;
  constexpr unsigned long kTheirFionread = 0x4004667f;
  constexpr unsigned long kTheirFionwrite = 0x40046677;
  switch (request & 0xffffffff) {
    case kTheirFionbio: return ff_ioctl(fd, FIONBIO, value);
    case kTheirFionread: return ff_ioctl(fd, FIONREAD, value);
    case kTheirFionwrite: return ff_ioctl(fd, TIOCOUTQ, value);
    default: return result(-ENOTTY);
  }
}

int ff_rtioctl(int, void*, unsigned*, unsigned) { return result(-ENOSYS); }
int ff_ngctl(int, void*) { return result(-ENOSYS); }

__thread struct thread* pcurthread = nullptr;

void* ff_adapt_user_thread_add(void* parent) { return parent; }
void ff_adapt_user_thread_exit(void*) {}
void* ff_switch_curthread(void* new_curthread) {
  void* before = pcurthread;
  pcurthread = static_cast<struct thread*>(new_curthread);
  return before;
}
void ff_restore_curthread(void* old_curthread) { pcurthread = static_cast<struct thread*>(old_curthread); }

int ff_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*start_routine)(void*), void* arg) {
  return pthread_create(thread, attr, start_routine, arg);
}
int ff_pthread_join(pthread_t thread, void** retval) { return pthread_join(thread, retval); }

int ff_gettimeofday(struct timeval* tv, void* tz) { return gettimeofday(tv, static_cast<struct timezone*>(tz)); }
