// kqueue and kevent on virtual time, as FreeBSD's kqueue(2) has it.
#include <time.h>

#include "fixture.h"

namespace millrace::posix {
namespace {

class Queue : public Posix {
 protected:
  Queue() : Posix({true, true, 3}), kq_(static_cast<int>(stack_.kqueue())) {}
  ~Queue() override { EXPECT_EQ(stack_.close(kq_), 0); }

  long change(uintptr_t ident, int16_t filter, uint16_t flags, uint32_t fflags = 0, int64_t data = 0,
              uintptr_t udata = 0) {
    KEvent e{ident, filter, flags, fflags, data, reinterpret_cast<void*>(udata), {}};
    return stack_.kevent(kq_, {&e, 1}, {}, nullptr);
  }
  /// Events that are there now, or come within `longest`.
  std::vector<KEvent> events(Duration longest = {}, size_t most = 8) {
    std::vector<KEvent> out(most);
    const timespec t{longest.ns() / 1'000'000'000, longest.ns() % 1'000'000'000};
    const long n = stack_.kevent(kq_, {}, out, &t);
    EXPECT_GE(n, 0);
    out.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return out;
  }
  /// The only event.
  KEvent one(Duration longest = {}) {
    const auto all = events(longest);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? KEvent() : all.front();
  }

  int kq_;
};

INSTANTIATE_TEST_SUITE_P(Families, Queue, testing::Values(AF_INET, AF_INET6));

TEST_P(Queue, ReadTellsHowManyBytesUntilTheyAreRead) {
  const auto [a, b] = pair();
  ASSERT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kAdd, 0, 0, 77), 0);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(write(a, "hello"), 5);
  KEvent e = one(seconds(1));
  EXPECT_EQ(e.ident, static_cast<uintptr_t>(b));
  EXPECT_EQ(e.filter, kq::kRead);
  EXPECT_EQ(e.data, 5);
  EXPECT_EQ(e.flags, 0);
  EXPECT_EQ(e.udata, reinterpret_cast<void*>(77));
  EXPECT_EQ(read(b, 2), "he");
  EXPECT_EQ(one().data, 3) << "a level";
  EXPECT_EQ(read(b), "llo");
  EXPECT_TRUE(events().empty());
}

TEST_P(Queue, ListenersTellHowManyConnectionsWait) {
  const int l = listener(7'000, SOCK_NONBLOCK);
  ASSERT_EQ(change(static_cast<uintptr_t>(l), kq::kRead, kq::kAdd), 0);
  EXPECT_TRUE(events().empty());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(connect(socket(), 7'000), 0);
  EXPECT_EQ(one().data, 3);
  EXPECT_GE(accept(l), 0);
  EXPECT_EQ(one().data, 2);
  EXPECT_TRUE(accept(l) >= 0 && accept(l) >= 0);
  EXPECT_TRUE(events().empty());
}

TEST_P(Queue, TheEndOfDataIsToldWithWhatIsLeft) {
  const auto [a, b] = pair();
  ASSERT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kAdd), 0);
  EXPECT_EQ(write(a, "xy"), 2);
  EXPECT_EQ(close(a), 0);
  KEvent e = one();
  EXPECT_EQ(e.flags, kq::kEnd);
  EXPECT_EQ(e.data, 2);
  EXPECT_EQ(e.fflags, 0u);
  EXPECT_EQ(read(b), "xy");
  e = one();
  EXPECT_EQ(e.flags, kq::kEnd);
  EXPECT_EQ(e.data, 0);
}

TEST_P(Queue, AFailedConnectionIsToldWithItsError) {
  const int fd = socket(SOCK_NONBLOCK);
  ASSERT_EQ(change(static_cast<uintptr_t>(fd), kq::kWrite, kq::kAdd), 0);
  EXPECT_TRUE(events().empty()) << "not connected";
  EXPECT_EQ(connect(fd, 7'999), -EINPROGRESS);
  const KEvent e = one(seconds(1));
  EXPECT_EQ(e.flags, kq::kEnd);
  EXPECT_EQ(e.fflags, uint32_t{ECONNREFUSED});
  int error = 0;
  socklen_t length = sizeof error;
  EXPECT_EQ(stack_.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
  EXPECT_EQ(error, ECONNREFUSED) << "still there to be taken";
}

TEST_P(Queue, WriteTellsTheRoom) {
  const int l = listener(7'000);
  const int fd = socket(SOCK_NONBLOCK);
  ASSERT_EQ(change(static_cast<uintptr_t>(fd), kq::kWrite, kq::kAdd), 0);
  EXPECT_EQ(connect(fd, 7'000), -EINPROGRESS);
  EXPECT_GT(one(seconds(1)).data, 10'000);
  const std::string much(1 << 16, 'x');
  while (write(fd, much) > 0) {
  }
  EXPECT_TRUE(events().empty());
  const int b = accept(l, SOCK_NONBLOCK);
  for (int i = 0; i < 100; ++i) (void)read(b, 1 << 20);
  EXPECT_GT(one(seconds(1)).data, 0);
}

TEST_P(Queue, LowWaterMarksHoldEventsBack) {
  const auto [a, b] = pair();
  ASSERT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kAdd, kq::kLowWater, 4), 0);
  EXPECT_EQ(write(a, "abc"), 3);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(write(a, "d"), 1);
  EXPECT_EQ(one().data, 4);
  EXPECT_EQ(read(b), "abcd");
  EXPECT_EQ(write(a, "e"), 1);
  EXPECT_EQ(close(a), 0);
  EXPECT_EQ(one().flags, kq::kEnd) << "the end does not wait";
}

TEST_P(Queue, ClearTellsOnceAndAgainAfterMore) {
  const auto [a, b] = pair();
  ASSERT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kAdd | kq::kClear), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(one().flags, kq::kClear);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(write(a, "y"), 1);
  EXPECT_EQ(one().data, 2);
}

TEST_P(Queue, OneShotsAreGoneOnceTold) {
  const auto [a, b] = pair();
  const auto ident = static_cast<uintptr_t>(b);
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd | kq::kOneShot), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(one().flags, kq::kOneShot);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(change(ident, kq::kRead, kq::kDelete), -ENOENT);
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd | kq::kOneShot), 0);
  EXPECT_EQ(one().data, 1) << "what is there counts";
}

TEST_P(Queue, DispatchDisablesUntilEnabled) {
  const auto [a, b] = pair();
  const auto ident = static_cast<uintptr_t>(b);
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd | kq::kDispatch), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(one().flags, kq::kDispatch);
  EXPECT_EQ(write(a, "y"), 1);
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(ident, kq::kRead, kq::kEnable), 0);
  EXPECT_EQ(one().data, 2);
}

TEST_P(Queue, DisabledNotesAreSilentAndKeepTheirPlace) {
  const auto [a, b] = pair();
  const auto ident = static_cast<uintptr_t>(b);
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd | kq::kDisable, 0, 0, 1), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(ident, kq::kRead, kq::kEnable, 0, 0, 2), 0);
  EXPECT_EQ(one().udata, reinterpret_cast<void*>(2)) << "as it was last given";
  ASSERT_EQ(change(ident, kq::kRead, kq::kDisable), 0);
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd), 0) << "adding again enables";
  EXPECT_EQ(one().data, 1);
}

TEST_P(Queue, ErrorsStandInTheEventList) {
  KEvent changes[3] = {{99, kq::kRead, kq::kAdd, 0, 0, reinterpret_cast<void*>(5), {}},
                       {1, kq::kUser, kq::kAdd | kq::kReceipt, 0, 0, nullptr, {}},
                       {2, kq::kUser, kq::kDelete, 0, 0, nullptr, {}}};
  const timespec none{};
  // The same memory for both.
  ASSERT_EQ(stack_.kevent(kq_, changes, changes, &none), 3);
  EXPECT_EQ(changes[0].flags, kq::kError);
  EXPECT_EQ(changes[0].data, EBADF);
  EXPECT_EQ(changes[0].udata, reinterpret_cast<void*>(5));
  EXPECT_EQ(changes[1].flags, kq::kError);
  EXPECT_EQ(changes[1].data, 0) << "a receipt";
  EXPECT_EQ(changes[2].data, ENOENT);
  EXPECT_EQ(change(99, kq::kRead, kq::kAdd), -EBADF) << "without room the call fails";
  EXPECT_EQ(change(1, -5, kq::kAdd), -EINVAL) << "no such filter";
  EXPECT_EQ(stack_.kevent(99, {}, {}, nullptr), -EBADF);
  const int fd = socket();
  EXPECT_EQ(stack_.kevent(fd, {}, {}, nullptr), -EBADF) << "no queue";
  const timespec bad{0, 1'000'000'000};
  EXPECT_EQ(stack_.kevent(kq_, {}, changes, &bad), -EINVAL);
}

TEST_P(Queue, UserEventsCarryFlags) {
  ASSERT_EQ(change(7, kq::kUser, kq::kAdd | kq::kClear, 0x3), 0);
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(7, kq::kUser, 0, kq::kTrigger | kq::kFlagsOr | 0x4, 12), 0);
  KEvent e = one();
  EXPECT_EQ(e.fflags, 0x7u);
  EXPECT_EQ(e.data, 12);
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(7, kq::kUser, 0, kq::kTrigger | kq::kFlagsAnd | 0x5), 0);
  EXPECT_EQ(one().fflags, 0x5u);
  ASSERT_EQ(change(7, kq::kUser, 0, kq::kTrigger | kq::kFlagsCopy | 0x10), 0);
  EXPECT_EQ(one().fflags, 0x10u);
  ASSERT_EQ(change(8, kq::kUser, kq::kAdd, kq::kTrigger), 0);
  EXPECT_EQ(events().size(), 1u);
  EXPECT_EQ(events().size(), 1u) << "without clear it stays";
}

TEST_P(Queue, TimersCountWhatNobodyTook) {
  ASSERT_EQ(change(1, kq::kTimer, kq::kAdd, 0, 10), 0);
  const Instant start = sim_->now();
  EXPECT_EQ(one(seconds(1)).data, 1);
  EXPECT_EQ(since(start), milliseconds(10));
  sim_->set_now(sim_->now() + milliseconds(35));
  EXPECT_EQ(one().data, 3);
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(one(seconds(1)).data, 1);
  EXPECT_EQ(since(start), milliseconds(50)) << "the beat stays";
  EXPECT_EQ(change(1, kq::kTimer, kq::kDelete), 0);
  EXPECT_TRUE(events(milliseconds(100)).empty());
}

TEST_P(Queue, TimersHaveUnitsAndOneShots) {
  const Instant start = sim_->now();
  ASSERT_EQ(change(1, kq::kTimer, kq::kAdd | kq::kOneShot, kq::kMicroseconds, 1'500), 0);
  ASSERT_EQ(change(2, kq::kTimer, kq::kAdd | kq::kOneShot, kq::kNanoseconds, 7), 0);
  ASSERT_EQ(change(3, kq::kTimer, kq::kAdd | kq::kOneShot, kq::kSeconds, 1), 0);
  EXPECT_EQ(one(seconds(2)).ident, 2u);
  EXPECT_EQ(since(start), nanoseconds(7));
  EXPECT_EQ(one(seconds(2)).ident, 1u);
  EXPECT_EQ(since(start), microseconds(1'500));
  EXPECT_EQ(one(seconds(2)).ident, 3u);
  EXPECT_EQ(since(start), seconds(1));
  EXPECT_TRUE(events(seconds(3)).empty());
  EXPECT_EQ(change(1, kq::kTimer, kq::kDelete), -ENOENT);
  EXPECT_EQ(change(1, kq::kTimer, kq::kAdd, 0, -1), -EINVAL);
  EXPECT_EQ(change(1, kq::kTimer, kq::kAdd, kq::kSeconds | kq::kNanoseconds, 1), -EINVAL);
  EXPECT_EQ(change(1, kq::kTimer, kq::kDelete), -ENOENT) << "what was refused is not there";
}

TEST_P(Queue, AddingATimerAgainStartsItAnew) {
  const Instant start = sim_->now();
  ASSERT_EQ(change(1, kq::kTimer, kq::kAdd, 0, 10), 0);
  sim_->set_now(start + milliseconds(15));
  ASSERT_EQ(change(1, kq::kTimer, kq::kAdd, 0, 20), 0);
  EXPECT_TRUE(events().empty()) << "what had expired is forgotten";
  EXPECT_EQ(one(seconds(1)).data, 1);
  EXPECT_EQ(since(start), milliseconds(35));
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  ASSERT_EQ(change(2, kq::kTimer, kq::kAdd, kq::kSeconds | kq::kAbsolute, wall.tv_sec - 5), 0);
  EXPECT_EQ(one().ident, 2u) << "a moment that has passed";
}

TEST_P(Queue, ClosingANumberTakesItsNotesAway) {
  const auto [a, b] = pair();
  const int c = static_cast<int>(stack_.dup(b));
  ASSERT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kAdd), 0);
  ASSERT_EQ(change(static_cast<uintptr_t>(c), kq::kRead, kq::kAdd), 0);
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(events().size(), 2u);
  EXPECT_EQ(close(b), 0);
  EXPECT_EQ(one().ident, static_cast<uintptr_t>(c));
  EXPECT_EQ(change(static_cast<uintptr_t>(b), kq::kRead, kq::kDelete), -EBADF);
  EXPECT_EQ(stack_.close(c), 0);
  EXPECT_TRUE(events().empty());
}

TEST_P(Queue, DatagramsAreRead) {
  const int fd = static_cast<int>(stack_.socket(family(), SOCK_DGRAM | SOCK_NONBLOCK, 0));
  Name n = name(9'000);
  ASSERT_EQ(stack_.bind(fd, n.get(), n.length), 0);
  const auto ident = static_cast<uintptr_t>(fd);
  ASSERT_EQ(change(ident, kq::kRead, kq::kAdd), 0);
  EXPECT_TRUE(events().empty());
  const iovec piece{const_cast<char*>("abc"), 3};
  EXPECT_EQ(stack_.send(fd, {&piece, 1}, 0, n.get(), n.length), 3);
  EXPECT_EQ(one().data, 3);
  EXPECT_EQ(read(fd), "abc");
  EXPECT_TRUE(events().empty());
  ASSERT_EQ(change(ident, kq::kWrite, kq::kAdd), 0);
  EXPECT_EQ(one().filter, kq::kWrite);
  EXPECT_EQ(stack_.close(fd), 0);
}

TEST_P(Queue, QueuesAreWatchedByOthers) {
  const int inner = static_cast<int>(stack_.kqueue());
  ASSERT_EQ(change(static_cast<uintptr_t>(inner), kq::kRead, kq::kAdd), 0);
  EXPECT_EQ(change(static_cast<uintptr_t>(inner), kq::kWrite, kq::kAdd), -EINVAL);
  EXPECT_EQ(change(static_cast<uintptr_t>(kq_), kq::kRead, kq::kAdd), -EINVAL) << "itself";
  EXPECT_TRUE(events().empty());
  const KEvent timer{1, kq::kTimer, kq::kAdd, 0, 5, nullptr, {}};
  ASSERT_EQ(stack_.kevent(inner, {&timer, 1}, {}, nullptr), 0);
  EXPECT_EQ(one(seconds(1)).ident, static_cast<uintptr_t>(inner));
  pollfd p{kq_, POLLIN, 0};
  const timespec none{};
  EXPECT_EQ(stack_.poll({&p, 1}, &none, nullptr), 1);
  EXPECT_EQ(stack_.close(inner), 0);
  EXPECT_TRUE(events().empty());
}

TEST_P(Queue, ManyEventsAreGivenInTurns) {
  for (uintptr_t i = 0; i < 5; ++i) ASSERT_EQ(change(i, kq::kUser, kq::kAdd, kq::kTrigger), 0);
  std::vector<uintptr_t> seen;
  for (int round = 0; round < 5; ++round) {
    for (const KEvent& e : events({}, 2)) seen.push_back(e.ident);
  }
  EXPECT_EQ(seen, (std::vector<uintptr_t>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace millrace::posix
