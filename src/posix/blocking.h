// libc's functions that may sleep, for sleeps without the lock: unlike bare system calls they are cancellation points
// of POSIX threads. Results are a value, or a negative errno number. A cancelled thread unwinds through the caller.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <cstddef>

namespace millrace::posix::blocking {

/// The preloaded library, in which these names are its own functions, puts libc's here.
struct Libc {
  int (*ppoll)(pollfd*, nfds_t, const timespec*, const sigset_t*) = ::ppoll;
  int (*connect)(int, const sockaddr*, socklen_t) = ::connect;
  ssize_t (*sendmsg)(int, const msghdr*, int) = ::sendmsg;
};
inline Libc libc;

inline long result_of(long result) { return result < 0 ? -errno : result; }

inline int ppoll(pollfd* fds, size_t count, const timespec* timeout, const sigset_t* mask) {
  return static_cast<int>(result_of(libc.ppoll(fds, count, timeout, mask)));
}
inline long connect(int fd, const sockaddr* address, socklen_t length) {
  return result_of(libc.connect(fd, address, length));
}
inline long sendmsg(int fd, const msghdr* message, int flags) { return result_of(libc.sendmsg(fd, message, flags)); }

}  // namespace millrace::posix::blocking
