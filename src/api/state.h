// What the functions of include/ff share: one stack a process, from ff_init() to its end. They are thin: arguments are
// brought into the form of posix::Stack, its negative errno numbers into errno.
#pragma once

#include <cerrno>
#include <memory>
#include <optional>

#include "conf/fstack.h"
#include "ff/ff_api.h"
#include "posix/inline.h"
#include "posix/stack.h"

namespace millrace::api {

struct State {
  std::optional<conf::Fstack> config{};
  posix::Stack* stack = nullptr;  ///< never destroyed: a thread may be in it at the end
  posix::Inline* transport = nullptr;
};
[[nodiscard]] State& state();

/// The stack; a program that calls before ff_init() gets its default one.
[[nodiscard]] posix::Stack& the_stack();

/// A negative errno number becomes errno and -1.
template <class T = int>
T result(long value) {
  if (value >= 0) return static_cast<T>(value);
  errno = static_cast<int>(-value);
  return T{-1};
}

/// A socket address as a program gives it, with Linux's number for IPv6.
class Address {
 public:
  Address(const linux_sockaddr* address, socklen_t length);
  [[nodiscard]] const sockaddr* get() const { return address_; }

 private:
  sockaddr_in6 copy_{};
  const sockaddr* address_;
};

/// Whether `data` is a chain of ff_zc_mbuf_get() that was not sent yet.
[[nodiscard]] bool is_chain(const void* data);

/// "ff: sentence" on standard error.
void say(const std::string& sentence);

}  // namespace millrace::api
