// poll, select, epoll; descriptors that are duplicated, closed and shared.
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "oracle.h"

namespace oracle {
namespace {

int add(int set, int fd, uint32_t events, uint64_t data) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  return epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
}

int modify(int set, int fd, uint32_t events, uint64_t data) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  return epoll_ctl(set, EPOLL_CTL_MOD, fd, &e);
}

// What the set reports within `ms`, sorted: "7=IN 9=IN|OUT".
std::string wait_for(int set, int ms, int most = 8) {
  epoll_event events[8];
  const int n = epoll_wait(set, events, most, ms);
  if (n < 0) return "error";
  std::sort(events, events + n, [](const auto& x, const auto& y) { return x.data.u64 < y.data.u64; });
  std::string out;
  for (int i = 0; i < n; ++i) {
    out += (i == 0 ? "" : " ") + std::to_string(events[i].data.u64) + "=" + bits_of_epoll(events[i].events);
  }
  return n == 0 ? "nothing" : out;
}

long now_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000 + t.tv_nsec / 1'000'000;
}

}  // namespace

CASE(poll_of_both_kinds) {
  const Pair p;
  int fds[2];
  show("pipe", pipe(fds) == 0 ? 0 : -1);
  pollfd f[] = {{p.b, POLLIN, 0}, {fds[0], POLLIN, 0}, {-1, POLLIN, 7}, {p.a, POLLOUT, 0}};
  show("a writes", poll(f, 4, 0));
  note("socket", bits_of_poll(f[0].revents));
  note("pipe", bits_of_poll(f[1].revents));
  note("none", bits_of_poll(f[2].revents));
  write(p.a, "x", 1);
  write(fds[1], "y", 1);
  await(p.b, POLLIN);
  show("all", poll(f, 4, 1'000));
  note("socket", bits_of_poll(f[0].revents));
  note("pipe", bits_of_poll(f[1].revents));
  f[3].fd = 900;
  show("with a closed one", poll(f, 4, 0));
  note("closed", bits_of_poll(f[3].revents));
  close(fds[0]);
  close(fds[1]);
}

CASE(poll_waits_for_either_kind) {
  const Pair p;
  int fds[2];
  if (pipe(fds) != 0) return;
  pollfd f[] = {{p.b, POLLIN, 0}, {fds[0], POLLIN, 0}};
  std::thread first([&] {
    pause_ms(20);
    write(fds[1], "y", 1);
  });
  show("pipe", poll(f, 2, 2'000));
  note("socket", bits_of_poll(f[0].revents));
  note("pipe", bits_of_poll(f[1].revents));
  first.join();
  f[1].fd = -1;
  std::thread second([&] {
    pause_ms(20);
    write(p.a, "y", 1);
  });
  show("socket", poll(f, 2, 2'000));
  note("socket", bits_of_poll(f[0].revents));
  second.join();
  close(fds[0]);
  close(fds[1]);
}

CASE(timeouts_are_kept) {
  const Pair p;
  pollfd f{p.b, POLLIN, 0};
  long start = now_ms();
  show("poll", poll(&f, 1, 50));
  long took = now_ms() - start;
  note("poll took its time", took >= 49 && took < 500);
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 1);
  start = now_ms();
  note("epoll", wait_for(set, 50));
  took = now_ms() - start;
  note("epoll took its time", took >= 49 && took < 500);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(p.b, &in);
  timeval t{0, 50'000};
  start = now_ms();
  show("select", select(p.b + 1, &in, nullptr, nullptr, &t));
  took = now_ms() - start;
  note("select took its time", took >= 49 && took < 500);
  note("nothing left", t.tv_sec == 0 && t.tv_usec < 1'000);
  close(set);
}

CASE(select_of_both_kinds) {
  const Pair p;
  int fds[2];
  if (pipe(fds) != 0) return;
  fd_set in;
  fd_set out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(p.b, &in);
  FD_SET(fds[0], &in);
  FD_SET(p.a, &out);
  FD_SET(fds[1], &out);
  timeval t{1, 0};
  show("select", select(std::max({p.a, p.b, fds[0], fds[1]}) + 1, &in, &out, nullptr, &t));
  note("socket readable", FD_ISSET(p.b, &in));
  note("pipe readable", FD_ISSET(fds[0], &in));
  note("socket writable", FD_ISSET(p.a, &out));
  note("pipe writable", FD_ISSET(fds[1], &out));
  write(p.a, "x", 1);
  await(p.b, POLLIN);
  FD_SET(p.b, &in);
  show("select", select(p.b + 1, &in, nullptr, nullptr, nullptr));
  note("socket readable", FD_ISSET(p.b, &in));
  show("negative", select(-1, &in, nullptr, nullptr, &t));
  close(fds[0]);
  close(fds[1]);
}

CASE(epoll_arguments) {
  const Pair p;
  const int set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  show("bad operation", epoll_ctl(set, 99, p.a, &e));
  show("modify what is not there", epoll_ctl(set, EPOLL_CTL_MOD, p.a, &e));
  show("delete what is not there", epoll_ctl(set, EPOLL_CTL_DEL, p.a, nullptr));
  show("add", epoll_ctl(set, EPOLL_CTL_ADD, p.a, &e));
  show("add again", epoll_ctl(set, EPOLL_CTL_ADD, p.a, &e));
  show("delete", epoll_ctl(set, EPOLL_CTL_DEL, p.a, nullptr));
  show("itself", epoll_ctl(set, EPOLL_CTL_ADD, set, &e));
  show("closed descriptor", epoll_ctl(set, EPOLL_CTL_ADD, 900, &e));
  show("no set", epoll_ctl(p.b, EPOLL_CTL_ADD, p.a, &e));
  show("no room", epoll_wait(set, &e, 0, 0));
  show("no set", epoll_wait(p.a, &e, 1, 0));
  e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
  show("exclusive and one-shot", epoll_ctl(set, EPOLL_CTL_ADD, p.a, &e));
  e.events = EPOLLIN | EPOLLEXCLUSIVE;
  show("exclusive", epoll_ctl(set, EPOLL_CTL_ADD, p.a, &e));
  show("modified", epoll_ctl(set, EPOLL_CTL_MOD, p.a, &e));
  close(set);
}

CASE(epoll_level) {
  const Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 7);
  note("empty", wait_for(set, 0));
  write(p.a, "abc", 3);
  note("data", wait_for(set, 1'000));
  note("still", wait_for(set, 0));
  char buffer[4];
  read(p.b, buffer, 2);
  note("some left", wait_for(set, 0));
  read(p.b, buffer, 1);
  note("none left", wait_for(set, 0));
  shutdown(p.a, SHUT_WR);
  note("end", wait_for(set, 1'000));
  note("end stays", wait_for(set, 0));
  close(set);
}

CASE(epoll_edge) {
  const Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 7);
  note("at first", wait_for(set, 0));
  note("no change", wait_for(set, 0));
  write(p.a, "abc", 3);
  note("data", wait_for(set, 1'000));
  note("no change", wait_for(set, 0));
  write(p.a, "def", 3);
  note("more data", wait_for(set, 1'000));
  char buffer[8];
  read(p.b, buffer, 2);
  note("part read", wait_for(set, 0));
  shutdown(p.a, SHUT_WR);
  note("end", wait_for(set, 1'000));
  note("no change", wait_for(set, 0));
  close(set);
}

CASE(epoll_modify_looks_again) {
  const Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN | EPOLLET, 7);
  write(p.a, "abc", 3);
  note("data", wait_for(set, 1'000));
  note("no change", wait_for(set, 0));
  show("modify", modify(set, p.b, EPOLLIN | EPOLLET, 8));
  note("again", wait_for(set, 0));
  show("modify", modify(set, p.b, EPOLLOUT, 9));
  note("other bits", wait_for(set, 0));
  show("nothing wanted", modify(set, p.b, 0, 9));
  note("nothing", wait_for(set, 0));
  close(set);
}

CASE(epoll_one_shot) {
  const Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN | EPOLLONESHOT, 7);
  write(p.a, "abc", 3);
  note("data", wait_for(set, 1'000));
  note("spent", wait_for(set, 0));
  write(p.a, "d", 1);
  pause_ms(20);
  note("still spent", wait_for(set, 0));
  show("modify", modify(set, p.b, EPOLLIN | EPOLLONESHOT, 7));
  note("armed", wait_for(set, 0));
  close(set);
}

CASE(epoll_hang_up_is_always_told) {
  Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, 0, 7);
  note("nothing", wait_for(set, 0));
  const linger abort{1, 0};
  setsockopt(p.a, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close(p.a);
  p.a = -1;
  note("reset", wait_for(set, 1'000));
  close(set);
}

CASE(epoll_of_both_kinds) {
  const Pair p;
  int fds[2];
  if (pipe(fds) != 0) return;
  const int event = eventfd(0, 0);
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 1);
  add(set, fds[0], EPOLLIN, 2);
  add(set, event, EPOLLIN, 3);
  add(set, p.l, EPOLLIN, 4);
  note("nothing", wait_for(set, 0));
  write(fds[1], "x", 1);
  note("pipe", wait_for(set, 1'000));
  write(p.a, "x", 1);
  await(p.b, POLLIN);
  std::string both;
  for (int i = 0; i < 10 && both.find(' ') == std::string::npos; ++i) both = wait_for(set, 1'000);
  note("both", both);
  char c = 0;
  read(p.b, &c, 1);
  read(fds[0], &c, 1);
  note("nothing", wait_for(set, 0));
  const uint64_t one = 1;
  write(event, &one, sizeof one);
  note("event", wait_for(set, 1'000));
  close(set);
  close(event);
  close(fds[0]);
  close(fds[1]);
}

CASE(epoll_forgets_closed_sockets) {
  Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 7);
  write(p.a, "x", 1);
  note("data", wait_for(set, 1'000));
  close(p.b);
  p.b = -1;
  note("closed", wait_for(set, 0));
  close(set);
}

CASE(epoll_holds_while_a_copy_lives) {
  Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 7);
  const int copy = dup(p.b);
  close(p.b);
  p.b = copy;
  write(p.a, "x", 1);
  note("data", wait_for(set, 1'000));
  close(set);
}

CASE(epoll_copy_of_the_set) {
  const Pair p;
  const int set = epoll_create1(0);
  const int copy = dup(set);
  add(set, p.b, EPOLLIN, 7);
  write(p.a, "x", 1);
  note("through the copy", wait_for(copy, 1'000));
  close(set);
  note("still", wait_for(copy, 0));
  close(copy);
}

CASE(epoll_nested) {
  const Pair p;
  const int inner = epoll_create1(0);
  const int outer = epoll_create1(0);
  add(inner, p.b, EPOLLIN, 7);
  show("add", add(outer, inner, EPOLLIN, 8));
  note("nothing", wait_for(outer, 0));
  write(p.a, "x", 1);
  note("outer", wait_for(outer, 1'000));
  note("inner", wait_for(inner, 0));
  pollfd f{inner, POLLIN, 0};
  show("poll of the inner", poll(&f, 1, 0));
  char c = 0;
  read(p.b, &c, 1);
  note("nothing", wait_for(outer, 0));
  close(outer);
  close(inner);
}

CASE(epoll_most_events) {
  const Pair p;
  const Pair q;
  const int set = epoll_create1(0);
  add(set, p.a, EPOLLOUT, 1);
  add(set, q.a, EPOLLOUT, 1);
  add(set, p.b, EPOLLOUT, 1);
  note("one", wait_for(set, 0, 1));
  note("two", wait_for(set, 0, 2));
  note("all", wait_for(set, 0, 8));
  close(set);
}

CASE(epoll_wakes_another_thread) {
  const Pair p;
  const int set = epoll_create1(0);
  std::atomic<int> found{0};
  std::thread waiter([&] {
    epoll_event e{};
    found = epoll_wait(set, &e, 1, 3'000);
  });
  pause_ms(30);
  add(set, p.b, EPOLLIN, 7);  // while the other thread sleeps in an empty set
  pause_ms(10);
  write(p.a, "x", 1);
  waiter.join();
  note("found", found);
  close(set);
}

CASE(epoll_keeps_its_time_while_sockets_come) {
  const Pair p;
  const int set = epoll_create1(0);
  std::thread other([&] {
    for (int i = 0; i < 4; ++i) {
      pause_ms(25);
      add(set, p.b, EPOLLIN, 7);
      epoll_ctl(set, EPOLL_CTL_DEL, p.b, nullptr);
    }
  });
  const long start = now_ms();
  note("nothing", wait_for(set, 60));
  note("took its time", now_ms() - start >= 59 && now_ms() - start < 90);
  other.join();
  close(set);
}

CASE(epoll_of_two_threads_without_sockets_at_first) {
  const Pair p;
  int fds[2];
  if (pipe(fds) != 0) return;
  const int set = epoll_create1(0);
  add(set, fds[0], EPOLLIN, 2);
  std::thread first([&] { wait_for(set, 30); });
  std::thread second([&] { wait_for(set, 60); });
  pause_ms(20);
  add(set, p.b, EPOLLIN, 7);
  first.join();
  second.join();
  note("nothing", wait_for(set, 0));
  write(fds[1], "x", 1);
  note("pipe", wait_for(set, 1'000));
  write(p.a, "x", 1);
  await(p.b, POLLIN);
  std::string both;
  for (int i = 0; i < 10 && both.find(' ') == std::string::npos; ++i) both = wait_for(set, 1'000);
  note("both", both);
  close(set);
  close(fds[0]);
  close(fds[1]);
}

CASE(epoll_of_a_set_that_another_thread_closes) {
  const Pair p;
  const int set = epoll_create1(0);
  add(set, p.b, EPOLLIN, 7);
  std::thread other([&] {
    pause_ms(20);
    close(set);
  });
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  note("nothing", wait_for(set, 120));
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const long used = (after.tv_sec - before.tv_sec) * 1'000 + (after.tv_nsec - before.tv_nsec) / 1'000'000;
  note("asleep meanwhile", used < 50);
  other.join();
}

CASE(epoll_copy_of_the_set_serves_the_kernels_half) {
  const int first = epoll_create1(0);
  const int set = dup(first);
  const int fd = socket(family(), SOCK_DGRAM, 0);
  add(set, fd, EPOLLIN, 7);
  close(first);
  Address to = loopback();
  show("bind", bind(fd, to.get(), to.length));
  to = name_of(fd);
  show("send", sendto(fd, "x", 1, 0, to.get(), to.length));
  note("told", wait_for(set, 1'000));
  close(set);
  close(fd);
}

CASE(epoll_writable_edge) {
  const Pair p;
  set_nonblocking(p.a);
  const int set = epoll_create1(0);
  add(set, p.a, EPOLLOUT | EPOLLET, 7);
  note("at first", wait_for(set, 0));
  static char block[65'536];
  long total = 0;
  long n = 0;
  while ((n = write(p.a, block, sizeof block)) > 0) total += n;
  note("full", wait_for(set, 0));
  while (total > 0 && await(p.b, POLLIN)) total -= read(p.b, block, sizeof block);
  note("room", wait_for(set, 1'000));
  close(set);
}

CASE(two_threads_on_one_socket) {
  const Pair p;
  char c = 0;
  long got = 0;
  std::thread reader([&] { got = read(p.b, &c, 1); });
  pause_ms(20);
  show("write on the same socket", write(p.b, "r", 1));
  write(p.a, "x", 1);
  reader.join();
  note("got", got);
}

CASE(duplicates) {
  Pair p;
  const int copy = dup(p.a);
  close(p.a);
  p.a = copy;
  show("write", write(p.a, "x", 1));
  char c = 0;
  show("read", read(p.b, &c, 1));
  const int high = show("F_DUPFD", fcntl(p.a, F_DUPFD_CLOEXEC, 200) >= 200 ? 1 : 0) != 0 ? 200 : -1;
  note("close on exec", fcntl(high, F_GETFD));
  set_nonblocking(p.a);
  note("shared flags", (fcntl(high, F_GETFL) & O_NONBLOCK) != 0);
  show("shared", read(high, &c, 1));
  show("dup2 over the other end", dup2(high, p.b) == p.b ? 0 : -1);
  note("its end is closed", await(p.a, POLLRDHUP));
  close(high);
}

CASE(dup2_over_a_socket) {
  Pair p;
  const int null = open("/dev/null", O_RDWR);
  show("dup2", dup2(null, p.a) == p.a ? 0 : -1);
  note("peer sees the end", await(p.b, POLLRDHUP));
  show("write to the file", write(p.a, "x", 1));
  close(null);
}

CASE(closed_by_range) {
  Pair p;
  const int high = fcntl(p.a, F_DUPFD, 300);
  close(p.a);
  p.a = -1;
  show("close_range", close_range(300, 310, 0));
  note("peer sees the end", await(p.b, POLLRDHUP));
  char c = 0;
  show("closed", read(high, &c, 1));
}

}  // namespace oracle
