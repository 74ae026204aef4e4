// What concerns the process: fork, exit, and the helper thread's part.
#include <algorithm>
#include <vector>

#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr timespec kLook{0, 10'000'000};  // how often the helper looks whether somebody turns the worker
constexpr int kQuietLooks = 2;

}  // namespace

void Stack::before_fork() {
  mutex_.lock();
  inside = 1;
  if (transport_ != nullptr && !fenced_) transport_->before_fork();
}

void Stack::after_fork(bool child) {
  if (transport_ != nullptr && !fenced_) fenced_ = !transport_->after_fork(child);
  if (child) {
    owner_ = kernel::pid();
    sleepers_.clear();  // threads that are not here
    doorbells_.clear();
    leader_ = nullptr;
  }
  inside = 0;
  mutex_.unlock();
}

void Stack::end() {
  if (inside != 0 || kernel::pid() != owner_) return;  // in a handler that interrupted us; in a child of vfork
  // A thread that ended with the lock held must not keep the process from ending.
  bool locked = mutex_.try_lock();
  for (int i = 0; i < 100 && !locked; ++i) {
    const timespec pause{0, 1'000'000};
    kernel::call(SYS_nanosleep, kernel::arg(&pause));
    locked = mutex_.try_lock();
  }
  if (!locked) return;
  inside = 1;
  if (transport_ != nullptr && !fenced_ && !ended_) {
    for (const Socket* socket : slots_) {
      if (socket != nullptr && socket->handle.valid()) (void)transport_->request(req::Close{socket->handle});
    }
    transport_->drain();
    ended_ = true;
  }
  inside = 0;
  mutex_.unlock();
}

// Program threads that wait lead; while one sleeps so, or turns come often enough, the helper has nothing to do.
bool Stack::help() {
  Lock lock(*this);
  if (ended_ || fenced_) return false;
  const auto away = [&](auto&& rest) {
    mutex_.unlock();
    inside = 0;
    rest();
    inside = 1;
    mutex_.lock();
  };
  const bool led = leader_ != nullptr && leader_ != &helper_;
  if (led || turns_ != helper_saw_) {
    helper_quiet_ = turns_ == helper_saw_ ? helper_quiet_ + 1 : 0;
    helper_saw_ = turns_;
    if (helper_quiet_ < kQuietLooks) {
      away([] { kernel::call(SYS_nanosleep, kernel::arg(&kLook)); });
      return true;
    }
    helper_asleep_ = 1;
    helper_quiet_ = 0;
    away([this] { kernel::call(SYS_futex, kernel::arg(&helper_asleep_), 0 /* FUTEX_WAIT */, 1); });
    helper_asleep_ = 0;
    return true;
  }
  turn();
  helper_saw_ = turns_;
  std::vector<pollfd> waits;
  Instant until = kNever;
  const bool asleep = transport_->begin_sleep(waits, until);
  leader_ = &helper_;
  if (asleep) {
    const Duration left = until == kNever ? Duration() : std::max(Duration(), until - transport_->now());
    const timespec timeout{left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    away([&] { kernel::ppoll(waits.data(), waits.size(), until == kNever ? nullptr : &timeout, nullptr); });
  }
  transport_->end_sleep(waits);
  if (leader_ == &helper_) leader_ = nullptr;
  return true;
}

}  // namespace millrace::posix
