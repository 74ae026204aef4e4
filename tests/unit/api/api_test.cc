// F-Stack's functions over a simulated worker with a loopback interface.
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include <cstring>

#include "ff/ff_api.h"
#include "ff/ff_config.h"
#include "ff/ff_epoll.h"
#include "ff/ff_log.h"
#include "fixture.h"
#include "posix/kqueue.h"

namespace millrace::api {
namespace {

static_assert(EVFILT_READ == posix::kq::kRead && EVFILT_WRITE == posix::kq::kWrite &&
              EVFILT_TIMER == posix::kq::kTimer && EVFILT_USER == posix::kq::kUser);
static_assert(EV_ADD == posix::kq::kAdd && EV_DELETE == posix::kq::kDelete && EV_ENABLE == posix::kq::kEnable &&
              EV_DISABLE == posix::kq::kDisable && EV_ONESHOT == posix::kq::kOneShot && EV_CLEAR == posix::kq::kClear &&
              EV_RECEIPT == posix::kq::kReceipt && EV_DISPATCH == posix::kq::kDispatch &&
              EV_FORCEONESHOT == posix::kq::kForceOneShot && EV_ERROR == posix::kq::kError &&
              EV_EOF == posix::kq::kEnd && EV_SYSFLAGS == posix::kq::kSystemFlags);
static_assert(NOTE_LOWAT == posix::kq::kLowWater && NOTE_SECONDS == posix::kq::kSeconds &&
              NOTE_USECONDS == posix::kq::kMicroseconds && NOTE_NSECONDS == posix::kq::kNanoseconds &&
              NOTE_ABSTIME == posix::kq::kAbsolute && NOTE_TRIGGER == posix::kq::kTrigger &&
              NOTE_FFCOPY == posix::kq::kFlagsCopy);

class Api : public ApiFixture {
 protected:
  static int listener(uint16_t port) {
    const int fd = ff_socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in a = here(port);
    EXPECT_EQ(ff_bind(fd, cast(&a), sizeof a), 0);
    EXPECT_EQ(ff_listen(fd, 8), 0);
    return fd;
  }
  static std::pair<int, int> pair() {
    const int l = listener(7'000);
    const int a = ff_socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in to = here(7'000);
    EXPECT_EQ(ff_connect(a, cast(&to), sizeof to), 0);
    const int b = ff_accept(l, nullptr, nullptr);
    EXPECT_EQ(ff_close(l), 0);
    return {a, b};
  }
  static void not_blocking(int fd) {
    int on = 1;
    EXPECT_EQ(ff_ioctl(fd, FIONBIO, &on), 0);
  }
};

TEST_F(Api, ErrorsAreInErrno) {
  EXPECT_EQ(ff_close(50), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(ff_read(50, nullptr, 0), -1);
  EXPECT_EQ(ff_socket(AF_UNIX, SOCK_STREAM, 0), -1);
  EXPECT_EQ(errno, EAFNOSUPPORT);
  EXPECT_EQ(ff_socket(AF_INET, SOCK_STREAM | SOCK_KERNEL, 0), -1);
  EXPECT_EQ(errno, EPROTONOSUPPORT);
  EXPECT_GE(ff_socket(AF_INET, SOCK_STREAM | SOCK_FSTACK, 0), 3);
  EXPECT_EQ(ff_rtioctl(0, nullptr, nullptr, 0), -1);
  EXPECT_EQ(ff_ngctl(NGCTL_SOCKET, nullptr), -1);
  EXPECT_EQ(errno, ENOSYS);
}

TEST_F(Api, FreeBsdsFamilyOfIpv6IsUnderstood) {
  const int l = ff_socket(AF_INET6_FREEBSD, SOCK_STREAM, 0);
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6_FREEBSD;
  a.sin6_port = htons(7'001);
  a.sin6_addr = in6addr_loopback;
  ASSERT_EQ(ff_bind(l, cast(&a), sizeof a), 0);
  ASSERT_EQ(ff_listen(l, 1), 0);
  const int c = ff_socket(AF_INET6_LINUX, SOCK_STREAM, 0);
  EXPECT_EQ(ff_connect(c, cast(&a), sizeof a), 0);
  sockaddr_in6 name{};
  socklen_t length = sizeof name;
  EXPECT_EQ(ff_getpeername(c, reinterpret_cast<linux_sockaddr*>(&name), &length), 0);
  EXPECT_EQ(name.sin6_family, AF_INET6) << "Linux's, as programs compare it";
}

TEST_F(Api, AcceptedSocketsBlockAsTheirListenerDoes) {
  const int l = listener(7'000);
  const sockaddr_in to = here(7'000);
  for (int i = 0; i < 3; ++i) {
    const int c = ff_socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(ff_connect(c, cast(&to), sizeof to), 0);
  }
  EXPECT_EQ(ff_fcntl(ff_accept(l, nullptr, nullptr), F_GETFL, 0), O_RDWR);
  not_blocking(l);
  EXPECT_EQ(ff_fcntl(ff_accept(l, nullptr, nullptr), F_GETFL, 0), O_RDWR | O_NONBLOCK);
  EXPECT_EQ(ff_fcntl(ff_accept4(l, nullptr, nullptr, 0), F_GETFL, 0), O_RDWR) << "by its flags only";
  EXPECT_EQ(ff_accept(l, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(Api, ABrokenConnectionRaisesNoSignal) {
  const auto [a, b] = pair();
  struct sigaction before {};
  sigaction(SIGPIPE, nullptr, &before);
  ASSERT_EQ(before.sa_handler, SIG_DFL) << "the signal would end this test";
  EXPECT_EQ(ff_shutdown(a, SHUT_WR), 0);
  EXPECT_EQ(ff_write(a, "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  const iovec piece{const_cast<char*>("x"), 1};
  EXPECT_EQ(ff_writev(a, &piece, 1), -1);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(&piece);
  message.msg_iovlen = 1;
  EXPECT_EQ(ff_sendmsg(a, &message, 0), -1);
  EXPECT_EQ(ff_sendto(a, "x", 1, 0, nullptr, 0), -1);
  (void)b;
}

TEST_F(Api, TheLoopServesAndStops) {
  struct Server {
    int queue, listener, client;
    int served = 0;
  } server{ff_kqueue(), listener(7'000), ff_socket(AF_INET, SOCK_STREAM, 0)};
  not_blocking(server.listener);
  not_blocking(server.client);
  const sockaddr_in to = here(7'000);
  EXPECT_EQ(ff_connect(server.client, cast(&to), sizeof to), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  struct kevent changes[2];
  EV_SET(&changes[0], server.listener, EVFILT_READ, EV_ADD, 0, 0, nullptr);
  EV_SET(&changes[1], server.client, EVFILT_WRITE, EV_ADD | EV_ONESHOT, 0, 0, nullptr);
  ASSERT_EQ(ff_kevent(server.queue, changes, 2, nullptr, 0, nullptr), 0);
  const auto loop = [](void* arg) {
    auto& s = *static_cast<Server*>(arg);
    struct kevent events[8];
    const int n = ff_kevent(s.queue, nullptr, 0, events, 8, nullptr);
    for (int i = 0; i < n; ++i) {
      const int fd = static_cast<int>(events[i].ident);
      char text[8];
      if (fd == s.listener) {
        EXPECT_EQ(events[i].data, 1);
        struct kevent change;
        EV_SET(&change, ff_accept(fd, nullptr, nullptr), EVFILT_READ, EV_ADD, 0, 0, &s);
        EXPECT_EQ(ff_kevent(s.queue, &change, 1, nullptr, 0, nullptr), 0);
      } else if (fd == s.client) {
        EXPECT_EQ(ff_write(fd, "ping", 4), 4);
      } else {
        EXPECT_EQ(events[i].udata, &s);
        EXPECT_EQ(ff_read(fd, text, sizeof text), 4);
        ++s.served;
        ff_stop_run();
      }
    }
    return 0;
  };
  ff_run(loop, &server);
  EXPECT_EQ(server.served, 1);
}

TEST_F(Api, EachEventIsGivenToAFunction) {
  const int queue = ff_kqueue();
  std::vector<struct kevent> changes(600);
  for (size_t i = 0; i < changes.size(); ++i) {
    EV_SET(&changes[i], i, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, nullptr);
  }
  const timespec none{};
  std::vector<uintptr_t> seen(600, 99'999);
  const auto store = [](void** into, struct kevent* event) {
    auto** next = reinterpret_cast<uintptr_t**>(into);
    *(*next)++ = event->ident;
  };
  EXPECT_EQ(ff_kevent_do_each(queue, changes.data(), 600, seen.data(), 600, &none, store), 600);
  for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], i);
}

TEST_F(Api, ZeroCopyBothWays) {
  const auto [a, b] = pair();
  ff_zc_mbuf out{};
  ASSERT_EQ(ff_zc_mbuf_get(&out, 6), 0);
  EXPECT_EQ(ff_zc_mbuf_write(&out, "abc", 3), 3);
  EXPECT_EQ(ff_zc_mbuf_write(&out, "defg", 4), -1) << "no room";
  EXPECT_EQ(ff_zc_mbuf_write(&out, "def", 3), 3);
  EXPECT_EQ(ff_zc_send(a, out.bsd_mbuf, 6), 6);
  EXPECT_EQ(ff_zc_send(a, out.bsd_mbuf, 6), -1) << "it is gone";
  ASSERT_EQ(ff_zc_mbuf_get(&out, 3), 0);
  EXPECT_EQ(ff_zc_mbuf_write(&out, "ghi", 3), 3);
  EXPECT_EQ(ff_write(a, out.bsd_mbuf, 3), 3) << "as older programs send it";
  ff_zc_mbuf in{};
  ASSERT_EQ(ff_zc_recv(b, &in, 100), 9);
  EXPECT_EQ(in.len, 9);
  std::string got;
  void* piece = nullptr;
  int bytes = 0;
  while (ff_zc_mbuf_segment(&in, &piece, &bytes) > 0) got.append(static_cast<char*>(piece), static_cast<size_t>(bytes));
  EXPECT_EQ(got, "abcdefghi");
  in.off = 0;
  char text[5];
  EXPECT_EQ(ff_zc_mbuf_read(&in, text, 5), 5);
  EXPECT_EQ(std::string(text, 5), "abcde");
  ff_zc_recv_free(&in);
  EXPECT_EQ(in.bsd_mbuf, nullptr);
  ff_zc_recv_free(&in);
  not_blocking(b);
  EXPECT_EQ(ff_zc_recv(b, &in, 100), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(Api, FreeBsdsOptionsAreTranslated) {
  const int fd = ff_socket(AF_INET, SOCK_STREAM, 0);
  const int one = 1;
  constexpr int kTheirs = 0xffff;
  EXPECT_EQ(ff_setsockopt_freebsd(fd, kTheirs, 0x0008, &one, sizeof one), 0);
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(ff_getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
  EXPECT_EQ(value, 1);
  EXPECT_EQ(ff_getsockopt_freebsd(fd, kTheirs, 0x1008, &value, &length), 0);
  EXPECT_EQ(value, SOCK_STREAM);
  EXPECT_EQ(ff_setsockopt_freebsd(fd, kTheirs, 0x4000, &one, sizeof one), -1);
  EXPECT_EQ(errno, ENOPROTOOPT);
  int on = 1;
  EXPECT_EQ(ff_ioctl_freebsd(fd, 0x8004667e, &on), 0);
  EXPECT_EQ(ff_fcntl(fd, F_GETFL, 0), O_RDWR | O_NONBLOCK);
  EXPECT_EQ(ff_ioctl_freebsd(fd, 1, &on), -1);
}

TEST_F(Api, TheProgramMayChooseTheLocalAddress) {
  const int l = listener(7'000);
  ff_regist_pcblddr_fun([](uint16_t family, void* to, uint16_t port, void* from) {
    EXPECT_EQ(family, AF_INET);
    EXPECT_EQ(static_cast<in_addr*>(to)->s_addr, htonl(INADDR_LOOPBACK));
    EXPECT_EQ(port, 7'000);
    static_cast<in_addr*>(from)->s_addr = htonl(INADDR_LOOPBACK + 5);
    return 0;
  });
  const int c = ff_socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in to = here(7'000);
  EXPECT_EQ(ff_connect(c, cast(&to), sizeof to), 0);
  ff_regist_pcblddr_fun(nullptr);
  sockaddr_in name{};
  socklen_t length = sizeof name;
  EXPECT_EQ(ff_getsockname(c, reinterpret_cast<linux_sockaddr*>(&name), &length), 0);
  EXPECT_EQ(name.sin_addr.s_addr, htonl(INADDR_LOOPBACK + 5));
  EXPECT_NE(name.sin_port, 0);
  (void)l;
}

TEST_F(Api, SysctlsAreFoundReadAndSet) {
  const int query[2] = {0, 3};
  int number[8];
  size_t room = sizeof number;
  const char* name = "net.inet.tcp.msl";
  ASSERT_EQ(ff_sysctl(query, 2, number, &room, name, strlen(name)), 0);
  const auto words = static_cast<unsigned>(room / sizeof(int));
  int value = 0;
  size_t bytes = sizeof value;
  ASSERT_EQ(ff_sysctl(number, words, &value, &bytes, nullptr, 0), 0);
  EXPECT_EQ(value, 30'000);
  const int wanted = 500;
  ASSERT_EQ(ff_sysctl(number, words, nullptr, nullptr, &wanted, sizeof wanted), 0);
  ASSERT_EQ(ff_sysctl(number, words, &value, &bytes, nullptr, 0), 0);
  EXPECT_EQ(value, 500);
  const int bad = -1;
  EXPECT_EQ(ff_sysctl(number, words, nullptr, nullptr, &bad, sizeof bad), -1);
  EXPECT_EQ(errno, EINVAL);
  name = "net.inet.tcp.nothing";
  EXPECT_EQ(ff_sysctl(query, 2, number, &room, name, strlen(name)), -1);
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(Api, LinesGoWhereTheProgramWantsThemByLevel) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(ff_log_reset_stream(file), 0);
  EXPECT_EQ(ff_log(FF_LOG_ERR, FF_LOGTYPE_FSTACK_APP, "a %d\n", 1), 4);
  ff_log_set_global_level(FF_LOG_ERR);
  EXPECT_EQ(ff_log(FF_LOG_INFO, FF_LOGTYPE_FSTACK_APP, "b\n"), 0);
  ff_log_set_global_level(FF_LOG_DEBUG);
  EXPECT_EQ(ff_log(FF_LOG_DEBUG, FF_LOGTYPE_FSTACK_APP, "c\n"), 0) << "more than the type's level";
  EXPECT_EQ(ff_log_set_level(FF_LOGTYPE_FSTACK_APP, FF_LOG_DEBUG), 0);
  EXPECT_EQ(ff_log(FF_LOG_DEBUG, FF_LOGTYPE_FSTACK_APP, "d\n"), 2);
  EXPECT_EQ(ff_log(FF_LOG_ERR, 99'999, "e\n"), -1);
  EXPECT_EQ(ff_log_set_level(99'999, 1), -1);
  (void)ff_log_reset_stream(nullptr);
  rewind(file);
  char text[64] = {};
  EXPECT_EQ(fread(text, 1, sizeof text, file), 6u);
  EXPECT_STREQ(text, "a 1\nd\n");
  fclose(file);
}

TEST_F(Api, EpollAndPollAreLinuxs) {
  const auto [a, b] = pair();
  const int set = ff_epoll_create(0);
  epoll_event event{EPOLLIN | EPOLLET, {}};
  event.data.fd = b;
  ASSERT_EQ(ff_epoll_ctl(set, EPOLL_CTL_ADD, b, &event), 0);
  EXPECT_EQ(ff_epoll_wait(set, &event, 1, 0), 0);
  EXPECT_EQ(ff_write(a, "x", 1), 1);
  EXPECT_EQ(ff_epoll_wait(set, &event, 1, 1'000), 1);
  EXPECT_EQ(int{event.data.fd}, b);  // the structure is packed
  EXPECT_EQ(ff_epoll_wait(set, &event, 1, 0), 0) << "an edge";
  pollfd p{b, POLLIN, 0};
  EXPECT_EQ(ff_poll(&p, 1, -1), 1);
  fd_set read;
  FD_ZERO(&read);
  FD_SET(b, &read);
  timeval t{0, 0};
  EXPECT_EQ(ff_select(b + 1, &read, nullptr, nullptr, &t), 1);
  const int c = ff_dup(b);
  EXPECT_EQ(ff_dup2(b, 40), 40);
  char text[2];
  EXPECT_EQ(ff_recv(c, text, 2, MSG_PEEK), 1);
  EXPECT_EQ(ff_recvfrom(40, text, 2, 0, nullptr, nullptr), 1);
  EXPECT_EQ(ff_getmaxfd(), posix::OwnNumbers::kLimit);
}

}  // namespace
}  // namespace millrace::api
