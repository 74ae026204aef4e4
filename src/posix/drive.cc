// For a program whose own loop turns the worker: no other thread has to, and nothing is sent or looked for in between.
#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {

constinit thread_local bool Stack::driven_ __attribute__((tls_model("initial-exec"))) = false;

bool Stack::drive(int (*body)(void*), void* arg) {
  const Lock lock(*this);
  if (lock.busy() || transport_ == nullptr || ended_) return false;
  ++turns_;
  (void)transport_->take_in(*this);
  if (!timers_.empty()) run_timers();
  ring_ready();
  told_ = false;
  driven_ = true;
  {
    const Away away(*this);
    (void)body(arg);
  }
  driven_ = false;
  return transport_->give_out() || told_;
}

void Stack::rest(Duration longest) {
  const Lock lock(*this);
  if (lock.busy() || transport_ == nullptr || ended_) return;
  std::vector<pollfd> waits;
  const Instant now = transport_->now();
  Instant until = std::min(now + longest, next_timer());
  if (until <= now) return;
  const bool asleep = transport_->begin_sleep(waits, until);
  if (leader_ == nullptr) leader_ = &helper_;
  if (asleep) {
    const Duration left = std::max(Duration(), until - transport_->now());
    const timespec timeout{left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    const Away away(*this);
    kernel::ppoll(waits.data(), waits.size(), &timeout, nullptr);
  }
  transport_->end_sleep(waits);
  if (leader_ == &helper_) leader_ = nullptr;
}

}  // namespace millrace::posix
