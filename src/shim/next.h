// libc's own functions behind those that the preloaded library replaces. Until the library's constructor has found
// them, the bare system call stands in: looking one up (dlsym) may allocate, and an allocator may call any of them.
#pragma once

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>

#include "posix/kernel.h"
#include "posix/stack.h"

namespace millrace::shim {

using posix::kernel::arg;
using posix::kernel::call;

/// A kernel's result as libc gives it.
inline long libc_result(long result) {
  constexpr long kLastErrno = 4'095;
  if (result >= 0 || result < -kLastErrno) return result;
  errno = static_cast<int>(-result);
  return -1;
}

template <class T>
long word(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}

/// Each as NAME(result, name, (parameters), (arguments of the system call)).
#define MILLRACE_REPLACED(X)                                                                                       \
  X(int, socket, (int a, int b, int c), (SYS_socket, a, b, c))                                                     \
  X(int, bind, (int a, const sockaddr* b, socklen_t c), (SYS_bind, a, word(b), c))                                 \
  X(int, listen, (int a, int b), (SYS_listen, a, b))                                                               \
  X(int, accept, (int a, sockaddr* b, socklen_t* c), (SYS_accept, a, word(b), word(c)))                            \
  X(int, accept4, (int a, sockaddr* b, socklen_t* c, int d), (SYS_accept4, a, word(b), word(c), d))                \
  X(int, connect, (int a, const sockaddr* b, socklen_t c), (SYS_connect, a, word(b), c))                           \
  X(int, shutdown, (int a, int b), (SYS_shutdown, a, b))                                                           \
  X(int, getsockname, (int a, sockaddr* b, socklen_t* c), (SYS_getsockname, a, word(b), word(c)))                  \
  X(int, getpeername, (int a, sockaddr* b, socklen_t* c), (SYS_getpeername, a, word(b), word(c)))                  \
  X(int, getsockopt, (int a, int b, int c, void* d, socklen_t* e), (SYS_getsockopt, a, b, c, word(d), word(e)))    \
  X(int, setsockopt, (int a, int b, int c, const void* d, socklen_t e), (SYS_setsockopt, a, b, c, word(d), e))     \
  X(ssize_t, read, (int a, void* b, size_t c), (SYS_read, a, word(b), word(c)))                                    \
  X(ssize_t, write, (int a, const void* b, size_t c), (SYS_write, a, word(b), word(c)))                            \
  X(ssize_t, readv, (int a, const iovec* b, int c), (SYS_readv, a, word(b), c))                                    \
  X(ssize_t, writev, (int a, const iovec* b, int c), (SYS_writev, a, word(b), c))                                  \
  X(ssize_t, recv, (int a, void* b, size_t c, int d), (SYS_recvfrom, a, word(b), word(c), d))                      \
  X(ssize_t, send, (int a, const void* b, size_t c, int d), (SYS_sendto, a, word(b), word(c), d))                  \
  X(ssize_t, recvfrom, (int a, void* b, size_t c, int d, sockaddr* e, socklen_t* f),                               \
    (SYS_recvfrom, a, word(b), word(c), d, word(e), word(f)))                                                      \
  X(ssize_t, sendto, (int a, const void* b, size_t c, int d, const sockaddr* e, socklen_t f),                      \
    (SYS_sendto, a, word(b), word(c), d, word(e), f))                                                              \
  X(ssize_t, recvmsg, (int a, msghdr* b, int c), (SYS_recvmsg, a, word(b), c))                                     \
  X(ssize_t, sendmsg, (int a, const msghdr* b, int c), (SYS_sendmsg, a, word(b), c))                               \
  X(int, recvmmsg, (int a, mmsghdr* b, unsigned c, int d, timespec* e), (SYS_recvmmsg, a, word(b), c, d, word(e))) \
  X(int, sendmmsg, (int a, mmsghdr* b, unsigned c, int d), (SYS_sendmmsg, a, word(b), c, d))                       \
  X(ssize_t, sendfile, (int a, int b, off_t* c, size_t d), (SYS_sendfile, a, b, word(c), word(d)))                 \
  X(ssize_t, splice, (int a, loff_t* b, int c, loff_t* d, size_t e, unsigned f),                                   \
    (SYS_splice, a, word(b), c, word(d), word(e), f))                                                              \
  X(int, close, (int a), (SYS_close, a))                                                                           \
  X(int, close_range, (unsigned a, unsigned b, int c), (SYS_close_range, a, b, c))                                 \
  X(int, dup, (int a), (SYS_dup, a))                                                                               \
  X(int, dup2, (int a, int b), (SYS_dup2, a, b))                                                                   \
  X(int, dup3, (int a, int b, int c), (SYS_dup3, a, b, c))                                                         \
  X(int, fcntl, (int a, int b, long c), (SYS_fcntl, a, b, c))                                                      \
  X(int, ioctl, (int a, unsigned long b, void* c), (SYS_ioctl, a, word(b), word(c)))                               \
  X(int, poll, (pollfd * a, nfds_t b, int c), (SYS_poll, word(a), word(b), c))                                     \
  X(int, ppoll, (pollfd * a, nfds_t b, const timespec* c, const sigset_t* d),                                      \
    (SYS_ppoll, word(a), word(b), word(c), word(d), posix::kernel::kSigsetBytes))                                  \
  X(int, select, (int a, fd_set* b, fd_set* c, fd_set* d, timeval* e),                                             \
    (SYS_select, a, word(b), word(c), word(d), word(e)))                                                           \
  X(int, epoll_create, (int a), (SYS_epoll_create, a))                                                             \
  X(int, epoll_create1, (int a), (SYS_epoll_create1, a))                                                           \
  X(int, epoll_ctl, (int a, int b, int c, epoll_event* d), (SYS_epoll_ctl, a, b, c, word(d)))                      \
  X(int, epoll_wait, (int a, epoll_event* b, int c, int d), (SYS_epoll_wait, a, word(b), c, d))                    \
  X(int, epoll_pwait, (int a, epoll_event* b, int c, int d, const sigset_t* e),                                    \
    (SYS_epoll_pwait, a, word(b), c, d, word(e), posix::kernel::kSigsetBytes))                                     \
  X(int, epoll_pwait2, (int a, epoll_event* b, int c, const timespec* d, const sigset_t* e),                       \
    (SYS_epoll_pwait2, a, word(b), c, word(d), word(e), posix::kernel::kSigsetBytes))

namespace bare {
#define MILLRACE_BARE(result, name, parameters, arguments) \
  inline result name parameters { return static_cast<result>(libc_result(call arguments)); }
MILLRACE_REPLACED(MILLRACE_BARE)
#undef MILLRACE_BARE
}  // namespace bare

struct Next {
#define MILLRACE_POINTER(result, name, parameters, arguments) result(*name) parameters = bare::name;
  MILLRACE_REPLACED(MILLRACE_POINTER)
#undef MILLRACE_POINTER
  int (*pselect)(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*) = nullptr;
  void (*exit_now)(int) = nullptr;
  int (*sigaction)(int, const struct sigaction*, struct sigaction*) = nullptr;
  sighandler_t (*signal)(int, sighandler_t) = nullptr;
  void (*longjmp)(__jmp_buf_tag*, int) = nullptr;
  void (*longjmp_chk)(__jmp_buf_tag*, int) = nullptr;
};

/// libc's own function behind one that is replaced and seldom called, looked up now.
template <class Function>
Function* libcs(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

extern Next next;
inline constexpr Next kBare{};

/// What stands behind a function that is replaced: for calls of our own libraries, made with the lock held, the bare
/// system call, at which a thread is not cancelled.
inline const Next& behind() { return posix::inside != 0 ? kBare : next; }

/// The process's stack, once the constructor has run; null before.
extern std::atomic<posix::Stack*> the_stack;

/// The stack if it has this descriptor; null: it is the kernel's.
inline posix::Stack* owner_of(int fd) {
  posix::Stack* stack = the_stack.load(std::memory_order_relaxed);
  return stack != nullptr && stack->ours(fd) ? stack : nullptr;
}

/// owner_of(), for functions that are cancellation points of POSIX threads.
inline posix::Stack* owner_of_point(int fd) {
  posix::Stack* stack = owner_of(fd);
  if (stack != nullptr) pthread_testcancel();
  return stack;
}

/// Defines libc's function NAME; its own declarations, which differ in exception specifications, are left alone.
#define MILLRACE_EXPORT(result, name, parameters)                                         \
  extern "C" [[gnu::visibility("default")]] result shim_##name parameters __asm__(#name); \
  result shim_##name parameters

}  // namespace millrace::shim
