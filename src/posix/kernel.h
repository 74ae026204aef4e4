// Bare system calls: no libc function that the preloaded library replaces, no errno, no cancellation point. Results are
// the kernel's: a value, or a negative errno number.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace millrace::posix::kernel {

inline constexpr size_t kSigsetBytes = 8;  // of the kernel, not of libc

inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result = 0;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
template <class T>
long arg(T* p) {
  return reinterpret_cast<long>(p);
}

inline int socket(int domain, int type, int protocol) {
  return static_cast<int>(call(SYS_socket, domain, type, protocol));
}
inline int close(int fd) { return static_cast<int>(call(SYS_close, fd)); }
inline long read(int fd, void* into, size_t n) { return call(SYS_read, fd, arg(into), static_cast<long>(n)); }
inline long write(int fd, const void* from, size_t n) { return call(SYS_write, fd, arg(from), static_cast<long>(n)); }
inline int fcntl(int fd, int command, long value = 0) { return static_cast<int>(call(SYS_fcntl, fd, command, value)); }
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  return static_cast<int>(call(SYS_getsockopt, fd, level, name, arg(value), arg(length)));
}
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  return static_cast<int>(call(SYS_setsockopt, fd, level, name, arg(value), static_cast<long>(length)));
}
inline int epoll_ctl(int set, int op, int fd, const epoll_event* event) {
  return static_cast<int>(call(SYS_epoll_ctl, set, op, fd, arg(event)));
}
/// Without waiting.
inline int epoll_fetch(int set, epoll_event* events, int count) {
  return static_cast<int>(call(SYS_epoll_pwait, set, arg(events), count, 0, 0, static_cast<long>(kSigsetBytes)));
}
inline int ppoll(pollfd* fds, size_t count, const timespec* timeout, const sigset_t* mask) {
  timespec left{};  // the kernel writes what is left of it
  if (timeout != nullptr) left = *timeout;
  return static_cast<int>(call(SYS_ppoll, arg(fds), static_cast<long>(count), timeout != nullptr ? arg(&left) : 0,
                               arg(mask), static_cast<long>(kSigsetBytes)));
}
/// Blocks every signal in this thread; what was blocked before goes to `before`.
inline void block_signals(sigset_t& before) {
  const uint64_t all = ~uint64_t{0};
  call(SYS_rt_sigprocmask, SIG_BLOCK, arg(&all), arg(&before), static_cast<long>(kSigsetBytes));
}
inline void restore_signals(const sigset_t& before) {
  call(SYS_rt_sigprocmask, SIG_SETMASK, arg(&before), 0, static_cast<long>(kSigsetBytes));
}
inline int pid() { return static_cast<int>(call(SYS_getpid)); }
inline int thread_id() { return static_cast<int>(call(SYS_gettid)); }
inline void signal_this_thread(int number) { call(SYS_tgkill, pid(), thread_id(), number); }

}  // namespace millrace::posix::kernel
