// poll, select and epoll on virtual time, and the table of descriptors.
#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "fixture.h"

namespace millrace::posix {
namespace {

using Waiting = Posix;

INSTANTIATE_TEST_SUITE_P(Families, Waiting, testing::Values(AF_INET, AF_INET6));

class Set {
 public:
  explicit Set(Stack& stack) : stack_(stack), fd_(epoll_create1(EPOLL_CLOEXEC)) { stack_.epoll_made(fd_); }
  ~Set() { (void)stack_.close(fd_); }
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;
  long add(int fd, uint32_t events, uint64_t data = 1) { return control(EPOLL_CTL_ADD, fd, events, data); }
  long control(int op, int fd, uint32_t events, uint64_t data = 1) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = data;
    return stack_.epoll_ctl(fd_, op, fd, &e);
  }
  /// Bits of the only event; 0 for none.
  uint32_t wait(Duration longest = {}) {
    const timespec t{longest.ns() / 1'000'000'000, longest.ns() % 1'000'000'000};
    epoll_event e{};
    const long n = stack_.epoll_wait(fd_, &e, 1, &t, nullptr);
    EXPECT_GE(n, 0);
    return n == 1 ? e.events : 0;
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  Stack& stack_;
  int fd_;
};

TEST_P(Waiting, TimeoutsAreExactToTheNanosecond) {
  const auto [a, b] = pair();
  Set set(stack_);
  ASSERT_EQ(set.add(b, EPOLLIN), 0);
  Instant start = sim_->now();
  EXPECT_EQ(set.wait(nanoseconds(1'234'567)), 0u);
  EXPECT_EQ(since(start), nanoseconds(1'234'567));
  start = sim_->now();
  pollfd p{b, POLLIN, 0};
  const timespec t{1, 1};
  EXPECT_EQ(stack_.poll({&p, 1}, &t, nullptr), 0);
  EXPECT_EQ(since(start), nanoseconds(1'000'000'001));
  start = sim_->now();
  EXPECT_EQ(set.wait(), 0u);
  EXPECT_EQ(since(start), Duration()) << "none at all";
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(set.wait(seconds(1)), EPOLLIN);
  EXPECT_EQ(since(start), Duration());
}

TEST_P(Waiting, WakesWhenDataComesInTheMiddleOfTheWait) {
  const auto [a, b] = pair();
  Set set(stack_);
  ASSERT_EQ(set.add(b, EPOLLIN), 0);
  sim_->plan(milliseconds(5), [&] { sim_->write_to_first_peer_of(7'000, "x"); });
  const Instant start = sim_->now();
  EXPECT_EQ(set.wait(seconds(1)), EPOLLIN);
  EXPECT_EQ(since(start), milliseconds(5));
  EXPECT_EQ(read(a, 1, MSG_DONTWAIT), "-EAGAIN");
}

TEST_P(Waiting, EdgesAreToldOnceAndAgainAfterMore) {
  const auto [a, b] = pair();
  Set set(stack_);
  ASSERT_EQ(set.add(b, EPOLLIN | EPOLLET), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(set.wait(), EPOLLIN);
  EXPECT_EQ(set.wait(), 0u);
  EXPECT_EQ(write(a, "y"), 1);
  EXPECT_EQ(set.wait(), EPOLLIN);
  EXPECT_EQ(set.control(EPOLL_CTL_MOD, b, EPOLLIN | EPOLLET), 0);
  EXPECT_EQ(set.wait(), EPOLLIN) << "a MOD looks again";
  EXPECT_EQ(set.wait(), 0u);
}

TEST_P(Waiting, SpentOneShotIsSilentUntilItIsArmed) {
  const auto [a, b] = pair();
  Set set(stack_);
  ASSERT_EQ(set.add(b, EPOLLIN | EPOLLONESHOT), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(set.wait(), EPOLLIN);
  EXPECT_EQ(write(a, "y"), 1);
  EXPECT_EQ(close(a), 0);
  EXPECT_EQ(set.wait(milliseconds(1)), 0u) << "not even the end is told";
  EXPECT_EQ(set.control(EPOLL_CTL_MOD, b, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT), 0);
  EXPECT_EQ(set.wait(), EPOLLIN | EPOLLRDHUP);
}

TEST_P(Waiting, LevelsTakeTurnsWhenThereIsRoomForOne) {
  const auto [a, b] = pair();
  Set set(stack_);
  ASSERT_EQ(set.add(a, EPOLLOUT, 1), 0);
  ASSERT_EQ(set.add(b, EPOLLOUT, 2), 0);
  uint64_t sum = 0;
  for (int i = 0; i < 4; ++i) {
    epoll_event e{};
    const timespec now{};
    ASSERT_EQ(stack_.epoll_wait(set.fd(), &e, 1, &now, nullptr), 1);
    sum += e.data.u64;
  }
  EXPECT_EQ(sum, 6u);
}

TEST_P(Waiting, KernelsDescriptorsAreNotStarvedByBusySockets) {
  const auto [a, b] = pair();
  const int event = eventfd(1, EFD_CLOEXEC);
  Set set(stack_);
  ASSERT_EQ(set.add(a, EPOLLOUT, 1), 0);
  ASSERT_EQ(set.control(EPOLL_CTL_ADD, event, EPOLLIN, 2), 0);
  bool seen = false;
  for (int i = 0; i < 8 && !seen; ++i) {
    epoll_event e[2] = {};
    const timespec now{};
    const long n = stack_.epoll_wait(set.fd(), e, 2, &now, nullptr);
    for (long k = 0; k < n; ++k) seen = seen || e[k].data.u64 == 2;
  }
  EXPECT_TRUE(seen);
  ::close(event);
  (void)b;
}

TEST_P(Waiting, NestedSetsPassReadinessOn) {
  const auto [a, b] = pair();
  Set inner(stack_);
  Set outer(stack_);
  ASSERT_EQ(inner.add(b, EPOLLIN), 0);
  ASSERT_EQ(outer.add(inner.fd(), EPOLLIN), 0);
  EXPECT_EQ(outer.wait(), 0u);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(outer.wait(), EPOLLIN);
  EXPECT_EQ(read(b), "x");
  EXPECT_EQ(outer.wait(), 0u);
}

TEST_P(Waiting, ClosingASetOrASocketForgetsItsWatches) {
  const auto [a, b] = pair();
  {
    Set set(stack_);
    ASSERT_EQ(set.add(b, EPOLLIN), 0);
  }
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(read(b), "x");
  Set set(stack_);
  ASSERT_EQ(set.add(b, EPOLLIN), 0);
  EXPECT_EQ(write(a, "y"), 1);
  EXPECT_EQ(close(b), 0);
  EXPECT_EQ(set.wait(), 0u);
}

TEST(Descriptors, NumbersBeyondTheLimitAreTheKernels) {
  Descriptors table;
  Epoll file(3);
  EXPECT_EQ(table.find(-1), nullptr);
  EXPECT_EQ(table.find(1'048'576), nullptr);
  EXPECT_FALSE(table.set(1'048'576, &file));
  EXPECT_FALSE(table.set(-1, &file));
  EXPECT_TRUE(table.set(1'048'575, &file));
  EXPECT_EQ(table.find(1'048'575), &file);
  EXPECT_TRUE(table.set(5, nullptr));
  int visited = 0;
  table.each(1'048'000, UINT32_MAX, [&](int fd, File* f) {
    EXPECT_EQ(fd, 1'048'575);
    EXPECT_EQ(f, &file);
    ++visited;
  });
  table.each(0, 1'048'574, [&](int, File*) { ++visited; });
  EXPECT_EQ(visited, 1);
}

// The same worker in real time, for what threads do to each other.
class RealTime final : public Transport {
 public:
  RealTime() {
    struct : Sink {
      void event(const Event&) override {}
    } nobody;
    at_now().turn(nobody);  // the worker's clock starts here
  }
  Result<Reply> request(const Request& r) override { return at_now().request(r); }
  void turn(Sink& sink) override { at_now().turn(sink); }
  bool flush() override { return at_now().flush(); }
  [[nodiscard]] Instant now() override {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return Instant(t.tv_sec * 1'000'000'000 + t.tv_nsec);
  }
  bool begin_sleep(std::vector<pollfd>&, Instant& until) override {
    if (wakes_itself) until = std::min(until, sim_.deadline());
    return true;
  }
  void end_sleep(std::span<const pollfd>) override {}
  Result<Reserved> reserve(const Claim& claim) override { return sim_.reserve(claim); }
  Result<void> reserve_listen(uint64_t id) override { return sim_.reserve_listen(id); }
  void unlisten(uint64_t id) override { sim_.unlisten(id); }
  void hold(uint64_t id) override { sim_.hold(id); }
  void release(uint64_t id) override { sim_.release(id); }
  [[nodiscard]] bool is_local(const IpAddr& a) override { return sim_.is_local(a); }
  [[nodiscard]] Instant next_deadline() override { return sim_.deadline(); }
  void drain() override {}
  void lose_all(bool yes) { sim_.lose_all = yes; }

  bool wakes_itself = true;

 private:
  SimTransport& at_now() {
    sim_.set_now(now());
    return sim_;
  }
  SimTransport sim_;
};

class Threads : public Posix {
 protected:
  std::unique_ptr<Transport> bring() override {
    auto transport = std::make_unique<RealTime>();
    real_ = transport.get();
    return transport;
  }
  RealTime* real_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Families, Threads, testing::Values(AF_INET));

TEST_P(Threads, EachSleeperIsWokenByWhatItWaitsFor) {
  constexpr int kPairs = 4;
  std::vector<std::pair<int, int>> pairs;
  const int l = listener(7'000);
  for (int i = 0; i < kPairs; ++i) {
    const int a = socket();
    ASSERT_EQ(connect(a, 7'000), 0);
    pairs.emplace_back(a, accept(l));
  }
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < kPairs; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        if (read(pairs[static_cast<size_t>(i)].second, 1) == std::string(1, static_cast<char>('a' + i))) ++right;
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    for (int i = kPairs; i-- > 0;) {
      EXPECT_EQ(write(pairs[static_cast<size_t>(i)].first, std::string(1, static_cast<char>('a' + i))), 1);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kPairs * 50);
}

TEST_P(Threads, WriteOverLoopbackWakesTheReaderByItself) {
  const auto [a, b] = pair();
  real_->wakes_itself = false;
  const timeval longest{2, 0};
  ASSERT_EQ(stack_.setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest), 0);
  std::string got;
  std::thread reader([&, fd = b] { got = read(fd); });
  usleep(20'000);
  const Instant start = real_->now();
  EXPECT_EQ(write(a, "x"), 1);
  reader.join();
  EXPECT_EQ(got, "x");
  EXPECT_LT(real_->now() - start, seconds(1)) << "it was the timeout that woke it";
}

TEST_P(Threads, CloseDoesNotPullTheSocketFromUnderASleeper) {
  const auto [a, b] = pair();
  std::string got;
  std::thread reader([&, fd = b] { got = read(fd); });
  usleep(20'000);
  EXPECT_EQ(close(b), 0);  // the call holds on to it, as on Linux
  EXPECT_EQ(write(a, "x"), 1);
  reader.join();
  EXPECT_EQ(got, "x");
}

TEST_P(Threads, SleepingLeaderHearsOfEarlierDeadlines) {
  const auto [a, b] = pair();
  const timeval longest{2, 0};
  ASSERT_EQ(stack_.setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest), 0);
  std::string got;
  std::thread reader([&, fd = b] { got = read(fd); });
  usleep(20'000);
  real_->lose_all(true);
  EXPECT_EQ(write(a, "x"), 1);
  real_->lose_all(false);
  const Instant start = real_->now();
  reader.join();  // the retransmission is up to the reader, which went to sleep before there was one to make
  EXPECT_EQ(got, "x");
  EXPECT_LT(real_->now() - start, seconds(1));
}

// For the thread sanitizer: calls of every kind at once, on sockets, sets and numbers that threads share.
TEST_P(Threads, EveryKindOfCallMayBeMadeAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 60;
  const int l = listener(7'000, SOCK_NONBLOCK);
  const int a = socket();
  ASSERT_EQ(connect(a, 7'000), 0);
  const int b = accept(l);
  const Set set(stack_);
  const auto shared = [&](int round) {
    epoll_event e{};
    e.events = EPOLLIN | (round % 2 == 0 ? EPOLLET : 0U);
    (void)stack_.epoll_ctl(set.fd(), EPOLL_CTL_ADD, b, &e);
    (void)write(a, "x", MSG_DONTWAIT | MSG_NOSIGNAL);
    const timespec longest{0, 200'000};
    (void)stack_.epoll_wait(set.fd(), &e, 1, &longest, nullptr);
    pollfd p[] = {{b, POLLIN, 0}, {l, POLLIN, 0}, {a, POLLOUT, 0}};
    (void)stack_.poll(p, &longest, nullptr);
    (void)read(b, 1, MSG_DONTWAIT);
    (void)stack_.epoll_ctl(set.fd(), EPOLL_CTL_DEL, b, nullptr);
  };
  std::atomic<int> good{0};
  const auto own = [&] {
    const auto fd = static_cast<int>(stack_.socket(family(), SOCK_STREAM, 0));
    const auto copy = static_cast<int>(stack_.fcntl(fd, F_DUPFD, 0));
    Name n = name(7'000);
    const bool connected = stack_.connect(fd, n.get(), n.length) == 0;
    const auto got = static_cast<int>(stack_.accept4(l, nullptr, nullptr, SOCK_NONBLOCK));
    if (connected && stack_.close(copy) == 0 && stack_.close(fd) == 0) ++good;
    if (got >= 0) (void)stack_.close(got);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        shared(round);
        if (round % 10 == 0) own();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, kThreads * kRounds / 10);
}

sigjmp_buf resume;
Stack* interrupted = nullptr;
void jump(int number, siginfo_t* info, void* context) {
  if (defer_signal(number, info, context)) return;
  // As the preloaded library does; the frames of the test lie within a megabyte.
  interrupted->abandon(static_cast<const char*>(__builtin_frame_address(0)) + 1'000'000);
  siglongjmp(resume, 1);
}

TEST_P(Threads, SleeperThatAHandlerJumpedOutOfLeadsNoMoreAndHoldsNothing) {
  const auto [a, b] = pair();
  const timeval longest{2, 0};
  ASSERT_EQ(stack_.setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest), 0);
  interrupted = &stack_;
  struct sigaction action {};
  action.sa_sigaction = jump;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGALRM, &action, nullptr);
  if (sigsetjmp(resume, 1) == 0) {
    ualarm(10'000, 0);
    char c = 0;  // nothing that is jumped over may be left to a destructor
    const iovec piece{&c, 1};
    (void)stack_.receive(b, {&piece, 1}, 0);
    ADD_FAILURE() << "no jump";
  }
  signal(SIGALRM, SIG_DFL);
  std::string got;
  std::thread reader([&, fd = b] { got = read(fd); });
  usleep(20'000);
  real_->lose_all(true);
  EXPECT_EQ(write(a, "x"), 1);
  real_->lose_all(false);
  const Instant start = real_->now();
  reader.join();
  EXPECT_EQ(got, "x");
  EXPECT_LT(real_->now() - start, seconds(1)) << "nobody led";
  EXPECT_EQ(close(b), 0);
  EXPECT_EQ(read(a), "") << "the call that was left still holds the socket";
}

int handled = 0;
bool was_inside = false;
void handler(int number, siginfo_t* info, void* context) {
  if (defer_signal(number, info, context)) return;
  ++handled;
  was_inside = inside != 0;
}

TEST_P(Threads, HandlersArePutOffUntilTheLockIsFree) {
  (void)socket();
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGUSR1, &action, nullptr);
  {
    const Lock lock(stack_);
    raise(SIGUSR1);
    EXPECT_EQ(handled, 0);
  }
  EXPECT_EQ(handled, 1);
  EXPECT_FALSE(was_inside);
  raise(SIGUSR1);
  EXPECT_EQ(handled, 2) << "the mask is the program's again";
  {
    const Lock lock(stack_);
    raise(SIGUSR1);
    const Away away(stack_);
    EXPECT_EQ(handled, 3) << "a sleep lets it in";
  }
  signal(SIGUSR1, SIG_DFL);
}

TEST_P(Threads, CloseInAHandlerIsDoneByTheCallThatItInterrupted) {
  const auto [a, b] = pair();
  {
    const Lock lock(stack_);
    EXPECT_EQ(close(a), 0);  // as in a handler that nobody put off
    EXPECT_TRUE(stack_.ours(a));
  }
  EXPECT_FALSE(stack_.ours(a));
  EXPECT_EQ(fcntl(a, F_GETFD), -1) << "the number is free";
  EXPECT_EQ(read(b), "");
}

}  // namespace
}  // namespace millrace::posix
