#include "api/micro.h"

#include <boost/context/protected_fixedsize_stack.hpp>
#include <cerrno>
#include <new>
#include <utility>

#include "posix/convert.h"

namespace millrace::api {

Scheduler::Scheduler(posix::Stack& stack) : stack_(stack), queue_(static_cast<int>(stack.kqueue())) {}

Micro* Scheduler::start(void (*entry)(void*), void* args) {
  auto micro = std::make_unique<Micro>();
  micro->entry = entry;
  micro->args = args;
  try {
    micro->context = boost::context::fiber(std::allocator_arg, boost::context::protected_fixedsize_stack(stack_bytes),
                                           [this, m = micro.get()](boost::context::fiber&& home) {
                                             home_ = std::move(home);
                                             m->entry(m->args);
                                             return std::move(home_);
                                           });
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  micro->woken = true;
  ready_.push_back(micro.get());
  return micro.release();
}

void Scheduler::run(Micro& micro) {
  current_ = &micro;
  micro.context = std::move(micro.context).resume();
  current_ = &first_;
  if (!micro.context) delete &micro;  // it has ended
}

void Scheduler::wake(Micro& micro) {
  if (micro.woken) return;
  micro.woken = true;
  if (&micro != &first_) ready_.push_back(&micro);
}

// Runs who can go on, then looks for events; sleeps if nobody could.
void Scheduler::step() {
  for (size_t n = ready_.size(); n != 0; --n) {
    Micro& micro = *ready_.front();
    ready_.pop_front();
    run(micro);
  }
  const Instant now = posix::monotonic_now();
  timespec t{};
  const timespec* timeout = &t;
  if (ready_.empty() && !first_.woken) {
    if (timers_.empty()) {
      timeout = nullptr;
    } else if (timers_.begin()->first > now) {
      const Duration left = timers_.begin()->first - now;
      t = {left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    }
  }
  posix::KEvent events[64];
  const long n = stack_.kevent(queue_, {}, events, timeout);
  for (long i = 0; i < n; ++i) wake(*static_cast<Micro*>(events[i].udata));
  const Instant later = posix::monotonic_now();
  for (auto it = timers_.begin(); it != timers_.end() && it->first <= later; ++it) {
    if (!it->second->woken) it->second->late = true;
    wake(*it->second);
  }
  while (!timers_.empty() && timers_.begin()->first <= later) timers_.erase(timers_.begin());
}

bool Scheduler::wait(Instant until) {
  Micro& me = *current_;
  me.woken = me.late = false;
  if (until != kNever) timers_.emplace(until, &me);
  if (&me == &first_) {
    while (!me.woken) step();
  } else {
    home_ = std::move(home_).resume();
  }
  if (until != kNever && !me.late) {  // a late one is out of the list
    const auto [from, to] = timers_.equal_range(until);
    for (auto it = from; it != to; ++it) {
      if (it->second != &me) continue;
      timers_.erase(it);
      break;
    }
  }
  return !me.late;
}

void Scheduler::yield() {
  if (current_ == &first_) {
    first_.woken = true;
    step();
    return;
  }
  ready_.push_back(current_);
  home_ = std::move(home_).resume();
}

long Scheduler::wait_for(int fd, int16_t filter, Instant until) {
  posix::KEvent note;
  note.ident = static_cast<uintptr_t>(fd);
  note.filter = filter;
  note.flags = posix::kq::kAdd | posix::kq::kOneShot;
  note.udata = current_;
  if (const long bad = stack_.kevent(queue_, {&note, 1}, {}, nullptr); bad < 0) return bad;
  if (wait(until)) return 1;
  note.flags = posix::kq::kDelete;
  (void)stack_.kevent(queue_, {&note, 1}, {}, nullptr);
  return 0;
}

}  // namespace millrace::api
