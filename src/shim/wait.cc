// poll, select and epoll.
#include "shim/next.h"

namespace millrace::shim {
namespace {

// Milliseconds as a timespec; null where the call waits for ever.
struct Timeout {
  explicit Timeout(int ms) : value{ms / 1'000, (ms % 1'000) * 1'000'000L}, pointer(ms < 0 ? nullptr : &value) {}
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;
  timespec value;
  const timespec* pointer;
};

bool invalid(const timespec* t) {
  return t != nullptr && (t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec > 999'999'999);
}

posix::Stack* stack_for(const pollfd* fds, nfds_t count) {
  auto* stack = the_stack.load(std::memory_order_relaxed);
  if (stack == nullptr || !stack->any_ours({fds, count})) return nullptr;
  pthread_testcancel();
  return stack;
}

int made(int set) {
  auto* stack = the_stack.load(std::memory_order_relaxed);
  if (set >= 0 && stack != nullptr && posix::inside == 0) stack->epoll_made(set);
  return set;
}

int wait_for(posix::Stack& stack, int set, epoll_event* events, int count, const timespec* timeout,
             const sigset_t* mask) {
  return static_cast<int>(libc_result(stack.epoll_wait(set, events, count, timeout, mask)));
}

}  // namespace

MILLRACE_EXPORT(int, poll, (pollfd * fds, nfds_t count, int timeout)) {
  auto* stack = stack_for(fds, count);
  if (stack == nullptr) return behind().poll(fds, count, timeout);
  return static_cast<int>(libc_result(stack->poll({fds, count}, Timeout(timeout).pointer, nullptr)));
}

MILLRACE_EXPORT(int, __poll_chk, (pollfd * fds, nfds_t count, int timeout, size_t room)) {
  if (room / sizeof(pollfd) < count) __builtin_trap();
  return shim_poll(fds, count, timeout);
}

MILLRACE_EXPORT(int, ppoll, (pollfd * fds, nfds_t count, const timespec* timeout, const sigset_t* mask)) {
  auto* stack = stack_for(fds, count);
  if (stack == nullptr) return behind().ppoll(fds, count, timeout, mask);
  if (invalid(timeout)) return static_cast<int>(libc_result(-EINVAL));
  return static_cast<int>(libc_result(stack->poll({fds, count}, timeout, mask)));
}

MILLRACE_EXPORT(int, __ppoll_chk,
                (pollfd * fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room)) {
  if (room / sizeof(pollfd) < count) __builtin_trap();
  return shim_ppoll(fds, count, timeout, mask);
}

MILLRACE_EXPORT(int, select, (int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout)) {
  auto* stack = the_stack.load(std::memory_order_relaxed);
  if (stack == nullptr || !stack->any_ours(count, read, write, except)) {
    return behind().select(count, read, write, except, timeout);
  }
  pthread_testcancel();
  if (timeout == nullptr)
    return static_cast<int>(libc_result(stack->select(count, read, write, except, nullptr, nullptr)));
  const timespec longest{timeout->tv_sec, timeout->tv_usec * 1'000};
  if (invalid(&longest)) return static_cast<int>(libc_result(-EINVAL));
  timespec before{};
  call(SYS_clock_gettime, CLOCK_MONOTONIC, arg(&before));
  const long found = stack->select(count, read, write, except, &longest, nullptr);
  timespec after{};
  call(SYS_clock_gettime, CLOCK_MONOTONIC, arg(&after));
  // Linux leaves what is left of it.
  const long spent = (after.tv_sec - before.tv_sec) * 1'000'000 + (after.tv_nsec - before.tv_nsec) / 1'000;
  const long left = timeout->tv_sec * 1'000'000 + timeout->tv_usec - spent;
  timeout->tv_sec = left > 0 ? left / 1'000'000 : 0;
  timeout->tv_usec = left > 0 ? left % 1'000'000 : 0;
  return static_cast<int>(libc_result(found));
}

MILLRACE_EXPORT(int, pselect,
                (int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
                 const sigset_t* mask)) {
  auto* stack = the_stack.load(std::memory_order_relaxed);
  if (stack != nullptr && stack->any_ours(count, read, write, except)) {
    pthread_testcancel();
    if (invalid(timeout)) return static_cast<int>(libc_result(-EINVAL));
    return static_cast<int>(libc_result(stack->select(count, read, write, except, timeout, mask)));
  }
  if (behind().pselect != nullptr) return behind().pselect(count, read, write, except, timeout, mask);
  timespec left{};
  if (timeout != nullptr) left = *timeout;
  const struct {
    const sigset_t* mask;
    size_t bytes;
  } signals{mask, posix::kernel::kSigsetBytes};
  return static_cast<int>(libc_result(call(SYS_pselect6, count, arg(read), arg(write), arg(except),
                                           timeout != nullptr ? arg(&left) : 0, arg(&signals))));
}

MILLRACE_EXPORT(int, epoll_create, (int size)) { return made(behind().epoll_create(size)); }

MILLRACE_EXPORT(int, epoll_create1, (int flags)) { return made(behind().epoll_create1(flags)); }

MILLRACE_EXPORT(int, epoll_ctl, (int set, int op, int fd, epoll_event* event)) {
  auto* stack = owner_of(fd);
  if (stack != nullptr && !stack->ours(set) && op == EPOLL_CTL_ADD) stack->epoll_made(set);  // it is older than we are
  if (stack == nullptr) stack = owner_of(set);
  if (stack == nullptr) return behind().epoll_ctl(set, op, fd, event);
  return static_cast<int>(libc_result(stack->epoll_ctl(set, op, fd, event)));
}

MILLRACE_EXPORT(int, epoll_wait, (int set, epoll_event* events, int count, int timeout)) {
  if (auto* stack = owner_of_point(set)) return wait_for(*stack, set, events, count, Timeout(timeout).pointer, nullptr);
  return behind().epoll_wait(set, events, count, timeout);
}

MILLRACE_EXPORT(int, epoll_pwait, (int set, epoll_event* events, int count, int timeout, const sigset_t* mask)) {
  if (auto* stack = owner_of_point(set)) return wait_for(*stack, set, events, count, Timeout(timeout).pointer, mask);
  return behind().epoll_pwait(set, events, count, timeout, mask);
}

MILLRACE_EXPORT(int, epoll_pwait2,
                (int set, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask)) {
  if (auto* stack = owner_of_point(set)) {
    if (invalid(timeout)) return static_cast<int>(libc_result(-EINVAL));
    return wait_for(*stack, set, events, count, timeout, mask);
  }
  return behind().epoll_pwait2(set, events, count, timeout, mask);
}

}  // namespace millrace::shim
