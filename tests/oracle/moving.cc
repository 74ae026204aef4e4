// Reading and writing.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "oracle.h"

namespace oracle {
namespace {

volatile sig_atomic_t signals_seen = 0;
void count_signal(int) { signals_seen = signals_seen + 1; }

void handle(int number, int flags) {
  struct sigaction action {};
  action.sa_handler = count_signal;
  action.sa_flags = flags;
  sigaction(number, &action, nullptr);
  signals_seen = 0;
}

void reset(int fd) {
  const linger abort{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close(fd);
}

}  // namespace

CASE(bytes_there_and_back) {
  const Pair p;
  show("write", write(p.a, "hello", 5));
  char buffer[16] = {};
  show("read", read(p.b, buffer, sizeof buffer));
  note("text", buffer);
  show("empty write", write(p.a, "", 0));
  show("empty read", read(p.b, buffer, 0));
}

CASE(nonblocking_read) {
  const Pair p;
  set_nonblocking(p.b);
  char buffer[16] = {};
  show("nothing", read(p.b, buffer, sizeof buffer));
  note("state", state(p.b));
  write(p.a, "abc", 3);
  note("arrives", await(p.b, POLLIN));
  show("two", read(p.b, buffer, 2));
  note("state", state(p.b));
  show("one", read(p.b, buffer, 2));
  note("state", state(p.b));
  show("nothing", read(p.b, buffer, 2));
  int unread = -1;
  show("FIONREAD", ioctl(p.b, FIONREAD, &unread));
  note("unread", unread);
}

CASE(exact_read_leaves_nothing) {
  const Pair p;
  write(p.a, "abc", 3);
  char buffer[3];
  show("read", read(p.b, buffer, 3));
  note("state", state(p.b));
}

CASE(success_leaves_errno_alone) {
  const Pair p;
  errno = 77;
  write(p.a, "abc", 3);
  pollfd f{p.b, POLLIN, 0};
  poll(&f, 1, 1'000);
  char buffer[4];
  read(p.b, buffer, sizeof buffer);
  poll(&f, 1, 0);
  int unread = 0;
  ioctl(p.b, FIONREAD, &unread);
  note("errno", errno);
}

CASE(what_a_connection_knows) {
  Pair p;
  tcp_info info{};
  socklen_t length = sizeof info;
  show("connected", getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &length));
  note("state", info.tcpi_state);
  note("has a window", info.tcpi_snd_cwnd > 0 && info.tcpi_snd_mss > 500);
  shutdown(p.b, SHUT_WR);
  await(p.a, POLLRDHUP);
  length = sizeof info;
  getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &length);
  note("state", info.tcpi_state);
  length = sizeof info;
  getsockopt(p.l, IPPROTO_TCP, TCP_INFO, &info, &length);
  note("listener", info.tcpi_state);
  length = 8;
  show("the beginning", getsockopt(p.a, IPPROTO_TCP, TCP_INFO, &info, &length));
  note("length", length);
}

CASE(dont_wait) {
  const Pair p;
  char c = 0;
  show("recv", recv(p.b, &c, 1, MSG_DONTWAIT));
}

CASE(peek) {
  const Pair p;
  write(p.a, "abcdef", 6);
  await_bytes(p.b, 6);
  char buffer[8] = {};
  show("peek", recv(p.b, buffer, 3, MSG_PEEK));
  note("text", std::string(buffer, 3));
  show("peek", recv(p.b, buffer, 8, MSG_PEEK));
  int unread = 0;
  ioctl(p.b, FIONREAD, &unread);
  note("unread", unread);
  show("read", recv(p.b, buffer, 8, 0));
  show("peek", recv(p.b, buffer, 8, MSG_PEEK | MSG_DONTWAIT));
}

CASE(wait_for_all) {
  const Pair p;
  std::thread sender([&] {
    write(p.a, "abc", 3);
    pause_ms(30);
    write(p.a, "defgh", 5);
    shutdown(p.a, SHUT_WR);
  });
  char buffer[16] = {};
  show("six", recv(p.b, buffer, 6, MSG_WAITALL));
  note("text", std::string(buffer, 6));
  show("cut by the end", recv(p.b, buffer, 6, MSG_WAITALL));
  sender.join();
}

CASE(truncating_read_discards) {
  const Pair p;
  write(p.a, "abcdef", 6);
  await_bytes(p.b, 6);
  char buffer[8] = "-------";
  show("discard", recv(p.b, buffer, 4, MSG_TRUNC));
  note("untouched", std::string(buffer, 4));
  show("rest", recv(p.b, buffer, 8, 0));
  note("text", std::string(buffer, 2));
}

CASE(urgent_without_any) {
  const Pair p;
  char c = 0;
  show("recv", recv(p.b, &c, 1, MSG_OOB));
}

CASE(write_to_one_that_has_closed) {
  Pair p;
  close(p.b);
  p.b = -1;
  pause_ms(20);
  show("send", send(p.a, "x", 1, MSG_NOSIGNAL));
  pause_ms(50);
  show("send again", send(p.a, "y", 1, MSG_NOSIGNAL));
  show("and again", send(p.a, "y", 1, MSG_NOSIGNAL));
  char c = 0;
  show("recv", recv(p.a, &c, 1, 0));
  note("error", option(p.a, SOL_SOCKET, SO_ERROR));
}

CASE(urgent_byte) {
  const Pair p;
  char buffer[16] = {};
  show("send", send(p.a, "abc", 3, 0));
  show("send urgent", send(p.a, "xyU", 3, MSG_OOB));
  show("send", send(p.a, "def", 3, 0));
  await_bytes(p.b, 8);
  note("state", state(p.b));
  note("at the mark", sockatmark(p.b));
  show("peek urgent", recv(p.b, buffer, 8, MSG_OOB | MSG_PEEK));
  note("byte", std::string(buffer, 1));
  show("urgent", recv(p.b, buffer, 8, MSG_OOB));
  note("byte", std::string(buffer, 1));
  show("urgent again", recv(p.b, buffer, 8, MSG_OOB));
  note("state", state(p.b));
  show("up to the mark", recv(p.b, buffer, 8, 0));
  note("text", std::string(buffer, 5));
  note("at the mark", sockatmark(p.b));
  show("behind it", recv(p.b, buffer, 8, 0));
  note("text", std::string(buffer, 3));
  note("at the mark", sockatmark(p.b));
  show("send", send(p.b, "!", 1, MSG_OOB));
  await(p.a, POLLPRI);
  note("alone", state(p.a));
  set_nonblocking(p.a);
  show("passed by", recv(p.a, buffer, 8, 0));
  show("urgent", recv(p.a, buffer, 8, MSG_OOB));
  note("state", state(p.a));
}

CASE(urgent_byte_inline) {
  const Pair p;
  const int one = 1;
  char buffer[16] = {};
  setsockopt(p.b, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
  send(p.a, "abc", 3, 0);
  send(p.a, "U", 1, MSG_OOB);
  send(p.a, "def", 3, 0);
  await_bytes(p.b, 7);
  show("urgent", recv(p.b, buffer, 8, MSG_OOB));
  show("up to the mark", recv(p.b, buffer, 8, 0));
  note("at the mark", sockatmark(p.b));
  show("from it on", recv(p.b, buffer, 8, 0));
  note("text", std::string(buffer, 4));
}

CASE(vectors) {
  const Pair p;
  char one[] = "one";
  char two[] = "twotwo";
  const iovec out[] = {{one, 3}, {nullptr, 0}, {two, 6}};
  show("writev", writev(p.a, out, 3));
  await_bytes(p.b, 9);
  char x[4] = {};
  char y[8] = {};
  const iovec in[] = {{x, 4}, {y, 8}};
  show("readv", readv(p.b, in, 2));
  note("first", std::string(x, 4));
  note("second", std::string(y, 5));
  show("negative count", readv(p.b, in, -1));
  show("too many", writev(p.a, out, 5'000));
}

CASE(messages) {
  const Pair p;
  char text[] = "message";
  iovec piece{text, 7};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  show("sendmsg", sendmsg(p.a, &message, 0));
  await_bytes(p.b, 7);
  char room[16] = {};
  char control[64];
  Address from;
  piece = {room, sizeof room};
  message.msg_name = &from.storage;
  message.msg_namelen = sizeof from.storage;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  message.msg_flags = -1;
  show("recvmsg", recvmsg(p.b, &message, 0));
  note("name length", message.msg_namelen);
  note("control length", static_cast<long>(message.msg_controllen));
  note("flags", message.msg_flags);
  note("text", room);
}

CASE(recvfrom_names_nobody) {
  const Pair p;
  write(p.a, "x", 1);
  char c = 0;
  Address from;
  from.length = sizeof from.storage;
  show("recvfrom", recvfrom(p.b, &c, 1, 0, from.get(), &from.length));
  note("length", from.length);
  const Address to = name_of(p.l);
  show("sendto", sendto(p.a, &c, 1, 0, to.get(), to.length));
}

CASE(end_of_data) {
  Pair p;
  write(p.a, "abc", 3);
  close(p.a);
  p.a = -1;
  await(p.b, POLLRDHUP);
  note("state", state(p.b));
  char buffer[8];
  show("read", read(p.b, buffer, 8));
  show("end", read(p.b, buffer, 8));
  show("end", read(p.b, buffer, 8));
  note("state", state(p.b));
  note("error", option(p.b, SOL_SOCKET, SO_ERROR));
}

CASE(write_after_the_peer_closed) {
  Pair p;
  close(p.a);
  p.a = -1;
  await(p.b, POLLRDHUP);
  show("first", send(p.b, "x", 1, MSG_NOSIGNAL));
  note("reset comes", await(p.b, POLLERR | POLLHUP));
  pause_ms(20);
  note("state", state(p.b));
  show("second", send(p.b, "x", 1, MSG_NOSIGNAL));
  note("state", state(p.b));
}

CASE(broken_pipe_raises_a_signal) {
  Pair p;
  handle(SIGPIPE, 0);
  shutdown(p.b, SHUT_WR);
  show("write", write(p.b, "x", 1));
  note("signals", signals_seen);
  show("send without", send(p.b, "x", 1, MSG_NOSIGNAL));
  note("signals", signals_seen);
  signal(SIGPIPE, SIG_IGN);
  show("ignored", write(p.b, "x", 1));
  signal(SIGPIPE, SIG_DFL);
}

CASE(reset_by_the_peer) {
  Pair p;
  write(p.a, "abc", 3);
  await_bytes(p.b, 3);
  reset(p.a);
  p.a = -1;
  note("noticed", await(p.b, POLLERR | POLLHUP));
  note("state", state(p.b));
  char buffer[8];
  show("read", read(p.b, buffer, 8));
  show("read", read(p.b, buffer, 8));
  show("read", read(p.b, buffer, 8));
  note("state", state(p.b));
  show("write", send(p.b, "x", 1, MSG_NOSIGNAL));
  show("shutdown", shutdown(p.b, SHUT_WR));
  Address a;
  a.length = sizeof a.storage;
  show("getpeername", getpeername(p.b, a.get(), &a.length));
}

CASE(reset_told_by_the_option) {
  Pair p;
  reset(p.a);
  p.a = -1;
  await(p.b, POLLERR);
  note("is reset", option(p.b, SOL_SOCKET, SO_ERROR) == ECONNRESET);
  note("once", option(p.b, SOL_SOCKET, SO_ERROR));
  char c = 0;
  show("read", read(p.b, &c, 1));
  note("state", state(p.b));
}

CASE(reset_told_by_write) {
  Pair p;
  reset(p.a);
  p.a = -1;
  await(p.b, POLLERR);
  show("write", send(p.b, "x", 1, MSG_NOSIGNAL));
  show("write", send(p.b, "x", 1, MSG_NOSIGNAL));
}

CASE(close_with_unread_data_resets) {
  Pair p;
  write(p.b, "unread", 6);
  await_bytes(p.a, 6);
  close(p.a);
  p.a = -1;
  note("noticed", await(p.b, POLLERR | POLLHUP));
  char c = 0;
  show("read", read(p.b, &c, 1));
}

CASE(full_buffers) {
  const Pair p;
  set_nonblocking(p.a);
  static char block[65'536];
  long total = 0;
  long n = 0;
  while ((n = write(p.a, block, sizeof block)) > 0) total += n;
  show("full", n);
  note("took some", total > 10'000);
  note("state", state(p.a));
  long got = 0;
  while (got < total && await(p.b, POLLIN)) got += read(p.b, block, sizeof block);
  note("all came", got == total);
  note("room again", await(p.a, POLLOUT));
  note("state", state(p.a));
}

CASE(blocking_write_waits) {
  const Pair p;
  constexpr size_t kBytes = size_t{8} << 20;
  std::vector<char> data(kBytes);
  for (size_t i = 0; i < kBytes; ++i) data[i] = static_cast<char>(i * 7 + i / 251);
  long written = 0;
  std::thread writer([&] { written = write(p.a, data.data(), kBytes); });
  std::vector<char> got(kBytes);
  size_t n = 0;
  while (n < kBytes) {
    const ssize_t r = read(p.b, got.data() + n, kBytes - n);
    if (r <= 0) break;
    n += static_cast<size_t>(r);
  }
  writer.join();
  note("written", written);
  note("same", got == data);
}

CASE(receive_timeout) {
  const Pair p;
  const timeval t{0, 30'000};
  show("set", setsockopt(p.b, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
  char c = 0;
  show("recv", recv(p.b, &c, 1, 0));
  setsockopt(p.l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  show("accept", accept(p.l, nullptr, nullptr));
}

CASE(interrupted_calls) {
  const Pair p;
  handle(SIGALRM, 0);
  char c = 0;
  ualarm(30'000, 0);
  show("recv", recv(p.b, &c, 1, 0));
  ualarm(30'000, 0);
  show("accept", accept(p.l, nullptr, nullptr));
  pollfd f{p.b, POLLIN, 0};
  ualarm(30'000, 0);
  show("poll", poll(&f, 1, 1'000));
  note("signals", signals_seen);
  signal(SIGALRM, SIG_DFL);
  alarm(10);
}

CASE(restarted_calls) {
  const Pair p;
  handle(SIGALRM, SA_RESTART);
  std::thread sender([&] {
    pause_ms(80);
    write(p.a, "x", 1);
  });
  char c = 0;
  ualarm(30'000, 0);
  show("recv", recv(p.b, &c, 1, 0));
  note("signals", signals_seen);
  sender.join();
  pollfd f{p.b, POLLIN, 0};
  ualarm(30'000, 0);
  show("poll", poll(&f, 1, 1'000));
  signal(SIGALRM, SIG_DFL);
  alarm(10);
}

CASE(files_to_sockets) {
  const Pair p;
  char name[] = "/tmp/millrace-oracle-XXXXXX";
  const int file = mkstemp(name);
  unlink(name);
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += static_cast<char>('a' + i % 26);
  show("file", write(file, text.data(), text.size()));
  off_t at = 100;
  show("sendfile", sendfile(p.a, file, &at, 5'000));
  note("offset", at);
  lseek(file, 10, SEEK_SET);
  show("sendfile", sendfile(p.a, file, nullptr, 1'000));
  note("position", lseek(file, 0, SEEK_CUR));
  at = 19'990;
  show("at the end", sendfile(p.a, file, &at, 1'000));
  show("behind it", sendfile(p.a, file, &at, 1'000));
  await_bytes(p.b, 6'010);
  std::vector<char> got(8'000);
  const long n = show("read", recv(p.b, got.data(), got.size(), 0));
  const std::string wanted = text.substr(100, 5'000) + text.substr(10, 1'000) + text.substr(19'990);
  note("same", n > 0 && std::string(got.data(), static_cast<size_t>(n)) == wanted);
  show("from a socket", sendfile(file, p.b, nullptr, 10));
  close(file);
}

CASE(many_messages) {
  const Pair p;
  char x[] = "abc";
  char y[] = "defg";
  iovec pieces[] = {{x, 3}, {y, 4}};
  mmsghdr messages[2] = {};
  for (int i = 0; i < 2; ++i) {
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  show("sendmmsg", sendmmsg(p.a, messages, 2, 0));
  note("lengths", messages[0].msg_len * 10 + messages[1].msg_len);
  await_bytes(p.b, 7);
  char room[2][3];
  for (int i = 0; i < 2; ++i) pieces[i] = {room[i], 3};
  show("recvmmsg", recvmmsg(p.b, messages, 2, 0, nullptr));
  note("lengths", messages[0].msg_len * 10 + messages[1].msg_len);
}

CASE(options) {
  const int s = stream();
  const int one = 1;
  show("bad level", setsockopt(s, 250, 1, &one, sizeof one));
  show("bad name", setsockopt(s, SOL_SOCKET, 9'999, &one, sizeof one));
  show("too short", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, 2));
  show("no delay", setsockopt(s, IPPROTO_TCP, 1, &one, sizeof one));
  note("no delay", option(s, IPPROTO_TCP, 1));
  show("keep alive", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
  note("keep alive", option(s, SOL_SOCKET, SO_KEEPALIVE));
  const int idle = 77;
  show("idle", setsockopt(s, IPPROTO_TCP, 4, &idle, sizeof idle));
  note("idle", option(s, IPPROTO_TCP, 4));
  const int none = 0;
  show("idle of 0", setsockopt(s, IPPROTO_TCP, 4, &none, sizeof none));
  show("read only", setsockopt(s, SOL_SOCKET, SO_ERROR, &one, sizeof one));
  linger l{};
  socklen_t length = sizeof l;
  show("linger", getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &length));
  note("on", l.l_onoff);
  char small = 0;
  length = 1;
  show("short get", getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &small, &length));
  note("value", small);
  note("length", length);
  close(s);
}

CASE(accepted_sockets_inherit_options) {
  const int one = 1;
  const int l = stream();
  setsockopt(l, IPPROTO_TCP, 1, &one, sizeof one);
  setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  const Address a = here();
  bind(l, a.get(), a.length);
  listen(l, 4);
  const Address to = name_of(l);
  const int s = stream();
  connect(s, to.get(), to.length);
  const int c = accept(l, nullptr, nullptr);
  note("no delay", option(c, IPPROTO_TCP, 1));
  note("keep alive", option(c, SOL_SOCKET, SO_KEEPALIVE));
  note("listening", option(c, SOL_SOCKET, SO_ACCEPTCONN));
  close(c);
  close(s);
  close(l);
}

}  // namespace oracle
