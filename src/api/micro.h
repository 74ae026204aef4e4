// Microthreads over the descriptors of a Stack: a scheduler in the thread that waits, a stack for each, one kqueue.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstdint>
#include <deque>
#include <map>

#include "millrace/time.h"
#include "posix/stack.h"

namespace millrace::api {

struct Micro {
  boost::context::fiber context{};  ///< where it goes on; empty while it runs, and of the first one always
  void (*entry)(void*) = nullptr;
  void* args = nullptr;
  void* data = nullptr;  ///< the program's
  bool woken = false;
  bool late = false;  ///< by the end of its time
};

class Scheduler {
 public:
  explicit Scheduler(posix::Stack& stack);

  /// Null: no memory.
  Micro* start(void (*entry)(void*), void* args);
  [[nodiscard]] Micro& current() { return *current_; }
  /// Until wake() of the current one; false: until `until`.
  bool wait(Instant until);
  void wake(Micro& micro);
  void yield();
  /// Until the filter (posix::kq) is active: 1, 0 at `until`, or a negative errno number.
  long wait_for(int fd, int16_t filter, Instant until);

  size_t stack_bytes = size_t{128} << 10;

 private:
  void run(Micro& micro);
  void step();

  posix::Stack& stack_;
  int queue_;
  Micro first_{};
  Micro* current_ = &first_;
  boost::context::fiber home_{};  // the scheduler's, while another runs
  std::deque<Micro*> ready_;
  std::multimap<Instant, Micro*> timers_;
};

}  // namespace millrace::api
