// What may interrupt the loop from outside: signals and other threads. Flags are plain atomics, so that a busy loop
// looks without a system call; an eventfd wakes a sleeping one.
#pragma once

#include <atomic>

#include "runtime/descriptor.h"
#include "runtime/failure.h"

namespace millrace::runtime {

class Waker {
 public:
  static Outcome<Waker> make();
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// From any thread or signal handler.
  void wake() const noexcept;
  /// Makes fd() unreadable again.
  void drain() const noexcept;

 private:
  explicit Waker(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

/// Requests that arrive by signal: SIGINT and SIGTERM ask to stop, SIGUSR1 for a dump. SIGPIPE is ignored. One object a
/// process; its destructor restores what was before.
class Signals {
 public:
  /// `waker` must outlive this object.
  Signals(const Waker& waker, bool dump_on_usr1);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// How many stop signals have come.
  [[nodiscard]] static int stops() { return stops_.load(std::memory_order_relaxed); }
  /// Whether a dump was asked for since the last call.
  [[nodiscard]] static bool take_dump() {
    return dump_.load(std::memory_order_relaxed) && dump_.exchange(false, std::memory_order_relaxed);
  }

 private:
  static void handle(int signal) noexcept;
  static std::atomic<int> stops_;
  static std::atomic<bool> dump_;
  static std::atomic<const Waker*> waker_;
};

}  // namespace millrace::runtime
