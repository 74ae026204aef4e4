// UDP sockets.
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "oracle.h"

namespace oracle {
namespace {

int datagram(int flags = 0) { return socket(family(), SOCK_DGRAM | flags, 0); }

int bound() {
  const int fd = datagram();
  const Address a = here();
  if (bind(fd, a.get(), a.length) != 0) note("bind", strerrorname_np(errno));
  return fd;
}

}  // namespace

CASE(udp_fresh_socket) {
  const int fd = datagram();
  note("state", state(fd));
  char c = 0;
  show("recv", recv(fd, &c, 1, MSG_DONTWAIT));
  show("send", send(fd, &c, 1, 0));
  show("write", write(fd, &c, 1));
  show("listen", listen(fd, 4));
  show("accept", accept(fd, nullptr, nullptr));
  show("shutdown", shutdown(fd, SHUT_RDWR));
  Address a;
  a.length = sizeof a.storage;
  show("getpeername", getpeername(fd, a.get(), &a.length));
  note("has a port", name_of(fd).port() != 0);
  note("type", option(fd, SOL_SOCKET, SO_TYPE));
  note("error", option(fd, SOL_SOCKET, SO_ERROR));
  close(fd);
}

CASE(udp_bind) {
  const int a = bound();
  const Address name = name_of(a);
  note("port chosen", name.port() != 0);
  show("twice", bind(a, name.get(), name.length));
  const int b = datagram();
  show("taken", bind(b, name.get(), name.length));
  const Address wild = any(name.port());
  show("wildcard", bind(b, wild.get(), wild.length));
  close(a);
  show("free", bind(b, name.get(), name.length));
  close(b);
}

CASE(udp_there_and_back) {
  const int a = bound();
  const int b = bound();
  const Address to = name_of(b);
  show("sendto", sendto(a, "hello", 5, 0, to.get(), to.length));
  note("readable", await(b, POLLIN));
  note("state", state(b));
  int unread = 0;
  show("FIONREAD", ioctl(b, FIONREAD, &unread));
  note("unread", unread);
  char room[16] = {};
  Address from;
  from.length = sizeof from.storage;
  show("recvfrom", recvfrom(b, room, sizeof room, 0, from.get(), &from.length));
  note("text", room);
  note("from", from.port() == name_of(a).port());
  note("length", from.length);
  note("state", state(b));
  show("answer", sendto(b, "", 0, 0, from.get(), from.length));
  note("readable", await(a, POLLIN));
  show("empty message", recv(a, room, sizeof room, 0));
  show("no more", recv(a, room, sizeof room, MSG_DONTWAIT));
  close(a);
  close(b);
}

CASE(udp_messages_keep_their_bounds) {
  const int a = datagram();
  const int b = bound();
  const Address to = name_of(b);
  show("connect", connect(a, to.get(), to.length));
  send(a, "one", 3, 0);
  send(a, "twotwo", 6, 0);
  send(a, "three", 5, 0);
  await_bytes(b, 3);
  pause_ms(20);
  char room[16] = {};
  show("peek", recv(b, room, sizeof room, MSG_PEEK));
  show("first", recv(b, room, sizeof room, 0));
  show("cut", recv(b, room, 2, 0));
  show("true length", recv(b, room, 2, MSG_TRUNC));
  show("none", recv(b, room, 2, MSG_DONTWAIT));
  close(a);
  close(b);
}

CASE(udp_connected) {
  const int a = bound();
  const int b = bound();
  const int c = bound();
  const Address at_a = name_of(a);
  const Address at_b = name_of(b);
  show("connect", connect(a, at_b.get(), at_b.length));
  note("peer", peer_of(a).port() == at_b.port());
  sendto(c, "stranger", 8, 0, at_a.get(), at_a.length);
  sendto(b, "friend", 6, 0, at_a.get(), at_a.length);
  note("readable", await(a, POLLIN));
  char room[16] = {};
  show("recv", recv(a, room, sizeof room, 0));
  note("text", std::string(room, 6));
  show("none", recv(a, room, sizeof room, MSG_DONTWAIT));
  const Address at_c = name_of(c);
  show("to another", sendto(a, "x", 1, 0, at_c.get(), at_c.length));
  note("arrives", await(c, POLLIN));
  show("shutdown", shutdown(a, SHUT_WR));
  show("send", send(a, "x", 1, MSG_NOSIGNAL));
  Address none{};
  none.storage.ss_family = AF_UNSPEC;
  none.length = sizeof(sockaddr_in6);
  show("dissolve", connect(b, none.get(), none.length));
  show("connect", connect(b, at_a.get(), at_a.length));
  show("dissolve", connect(b, none.get(), none.length));
  show("no peer", send(b, "x", 1, 0));
  close(a);
  close(b);
  close(c);
}

CASE(udp_refused) {
  const int a = datagram();
  const int b = bound();
  const Address to = name_of(b);
  close(b);
  connect(a, to.get(), to.length);
  show("send", send(a, "x", 1, 0));
  pause_ms(30);
  note("state", state(a));
  char c = 0;
  show("recv", recv(a, &c, 1, MSG_DONTWAIT));
  show("recv", recv(a, &c, 1, MSG_DONTWAIT));
  send(a, "x", 1, 0);
  pause_ms(30);
  note("is refused", option(a, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
  note("once", option(a, SOL_SOCKET, SO_ERROR));
  send(a, "x", 1, 0);
  pause_ms(30);
  show("send", send(a, "x", 1, 0));
  close(a);
}

CASE(udp_sizes) {
  const int a = datagram();
  const int b = bound();
  const Address to = name_of(b);
  connect(a, to.get(), to.length);
  static char block[70'000];
  show("large", send(a, block, 60'000, 0));
  note("arrives", await(b, POLLIN));
  show("recv", recv(b, block, sizeof block, 0));
  show("too large", send(a, block, sizeof block, 0));
  close(a);
  close(b);
}

CASE(udp_messages) {
  const int a = datagram();
  const int b = bound();
  const Address to = name_of(b);
  char x[] = "abc";
  char y[] = "defg";
  iovec pieces[] = {{x, 3}, {y, 4}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  message.msg_name = const_cast<sockaddr*>(to.get());
  message.msg_namelen = to.length;
  show("sendmsg", sendmsg(a, &message, 0));
  await(b, POLLIN);
  char r[2][3] = {};
  iovec room[] = {{r[0], 3}, {r[1], 2}};
  Address from;
  message.msg_iov = room;
  message.msg_name = &from.storage;
  message.msg_namelen = sizeof from.storage;
  show("recvmsg", recvmsg(b, &message, 0));
  note("cut", (message.msg_flags & MSG_TRUNC) != 0);
  note("name length", message.msg_namelen);
  note("name", from.port() == name_of(a).port());
  note("first", std::string(r[0], 3));
  note("second", std::string(r[1], 2));
  mmsghdr many[3] = {};
  for (mmsghdr& m : many) {
    m.msg_hdr.msg_iov = pieces;
    m.msg_hdr.msg_iovlen = 2;
    m.msg_hdr.msg_name = const_cast<sockaddr*>(to.get());
    m.msg_hdr.msg_namelen = to.length;
  }
  show("sendmmsg", sendmmsg(a, many, 3, 0));
  pause_ms(30);
  char space[16];
  iovec into{space, sizeof space};
  for (mmsghdr& m : many) {
    m.msg_hdr = {};
    m.msg_hdr.msg_iov = &into;
    m.msg_hdr.msg_iovlen = 1;
  }
  show("recvmmsg", recvmmsg(b, many, 3, MSG_DONTWAIT, nullptr));
  note("length", many[2].msg_len);
  show("recvmmsg", recvmmsg(b, many, 3, MSG_DONTWAIT, nullptr));
  timespec t{0, 20'000'000};
  std::thread sender([&] {
    for (int i = 0; i < 3; ++i) {
      sendto(a, "x", 1, 0, to.get(), to.length);
      pause_ms(30);
    }
  });
  show("until the time is over", recvmmsg(b, many, 3, 0, &t));
  note("left", t.tv_sec * 1'000 + t.tv_nsec / 1'000'000);
  sender.join();
  t = {5, 0};
  show("until one is there", recvmmsg(b, many, 3, MSG_WAITFORONE, &t));
  t = {0, 0};
  show("no time", recvmmsg(b, many, 3, MSG_DONTWAIT, &t));
  t = {0, 1'000'000'000};
  show("no timeout", recvmmsg(b, many, 3, MSG_DONTWAIT, &t));
  close(a);
  close(b);
}

CASE(udp_blocking_receive) {
  const int a = datagram();
  const int b = bound();
  const Address to = name_of(b);
  std::thread sender([&] {
    pause_ms(30);
    sendto(a, "late", 4, 0, to.get(), to.length);
  });
  char room[8] = {};
  show("recv", recv(b, room, sizeof room, 0));
  sender.join();
  const timeval t{0, 20'000};
  setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  show("timeout", recv(b, room, sizeof room, 0));
  const int set = epoll_create1(0);
  epoll_event e{};
  e.events = EPOLLIN | EPOLLOUT;
  epoll_ctl(set, EPOLL_CTL_ADD, b, &e);
  show("epoll", epoll_wait(set, &e, 1, 0));
  note("bits", bits_of_epoll(e.events));
  sendto(a, "x", 1, 0, to.get(), to.length);
  await(b, POLLIN);
  show("epoll", epoll_wait(set, &e, 1, 0));
  note("bits", bits_of_epoll(e.events));
  close(set);
  close(a);
  close(b);
}

CASE(udp_options) {
  const int a = datagram();
  const int one = 1;
  show("broadcast", setsockopt(a, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
  note("broadcast", option(a, SOL_SOCKET, SO_BROADCAST));
  const int ttl = 7;
  const int level = family() == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  const int name = family() == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS;
  show("hops", setsockopt(a, level, name, &ttl, sizeof ttl));
  note("hops", option(a, level, name));
  const int bad = 300;
  show("bad hops", setsockopt(a, level, name, &bad, sizeof bad));
  show("of TCP", setsockopt(a, IPPROTO_TCP, 1, &one, sizeof one));
  close(a);
}

}  // namespace oracle
