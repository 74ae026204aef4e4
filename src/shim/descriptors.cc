// What acts on descriptors: close, dup, fcntl, ioctl.
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "posix/apart.h"
#include "shim/streams.h"

namespace millrace::shim {
namespace {

int duplicated(posix::Stack* stack, int fd, int fresh) {
  if (fresh < 0) return static_cast<int>(libc_result(fresh));
  stack->duplicated(fd, fresh);
  if (fresh <= 2 && stack->ours(fresh)) adopt_standard_stream(fresh);
  return fresh;
}

// Something of ours may have been replaced by a descriptor of the kernel's.
int replaced(int fd, int result) {
  if (result >= 0) {
    if (auto* stack = owner_of(fd)) stack->forget(fd);
  }
  return result;
}

}  // namespace

MILLRACE_EXPORT(int, close, (int fd)) {
  if (auto* stack = owner_of_point(fd)) return static_cast<int>(libc_result(stack->close(fd)));
  if (posix::is_apart(fd)) {
    if (posix::inside == 0) return static_cast<int>(libc_result(-EBADF));
    posix::forget_apart(fd);
  }
  return behind().close(fd);
}

MILLRACE_EXPORT(int, close_range, (unsigned first, unsigned last, int flags)) {
  constexpr int kMarkOnly = 1 << 2;  // CLOSE_RANGE_CLOEXEC
  auto* stack = the_stack.load(std::memory_order_relaxed);
  if (stack == nullptr || (flags & kMarkOnly) != 0 || first > last) return behind().close_range(first, last, flags);
  stack->close_range(first, last);
  int result = 0;
  posix::each_run_between(first, last, [&](unsigned from, unsigned to) {
    if (result == 0) result = behind().close_range(from, to, flags);
  });
  return result;
}

MILLRACE_EXPORT(void, closefrom, (int first)) {
  (void)shim_close_range(first < 0 ? 0U : static_cast<unsigned>(first), ~0U, 0);
}

MILLRACE_EXPORT(int, dup, (int fd)) {
  auto* stack = owner_of(fd);
  if (stack == nullptr) return behind().dup(fd);
  return duplicated(stack, fd, static_cast<int>(call(SYS_dup, fd)));
}

MILLRACE_EXPORT(int, dup2, (int fd, int fresh)) {
  auto* stack = owner_of(fd);
  if (stack == nullptr) return replaced(fresh, behind().dup2(fd, fresh));
  if (fd == fresh) return fresh;
  return duplicated(stack, fd, static_cast<int>(call(SYS_dup2, fd, fresh)));
}

MILLRACE_EXPORT(int, dup3, (int fd, int fresh, int flags)) {
  auto* stack = owner_of(fd);
  if (stack == nullptr) return replaced(fresh, behind().dup3(fd, fresh, flags));
  return duplicated(stack, fd, static_cast<int>(call(SYS_dup3, fd, fresh, flags)));
}

MILLRACE_EXPORT(int, fcntl, (int fd, int command, ...)) {
  va_list list;
  va_start(list, command);
  const long value = va_arg(list, long);
  va_end(list);
  if (auto* stack = owner_of(fd)) {
    const auto result = static_cast<int>(libc_result(stack->fcntl(fd, command, value)));
    if (result >= 0 && result <= 2 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) adopt_standard_stream(result);
    return result;
  }
  return behind().fcntl(fd, command, value);
}

MILLRACE_EXPORT(int, fcntl64, (int fd, int command, ...)) {
  va_list list;
  va_start(list, command);
  const long value = va_arg(list, long);
  va_end(list);
  return shim_fcntl(fd, command, value);
}

MILLRACE_EXPORT(int, sockatmark, (int fd)) {
  int there = 0;
  auto* stack = owner_of(fd);
  const long result =
      stack != nullptr ? libc_result(stack->ioctl(fd, SIOCATMARK, &there)) : behind().ioctl(fd, SIOCATMARK, &there);
  return result < 0 ? -1 : there;
}

MILLRACE_EXPORT(int, ioctl, (int fd, unsigned long request, ...)) {
  va_list list;
  va_start(list, request);
  void* value = va_arg(list, void*);
  va_end(list);
  if (auto* stack = owner_of(fd)) return static_cast<int>(libc_result(stack->ioctl(fd, request, value)));
  return behind().ioctl(fd, request, value);
}

}  // namespace millrace::shim
