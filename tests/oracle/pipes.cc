// Low-water marks, streams of libc, and splice() between pipes and sockets.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "oracle.h"

namespace oracle {

CASE(receive_low_water_mark) {
  const Pair p;
  const int least = 4;
  show("set", setsockopt(p.b, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
  note("mark", option(p.b, SOL_SOCKET, SO_RCVLOWAT));
  const int set = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(set, EPOLL_CTL_ADD, p.b, &e);
  write(p.a, "abc", 3);
  await_bytes(p.b, 3);
  note("below", state(p.b, POLLIN));
  show("epoll", epoll_wait(set, &e, 1, 20));
  std::thread fourth([&] {
    pause_ms(20);
    write(p.a, "d", 1);
  });
  show("epoll", epoll_wait(set, &e, 1, 2'000));
  fourth.join();
  note("at it", state(p.b, POLLIN));
  char got[16] = {};
  show("recv of fewer", recv(p.b, got, 2, 0));
  note("below", state(p.b, POLLIN));
  show("without waiting", recv(p.b, got, sizeof got, MSG_DONTWAIT));
  std::thread pieces([&] {
    for (int i = 0; i < 4; ++i) {
      pause_ms(10);
      write(p.a, "x", 1);
    }
  });
  const long n = recv(p.b, got, sizeof got, 0);
  show("recv waits for as many", n);
  pieces.join();
  write(p.a, "yz", 2);
  shutdown(p.a, SHUT_WR);
  await(p.b, POLLRDHUP);
  note("at the end", state(p.b, POLLIN));
  show("recv", recv(p.b, got, sizeof got, 0));
  const int none = 0;
  const int all = -1;
  setsockopt(p.b, SOL_SOCKET, SO_RCVLOWAT, &none, sizeof none);
  note("none", option(p.b, SOL_SOCKET, SO_RCVLOWAT));
  setsockopt(p.b, SOL_SOCKET, SO_RCVLOWAT, &all, sizeof all);
  note("negative", option(p.b, SOL_SOCKET, SO_RCVLOWAT));
  setsockopt(p.l, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
  const int c = stream();
  const Address to = name_of(p.l);
  connect(c, to.get(), to.length);
  const int d = accept(p.l, nullptr, nullptr);
  write(c, "abc", 3);
  await_bytes(d, 3);
  note("inherited", state(d, POLLIN));
  close(c);
  close(d);
  close(set);
}

CASE(streams_of_libc) {
  const Pair p;
  FILE* in = fdopen(dup(p.b), "r");
  FILE* out = fdopen(dup(p.b), "w");
  if (in == nullptr || out == nullptr) return;
  note("fileno", fileno(in) > p.b && fileno(out) > p.b ? "its own" : "other");
  show("write", write(p.a, "first\nsecond", 12));
  shutdown(p.a, SHUT_WR);
  char line[32] = {};
  note("line", fgets(line, sizeof line, in) != nullptr ? line : "none");
  show("flush of a reader", fflush(in));
  note("line", fgets(line, sizeof line, in) != nullptr ? line : "none");
  note("end", fgets(line, sizeof line, in) == nullptr && feof(in) != 0 && ferror(in) == 0 ? "yes" : "no");
  errno = 0;
  show("seek", fseek(in, 0, SEEK_SET));
  show("printf", fprintf(out, "%d bytes\n", 8));
  char got[32] = {};
  show("before the flush", recv(p.a, got, sizeof got, MSG_DONTWAIT));
  show("flush", fflush(out));
  await_bytes(p.a, 8);
  show("recv", recv(p.a, got, sizeof got, 0));
  show("dprintf", dprintf(p.b, "%s", "direct"));
  await_bytes(p.a, 6);
  show("recv", recv(p.a, got, sizeof got, 0));
  show("close", fclose(in));
  fputs("last", out);
  show("close", fclose(out));
  await_bytes(p.a, 4);
  show("recv", recv(p.a, got, sizeof got, 0));
}

CASE(splice_between_pipes_and_sockets) {
  const Pair p;
  int fds[2];
  if (pipe(fds) != 0) return;
  char got[64] = {};
  set_nonblocking(p.b);
  show("to the pipe, nothing there", splice(p.b, nullptr, fds[1], nullptr, 100, 0));
  set_nonblocking(p.b, false);
  write(p.a, "abcdef", 6);
  await(p.b, POLLIN);
  show("to the pipe", splice(p.b, nullptr, fds[1], nullptr, 4, 0));
  show("the rest", splice(p.b, nullptr, fds[1], nullptr, 100, SPLICE_F_MOVE));
  show("read", read(fds[0], got, sizeof got));
  note("same", std::string(got, 6));
  show("to the socket, nothing there", splice(fds[0], nullptr, p.a, nullptr, 100, SPLICE_F_NONBLOCK));
  write(fds[1], "ghijkl", 6);
  show("to the socket", splice(fds[0], nullptr, p.a, nullptr, 4, SPLICE_F_MORE));
  show("the rest", splice(fds[0], nullptr, p.a, nullptr, 100, 0));
  await_bytes(p.b, 6);
  show("recv", recv(p.b, got, sizeof got, 0));
  note("same", std::string(got, 6));
  loff_t at = 0;
  show("with an offset", splice(p.b, &at, fds[1], nullptr, 4, 0));
  show("of the pipe", splice(p.b, nullptr, fds[1], &at, 4, 0));
  show("between sockets", splice(p.a, nullptr, p.b, nullptr, 4, 0));
  show("bad flags", splice(p.b, nullptr, fds[1], nullptr, 4, 0x100));
  show("of a listener", splice(p.l, nullptr, fds[1], nullptr, 4, SPLICE_F_NONBLOCK));
  std::thread writer([&] {
    pause_ms(20);
    write(p.a, "late", 4);
  });
  show("waits", splice(p.b, nullptr, fds[1], nullptr, 100, 0));
  writer.join();
  show("read", read(fds[0], got, sizeof got));
  // A megabyte through a pipe, with both ends slow.
  constexpr size_t kBytes = 1 << 20;
  std::string data(kBytes, 0);
  for (size_t i = 0; i < kBytes; ++i) data[i] = static_cast<char>(i * 7 + i / 1'000);
  std::thread source([&] {
    for (size_t n = 0; n < kBytes;) {
      const ssize_t w = write(p.a, data.data() + n, kBytes - n);
      if (w <= 0) break;
      n += static_cast<size_t>(w);
    }
  });
  std::thread mover([&] {
    for (size_t n = 0; n < kBytes;) {
      const ssize_t w = splice(p.b, nullptr, fds[1], nullptr, kBytes - n, 0);
      if (w <= 0) break;
      n += static_cast<size_t>(w);
    }
    shutdown(p.a, SHUT_WR);
  });
  std::string through;
  char block[10'000];
  while (through.size() < kBytes) {
    const ssize_t n = read(fds[0], block, sizeof block);
    if (n <= 0) break;
    through.append(block, static_cast<size_t>(n));
  }
  source.join();
  mover.join();
  note("all the same", through == data);
  show("at the end", splice(p.b, nullptr, fds[1], nullptr, 100, 0));
  signal(SIGPIPE, SIG_IGN);
  write(fds[1], "x", 1);
  show("to an end that is shut", splice(fds[0], nullptr, p.a, nullptr, 100, 0));
  signal(SIGPIPE, SIG_DFL);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace oracle
