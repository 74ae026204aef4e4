// Control messages of datagram sockets, the error queue, segmented datagrams.
#include <netinet/udp.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>  // wants timespec

#include <cerrno>
#include <cstring>
#include <optional>

#include "oracle.h"

namespace oracle {
namespace {

int bound(int flags = 0) {
  const int fd = socket(family(), SOCK_DGRAM | flags, 0);
  const Address a = here();
  bind(fd, a.get(), a.length);
  return fd;
}

int level() { return family() == AF_INET ? IPPROTO_IP : IPPROTO_IPV6; }
int either(int v4, int v6) { return family() == AF_INET ? v4 : v6; }
void turn_on(int fd, const char* what, int at, int name, int value = 1) {
  show(what, setsockopt(fd, at, name, &value, sizeof value));
}

const char* name_of_type(int at, int type) {
  const struct {
    int level;
    int type;
    const char* name;
  } names[] = {{SOL_SOCKET, SCM_TIMESTAMP, "time"},
               {SOL_SOCKET, SCM_TIMESTAMPNS, "time in ns"},
               {IPPROTO_IP, IP_PKTINFO, "destination"},
               {IPPROTO_IPV6, IPV6_PKTINFO, "destination of IPv6"},
               {IPPROTO_IP, IP_TTL, "hops"},
               {IPPROTO_IPV6, IPV6_HOPLIMIT, "hops of IPv6"},
               {IPPROTO_IP, IP_TOS, "class"},
               {IPPROTO_IPV6, IPV6_TCLASS, "class of IPv6"},
               {IPPROTO_IP, IP_RECVERR, "error"},
               {IPPROTO_IPV6, IPV6_RECVERR, "error of IPv6"},
               {IPPROTO_UDP, UDP_GRO, "size of segments"}};
  for (const auto& n : names) {
    if (n.level == at && n.type == type) return n.name;
  }
  return "something else";
}

struct Got {
  alignas(cmsghdr) char control[256] = {};
  char data[4'096] = {};
  Address from;
  iovec piece{data, sizeof data};
  msghdr message{};
  long receive(int fd, int flags = 0, size_t room = sizeof control) {
    from.length = sizeof from.storage;
    message = {from.get(), from.length, &piece, 1, control, room, 0};
    const long n = recvmsg(fd, &message, flags);
    from.length = message.msg_namelen;
    return n;
  }
  // Names, lengths, and the first word of those whose value does not differ by right.
  void list() {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const std::string name = name_of_type(c->cmsg_level, c->cmsg_type);
      note(name.c_str(), static_cast<long>(c->cmsg_len));
      const unsigned char* d = CMSG_DATA(c);
      if (name.find("hops") == 0 || name.find("class of") == 0) note("  is", *reinterpret_cast<const int*>(d));
      if (name == "class") note("  is", d[0]);
      if (name.find("destination") == 0 && c->cmsg_level == IPPROTO_IP) {
        const auto* info = reinterpret_cast<const in_pktinfo*>(d);
        const Address a = here();
        const auto& mine = reinterpret_cast<const sockaddr_in*>(a.get())->sin_addr;
        note("  is here", info->ipi_addr.s_addr == mine.s_addr && info->ipi_spec_dst.s_addr == mine.s_addr);
      }
      if (name.find("destination") == 0 && c->cmsg_level == IPPROTO_IPV6) {
        const Address a = here();
        note("  is here", std::memcmp(d, &reinterpret_cast<const sockaddr_in6*>(a.get())->sin6_addr, 16) == 0);
      }
      if (name.find("time") == 0) {
        const auto* t = reinterpret_cast<const timespec*>(d);
        note("  is now", std::abs(t->tv_sec - time(nullptr)) <= 2);
      }
      if (name.find("error") == 0) {
        const auto* e = reinterpret_cast<const sock_extended_err*>(d);
        note("  errno", strerrorname_np(static_cast<int>(e->ee_errno)));
        note("  origin", e->ee_origin);
        note("  type", e->ee_type);
        note("  code", e->ee_code);
        const auto* by = reinterpret_cast<const sockaddr*>(e + 1);
        note("  by family", by->sa_family);
      }
    }
    note("truncated", (message.msg_flags & MSG_CTRUNC) != 0);
    note("of the error queue", (message.msg_flags & MSG_ERRQUEUE) != 0);
  }
};

// Sends one byte with one control message.
template <class T>
long send_with(int fd, const Address& to, int at, int type, const T& value) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(T))] = {};
  char data[3'000] = {};
  iovec piece{data, at == IPPROTO_UDP ? sizeof data : 1};
  Address copy = to;
  msghdr m{copy.get(), copy.length, &piece, 1, control, sizeof control, 0};
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = at;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(sizeof(T));
  std::memcpy(CMSG_DATA(c), &value, sizeof value);
  return sendmsg(fd, &m, 0);
}

}  // namespace

CASE(udp_tells_where_a_message_was_sent_to_and_how) {
  const int a = bound();
  const int b = bound();
  const Address to = name_of(b);
  turn_on(b, "destination", level(), either(IP_PKTINFO, IPV6_RECVPKTINFO));
  turn_on(b, "hops", level(), either(IP_RECVTTL, IPV6_RECVHOPLIMIT));
  turn_on(b, "class", level(), either(IP_RECVTOS, IPV6_RECVTCLASS));
  turn_on(b, "time", SOL_SOCKET, SO_TIMESTAMPNS);
  turn_on(a, "hops to send", level(), either(IP_TTL, IPV6_UNICAST_HOPS), 33);
  turn_on(a, "class to send", level(), either(IP_TOS, IPV6_TCLASS), 0x28);
  sendto(a, "x", 1, 0, to.get(), to.length);
  Got got;
  show("recvmsg", got.receive(b));
  got.list();
  turn_on(b, "destination off", level(), either(IP_PKTINFO, IPV6_RECVPKTINFO), 0);
  turn_on(b, "hops off", level(), either(IP_RECVTTL, IPV6_RECVHOPLIMIT), 0);
  turn_on(b, "time in us", SOL_SOCKET, SO_TIMESTAMP);
  sendto(a, "x", 1, 0, to.get(), to.length);
  show("recvmsg", got.receive(b));
  got.list();
  for (const size_t room : {0, 8, 20, 40}) {
    sendto(a, "x", 1, 0, to.get(), to.length);
    show("with little room", got.receive(b, 0, room));
    note("used", static_cast<long>(got.message.msg_controllen));
    note("truncated", (got.message.msg_flags & MSG_CTRUNC) != 0);
  }
  close(a);
  close(b);
}

CASE(udp_sends_as_control_messages_ask) {
  const int a = bound();
  const int b = bound();
  const Address to = name_of(b);
  turn_on(b, "hops", level(), either(IP_RECVTTL, IPV6_RECVHOPLIMIT));
  turn_on(b, "class", level(), either(IP_RECVTOS, IPV6_RECVTCLASS));
  Got got;
  show("hops", send_with(a, to, level(), either(IP_TTL, IPV6_HOPLIMIT), 9));
  show("recvmsg", got.receive(b));
  got.list();
  show("class", send_with(a, to, level(), either(IP_TOS, IPV6_TCLASS), 0x48));
  show("recvmsg", got.receive(b));
  got.list();
  show("bad hops", send_with(a, to, level(), either(IP_TTL, IPV6_HOPLIMIT), 256));
  show("bad class", send_with(a, to, level(), either(IP_TOS, IPV6_TCLASS), 300));
  show("short", send_with(a, to, level(), either(IP_TTL, IPV6_HOPLIMIT), char{1}));
  show("unknown", send_with(a, to, level(), 250, 1));
  show("of another level", send_with(a, to, 200, 1, 1));
  show("of sockets", send_with(a, to, SOL_SOCKET, 200, 1));
  const Address me = here();
  if (family() == AF_INET) {
    in_pktinfo from{};
    from.ipi_spec_dst = reinterpret_cast<const sockaddr_in*>(me.get())->sin_addr;
    show("from here", send_with(a, to, IPPROTO_IP, IP_PKTINFO, from));
    from.ipi_spec_dst.s_addr = htonl(0xc0000201);
    note("from elsewhere", send_with(a, to, IPPROTO_IP, IP_PKTINFO, from) < 0);
  } else {
    in6_pktinfo from{};
    from.ipi6_addr = reinterpret_cast<const sockaddr_in6*>(me.get())->sin6_addr;
    show("from here", send_with(a, to, IPPROTO_IPV6, IPV6_PKTINFO, from));
    from.ipi6_addr.s6_addr[0] = 0x20;
    note("from elsewhere", send_with(a, to, IPPROTO_IPV6, IPV6_PKTINFO, from) < 0);
  }
  close(a);
  close(b);
}

CASE(udp_error_queue) {
  const int gone = bound();
  const Address nobody = name_of(gone);
  close(gone);
  const int a = bound();
  Got got;
  show("empty", got.receive(a, MSG_ERRQUEUE));
  turn_on(a, "errors", level(), either(IP_RECVERR, IPV6_RECVERR));
  show("unconnected", sendto(a, "x", 1, 0, nobody.get(), nobody.length));
  await(a, 0);
  note("state", state(a));
  char c = 0;
  show("told once", recv(a, &c, 1, MSG_DONTWAIT));
  show("told once", recv(a, &c, 1, MSG_DONTWAIT));
  note("state", state(a));
  show("recvmsg", got.receive(a, MSG_ERRQUEUE) >= 0 ? 0 : -1);
  note("to nobody", got.from.port() == nobody.port());
  got.list();
  show("no more", got.receive(a, MSG_ERRQUEUE));
  note("state", state(a));
  show("connect", connect(a, nobody.get(), nobody.length));
  show("send", send(a, "x", 1, 0));
  await(a, 0);
  show("recvmsg", got.receive(a, MSG_ERRQUEUE) >= 0 ? 0 : -1);
  note("SO_ERROR", option(a, SOL_SOCKET, SO_ERROR));
  show("send", send(a, "x", 1, 0));
  await(a, 0);
  note("SO_ERROR", option(a, SOL_SOCKET, SO_ERROR));
  turn_on(a, "no errors", level(), either(IP_RECVERR, IPV6_RECVERR), 0);
  show("emptied", got.receive(a, MSG_ERRQUEUE));
  close(a);
}

CASE(udp_segments) {
  const int a = bound();
  const int b = bound();
  const Address to = name_of(b);
  Got got;
  const auto receive_all = [&] {
    while (await(b, POLLIN)) {
      const long n = got.receive(b);
      show("received", n);
      if (n != 1'000) break;
    }
  };
  show("by control message", send_with(a, to, IPPROTO_UDP, UDP_SEGMENT, uint16_t{1'000}));
  for (int i = 0; i < 3; ++i) show("received", got.receive(b));
  turn_on(a, "by option", IPPROTO_UDP, UDP_SEGMENT, 1'000);
  note("option", option(a, IPPROTO_UDP, UDP_SEGMENT));
  char data[2'500] = {};
  show("sendto", sendto(a, data, sizeof data, 0, to.get(), to.length));
  receive_all();
  turn_on(a, "small", IPPROTO_UDP, UDP_SEGMENT, 10);
  show("too many", sendto(a, data, sizeof data, 0, to.get(), to.length));
  turn_on(a, "bad", IPPROTO_UDP, UDP_SEGMENT, 70'000);
  turn_on(a, "off", IPPROTO_UDP, UDP_SEGMENT, 0);
  show("one", sendto(a, data, sizeof data, 0, to.get(), to.length));
  show("received", got.receive(b));
  turn_on(b, "merge", IPPROTO_UDP, UDP_GRO);
  note("option", option(b, IPPROTO_UDP, UDP_GRO));
  turn_on(a, "by option", IPPROTO_UDP, UDP_SEGMENT, 1'000);
  show("sendto", sendto(a, data, sizeof data, 0, to.get(), to.length));
  show("received", got.receive(b));
  got.list();
  close(a);
  close(b);
}

}  // namespace oracle
