// The rings, calls, sleeping, and the life of a channel. What requests become is in channel_requests.cc.
#include "service/channel.h"

#include <immintrin.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "posix/apart.h"
#include "posix/kernel.h"
#include "posix/thread.h"
#include "service/codec.h"

namespace millrace::service {
namespace {

namespace kernel = posix::kernel;

constexpr int kSpins = 400;                // about ten microseconds, where the service has a CPU of its own
constexpr uint32_t kLookAliveEvery = 256;  // turns without news
constexpr timespec kShortPause{0, 50'000};
constexpr timespec kNoTime{};
constexpr timespec kSoon{0, 20'000'000};  // a service that takes longer may be stopped

int make_bell() {
  return posix::set_apart(static_cast<int>(kernel::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

void pause_shortly() { kernel::call(SYS_nanosleep, kernel::arg(&kShortPause)); }

// The signals that this thread's program has blocked itself.
sigset_t program_mask() {
  if (posix::thread_state.holds_signals) return posix::thread_state.mask;
  sigset_t mask{};
  kernel::call(SYS_rt_sigprocmask, SIG_BLOCK, 0, kernel::arg(&mask), kernel::kSigsetBytes);
  return mask;
}

// Calls that a program may see interrupted. The others are of functions that no signal interrupts on the kernel.
bool may_end(Op op) {
  switch (op) {
    case Op::kConnect:
    case Op::kAccept:
    case Op::kSend:
    case Op::kReceive:
    case Op::kLook:
    case Op::kOpenDatagram:
    case Op::kSendMessage:
    case Op::kReceiveMessage:
    case Op::kSync:
    case Op::kSettle: return true;
    default: return false;
  }
}

}  // namespace

Channel::Channel(Attachment attachment, std::string path, Serve serve)
    : end_(std::move(attachment)),
      path_(std::move(path)),
      serve_(std::move(serve)),
      self_bell_(make_bell()),
      known_(kSockets) {
  spins_ = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? kSpins : 0;
}

Instant Channel::now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant(int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
}

// --- Rings -----------------------------------------------------------------------------------------------------------

void Channel::post(Op op, Handle handle, uint64_t number, uint32_t seq) {
  if (dead_ || (child_ && !adopt())) return;
  Header& header = end_.segment.header();
  while (next_request_ - header.requests.head.load(std::memory_order_acquire) >= kRequests) {  // it pushes back
    ring_service();
    if (serve_) {
      serve_();
    } else {
      pause_shortly();
      if (!look_alive()) return;
    }
  }
  Descriptor& d = end_.segment.request(next_request_++);
  d.op = static_cast<uint32_t>(op);
  d.index = handle.index;
  d.gen = handle.gen;
  d.seq = seq;
  d.number = number;
  header.requests.tail.store(next_request_, std::memory_order_release);
}

void Channel::ring_service() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  auto& asleep = end_.segment.header().service_asleep;
  if (asleep.load(std::memory_order_relaxed) == 0) return;
  asleep.store(0, std::memory_order_relaxed);
  const uint64_t one = 1;
  kernel::write(end_.service_bell.get(), &one, sizeof one);
}

void Channel::note(const EventCell& cell) {
  if (cell.index >= kSockets) return;
  Known& known = known_[cell.index];
  if (!known.open || known.gen != cell.gen) return;
  if ((cell.mask & kConnected) != 0) known.calls_in = known.calls_out = false;
  if ((cell.mask & (kPeerClosed | kError)) != 0) known.calls_in = true;
  if ((cell.mask & kError) != 0) known.calls_out = true;
  Event event;
  event.handle = {cell.index, cell.gen};
  event.user = known.user;
  event.mask = cell.mask;
  news_.push_back(event);
}

// Takes in what the service says, so that requests see it too; turn() gives it on.
void Channel::absorb() {
  RingWords& ring = end_.segment.header().events;
  const uint32_t tail = ring.tail.load(std::memory_order_acquire);
  if (tail == next_event_) return;
  for (; next_event_ != tail; ++next_event_) note(end_.segment.event(next_event_));
  ring.head.store(next_event_, std::memory_order_release);
}

// --- Calls -----------------------------------------------------------------------------------------------------------

Result<const Answer*> Channel::ask(Op op, Handle handle, const Call* call, uint64_t number) {
  if (child_ && !adopt()) return fail(Error::kNetDown);
  if (dead_) return fail(Error::kNetDown);
  if (const auto ready = ready_for(op, handle); !ready) return fail(ready.error());
  const uint32_t seq = late_.seq != 0 ? late_.seq : next_seq_++;
  if (late_.seq == 0) {
    if (call != nullptr) end_.segment.call() = *call;
    post(op, handle, number, seq);
    if (dead_) return fail(Error::kNetDown);
  }
  late_ = {};
  ring_service();
  const Waited waited = wait_for(seq, may_end(op));
  // Events wait until the caller knows the socket that they may be about.
  const bool news = end_.segment.header().events.tail.load(std::memory_order_acquire) != next_event_;
  if (sleepers_ != 0 && news) {
    const uint64_t one = 1;
    kernel::write(self_bell_.get(), &one, sizeof one);
  }
  if (waited == Waited::kInterrupted) {
    late_ = {seq, op, handle, call != nullptr ? call->bytes : 0, call != nullptr && (call->flags & kFlagPeek) != 0};
    look_again_ = true;
    return fail(Error::kWouldBlock);
  }
  if (waited == Waited::kDead) return fail(Error::kNetDown);
  const Answer& answer = end_.segment.answer();
  if (answer.error != 0) return fail(static_cast<Error>(answer.error - 1));
  return &answer;
}

// Signals wait while the service answers as it should. If it does not, it may be stopped: then they end the call, their
// which then finds nothing and sleeps, its handlers put off until it does; or the program.
Channel::Waited Channel::wait_for(uint32_t seq, bool may_end) {
  const Answer& answer = end_.segment.answer();
  const auto answered = [&] { return answer.seq.load(std::memory_order_acquire) == seq; };
  if (serve_) {
    for (int i = 0; i < 1'000 && !answered(); ++i) serve_();
    return answered() ? Waited::kAnswered : may_end ? Waited::kInterrupted : Waited::kDead;
  }
  for (int i = 0; i < spins_; ++i) {
    if (answered()) return Waited::kAnswered;
    _mm_pause();
  }
  auto& asleep = end_.segment.header().program_asleep;
  sigset_t mask;
  sigfillset(&mask);
  const timespec* soon = &kSoon;
  Waited result = Waited::kAnswered;
  while (!answered()) {
    asleep.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (answered()) break;
    pollfd waits[] = {{end_.program_bell.get(), POLLIN, 0}, {end_.socket.get(), POLLIN, 0}};
    const int found = kernel::ppoll(waits, 2, soon, &mask);
    if (found == 0) {
      soon = nullptr;
      mask = program_mask();
    } else if (found == -EINTR && may_end) {
      result = Waited::kInterrupted;
      break;
    } else if (found < 0) {
      sigfillset(&mask);
    }
    if (found <= 0) continue;
    if (waits[0].revents != 0) {
      char bells[64];
      kernel::read(end_.program_bell.get(), bells, sizeof bells);
    }
    if (waits[1].revents != 0 && !answered()) {
      dead_ = true;
      return Waited::kDead;
    }
  }
  // Another thread that sleeps counts on being woken.
  asleep.store(sleepers_ != 0 ? 1 : 0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return result;
}

// --- Calls that were interrupted -------------------------------------------------------------------------------------

// Called again, these take the answer that was on its way.
bool Channel::goes_on_with(Op op, Handle handle) const {
  const bool same = late_.seq != 0 && late_.op == op && late_.handle == handle && !late_.peek;
  return same && (op == Op::kAccept || op == Op::kSend || op == Op::kSendMessage || op == Op::kReceiveMessage);
}

Result<void> Channel::ready_for(Op op, Handle handle) {
  if (late_.seq == 0 || goes_on_with(op, handle)) return {};
  return settle_late(may_end(op));
}

// What it opened is closed; what it received is kept; what it sent is sent.
Result<void> Channel::settle_late(bool may_end) {
  if (dead_) return fail(Error::kNetDown);
  ring_service();
  const Waited waited = wait_for(late_.seq, may_end);
  if (waited == Waited::kInterrupted) return fail(Error::kWouldBlock);
  const Late late = std::exchange(late_, {});
  if (waited == Waited::kDead) return fail(Error::kNetDown);
  const Answer& answer = end_.segment.answer();
  if (answer.error != 0) return {};
  switch (late.op) {
    case Op::kConnect:
    case Op::kOpenDatagram: post(Op::kClose, answer.handle); break;
    case Op::kAccept: post(Op::kAbort, answer.handle); break;
    case Op::kReceive:
      if (!late.peek && !answer.in_flow && answer.number != 0) {
        const auto got = end_.segment.bulk().first(std::min<size_t>(answer.number, std::min(late.bytes, kBulkBytes)));
        auto& kept = late_bytes_[late.handle.index];
        kept.insert(kept.end(), got.begin(), got.end());
      }
      break;
    default: break;
  }
  return {};
}

bool Channel::late_is_answered() const {
  return late_.seq == 0 || end_.segment.answer().seq.load(std::memory_order_acquire) == late_.seq;
}

// Whoever was told to wait, or what it waits for was not looked at, tries again.
void Channel::tell_all(posix::Sink& sink, uint32_t mask) {
  for (uint32_t i = 1; i < kSockets; ++i) {
    const Known& known = known_[i];
    if (!known.open) continue;
    Event event;
    event.handle = {i, known.gen};
    event.user = known.user;
    event.mask = mask | (known.listener ? uint32_t{kAcceptable} : 0U);
    sink.event(event);
  }
}

size_t Channel::take_late(Handle handle, std::span<std::byte> into, bool peek) {
  const auto kept = late_bytes_.find(handle.index);
  if (kept == late_bytes_.end()) return 0;
  const size_t n = std::min(into.size(), kept->second.size());
  std::copy_n(kept->second.begin(), n, into.begin());
  if (peek) return n;
  kept->second.erase(kept->second.begin(), kept->second.begin() + static_cast<ptrdiff_t>(n));
  if (kept->second.empty()) late_bytes_.erase(kept);
  return n;
}

bool Channel::look_alive() {
  if (dead_ || serve_) return !dead_;
  pollfd wait{end_.socket.get(), POLLIN, 0};
  if (kernel::ppoll(&wait, 1, &kNoTime, nullptr) > 0) dead_ = true;
  return !dead_;
}

// --- Turns and sleep -------------------------------------------------------------------------------------------------

void Channel::turn(posix::Sink& sink) {
  if (child_ && !adopt()) return;
  ring_service();
  if (serve_) serve_();
  absorb();
  if (look_again_ && late_is_answered()) {
    look_again_ = false;
    if (late_.seq != 0 && late_.op == Op::kReceive) (void)settle_late(true);
    tell_all(sink, kReadable | kWritable);
  }
  if (news_.empty()) {
    if (++quiet_turns_ % kLookAliveEvery == 0) look_alive();
    if (!dead_ || told_dead_) return;
  }
  std::swap(news_, giving_);
  for (const Event& event : giving_) sink.event(event);
  giving_.clear();
  if (!dead_ || told_dead_) return;
  told_dead_ = true;
  for (Known& known : known_) known.calls_in = known.calls_out = true;
  tell_all(sink, kError | kReadable | kWritable);
}

bool Channel::flush() {
  if (child_) return false;
  ring_service();
  absorb();
  return !news_.empty();
}

bool Channel::begin_sleep(std::vector<pollfd>& waits, Instant&) {
  if (child_ && !adopt()) return true;
  ring_service();
  ++sleepers_;
  Header& header = end_.segment.header();
  header.program_asleep.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  waits.push_back({end_.program_bell.get(), POLLIN, 0});
  waits.push_back({self_bell_.get(), POLLIN, 0});
  if (!dead_ || !told_dead_) waits.push_back({end_.socket.get(), POLLIN, 0});
  return !serve_ && news_.empty() && !(look_again_ && late_is_answered()) &&
         header.events.tail.load(std::memory_order_acquire) == next_event_ && (!dead_ || told_dead_);
}

void Channel::end_sleep(std::span<const pollfd> waits) {
  if (waits.empty() || sleepers_ == 0) return;
  if (--sleepers_ == 0) end_.segment.header().program_asleep.store(0, std::memory_order_relaxed);
  char bells[64];
  if (waits[0].revents != 0) kernel::read(end_.program_bell.get(), bells, sizeof bells);
  if (waits[1].revents != 0) kernel::read(self_bell_.get(), bells, sizeof bells);
  if (waits.size() > 2 && waits[2].revents != 0) dead_ = true;
}

void Channel::drain() {
  if (!child_) (void)ask(Op::kSync, {});
}

// --- Fork ------------------------------------------------------------------------------------------------------------

// The child's attachment is asked for by the parent, so that what both share lives on whichever goes first.
void Channel::before_fork() {
  if (child_ || dead_) return;
  const auto answer = ask(Op::kFork, {});
  if (!answer) return;
  auto socket = say_hello(path_, (*answer)->number);
  if (socket) unborn_ = std::move(*socket);
}

bool Channel::after_fork(bool child) {
  if (!child) {
    unborn_.reset();
    return true;
  }
  if (!unborn_) return false;
  child_ = true;
  sleepers_ = 0;
  news_.clear();
  late_ = {};
  look_again_ = false;
  late_bytes_.clear();  // the parent's
  // The service must see the parent's end even while the child lives.
  end_.socket.reset();
  end_.service_bell.reset();
  end_.program_bell.reset();
  self_bell_.reset(make_bell());
  return true;
}

// In the child, when it first needs the stack.
bool Channel::adopt() {
  if (!unborn_) return false;
  auto end = welcomed(std::move(unborn_));
  unborn_ = {};
  if (!end) {
    dead_ = true;
    child_ = false;
    return false;
  }
  end_ = std::move(*end);  // the parent's segment and descriptors go
  next_request_ = next_event_ = 0;
  next_seq_ = 1;
  for (Known& known : known_) known.sent = known.taken = 0;
  child_ = false;
  return true;
}

}  // namespace millrace::service
