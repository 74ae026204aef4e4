// bind, listen, accept, connect, shutdown, names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "oracle.h"

namespace oracle {

CASE(fresh_socket) {
  const int fd = stream();
  note("state", state(fd));
  char c = 0;
  show("recv", recv(fd, &c, 1, 0));
  show("send", send(fd, &c, 1, MSG_NOSIGNAL));
  show("shutdown", shutdown(fd, SHUT_RDWR));
  show("accept", accept(fd, nullptr, nullptr));
  Address a;
  a.length = sizeof a.storage;
  show("getpeername", getpeername(fd, a.get(), &a.length));
  a.length = sizeof a.storage;
  show("getsockname", getsockname(fd, a.get(), &a.length));
  note("name length", a.length);
  note("name port", a.port());
  note("type", option(fd, SOL_SOCKET, SO_TYPE));
  note("domain is family", option(fd, SOL_SOCKET, SO_DOMAIN) == family());
  note("listening", option(fd, SOL_SOCKET, SO_ACCEPTCONN));
  struct stat st {};
  show("fstat", fstat(fd, &st));
  note("is a socket", S_ISSOCK(st.st_mode));
  show("lseek", lseek(fd, 0, SEEK_CUR));
  show("close", close(fd));
  show("close again", close(fd));
}

CASE(socket_arguments) {
  show("bad type", socket(family(), 99, 0));
  show("bad protocol", socket(family(), SOCK_STREAM, IPPROTO_UDP));
  const int fd = socket(family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  note("flags", fd >= 0);
  close(fd);
}

CASE(socket_flags) {
  const int fd = stream(SOCK_NONBLOCK | SOCK_CLOEXEC);
  note("nonblocking", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  note("close on exec", fcntl(fd, F_GETFD));
  set_nonblocking(fd, false);
  note("nonblocking", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  close(fd);
}

CASE(bind_errors) {
  const int fd = stream();
  const Address a = here();
  show("too short", bind(fd, a.get(), 4));
  Address other = here();
  other.storage.ss_family = AF_UNIX;
  show("other family", bind(fd, other.get(), other.length));
  if (family() == AF_INET) {
    Address foreign = here();
    reinterpret_cast<sockaddr_in*>(&foreign.storage)->sin_addr.s_addr = htonl(0xcb007109);
    show("foreign", bind(fd, foreign.get(), foreign.length));
  } else {
    Address foreign = here();
    reinterpret_cast<sockaddr_in6*>(&foreign.storage)->sin6_addr.s6_addr[15] = 77;
    show("foreign", bind(fd, foreign.get(), foreign.length));
  }
  show("good", bind(fd, a.get(), a.length));
  note("port chosen", name_of(fd).port() != 0);
  show("twice", bind(fd, a.get(), a.length));
  close(fd);
}

CASE(bind_conflicts) {
  const int first = stream();
  Address a = here();
  show("first", bind(first, a.get(), a.length));
  a.set_port(name_of(first).port());
  const int second = stream();
  show("same", bind(second, a.get(), a.length));
  const Address wild = any(a.port());
  show("wildcard", bind(second, wild.get(), wild.length));
  close(first);
  show("after close", bind(second, a.get(), a.length));
  close(second);
}

CASE(bind_reuse) {
  const int one = 1;
  const int first = stream();
  const int second = stream();
  setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  Address a = here();
  show("first", bind(first, a.get(), a.length));
  a.set_port(name_of(first).port());
  show("second", bind(second, a.get(), a.length));
  show("first listens", listen(first, 4));
  show("second listens", listen(second, 4));
  const int third = stream();
  setsockopt(third, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  show("third", bind(third, a.get(), a.length));
  close(first);
  close(second);
  close(third);
}

CASE(bind_beside_accepted_connections) {
  int port = 0;
  const int one = 1;
  {
    Pair p;
    port = name_of(p.l).port();
    close(p.l);
    p.l = -1;
    const int fresh = stream();
    const Address a = here(static_cast<uint16_t>(port));
    show("without reuse", bind(fresh, a.get(), a.length));
    close(fresh);
  }
  (void)one;
}

CASE(listener_state) {
  const int l = listener();
  note("state", state(l));
  note("listening", option(l, SOL_SOCKET, SO_ACCEPTCONN));
  char c = 0;
  show("recv", recv(l, &c, 1, 0));
  show("send", send(l, &c, 1, MSG_NOSIGNAL));
  const Address a = name_of(l);
  show("connect", connect(l, a.get(), a.length));
  show("listen again", listen(l, 3));
  set_nonblocking(l);
  show("accept", accept(l, nullptr, nullptr));
  show("bad flags", accept4(l, nullptr, nullptr, 7));
  const int s = stream();
  show("connects", connect(s, a.get(), a.length));
  note("readable", await(l, POLLIN));
  note("state", state(l));
  const int c1 = accept4(l, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  note("accepted", c1 >= 0);
  note("nonblocking", (fcntl(c1, F_GETFL) & O_NONBLOCK) != 0);
  note("close on exec", fcntl(c1, F_GETFD));
  note("state", state(l));
  close(c1);
  close(s);
  close(l);
}

CASE(listen_without_bind) {
  const int l = stream();
  show("listen", listen(l, 4));
  note("has a port", name_of(l).port() != 0);
  close(l);
}

CASE(shutdown_of_a_listener) {
  const int l = listener();
  const Address a = name_of(l);
  show("write side", shutdown(l, SHUT_WR));
  show("read side", shutdown(l, SHUT_RD));
  show("accept", accept(l, nullptr, nullptr));
  const int s = stream();
  show("connect", connect(s, a.get(), a.length));
  show("listen again", listen(l, 4));
  show("connect", connect(s, a.get(), a.length));
  close(s);
  close(l);
}

CASE(names_of_a_connection) {
  const Pair p;
  note("same pair", name_of(p.a).port() == peer_of(p.b).port() && name_of(p.b).port() == peer_of(p.a).port());
  note("listener's port", name_of(p.b).port() == name_of(p.l).port());
  note("length", name_of(p.b).length);
  Address cut;
  cut.length = 4;
  show("short buffer", getsockname(p.a, cut.get(), &cut.length));
  note("true length", cut.length);
  note("state of a", state(p.a));
  note("state of b", state(p.b));
}

CASE(accept_tells_the_peer) {
  const int l = listener();
  const Address to = name_of(l);
  const int s = stream();
  connect(s, to.get(), to.length);
  Address from;
  from.length = sizeof from.storage;
  const int c = accept(l, from.get(), &from.length);
  note("family", from.storage.ss_family == family());
  note("length", from.length);
  note("port", from.port() == name_of(s).port());
  close(c);
  close(s);
  close(l);
}

CASE(connect_errors) {
  const int l = listener();
  Address to = name_of(l);
  close(l);
  const int s = stream();
  show("refused", connect(s, to.get(), to.length));
  note("error", option(s, SOL_SOCKET, SO_ERROR));
  note("state", state(s));
  show("refused again", connect(s, to.get(), to.length));
  show("too short", connect(s, to.get(), 6));
  to.storage.ss_family = AF_UNIX;
  show("other family", connect(s, to.get(), to.length));
  close(s);
}

CASE(connect_nonblocking) {
  const int l = listener();
  const Address to = name_of(l);
  const int s = stream(SOCK_NONBLOCK);
  show("connect", connect(s, to.get(), to.length));
  note("writable", await(s, POLLOUT));
  note("error", option(s, SOL_SOCKET, SO_ERROR));
  note("state", state(s));
  show("again", connect(s, to.get(), to.length));
  show("and again", connect(s, to.get(), to.length));
  close(s);
  close(l);
}

CASE(connect_nonblocking_refused) {
  const int l = listener();
  const Address to = name_of(l);
  close(l);
  const int s = stream(SOCK_NONBLOCK);
  show("connect", connect(s, to.get(), to.length));
  note("events", await(s, POLLOUT));
  note("state", state(s));
  note("error", option(s, SOL_SOCKET, SO_ERROR));
  note("error once", option(s, SOL_SOCKET, SO_ERROR));
  note("state", state(s));
  close(s);
}

CASE(connect_nonblocking_refused_told_by_recv) {
  const int l = listener();
  const Address to = name_of(l);
  close(l);
  const int s = stream(SOCK_NONBLOCK);
  connect(s, to.get(), to.length);
  await(s, POLLOUT);
  char c = 0;
  show("recv", recv(s, &c, 1, 0));
  show("recv", recv(s, &c, 1, 0));
  show("send", send(s, &c, 1, MSG_NOSIGNAL));
  close(s);
}

CASE(connect_twice) {
  const Pair p;
  const Address to = name_of(p.l);
  show("connected already", connect(p.a, to.get(), to.length));
  show("the accepted end", connect(p.b, to.get(), to.length));
  show("bind", bind(p.a, to.get(), to.length));
  show("listen", listen(p.a, 3));
}

CASE(connect_from_a_bound_port) {
  const int l = listener();
  const Address to = name_of(l);
  const int s = stream();
  const Address mine = here();
  show("bind", bind(s, mine.get(), mine.length));
  const uint16_t port = name_of(s).port();
  show("connect", connect(s, to.get(), to.length));
  note("kept", name_of(s).port() == port);
  const int c = accept(l, nullptr, nullptr);
  note("seen", peer_of(c).port() == port);
  close(c);
  close(s);
  close(l);
}

CASE(shutdown_write) {
  const Pair p;
  show("send", send(p.a, "abc", 3, 0));
  show("shutdown", shutdown(p.a, SHUT_WR));
  show("shutdown again", shutdown(p.a, SHUT_WR));
  show("send", send(p.a, "d", 1, MSG_NOSIGNAL));
  note("end", await(p.b, POLLRDHUP));
  note("state of b", state(p.b));
  char buffer[8];
  show("recv", recv(p.b, buffer, sizeof buffer, 0));
  show("recv", recv(p.b, buffer, sizeof buffer, 0));
  show("recv", recv(p.b, buffer, sizeof buffer, 0));
  note("state of b", state(p.b));
  note("state of a", state(p.a));
  show("answer", send(p.b, "efg", 3, 0));
  note("arrives", await(p.a, POLLIN));
  show("recv", recv(p.a, buffer, sizeof buffer, 0));
  show("close b", close(p.b));
  const_cast<Pair&>(p).b = -1;
  note("end", await(p.a, POLLRDHUP));
  note("state of a", state(p.a));
}

CASE(shutdown_read) {
  const Pair p;
  show("shutdown", shutdown(p.a, SHUT_RD));
  char c = 0;
  show("recv", recv(p.a, &c, 1, 0));
  note("state", state(p.a));
  show("bad how", shutdown(p.a, 7));
  show("send", send(p.a, "x", 1, 0));
  note("arrives", await(p.b, POLLIN));
}

CASE(not_a_socket) {
  int fds[2];
  show("pipe", pipe(fds));
  char c = 0;
  show("recv", recv(fds[0], &c, 1, 0));
  const Address a = here();
  show("bind", bind(fds[0], a.get(), a.length));
  close(fds[0]);
  close(fds[1]);
  show("closed", recv(fds[0], &c, 1, 0));
  show("negative", send(-1, &c, 1, 0));
}

CASE(dual_stack) {
  if (family() != AF_INET6) return;
  const int l = stream();
  const Address a = any();
  show("bind", bind(l, a.get(), a.length));
  show("listen", listen(l, 4));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(name_of(l).port());
  to.sin_addr.s_addr = htonl(0xc6120002);
  const int s = socket(AF_INET, SOCK_STREAM, 0);
  show("connect", connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to));
  Address from;
  from.length = sizeof from.storage;
  const int c = accept(l, from.get(), &from.length);
  const auto* in = reinterpret_cast<const sockaddr_in6*>(&from.storage);
  note("family", from.storage.ss_family == AF_INET6);
  note("mapped", IN6_IS_ADDR_V4MAPPED(&in->sin6_addr));
  const int only = 1;
  show("too late for V6ONLY", setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only));
  close(c);
  close(s);
  close(l);
}

CASE(v6_only) {
  if (family() != AF_INET6) return;
  const int one = 1;
  const int l = stream();
  show("set", setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
  note("get", option(l, IPPROTO_IPV6, IPV6_V6ONLY));
  const Address a = any();
  show("bind", bind(l, a.get(), a.length));
  show("listen", listen(l, 4));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(name_of(l).port());
  const int beside = socket(AF_INET, SOCK_STREAM, 0);
  show("IPv4 beside it", bind(beside, reinterpret_cast<sockaddr*>(&to), sizeof to));
  to.sin_addr.s_addr = htonl(0xc6120002);
  const int s = socket(AF_INET, SOCK_STREAM, 0);
  show("connect", connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to));
  close(s);
  close(beside);
  close(l);
}

}  // namespace oracle
