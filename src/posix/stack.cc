// The lock, events, waiting.
#include "posix/stack.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "posix/blocking.h"
#include "posix/down.h"

namespace millrace::posix {

namespace {

constexpr Duration kWithoutDoorbell = milliseconds(10);  // how often a sleeper looks that nobody can wake

}  // namespace

constinit thread_local Stack::Sleeper* Stack::innermost_ __attribute__((tls_model("initial-exec"))) = nullptr;

Lock::Lock(Stack& stack) : stack_(stack), busy_(inside != 0), errno_(errno) {
  if (busy_) return;
  inside = 1;
  stack_.mutex_.lock();
}

Lock::~Lock() {
  if (busy_) return;
  if (stack_.leader_ != nullptr) stack_.hurry_leader();
  stack_.mutex_.unlock();
  inside = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  errno = errno_;
  while (thread_state.closes != 0) (void)stack_.close(thread_state.to_close[--thread_state.closes]);
  if (thread_state.holds_signals) release_signals();
}

Away::Away(Stack& stack, bool held) : stack_(stack), held_(held), mask_(thread_state.mask) {
  if (held_) thread_state.holds_signals = false;
  if (stack_.leader_ != nullptr) stack_.hurry_leader();
  stack_.mutex_.unlock();
  inside = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (!held_) release_signals();
}

Away::~Away() {
  inside = 1;
  stack_.mutex_.lock();
  if (!held_) return;
  thread_state.mask = mask_;
  thread_state.holds_signals = true;
}

Stack::Sleeper::Sleeper(Stack& stack, std::function<bool()>& ready_, std::span<Hold> holds_)
    : stack_(&stack), ready(&ready_), holds(holds_), outer(innermost_), frame(__builtin_frame_address(0)) {
  innermost_ = this;
}

Stack::Stack(Bring bring, const StackOptions& options)
    : bring_(std::move(bring)), options_(options), owner_(kernel::pid()), slots_(1) {
  if (options_.own_numbers) {
    numbers_ = std::make_unique<OwnNumbers>(options_.first_number);
    return;
  }
  mark_memory();
}

Stack::~Stack() {
  for (const int doorbell : doorbells_) kernel::close(doorbell);
  if (owner_mark_ != nullptr) munmap(owner_mark_, kMarkBytes);
}

bool Stack::bring_up() {
  if (!tried_) {
    tried_ = true;
    transport_ = bring_();
    if (transport_ == nullptr && numbers_ == nullptr) transport_ = std::make_unique<Down>();
    hand_on_lead();  // threads may sleep already, in sets without sockets
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
  if ((e.mask & kUrgent) != 0) mask |= EPOLLPRI;
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
  if (transport_ != nullptr) {
    transport_->turn(*this);
    if (transport_->has_events()) transport_->turn(*this);
  }
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
  return clock() + duration_of(*timeout);
}

int Stack::take_doorbell() {
  if (!doorbells_.empty()) {
    const int doorbell = doorbells_.back();
    doorbells_.pop_back();
    return doorbell;
  }
  const int made = static_cast<int>(kernel::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (made >= 0) doorbells_.reserve(++doorbells_made_);  // giving one back allocates nothing: it may be a handler's end
  return made;
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
  if (leader_ != nullptr || transport_ == nullptr) return;
  for (Sleeper* sleeper : sleepers_) {
    if (!sleeper->rung) {
      ring(*sleeper);
      return;
    }
  }
}

// A request may have brought the next deadline forward while the leader sleeps.
void Stack::hurry_leader() {
  if (leader_->rung || leader_until_ == Instant{}) return;
  if (std::min(transport_->next_deadline(), next_timer()) < leader_until_) ring(*leader_);
}

// A call of this very thread that a handler interrupted cannot be watching.
bool Stack::may_lead(const Sleeper& self) const {
  if (transport_ == nullptr) return false;
  if (leader_ == nullptr || leader_ == &helper_) return true;
  for (const Sleeper* s = self.outer; s != nullptr; s = s->outer) {
    if (s == leader_) return true;
  }
  return false;
}

Stack::Woke Stack::sleep(Sleeper& self, Instant until, std::span<pollfd> kernel, const sigset_t* mask) {
  // A jump out of a sleep leaks what a call has allocated: little does.
  std::array<pollfd, 32> few;
  std::vector<pollfd> many;
  lead_waits_.clear();
  Instant wake = std::min(until, next_timer());
  bool quiet = true;
  if (may_lead(self)) {
    leader_ = &self;
    self.leads = true;
    quiet = transport_->begin_sleep(lead_waits_, wake);
  }
  const size_t ours = kernel.size() + 1;
  const size_t count = ours + lead_waits_.size();
  if (count > few.size()) many.resize(count);
  const std::span<pollfd> waits(count > few.size() ? many.data() : few.data(), count);
  std::copy(kernel.begin(), kernel.end(), waits.begin());
  waits[ours - 1] = {self.doorbell, POLLIN, 0};
  std::copy(lead_waits_.begin(), lead_waits_.end(), waits.begin() + static_cast<ptrdiff_t>(ours));
  int found = 0;
  if (quiet) {
    if (self.doorbell < 0) wake = std::min(wake, clock() + kWithoutDoorbell);
    if (self.leads) leader_until_ = wake;
    self.asleep = true;
    sleepers_.push_back(&self);
    const Duration left = wake == kNever ? Duration() : std::max(Duration(), wake - clock());
    const timespec timeout{left.ns() / 1'000'000'000, left.ns() % 1'000'000'000};
    const Away away(*this, true);
    found = blocking::ppoll(waits.data(), waits.size(), wake == kNever ? nullptr : &timeout, mask);
  }
  rise(self, waits.subspan(ours));
  for (size_t i = 0; i < kernel.size(); ++i) kernel[i].revents = found > 0 ? waits[i].revents : short{0};
  if (found == -EINTR) return Woke::kSignal;
  for (const pollfd& fd : kernel) {
    if (fd.revents != 0) return Woke::kReady;
  }
  return Woke::kTimeout;
}

// After a sleep, also one that was cancelled or left by a jump: then nothing is known of `waits`.
void Stack::rise(Sleeper& self, std::span<const pollfd> waits) {
  const bool slept = std::exchange(self.asleep, false);
  if (slept) std::erase(sleepers_, &self);
  if (std::exchange(self.leads, false)) {
    transport_->end_sleep(waits);
    if (leader_ == &self) {
      leader_ = nullptr;
      leader_until_ = {};
    }
    if (slept && helper_asleep_.load(std::memory_order_relaxed) != 0) {
      helper_asleep_.store(0, std::memory_order_relaxed);
      kernel::call(SYS_futex, kernel::arg(&helper_asleep_), 1 /* FUTEX_WAKE */, 1);
    }
  }
  if (self.rung) {
    uint64_t count = 0;
    kernel::read(self.doorbell, &count, sizeof count);
    self.rung = false;
  }
}

void Stack::leave(Sleeper& self) {
  constexpr std::array<pollfd, 3> kNothingKnown{};
  self.stack_ = nullptr;
  rise(self, kNothingKnown);
  innermost_ = self.outer;
  if (self.doorbell >= 0) doorbells_.push_back(self.doorbell);
  hand_on_lead();
}

Stack::Woke Stack::wait(std::function<bool()> ready, Instant until, std::span<Hold> holds, std::span<pollfd> kernel,
                        const sigset_t* mask) {
  Sleeper self(*this, ready, holds);
  bool signalled = false;
  for (;;) {
    if (!driven_ || until != Instant{}) turn();
    if (ended_ || ready()) return Woke::kReady;
    if (signalled) return Woke::kSignal;
    if (until <= clock()) return Woke::kTimeout;
    if (self.doorbell < 0) self.doorbell = take_doorbell();
    hold_signals();
    const sigset_t own = thread_state.mask;
    const Woke woke = sleep(self, until, kernel, mask != nullptr ? mask : &own);
    if (woke == Woke::kReady) return woke;
    signalled = woke == Woke::kSignal;
  }
}

// Frames grow downwards; a handler may run on a stack of its own, whose frames say nothing of the thread's.
void Stack::abandon(const void* frame) {
  if (innermost_ == nullptr || inside != 0) return;
  stack_t other{};
  const auto at = reinterpret_cast<uintptr_t>(frame);
  if (kernel::call(SYS_sigaltstack, 0, kernel::arg(&other)) == 0 && (other.ss_flags & SS_ONSTACK) != 0) {
    const auto from = reinterpret_cast<uintptr_t>(other.ss_sp);
    if (at >= from && at < from + other.ss_size) return;
  }
  const Lock lock(*this);
  while (innermost_ != nullptr && reinterpret_cast<uintptr_t>(innermost_->frame) < at) {
    const std::span<Hold> holds = innermost_->holds;
    leave(*innermost_);
    for (Hold& hold : holds) hold.release();
  }
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
