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
#include "service/codec.h"

namespace millrace::service {
namespace {

namespace kernel = posix::kernel;

constexpr int kSpins = 400;                // about ten microseconds, where the service has a CPU of its own
constexpr uint32_t kLookAliveEvery = 256;  // turns without news
constexpr timespec kShortPause{0, 50'000};
constexpr timespec kNoTime{};

int make_bell() {
  return posix::set_apart(static_cast<int>(kernel::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

void pause_shortly() { kernel::call(SYS_nanosleep, kernel::arg(&kShortPause)); }

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
  if (call != nullptr) end_.segment.call() = *call;
  const uint32_t seq = next_seq_++;
  post(op, handle, number, seq);
  if (dead_) return fail(Error::kNetDown);
  ring_service();
  const bool answered = wait_for(seq);
  // Events wait until the caller knows the socket that they may be about.
  const bool news = end_.segment.header().events.tail.load(std::memory_order_acquire) != next_event_;
  if (sleepers_ != 0 && news) {
    const uint64_t one = 1;
    kernel::write(self_bell_.get(), &one, sizeof one);
  }
  if (!answered) return fail(Error::kNetDown);
  const Answer& answer = end_.segment.answer();
  if (answer.error != 0) return fail(static_cast<Error>(answer.error - 1));
  return &answer;
}

bool Channel::wait_for(uint32_t seq) {
  const Answer& answer = end_.segment.answer();
  const auto answered = [&] { return answer.seq.load(std::memory_order_acquire) == seq; };
  if (serve_) {
    for (int i = 0; i < 1'000 && !answered(); ++i) serve_();
    return answered();
  }
  for (int i = 0; i < spins_; ++i) {
    if (answered()) return true;
    _mm_pause();
  }
  auto& asleep = end_.segment.header().program_asleep;
  sigset_t all;
  sigfillset(&all);
  while (!answered()) {
    asleep.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (answered()) break;
    pollfd waits[] = {{end_.program_bell.get(), POLLIN, 0}, {end_.socket.get(), POLLIN, 0}};
    kernel::ppoll(waits, 2, nullptr, &all);
    if (waits[0].revents != 0) {
      char bells[64];
      kernel::read(end_.program_bell.get(), bells, sizeof bells);
    }
    if (waits[1].revents != 0 && !answered()) {
      dead_ = true;
      return false;
    }
  }
  // Another thread that sleeps counts on being woken.
  asleep.store(sleepers_ != 0 ? 1 : 0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return true;
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
  if (news_.empty()) {
    if (++quiet_turns_ % kLookAliveEvery == 0) look_alive();
    if (!dead_ || told_dead_) return;
  }
  std::swap(news_, giving_);
  for (const Event& event : giving_) sink.event(event);
  giving_.clear();
  if (!dead_ || told_dead_) return;
  told_dead_ = true;
  for (uint32_t i = 1; i < kSockets; ++i) {
    Known& known = known_[i];
    if (!known.open) continue;
    known.calls_in = known.calls_out = true;
    Event event;
    event.handle = {i, known.gen};
    event.user = known.user;
    event.mask = kError | kReadable | kWritable;
    sink.event(event);
  }
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
  return !serve_ && news_.empty() && header.events.tail.load(std::memory_order_acquire) == next_event_ &&
         (!dead_ || told_dead_);
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
