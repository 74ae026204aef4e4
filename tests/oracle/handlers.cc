// Handlers of signals, threads that are cancelled, and children, in the middle of calls on sockets.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "oracle.h"

namespace oracle {
namespace {

volatile sig_atomic_t signals_seen = 0;
volatile sig_atomic_t failures = 0;
volatile sig_atomic_t fd_of_handler = -1;
sigjmp_buf resume;

void handle(int number, void (*handler)(int), int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(number, &action, nullptr);
  signals_seen = 0;
  failures = 0;
}

void forget(int number) {
  const itimerval none{};
  setitimer(ITIMER_REAL, &none, nullptr);
  signal(number, SIG_DFL);
  alarm(10);
}

void every_ms(int ms) {
  const itimerval often{{0, ms * 1'000}, {0, ms * 1'000}};
  setitimer(ITIMER_REAL, &often, nullptr);
}

bool is_blocked(int number) {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, number) == 1;
}

void wait_a_little(int) {
  signals_seen = signals_seen + 1;
  const int saved = errno;
  pollfd f{fd_of_handler, POLLIN, 0};
  if (poll(&f, 1, 20) != 0) failures = failures + 1;
  errno = saved;
}

void jump(int) { siglongjmp(resume, 1); }

void use_descriptors(int) {
  signals_seen = signals_seen + 1;
  const int saved = errno;
  const int copy = dup(fd_of_handler);
  if (copy < 0 || send(copy, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1 || close(copy) != 0) failures = failures + 1;
  errno = saved;
}

void make_child(int) {
  signals_seen = signals_seen + 1;
  const int saved = errno;
  const pid_t child = fork();
  if (child == 0) _exit(7);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) failures = failures + 1;
  errno = saved;
}

// Reads what there is, many times, until `count` signals have come.
void stay_busy(int fd, int count) {
  char buffer[512];
  while (signals_seen < count) recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
}

// Cancels a thread that is in `call`, and says how it ended.
template <class Call>
void cancel_in(const char* what, Call call) {
  struct Thread {
    Call& call;
    std::atomic<bool> begun{false};
  } thread{call};
  pthread_t id{};
  pthread_create(
      &id, nullptr,
      [](void* p) -> void* {
        auto* t = static_cast<Thread*>(p);
        t->begun = true;
        t->call();
        return nullptr;
      },
      &thread);
  while (!thread.begun) pause_ms(1);
  pause_ms(10);
  pthread_cancel(id);
  void* result = nullptr;
  pthread_join(id, &result);
  note(what, result == PTHREAD_CANCELED ? "cancelled" : "came to its end");
}

}  // namespace

CASE(handler_that_waits_leaves_the_mask_alone) {
  const Pair p;
  const Pair q;
  fd_of_handler = q.b;
  handle(SIGALRM, wait_a_little, SA_RESTART);
  std::thread sender([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pause_ms(70);
    write(p.a, "x", 1);
  });
  char c = 0;
  ualarm(10'000, 0);
  show("recv", recv(p.b, &c, 1, 0));
  sender.join();
  note("signals", signals_seen);
  note("failures", failures);
  note("blocked", is_blocked(SIGALRM) || is_blocked(SIGUSR1));
  forget(SIGALRM);
}

CASE(jump_out_of_a_call) {
  const Pair p;
  handle(SIGALRM, jump);
  char c = 0;
  for (int i = 0; i < 3; ++i) {
    if (sigsetjmp(resume, 1) == 0) {
      ualarm(10'000, 0);
      show("recv", recv(p.b, &c, 1, 0));
    }
  }
  if (sigsetjmp(resume, 1) == 0) {
    pollfd f{p.b, POLLIN, 0};
    ualarm(10'000, 0);
    show("poll", poll(&f, 1, 2'000));
  }
  forget(SIGALRM);
  note("blocked", is_blocked(SIGALRM) || is_blocked(SIGUSR1));
  std::thread reader([&] { show("recv in a thread", recv(p.b, &c, 1, 0)); });
  pause_ms(10);
  write(p.a, "x", 1);
  reader.join();
  write(p.a, "y", 1);
  show("recv", recv(p.b, &c, 1, 0));
  shutdown(p.a, SHUT_WR);
  show("end", recv(p.b, &c, 1, 0));
}

CASE(jump_out_of_a_busy_loop) {
  const Pair p;
  handle(SIGALRM, jump);
  volatile int jumps = 0;
  char buffer[64];
  if (sigsetjmp(resume, 1) != 0) jumps = jumps + 1;
  if (jumps < 50) {
    ualarm(1'000, 0);
    for (;;) {
      send(p.a, "x", 1, MSG_DONTWAIT);
      recv(p.b, buffer, sizeof buffer, MSG_DONTWAIT);
    }
  }
  forget(SIGALRM);
  note("jumps", jumps);
  while (recv(p.b, buffer, sizeof buffer, MSG_DONTWAIT) > 0) continue;
  show("send", send(p.a, "y", 1, 0));
  shutdown(p.a, SHUT_WR);
  long last = 0;
  while ((last = recv(p.b, buffer, sizeof buffer, 0)) > 0) continue;
  show("end", last);
}

CASE(handlers_may_use_sockets) {
  const Pair p;
  fd_of_handler = p.a;
  handle(SIGALRM, use_descriptors, SA_RESTART);
  every_ms(1);
  stay_busy(p.b, 100);
  forget(SIGALRM);
  note("failures", failures);
}

CASE(handlers_may_fork) {
  const Pair p;
  handle(SIGALRM, make_child, SA_RESTART);
  every_ms(3);
  stay_busy(p.b, 20);
  forget(SIGALRM);
  note("failures", failures);
  show("send", send(p.a, "x", 1, 0));
  char c = 0;
  show("recv", recv(p.b, &c, 1, 0));
}

CASE(what_sigaction_says) {
  struct sigaction old {};
  handle(SIGUSR1, wait_a_little, SA_RESTART);
  show("sigaction", sigaction(SIGUSR1, nullptr, &old));
  note("handler", old.sa_handler == wait_a_little);
  note("flags", old.sa_flags == SA_RESTART || old.sa_flags == (SA_RESTART | 0x04000000));
  note("signal tells the one before", signal(SIGUSR1, jump) == wait_a_little);
  note("and the next", signal(SIGUSR1, SIG_IGN) == jump);
  note("ignored", signal(SIGUSR1, SIG_DFL) == SIG_IGN);
  show("none", sigaction(SIGUSR1, nullptr, &old));
  note("default", old.sa_handler == SIG_DFL);
  show("no signal", sigaction(0, nullptr, &old));
  show("too high", sigaction(65, nullptr, &old));
  show("not to be caught", signal(SIGKILL, jump) == SIG_ERR ? -1 : 0);
}

CASE(sleeping_calls_can_be_cancelled) {
  Pair p;
  char c = 0;
  const int set = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(set, EPOLL_CTL_ADD, p.b, &e);
  cancel_in("recv", [&] { recv(p.b, &c, 1, 0); });
  cancel_in("accept", [&] { accept(p.l, nullptr, nullptr); });
  cancel_in("poll", [&] {
    pollfd f{p.b, POLLIN, 0};
    poll(&f, 1, -1);
  });
  cancel_in("epoll_wait", [&] { epoll_wait(set, &e, 1, -1); });
  cancel_in("a busy thread", [&] {
    for (;;) recv(p.b, &c, 1, MSG_DONTWAIT);
  });
  close(set);
  write(p.a, "x", 1);
  show("recv", recv(p.b, &c, 1, 0));
  close(p.b);  // nobody is in it any more
  p.b = -1;
  show("end", recv(p.a, &c, 1, 0));
}

CASE(threads_wake_without_descriptors) {
  constexpr int kPairs = 12;
  std::vector<std::unique_ptr<Pair>> pairs;
  for (int i = 0; i < kPairs; ++i) pairs.push_back(std::make_unique<Pair>());
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{200, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  std::vector<int> rest;
  while ((rest.empty() || rest.back() >= 0) && rest.size() < 200) rest.push_back(dup(0));
  std::atomic<int> got{0};
  std::vector<std::thread> threads;
  for (const auto& p : pairs) {
    threads.emplace_back([&got, fd = p->b] {
      char c = 0;
      got += static_cast<int>(recv(fd, &c, 1, 0));
    });
  }
  pause_ms(30);
  for (const auto& p : pairs) write(p->a, "x", 1);
  for (std::thread& thread : threads) thread.join();
  for (const int fd : rest) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  note("got", got);
}

CASE(children_reach_the_loopback_of_the_kernel) {
  const Pair p;
  const int l = stream();
  const Address a = loopback();
  show("bind", bind(l, a.get(), a.length));
  show("listen", listen(l, 1));
  const Address to = name_of(l);
  const pid_t child = fork();
  if (child == 0) {
    const int fd = stream();
    const bool good = fd >= 0 && connect(fd, to.get(), to.length) == 0 && write(fd, "abc", 3) == 3;
    const int datagrams = socket(family(), SOCK_DGRAM, 0);
    const bool sent = sendto(datagrams, "x", 1, 0, to.get(), to.length) == 1;
    _exit(good && sent ? 0 : 1);
  }
  const int fd = accept(l, nullptr, nullptr);
  char buffer[8];
  show("from the child", recv(fd, buffer, sizeof buffer, MSG_WAITALL));
  int status = -1;
  waitpid(child, &status, 0);
  note("its status", status);
  write(p.a, "x", 1);
  show("the parent's own", recv(p.b, buffer, 1, 0));
  close(fd);
  close(l);
}

}  // namespace oracle
