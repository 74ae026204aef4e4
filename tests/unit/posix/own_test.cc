// A Stack whose numbers are its own: no kernel descriptor behind them, and a program whose loop turns the worker.
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "fixture.h"
#include "posix/own_options.h"

namespace millrace::posix {
namespace {

class Own : public Posix {
 protected:
  Own() : Posix({true, true, 5}) {}

  static size_t kernel_descriptors() {
    size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
    return n;
  }
  long set_int(int fd, int level, int name, int value) {
    return stack_.setsockopt(fd, level, name, &value, sizeof value);
  }
  bool drive(std::function<void()> body) {
    const auto call = [](void* arg) {
      (*static_cast<std::function<void()>*>(arg))();
      return 0;
    };
    return stack_.drive(call, &body);
  }
  int get_int(int fd, int level, int name) {
    int value = -99;
    socklen_t length = sizeof value;
    EXPECT_EQ(stack_.getsockopt(fd, level, name, &value, &length), 0);
    return value;
  }
};

INSTANTIATE_TEST_SUITE_P(Families, Own, testing::Values(AF_INET, AF_INET6));

TEST(OwnNumbers, AreTheLowestFreeOnes) {
  OwnNumbers numbers(3);
  for (int n = 3; n < 5'000; ++n) ASSERT_EQ(numbers.take(), n);
  numbers.give(4'097);
  numbers.give(64);
  EXPECT_EQ(numbers.take(), 64);
  EXPECT_EQ(numbers.take(), 4'097);
  EXPECT_EQ(numbers.take(), 5'000);
  EXPECT_FALSE(numbers.claim(5'000));
  EXPECT_FALSE(numbers.claim(2)) << "below the first";
  EXPECT_TRUE(numbers.claim(5'001));
  EXPECT_EQ(numbers.take(), 5'002);
  EXPECT_EQ(numbers.take_from(9'000), 9'000);
}

TEST(OwnNumbers, EndAtTheLimit) {
  OwnNumbers numbers(0);
  for (int n = 0; n < OwnNumbers::kLimit; ++n) ASSERT_EQ(numbers.take(), n);
  EXPECT_EQ(numbers.take(), -EMFILE);
  EXPECT_EQ(numbers.take_from(7), -EMFILE);
  EXPECT_FALSE(numbers.claim(OwnNumbers::kLimit));
  numbers.give(700'000);
  EXPECT_EQ(numbers.take(), 700'000);
}

TEST_P(Own, NoKernelDescriptorStandsBehindASocket) {
  const int l = listener(7'000, SOCK_NONBLOCK);
  EXPECT_EQ(l, 5) << "the first number";
  const size_t before = kernel_descriptors();
  std::vector<int> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(socket(SOCK_NONBLOCK));
    EXPECT_EQ(connect(all.back(), 7'000), -EINPROGRESS);
    all.push_back(accept(l));
    EXPECT_EQ(all.back(), 5 + 2 * i + 2);
  }
  EXPECT_EQ(kernel_descriptors(), before);
  EXPECT_EQ(close(all[3]), 0);
  EXPECT_EQ(socket(), all[3]) << "the lowest free one";
}

TEST_P(Own, UnknownNumbersAreBad) {
  const int fd = socket();
  const int set = static_cast<int>(stack_.epoll_create());
  EXPECT_EQ(stack_.listen(77, 1), -EBADF);
  EXPECT_EQ(stack_.close(77), -EBADF);
  EXPECT_EQ(read(77), "-EBADF");
  EXPECT_EQ(stack_.fcntl(77, F_GETFL, 0), -EBADF);
  EXPECT_EQ(stack_.dup(77), -EBADF);
  EXPECT_EQ(stack_.listen(set, 1), -ENOTSOCK);
  EXPECT_EQ(read(set), "-ENOTSOCK");
  EXPECT_EQ(set_int(77, SOL_SOCKET, SO_REUSEADDR, 1), -EBADF);
  epoll_event e{};
  EXPECT_EQ(stack_.epoll_ctl(set, EPOLL_CTL_ADD, 77, &e), -EBADF);
  EXPECT_EQ(stack_.epoll_ctl(fd, EPOLL_CTL_ADD, set, &e), -EINVAL);
  EXPECT_EQ(stack_.epoll_wait(fd, &e, 1, nullptr, nullptr), -EINVAL);
  pollfd p[2] = {{77, POLLIN, 0}, {-1, POLLIN, 0}};
  EXPECT_EQ(stack_.poll(p, nullptr, nullptr), 1) << "does not wait";
  EXPECT_EQ(p[0].revents, POLLNVAL);
  EXPECT_EQ(stack_.close(set), 0);
  EXPECT_EQ(stack_.socket(AF_UNIX, SOCK_STREAM, 0), -EAFNOSUPPORT);
  EXPECT_EQ(stack_.socket(AF_INET, SOCK_RAW, 0), -EPROTONOSUPPORT);
}

TEST_P(Own, DuplicatesNameTheSameSocket) {
  const auto [a, b] = pair();
  const int c = static_cast<int>(stack_.dup(b));
  EXPECT_EQ(stack_.dup2(b, 100), 100);
  EXPECT_EQ(stack_.dup2(b, 100), 100) << "again, in place of itself";
  EXPECT_EQ(stack_.dup2(b, 2), -EBADF) << "below the first";
  EXPECT_EQ(stack_.fcntl(b, F_DUPFD, 50), 50);
  EXPECT_EQ(stack_.close(50), 0);
  EXPECT_EQ(close(b), 0);
  EXPECT_EQ(write(a, "xyz"), 3);
  EXPECT_EQ(read(c, 1), "x");
  EXPECT_EQ(read(100, 1), "y");
  EXPECT_EQ(stack_.close(c), 0);
  EXPECT_EQ(read(100, 1), "z");
  EXPECT_EQ(stack_.close(100), 0);
  EXPECT_EQ(read(a), "");
}

TEST_P(Own, FlagsAreKept) {
  const int fd = socket();
  EXPECT_EQ(stack_.fcntl(fd, F_GETFL, 0), O_RDWR);
  EXPECT_EQ(stack_.fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(stack_.fcntl(fd, F_GETFL, 0), O_RDWR | O_NONBLOCK);
  int off = 0;
  EXPECT_EQ(stack_.ioctl(fd, FIONBIO, &off), 0);
  EXPECT_EQ(stack_.fcntl(fd, F_GETFL, 0), O_RDWR);
  EXPECT_EQ(stack_.ioctl(fd, 0x1234, &off), -ENOTTY);
}

TEST_P(Own, OptionsAreJudgedAndKept) {
  const int fd = socket();
  EXPECT_EQ(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(get_int(fd, SOL_SOCKET, SO_DOMAIN), family());
  EXPECT_EQ(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
  EXPECT_EQ(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0), -EINVAL);
  EXPECT_EQ(set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32'768), -EINVAL);
  EXPECT_EQ(set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32'767), 0);
  EXPECT_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), 32'767);
  EXPECT_EQ(set_int(fd, SOL_SOCKET, 9'999, 1), -ENOPROTOOPT);
  EXPECT_EQ(stack_.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, "x", 1), -EINVAL) << "too short";
  EXPECT_EQ(stack_.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nullptr, 4), -EFAULT);
  const timeval bad{1, 1'000'000};
  EXPECT_EQ(stack_.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bad, sizeof bad), -EDOM);
  const struct linger linger { 1, 7 };
  EXPECT_EQ(stack_.setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
  struct linger got {};
  socklen_t length = sizeof got;
  EXPECT_EQ(stack_.getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length), 0);
  EXPECT_EQ(got.l_linger, 7);
  const int udp = static_cast<int>(stack_.socket(family(), SOCK_DGRAM, 0));
  EXPECT_EQ(set_int(udp, IPPROTO_TCP, TCP_NODELAY, 1), -ENOPROTOOPT);
  EXPECT_EQ(set_int(udp, SOL_SOCKET, SO_RCVBUF, 50'000), 0);
  EXPECT_EQ(get_int(udp, SOL_SOCKET, SO_RCVBUF), 50'000) << "not doubled";
  EXPECT_EQ(stack_.close(udp), 0);
}

TEST_P(Own, AcceptedSocketsHaveTheListenersOptions) {
  const int l = socket(SOCK_NONBLOCK);
  EXPECT_EQ(set_int(l, IPPROTO_TCP, TCP_NODELAY, 1), 0);
  Name n = name(7'000);
  ASSERT_EQ(stack_.bind(l, n.get(), n.length), 0);
  ASSERT_EQ(stack_.listen(l, 1), 0);
  const int a = socket();
  ASSERT_EQ(connect(a, 7'000), 0);
  const int b = accept(l);
  EXPECT_EQ(get_int(b, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(set_int(b, IPPROTO_TCP, TCP_NODELAY, 0), 0);
  EXPECT_EQ(get_int(l, IPPROTO_TCP, TCP_NODELAY), 1) << "the listener's own";
}

TEST_P(Own, DatagramsCarryControlMessages) {
  const int fd = static_cast<int>(stack_.socket(family(), SOCK_DGRAM | SOCK_NONBLOCK, 0));
  Name n = name(9'000);
  ASSERT_EQ(stack_.bind(fd, n.get(), n.length), 0);
  const bool v4 = family() == AF_INET;
  ASSERT_EQ(v4 ? set_int(fd, IPPROTO_IP, IP_RECVTTL, 1) : set_int(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1), 0);
  ASSERT_EQ(v4 ? set_int(fd, IPPROTO_IP, IP_TTL, 9) : set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9), 0);
  const iovec piece{const_cast<char*>("abc"), 3};
  ASSERT_EQ(stack_.send(fd, {&piece, 1}, 0, n.get(), n.length), 3);
  char text[8];
  alignas(cmsghdr) char control[64];
  iovec into{text, sizeof text};
  msghdr message{};
  message.msg_iov = &into;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ASSERT_EQ(stack_.recvmsg(fd, &message, 0), 3);
  const cmsghdr* first = CMSG_FIRSTHDR(&message);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->cmsg_type, v4 ? IP_TTL : IPV6_HOPLIMIT);
  int hops = 0;
  std::memcpy(&hops, CMSG_DATA(first), sizeof hops);
  EXPECT_EQ(hops, 9);
  EXPECT_EQ(stack_.close(fd), 0);
}

TEST_P(Own, EpollSetsNeedNoKernel) {
  const auto [a, b] = pair();
  const int set = static_cast<int>(stack_.epoll_create());
  const int outer = static_cast<int>(stack_.epoll_create());
  epoll_event e{EPOLLIN, {.u64 = 9}};
  EXPECT_EQ(stack_.epoll_ctl(set, EPOLL_CTL_ADD, b, &e), 0);
  EXPECT_EQ(stack_.epoll_ctl(outer, EPOLL_CTL_ADD, set, &e), 0);
  EXPECT_EQ(stack_.epoll_ctl(set, EPOLL_CTL_ADD, outer, &e), -ELOOP);
  EXPECT_EQ(stack_.epoll_ctl(set, EPOLL_CTL_ADD, set, &e), -EINVAL);
  const timespec t{0, 5'000'000};
  const Instant start = sim_->now();
  epoll_event got{};
  EXPECT_EQ(stack_.epoll_wait(set, &got, 1, &t, nullptr), 0);
  EXPECT_EQ(since(start), milliseconds(5));
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(stack_.epoll_wait(outer, &got, 1, &t, nullptr), 1);
  EXPECT_EQ(stack_.epoll_wait(set, &got, 1, &t, nullptr), 1);
  EXPECT_EQ(uint64_t{got.data.u64}, 9u);  // the structure is packed
  EXPECT_EQ(stack_.close(set), 0);
  EXPECT_EQ(stack_.close(outer), 0);
}

TEST_P(Own, SelectTakesNumbersBeyondItsUsualSize) {
  const auto [a, b] = pair();
  ASSERT_EQ(stack_.dup2(b, 3'000), 3'000);
  fd_set many[4] = {};
  auto* words = reinterpret_cast<__fd_mask*>(many);
  words[3'000 / NFDBITS] |= static_cast<__fd_mask>(1UL << (3'000 % NFDBITS));
  const timespec none{};
  EXPECT_EQ(write(a, "x"), 1);
  EXPECT_EQ(stack_.select(3'001, many, nullptr, nullptr, &none, nullptr), 1);
  EXPECT_NE(words[3'000 / NFDBITS], 0);
  EXPECT_EQ(read(b, 1), "x");
  EXPECT_EQ(stack_.select(3'001, many, nullptr, nullptr, &none, nullptr), 0);
  EXPECT_EQ(words[3'000 / NFDBITS], 0);
  EXPECT_EQ(stack_.close(3'000), 0);
}

TEST_P(Own, AProgramsLoopSendsAndWaits) {
  const std::pair<int, int> ends = pair();
  const int a = ends.first;
  const int b = ends.second;
  const int set = static_cast<int>(stack_.epoll_create());
  epoll_event e{EPOLLIN, {}};
  EXPECT_EQ(stack_.epoll_ctl(set, EPOLL_CTL_ADD, b, &e), 0);
  epoll_event got{};
  EXPECT_TRUE(drive([&] {
    EXPECT_EQ(write(a, "x"), 1);
    EXPECT_EQ(read(b, 1, MSG_DONTWAIT), "-EAGAIN") << "not sent before the loop comes round";
    const Instant start = sim_->now();
    EXPECT_EQ(stack_.epoll_wait(set, &got, 1, nullptr, nullptr), 0);
    EXPECT_EQ(since(start), Duration()) << "for ever means not at all";
  }));
  EXPECT_TRUE(drive([&] {
    std::thread([&] {
      const Instant start = sim_->now();
      const timespec t{0, 5'000'000};
      const int other = static_cast<int>(stack_.epoll_create());
      EXPECT_EQ(stack_.epoll_wait(other, &got, 1, &t, nullptr), 0);
      EXPECT_EQ(since(start), milliseconds(5)) << "another thread waits as long as it says";
      EXPECT_EQ(stack_.close(other), 0);
    }).join();
    EXPECT_EQ(stack_.epoll_wait(set, &got, 1, nullptr, nullptr), 1);
    EXPECT_EQ(read(b, 1, MSG_DONTWAIT), "x");
  }));
  EXPECT_EQ(stack_.close(set), 0);
}

}  // namespace
}  // namespace millrace::posix
