// Addresses that several sockets want, and the interfaces that have them.
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "oracle.h"

namespace oracle {
namespace {

void turn_on(int fd, int name) {
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, name, &one, sizeof one);
}

// A listener on `at`, with the option on; -1 and errno.
int listener_with(int name, const Address& at) {
  const int fd = stream();
  turn_on(fd, name);
  if (bind(fd, at.get(), at.length) == 0 && listen(fd, 64) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

// How many connections wait.
int accept_all(int l) {
  set_nonblocking(l);
  int n = 0;
  for (int fd = 0; (fd = accept(l, nullptr, nullptr)) >= 0; ++n) close(fd);
  return n;
}

void connect_many(const Address& to, int n) {
  for (int i = 0; i < n; ++i) {
    const int s = stream();
    if (connect(s, to.get(), to.length) != 0) show("connect", -1);
    close(s);
  }
  pause_ms(20);
}

// A port whose last connection its server closed first.
Address used_up(bool reuse) {
  const int l = stream();
  if (reuse) turn_on(l, SO_REUSEADDR);
  const Address at = here();
  bind(l, at.get(), at.length);
  listen(l, 4);
  const Address to = name_of(l);
  const int a = stream();
  connect(a, to.get(), to.length);
  close(accept(l, nullptr, nullptr));
  char c = 0;
  show("end", recv(a, &c, 1, 0));
  close(a);
  close(l);
  pause_ms(20);
  return to;
}

void try_bind(const char* what, const Address& at, int name) {
  const int fd = stream();
  if (name != 0) turn_on(fd, name);
  show(what, bind(fd, at.get(), at.length));
  close(fd);
}

// The interface that has here().
std::string interface_here() {
  ifaddrs* all = nullptr;
  getifaddrs(&all);
  std::string name;
  const Address mine = here();
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != family()) continue;
    const size_t at = family() == AF_INET ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
    const size_t bytes = family() == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
    const auto* have = reinterpret_cast<const char*>(i->ifa_addr);
    const auto* want = reinterpret_cast<const char*>(&mine.storage);
    if (std::memcmp(have + at, want + at, bytes) == 0) name = i->ifa_name;
  }
  freeifaddrs(all);
  return name;
}

}  // namespace

CASE(listeners_share_a_port) {
  const Address somewhere = here();
  const int first = listener_with(SO_REUSEPORT, somewhere);
  const Address at = name_of(first);
  const int second = listener_with(SO_REUSEPORT, at);
  note("second listens", second >= 0);
  show("without the option", listener_with(SO_REUSEADDR, at));
  const Address wild = any(at.port());
  const int third = listener_with(SO_REUSEPORT, wild);
  note("wildcard beside", third >= 0);
  connect_many(at, 64);
  const int got_first = accept_all(first);
  const int got_second = accept_all(second);
  note("all arrived", got_first + got_second);
  note("both have some", got_first > 0 && got_second > 0);
  note("wildcard has none", accept_all(third));
  close(first);
  connect_many(at, 8);
  note("the other takes all", accept_all(second));
  close(second);
  connect_many(at, 2);
  note("then the wildcard", accept_all(third));
  close(third);
}

CASE(bind_while_a_connection_waits) {
  const Address plain = used_up(false);
  try_bind("plain again", plain, 0);
  try_bind("reuse behind plain", plain, SO_REUSEADDR);
  const Address wild = any(plain.port());
  try_bind("wildcard", wild, 0);
  const Address reused = used_up(true);
  try_bind("plain behind reuse", reused, 0);
  try_bind("reuse again", reused, SO_REUSEADDR);
  const int l = listener_with(SO_REUSEADDR, reused);
  note("listens again", l >= 0);
  const int s = stream();
  show("connects", connect(s, reused.get(), reused.length));
  close(s);
  close(l);
}

CASE(interface_of_an_address) {
  const std::string name = interface_here();
  note("found", !name.empty());
  const unsigned index = if_nametoindex(name.c_str());
  note("has a number", index != 0);
  char back[IF_NAMESIZE] = {};
  note("and a name", if_indextoname(index, back) != nullptr && name == back);
  note("unknown name", if_nametoindex("nobody0"));
  note("unknown number", if_indextoname(60'000, back) == nullptr ? errno : 0);
  struct if_nameindex* list = if_nameindex();
  bool listed = false;
  for (const struct if_nameindex* i = list; i->if_index != 0; ++i) listed = listed || name == i->if_name;
  if_freenameindex(list);
  note("listed", listed);
}

CASE(interface_ioctls) {
  const std::string name = interface_here();
  const int fd = stream();
  ifreq ask{};
  const auto about = [&](const std::string& whom) {
    ask = {};
    whom.copy(ask.ifr_name, IFNAMSIZ - 1);
    return &ask;
  };
  show("flags", ioctl(fd, SIOCGIFFLAGS, about(name)));
  note("up", (ask.ifr_flags & IFF_UP) != 0 && (ask.ifr_flags & IFF_RUNNING) != 0);
  show("MTU", ioctl(fd, SIOCGIFMTU, about(name)));
  note("sensible", ask.ifr_mtu >= 1'280);
  show("number", ioctl(fd, SIOCGIFINDEX, about(name)));
  note("same", static_cast<unsigned>(ask.ifr_ifindex) == if_nametoindex(name.c_str()));
  show("name", ioctl(fd, SIOCGIFNAME, &ask));
  note("same", name == ask.ifr_name);
  show("hardware", ioctl(fd, SIOCGIFHWADDR, about(name)));
  show("metric", ioctl(fd, SIOCGIFMETRIC, about(name)));
  show("unknown", ioctl(fd, SIOCGIFFLAGS, about("nobody0")));
  show("address", ioctl(fd, SIOCGIFADDR, about(name)));
  if (family() == AF_INET) {
    note("family", ask.ifr_addr.sa_family);
    show("mask", ioctl(fd, SIOCGIFNETMASK, about(name)));
    note("family", ask.ifr_netmask.sa_family);
  }
  ifconf list{};
  show("size", ioctl(fd, SIOCGIFCONF, &list));
  note("some", list.ifc_len > 0 && list.ifc_len % static_cast<int>(sizeof(ifreq)) == 0);
  ifreq one{};
  list.ifc_req = &one;
  list.ifc_len = sizeof one + 1;
  show("room for one", ioctl(fd, SIOCGIFCONF, &list));
  note("length", list.ifc_len == static_cast<int>(sizeof one));
  close(fd);
}

}  // namespace oracle
