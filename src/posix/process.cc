// What concerns the process: fork, exit, and the helper thread's part.
#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <vector>

#include "posix/down.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr timespec kLook{0, 10'000'000};  // how often the helper looks whether somebody turns the worker
constexpr int kQuietLooks = 2;

}  // namespace

// A handler that interrupted this thread in the stack forks with the lock held already: the child goes on where it was,
// on a copy of the worker that nobody hears.
void Stack::before_fork() {
  fork_in_handler_ = inside != 0;
  if (fork_in_handler_) return;
  inside = 1;
  mutex_.lock();
  if (transport_ != nullptr) transport_->before_fork();
}

void Stack::after_fork(bool child) {
  const bool goes_on = fork_in_handler_ ? !child : transport_ == nullptr || transport_->after_fork(child);
  if (child) become_child();
  if (!goes_on) fence_off();
  if (fork_in_handler_) {
    fork_in_handler_ = false;
    return;
  }
  mutex_.unlock();
  inside = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  release_signals();  // one that was put off
}

void Stack::mark_memory() {
  void* page = mmap(nullptr, kMarkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, kMarkBytes, MADV_WIPEONFORK) == 0) {
    owner_mark_ = new (page) std::atomic<int>(owner_);
  } else {
    munmap(page, kMarkBytes);
  }
}

bool Stack::in_vfork() const {
  return owner_mark_ != nullptr && kernel::pid() != owner_ && owner_mark_->load(std::memory_order_relaxed) == owner_;
}

// Threads are not here; doorbells are shared with the parent and must not be rung.
void Stack::become_child() {
  owner_ = kernel::pid();
  if (owner_mark_ != nullptr) owner_mark_->store(owner_, std::memory_order_relaxed);
  leader_ = nullptr;
  leader_until_ = {};
  sleepers_.clear();
  for (const int doorbell : doorbells_) kernel::close(doorbell);
  doorbells_.clear();
  for (Sleeper* s = innermost_; s != nullptr; s = s->outer) {
    s->doorbell = -1;
    s->rung = false;
  }
  if (helper_.doorbell >= 0) kernel::close(std::exchange(helper_.doorbell, -1));
  helper_asleep_ = 0;
}

// What is on the stack stays the parent's.
void Stack::fence_off() {
  if (transport_ == nullptr) return;
  descriptors_.each(0, UINT32_MAX, [](int, File* file) { file->fenced = true; });
  slots_.assign(1, nullptr);
  free_slots_.clear();
  live_sockets_ = 0;
  tokens_.clear();
  timers_.clear();
  (void)transport_.release();
  transport_ = std::make_unique<Down>();
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
  if (transport_ != nullptr && !ended_) {
    for (const Socket* socket : slots_) {
      if (socket != nullptr && socket->handle.valid()) (void)transport_->request(req::Close{socket->handle});
    }
    transport_->drain();
    ended_ = true;
  }
  mutex_.unlock();
  inside = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  release_signals();
}

// Program threads that wait lead; while one sleeps so, or turns come often enough, the helper has nothing to do.
bool Stack::help() {
  Lock lock(*this);
  if (ended_) return false;
  const auto away = [&](auto&& rest) {
    const Away outside(*this);
    rest();
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
    if (helper_.doorbell < 0) helper_.doorbell = take_doorbell();
    waits.push_back({helper_.doorbell, POLLIN, 0});
    leader_until_ = until;
    const Duration left = until == kNever ? Duration() : std::max(Duration(), until - transport_->now());
    const timespec timeout{left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    away([&] { kernel::ppoll(waits.data(), waits.size(), until == kNever ? nullptr : &timeout, nullptr); });
  }
  if (asleep) waits.pop_back();
  transport_->end_sleep(waits);
  if (helper_.rung) {
    uint64_t count = 0;
    kernel::read(helper_.doorbell, &count, sizeof count);
    helper_.rung = false;
  }
  if (leader_ == &helper_) {
    leader_ = nullptr;
    leader_until_ = {};
  }
  return true;
}

}  // namespace millrace::posix
