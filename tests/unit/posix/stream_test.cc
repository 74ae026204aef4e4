// Sockets on virtual time: how long calls wait, what limits and failures of the machine do to them. What Linux and the
// stack must do alike is in tests/oracle.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

namespace millrace::posix {
namespace {

using Streams = Posix;

INSTANTIATE_TEST_SUITE_P(Families, Streams, testing::Values(AF_INET, AF_INET6));

timeval micros(long n) { return {n / 1'000'000, n % 1'000'000}; }

TEST_P(Streams, ReceiveTimeoutIsExact) {
  const auto [a, b] = pair();
  const timeval t = micros(33'000);
  ASSERT_EQ(stack_.setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
  timeval held{};
  socklen_t length = sizeof held;
  ASSERT_EQ(stack_.getsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &held, &length), 0);
  const Duration kept = seconds(held.tv_sec) + microseconds(held.tv_usec);  // the kernel rounds to its ticks
  EXPECT_GE(kept, milliseconds(33));
  const Instant start = sim_->now();
  EXPECT_EQ(read(b), "-EAGAIN");
  EXPECT_EQ(since(start), milliseconds(33));
}

TEST_P(Streams, BlockingReadWaitsUntilDataComes) {
  const auto [a, b] = pair();
  // Another thread's write is a call of its own, so the worker is asked.
  sim_->plan(milliseconds(70), [&] { sim_->write_to_first_peer_of(7'000, "hi"); });
  const Instant start = sim_->now();
  EXPECT_EQ(read(b), "hi");
  EXPECT_EQ(since(start), milliseconds(70));
  EXPECT_EQ(read(a, 10, MSG_DONTWAIT), "-EAGAIN");
}

TEST_P(Streams, ConnectGivesUpWhenNobodyAnswers) {
  const int s = socket();
  const int retries = 2;
  ASSERT_EQ(stack_.setsockopt(s, IPPROTO_TCP, 7 /* TCP_SYNCNT */, &retries, sizeof retries), 0);
  sim_->lose_all = true;
  const Instant start = sim_->now();
  EXPECT_EQ(connect(s, 7'000), -ETIMEDOUT);
  EXPECT_GE(since(start), seconds(6));  // 1 + 2 + 4 seconds
  EXPECT_LT(since(start), seconds(9));
  sim_->lose_all = false;
  const int l = listener(7'000);
  EXPECT_EQ(connect(s, 7'000), 0) << "a socket whose attempt failed may try again";
  EXPECT_EQ(close(l), 0);
}

TEST_P(Streams, ConnectWithASendTimeoutGoesOnInTheBackground) {
  const int l = listener(7'000);
  const int s = socket();
  const timeval t = micros(100'000);
  ASSERT_EQ(stack_.setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
  sim_->lose_all = true;
  EXPECT_EQ(connect(s, 7'000), -EINPROGRESS);
  EXPECT_EQ(connect(s, 7'000), -EALREADY);
  sim_->lose_all = false;
  const timeval longer = micros(5'000'000);
  ASSERT_EQ(stack_.setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &longer, sizeof longer), 0);
  EXPECT_EQ(connect(s, 7'000), 0);
  EXPECT_EQ(connect(s, 7'000), -EISCONN);
  EXPECT_EQ(close(l), 0);
}

TEST_P(Streams, LingeringCloseWaitsForTheAcknowledgmentOrItsTime) {
  const auto [a, b] = pair();
  const linger l{1, 2};
  ASSERT_EQ(stack_.setsockopt(a, SOL_SOCKET, SO_LINGER, &l, sizeof l), 0);
  sim_->lose_all = true;
  EXPECT_EQ(write(a, "last words"), 10);
  const Instant start = sim_->now();
  EXPECT_EQ(close(a), 0);
  EXPECT_EQ(since(start), seconds(2));
  sim_->lose_all = false;
  EXPECT_EQ(read(b), "last words") << "what was queued goes out after close()";
  EXPECT_EQ(read(b), "");
}

TEST_P(Streams, AcceptWithoutADescriptorLeavesTheConnectionWaiting) {
  const int l = listener(7'000, SOCK_NONBLOCK);
  const int s = socket();
  ASSERT_EQ(connect(s, 7'000), 0);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(stack_.accept4(l, nullptr, nullptr, 0), -EMFILE);
  EXPECT_EQ(stack_.socket(family(), SOCK_STREAM, 0), -EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const int c = accept(l);
  ASSERT_GE(c, 0);
  EXPECT_EQ(write(c, "x"), 1);
  EXPECT_EQ(read(s), "x");
}

TEST_P(Streams, FullTableOfConnectionsRefusesNewOnesAndKeepsTheOld) {
  connections_ = 8;
  const auto [a, b] = pair();
  const int l = listener(7'001);
  long refused = 0;
  for (int i = 0; i < 8 && refused == 0; ++i) {
    const int s = socket(SOCK_NONBLOCK);
    const long result = connect(s, 7'001);
    if (result != -EINPROGRESS) refused = result;
    pollfd p{s, POLLOUT, 0};
    const timespec now{};
    (void)stack_.poll({&p, 1}, &now, nullptr);
  }
  EXPECT_EQ(refused, -ENFILE);
  EXPECT_EQ(write(a, "still here"), 10);
  EXPECT_EQ(read(b), "still here");
  EXPECT_EQ(close(l), 0);
}

TEST_P(Streams, AddressBelongsToAcceptedConnectionsToo) {
  const auto [a, b] = pair();  // the listener is closed
  const int again = socket();
  Name n = name(7'000);
  EXPECT_EQ(stack_.bind(again, n.get(), n.length), -EADDRINUSE);
  EXPECT_EQ(close(b), 0);
  EXPECT_EQ(stack_.bind(again, n.get(), n.length), 0);
  EXPECT_EQ(close(a), 0);
}

TEST_P(Streams, EventsOfAClosedSocketDoNotReachTheNextOneInItsPlace) {
  const auto [a, b] = pair();
  const int l = listener(7'001);
  EXPECT_EQ(close(a), 0);  // the end of data is announced to b, and not yet seen
  EXPECT_EQ(close(b), 0);
  const int fresh = socket(SOCK_NONBLOCK);
  EXPECT_EQ(connect(fresh, 7'001), -EINPROGRESS);
  pollfd p{fresh, POLLIN | POLLOUT | POLLRDHUP, 0};
  const timespec now{};
  EXPECT_EQ(stack_.poll({&p, 1}, &now, nullptr), 1);
  EXPECT_EQ(p.revents, POLLOUT);
  EXPECT_EQ(close(l), 0);
}

TEST_P(Streams, OldNewsOfReadinessIsLookedAtBeforeItIsBelieved) {
  const auto [a, b] = pair();
  EXPECT_EQ(write(a, "abc"), 3);  // the event is made, and not yet seen
  EXPECT_EQ(read(b, 3), "abc");
  pollfd p{b, POLLIN, 0};
  const timespec now{};
  EXPECT_EQ(stack_.poll({&p, 1}, &now, nullptr), 0);
}

TEST_P(Streams, ForkedChildIsFencedOff) {
  const auto [a, b] = pair();
  const int set = epoll_create1(EPOLL_CLOEXEC);
  stack_.epoll_made(set);
  const int left = b;
  stack_.before_fork();
  const pid_t child = fork();
  stack_.after_fork(child == 0);
  if (child == 0) {  // its answer is its status; the number of the first thing that is wrong
    epoll_event e{};
    const timespec now{};
    const bool right[] = {write(a, "x") == -EBADF,
                          read(left) == "-EBADF",
                          stack_.shutdown(a, SHUT_WR) == -EBADF,
                          connect(socket(), 7'000) == -ENETDOWN,
                          stack_.epoll_ctl(set, EPOLL_CTL_ADD, a, &e) == -EBADF,
                          stack_.epoll_wait(set, &e, 1, &now, nullptr) == 0,  // the kernel's half still serves
                          stack_.close(a) == 0,
                          !stack_.ours(a)};
    int status = 0;
    for (size_t i = 0; i < std::size(right) && status == 0; ++i) status = right[i] ? 0 : static_cast<int>(i) + 1;
    _exit(status);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(write(a, "x"), 1) << "the parent goes on";
  EXPECT_EQ(read(b), "x");
  EXPECT_EQ(stack_.close(set), 0);
}

TEST_P(Streams, HelperTurnsTheWorkerWhileTheProgramDoesNot) {
  const auto [a, b] = pair();
  sim_->lose_all = true;
  EXPECT_EQ(write(a, "lost at first"), 13);
  sim_->lose_all = false;
  EXPECT_TRUE(stack_.help()) << "somebody turned it a moment ago: the helper looks on";
  const Instant start = sim_->now();
  int helps = 0;
  for (; helps < 100 && read(b, 64, MSG_PEEK | MSG_DONTWAIT) == "-EAGAIN"; ++helps) {
    // The read turned the worker too; without it the helper does.
    EXPECT_TRUE(stack_.help());
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(stack_.help());
  }
  EXPECT_LT(helps, 100);
  EXPECT_GT(since(start), Duration()) << "the retransmission came with time, which only sleeps move";
  stack_.end();
  EXPECT_FALSE(stack_.help()) << "the thread ends with the stack";
}

TEST_P(Streams, EndClosesEverySocketAndDrains) {
  const auto [a, b] = pair();
  EXPECT_EQ(write(a, "x"), 1);
  stack_.end();
  EXPECT_TRUE(sim_->drained);
  EXPECT_EQ(stack_.socket(family(), SOCK_STREAM, 0), -ENETDOWN);
  stack_.end();  // a second time changes nothing
  (void)b;
}

class NoStack : public Posix {
 protected:
  std::unique_ptr<Transport> bring() override {
    ++asked_;
    return nullptr;
  }
  int asked_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Families, NoStack, testing::Values(AF_INET));

TEST_P(NoStack, FailsWhateverIsNotTheKernelsAndAsksOnce) {
  const int fd = socket();
  EXPECT_EQ(connect(fd, 7'000), -ENETDOWN);
  Name n = name(7'000);
  EXPECT_EQ(stack_.bind(socket(), n.get(), n.length), -ENETDOWN);
  EXPECT_EQ(stack_.listen(fd, 1), -ENETDOWN);
  EXPECT_EQ(asked_, 1);
}

}  // namespace
}  // namespace millrace::posix
