// Reading and writing, libc's checking variants included.
#include <limits.h>

#include <vector>

#include "shim/next.h"

namespace millrace::shim {
namespace {

constexpr size_t kMostBytes = 0x7ffff000;  // of one call, as the kernel cuts it

// One buffer as a list of one.
struct Piece {
  Piece(const void* data, size_t bytes) : piece{const_cast<void*>(data), bytes < kMostBytes ? bytes : kMostBytes} {}
  [[nodiscard]] std::span<const iovec> span() const { return {&piece, 1}; }
  iovec piece;
};

[[noreturn]] void overflow() { __builtin_trap(); }

// The stack, if a message of a socket of the kernel's may carry descriptors of ours.
posix::Stack* passes(const msghdr* message) {
  if (message == nullptr || message->msg_control == nullptr || message->msg_controllen < CMSG_LEN(sizeof(int))) {
    return nullptr;
  }
  return posix::inside != 0 ? nullptr : the_stack.load(std::memory_order_relaxed);
}

ssize_t send_through_kernel(int fd, const msghdr* message, int flags) {
  posix::Stack* stack = passes(message);
  if (stack == nullptr) return behind().sendmsg(fd, message, flags);
  std::vector<posix::Token> given;
  if (const long refused = stack->before_pass(*message, given); refused < 0) return libc_result(refused);
  const ssize_t result = behind().sendmsg(fd, message, flags);
  if (result < 0 && !given.empty()) {
    const int before = errno;
    stack->withdraw(given);
    errno = before;
  }
  return result;
}

}  // namespace

MILLRACE_EXPORT(ssize_t, read, (int fd, void* into, size_t bytes)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->receive(fd, Piece(into, bytes).span(), 0));
  return behind().read(fd, into, bytes);
}

MILLRACE_EXPORT(ssize_t, __read_chk, (int fd, void* into, size_t bytes, size_t room)) {
  if (bytes > room) overflow();
  return shim_read(fd, into, bytes);
}

MILLRACE_EXPORT(ssize_t, write, (int fd, const void* from, size_t bytes)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->send(fd, Piece(from, bytes).span(), 0));
  return behind().write(fd, from, bytes);
}

MILLRACE_EXPORT(ssize_t, readv, (int fd, const iovec* pieces, int count)) {
  auto* stack = owner_of_point(fd);
  if (stack == nullptr) return behind().readv(fd, pieces, count);
  if (count < 0 || count > IOV_MAX) return libc_result(-EINVAL);
  return libc_result(stack->receive(fd, {pieces, static_cast<size_t>(count)}, 0));
}

MILLRACE_EXPORT(ssize_t, writev, (int fd, const iovec* pieces, int count)) {
  auto* stack = owner_of_point(fd);
  if (stack == nullptr) return behind().writev(fd, pieces, count);
  if (count < 0 || count > IOV_MAX) return libc_result(-EINVAL);
  return libc_result(stack->send(fd, {pieces, static_cast<size_t>(count)}, 0));
}

MILLRACE_EXPORT(ssize_t, recv, (int fd, void* into, size_t bytes, int flags)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->receive(fd, Piece(into, bytes).span(), flags));
  return behind().recv(fd, into, bytes, flags);
}

MILLRACE_EXPORT(ssize_t, __recv_chk, (int fd, void* into, size_t bytes, size_t room, int flags)) {
  if (bytes > room) overflow();
  return shim_recv(fd, into, bytes, flags);
}

MILLRACE_EXPORT(ssize_t, recvfrom,
                (int fd, void* into, size_t bytes, int flags, sockaddr* address, socklen_t* length)) {
  if (auto* stack = owner_of_point(fd)) {
    posix::Received details{address, length, 0};
    return libc_result(stack->receive(fd, Piece(into, bytes).span(), flags, &details));
  }
  return behind().recvfrom(fd, into, bytes, flags, address, length);
}

MILLRACE_EXPORT(ssize_t, __recvfrom_chk,
                (int fd, void* into, size_t bytes, size_t room, int flags, sockaddr* address, socklen_t* length)) {
  if (bytes > room) overflow();
  return shim_recvfrom(fd, into, bytes, flags, address, length);
}

MILLRACE_EXPORT(ssize_t, send, (int fd, const void* from, size_t bytes, int flags)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->send(fd, Piece(from, bytes).span(), flags));
  return behind().send(fd, from, bytes, flags);
}

MILLRACE_EXPORT(ssize_t, sendto,
                (int fd, const void* from, size_t bytes, int flags, const sockaddr* address, socklen_t length)) {
  if (auto* stack = owner_of_point(fd)) {
    return libc_result(stack->send(fd, Piece(from, bytes).span(), flags, address, length));
  }
  return behind().sendto(fd, from, bytes, flags, address, length);
}

MILLRACE_EXPORT(ssize_t, recvmsg, (int fd, msghdr* message, int flags)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->recvmsg(fd, message, flags));
  const ssize_t result = behind().recvmsg(fd, message, flags);
  if (result >= 0) {
    if (auto* stack = passes(message)) stack->passed(*message);
  }
  return result;
}

MILLRACE_EXPORT(ssize_t, sendmsg, (int fd, const msghdr* message, int flags)) {
  if (auto* stack = owner_of_point(fd)) return libc_result(stack->sendmsg(fd, message, flags));
  return send_through_kernel(fd, message, flags);
}

MILLRACE_EXPORT(int, recvmmsg, (int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout)) {
  auto* stack = owner_of_point(fd);
  if (stack == nullptr) {
    const int result = behind().recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; i < result; ++i) {
      if (auto* receiver = passes(&messages[i].msg_hdr)) receiver->passed(messages[i].msg_hdr);
    }
    return result;
  }
  return static_cast<int>(libc_result(stack->recvmmsg(fd, messages, count, flags, timeout)));
}

MILLRACE_EXPORT(int, sendmmsg, (int fd, mmsghdr* messages, unsigned count, int flags)) {
  auto* stack = owner_of_point(fd);
  bool descriptors = false;
  for (unsigned i = 0; stack == nullptr && i < count && i < IOV_MAX; ++i) {
    descriptors = descriptors || passes(&messages[i].msg_hdr) != nullptr;
  }
  if (stack == nullptr && !descriptors) return behind().sendmmsg(fd, messages, count, flags);
  unsigned done = 0;
  for (; done < count && done < IOV_MAX; ++done) {
    const long n = stack != nullptr ? libc_result(stack->sendmsg(fd, &messages[done].msg_hdr, flags))
                                    : send_through_kernel(fd, &messages[done].msg_hdr, flags);
    if (n < 0) return done != 0 ? static_cast<int>(done) : -1;
    messages[done].msg_len = static_cast<unsigned>(n);
  }
  return static_cast<int>(done);
}

MILLRACE_EXPORT(ssize_t, sendfile, (int out, int in, off_t* offset, size_t count)) {
  if (owner_of(in) != nullptr) return libc_result(-EINVAL);
  auto* stack = owner_of(out);
  if (stack == nullptr) return behind().sendfile(out, in, offset, count);
  return libc_result(stack->sendfile(out, in, offset, count < kMostBytes ? count : kMostBytes));
}

MILLRACE_EXPORT(ssize_t, sendfile64, (int out, int in, off_t* offset, size_t count)) {
  return shim_sendfile(out, in, offset, count);
}

MILLRACE_EXPORT(ssize_t, splice, (int in, loff_t* at, int out, loff_t* to, size_t bytes, unsigned flags)) {
  auto* stack = owner_of_point(in);
  if (stack == nullptr) stack = owner_of_point(out);
  if (stack != nullptr) return libc_result(stack->splice(in, at, out, to, bytes, flags));
  return behind().splice(in, at, out, to, bytes, flags);
}

}  // namespace millrace::shim
