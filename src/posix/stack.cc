// The lock, events, waiting.
#include "posix/stack.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "posix/convert.h"

namespace millrace::posix {

constinit thread_local int inside __attribute__((tls_model("initial-exec"))) = 0;

namespace {

// From its first sleep to its end a call takes signals asleep only, so that none passes by unseen between two sleeps,
// and no handler runs with the lock held.
constinit thread_local bool signals_held __attribute__((tls_model("initial-exec"))) = false;
constinit thread_local sigset_t held_signals __attribute__((tls_model("initial-exec"))) = {};

}  // namespace

Lock::Lock(Stack& stack) : stack_(stack), busy_(inside != 0), errno_(errno) {
  if (busy_) return;
  inside = 1;
  stack_.mutex_.lock();
}

Lock::~Lock() {
  if (busy_) return;
  stack_.mutex_.unlock();
  inside = 0;
  errno = errno_;
  if (!signals_held) return;
  signals_held = false;
  kernel::restore_signals(held_signals);
}

Stack::Stack(Bring bring, const StackOptions& options)
    : bring_(std::move(bring)), options_(options), owner_(kernel::pid()), slots_(1) {
  if (options_.own_numbers) numbers_ = std::make_unique<OwnNumbers>(options_.first_number);
}

Stack::~Stack() {
  for (const int doorbell : doorbells_) kernel::close(doorbell);
}

bool Stack::bring_up() {
  if (!tried_) {
    tried_ = true;
    transport_ = bring_();
  }
  return transport_ != nullptr && !ended_;
}

void Stack::event(const Event& e) {
  if (e.user >= slots_.size() || slots_[e.user] == nullptr || !(slots_[e.user]->handle == e.handle)) return;
  Socket& socket = *slots_[e.user];
  socket.note_event(e.mask);
  uint32_t mask = 0;
  if ((e.mask & (kReadable | kAcceptable)) != 0) mask |= kReadBits;
  if ((e.mask & (kWritable | kConnected)) != 0) mask |= kWriteBits;
  if ((e.mask & kPeerClosed) != 0) mask |= kReadBits | EPOLLRDHUP | (socket.shut_write ? EPOLLHUP : 0U);
  if ((e.mask & kError) != 0) mask |= kReadBits | kWriteBits | EPOLLRDHUP | kAlwaysReported;
  notify(socket, mask);
}

void Stack::notify(File& file, uint32_t mask) {
  news_ = true;
  for (Watch* watch : file.watches) {
    if (!watch->armed() || (watch->events & mask) == 0) continue;
    watch->set->list(*watch);
    if (!watch->set->watches.empty()) notify(*watch->set, kReadBits);
  }
}

void Stack::turn() {
  ++turns_;
  transport_->turn(*this);
  if (!timers_.empty()) run_timers();
  ring_ready();
}

// What went out may have come back at once, over a loopback interface, and wakes nobody who sleeps.
void Stack::flush() {
  if (driven_) return;  // sent when the program's loop comes round
  if (transport_->flush() && !sleepers_.empty()) turn();
}

Instant Stack::deadline(const timespec* timeout) {
  if (driven_) return Instant{};  // what a program's loop waits for is its own
  if (timeout == nullptr) return kNever;
  if (timeout->tv_sec == 0 && timeout->tv_nsec == 0) return Instant{};
  return transport_->now() + duration_of(*timeout);
}

int Stack::take_doorbell() {
  if (!doorbells_.empty()) {
    const int doorbell = doorbells_.back();
    doorbells_.pop_back();
    return doorbell;
  }
  return static_cast<int>(kernel::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void Stack::ring(Sleeper& sleeper) {
  if (sleeper.rung) return;
  sleeper.rung = true;
  const uint64_t one = 1;
  kernel::write(sleeper.doorbell, &one, sizeof one);
}

// Wakes the sleepers whose calls can go on.
void Stack::ring_ready() {
  if (!news_) return;
  news_ = false;
  for (Sleeper* sleeper : sleepers_) {
    if (!sleeper->rung && (*sleeper->ready)()) ring(*sleeper);
  }
}

// Nobody watches the transport any more, but somebody waits for it.
void Stack::hand_on_lead() {
  if (leader_ != nullptr) return;
  for (Sleeper* sleeper : sleepers_) {
    if (!sleeper->rung) {
      ring(*sleeper);
      return;
    }
  }
}

Stack::Woke Stack::sleep(Sleeper& self, Instant until, std::span<pollfd> kernel, const sigset_t* mask) {
  std::vector<pollfd> waits(kernel.begin(), kernel.end());
  waits.push_back({self.doorbell, POLLIN, 0});
  const size_t ours = waits.size();
  Instant wake = std::min(until, next_timer());
  const bool lead = leader_ == nullptr || leader_ == &helper_;
  bool asleep = true;
  if (lead) {
    leader_ = &self;
    std::vector<pollfd> more;
    asleep = transport_->begin_sleep(more, wake);
    waits.insert(waits.end(), more.begin(), more.end());
  }
  int found = 0;
  if (asleep) {
    sleepers_.push_back(&self);
    const Duration left = wake == kNever ? Duration() : std::max(Duration(), wake - transport_->now());
    const timespec timeout{left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    mutex_.unlock();
    inside = 0;
    found = kernel::ppoll(waits.data(), waits.size(), wake == kNever ? nullptr : &timeout, mask);
    inside = 1;
    mutex_.lock();
    std::erase(sleepers_, &self);
  }
  if (lead) {
    transport_->end_sleep(std::span(waits).subspan(ours));
    if (leader_ == &self) leader_ = nullptr;
    if (helper_asleep_.load(std::memory_order_relaxed) != 0 && asleep) {
      helper_asleep_.store(0, std::memory_order_relaxed);
      kernel::call(SYS_futex, kernel::arg(&helper_asleep_), 1 /* FUTEX_WAKE */, 1);
    }
  }
  if (self.rung) {
    uint64_t count = 0;
    kernel::read(self.doorbell, &count, sizeof count);
    self.rung = false;
  }
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i].revents = found > 0 ? waits[i].revents : short{0};
  if (found == -EINTR) return Woke::kSignal;
  for (const pollfd& fd : kernel) {
    if (fd.revents != 0) return Woke::kReady;
  }
  return Woke::kTimeout;
}

Stack::Woke Stack::wait(std::function<bool()> ready, Instant until, std::span<pollfd> kernel, const sigset_t* mask) {
  Sleeper self;
  self.ready = &ready;
  Woke result = Woke::kTimeout;
  bool signalled = false;
  for (;;) {
    if (!driven_ || until != Instant{}) turn();
    if (ended_ || ready()) {
      result = Woke::kReady;
      break;
    }
    if (signalled) {
      result = Woke::kSignal;
      break;
    }
    if (until <= transport_->now()) break;
    if (self.doorbell < 0) {
      self.doorbell = take_doorbell();
    }
    if (!signals_held) kernel::block_signals(held_signals);
    signals_held = true;
    const Woke woke = sleep(self, until, kernel, mask != nullptr ? mask : &held_signals);
    if (woke == Woke::kReady) {
      result = woke;
      break;
    }
    signalled = woke == Woke::kSignal;
  }
  if (self.doorbell >= 0) doorbells_.push_back(self.doorbell);
  hand_on_lead();
  return result;
}

// A system call that a handler interrupted goes on if the handler was installed with SA_RESTART. Which one ran is not
// known here: one without it among those installed lets the call end.
bool Stack::restarts() {
  struct KernelAction {
    void* handler;
    unsigned long flags;
    void* restorer;
    uint64_t mask;
  };
  constexpr int kSignals = 64;
  for (int number = 1; number <= kSignals; ++number) {
    KernelAction action{};
    constexpr long kSetBytes = 8;
    if (kernel::call(SYS_rt_sigaction, number, 0, kernel::arg(&action), kSetBytes) != 0) continue;
    const bool handled =
        action.handler != reinterpret_cast<void*>(SIG_DFL) && action.handler != reinterpret_cast<void*>(SIG_IGN);
    if (handled && (action.flags & SA_RESTART) == 0 && number != 32 && number != 33) return false;  // libc's own
  }
  return true;
}

}  // namespace millrace::posix
