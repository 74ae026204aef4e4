#include "oracle.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace oracle {
namespace {

int family_ = AF_INET;

Address make(const char* v4, const char* v6, uint16_t port) {
  Address a;
  if (family_ == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&a.storage);
    in->sin_family = AF_INET;
    inet_pton(AF_INET, v4, &in->sin_addr);
    a.length = sizeof *in;
  } else {
    auto* in = reinterpret_cast<sockaddr_in6*>(&a.storage);
    in->sin6_family = AF_INET6;
    inet_pton(AF_INET6, v6, &in->sin6_addr);
    a.length = sizeof *in;
  }
  a.set_port(port);
  return a;
}

struct Bit {
  uint32_t bit;
  const char* name;
};

std::string names(uint32_t mask, const std::vector<Bit>& bits) {
  std::string out;
  for (const Bit& b : bits) {
    if ((mask & b.bit) != 0) out += (out.empty() ? "" : "|") + std::string(b.name);
  }
  return out.empty() ? "0" : out;
}

}  // namespace

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

long show(const char* what, long result) {
  if (result == -1) {
    const int error = errno;
    std::printf("  %s: %s\n", what, strerrorname_np(error));
    errno = error;
  } else {
    std::printf("  %s: %ld\n", what, result);
  }
  return result;
}

void note(const char* what, const std::string& text) { std::printf("  %s: %s\n", what, text.c_str()); }
void note(const char* what, long number) { std::printf("  %s: %ld\n", what, number); }

uint16_t Address::port() const {
  return ntohs(storage.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in*>(&storage)->sin_port
                                            : reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

void Address::set_port(uint16_t port) {
  if (storage.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
  }
}

int family() { return family_; }
Address here(uint16_t port) { return make("198.18.0.2", "fd00:6d72::2", port); }
Address any(uint16_t port) { return make("0.0.0.0", "::", port); }
Address loopback(uint16_t port) { return make("127.0.0.1", "::1", port); }

Address name_of(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (getsockname(fd, a.get(), &a.length) != 0) a.length = 0;
  return a;
}

Address peer_of(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (getpeername(fd, a.get(), &a.length) != 0) a.length = 0;
  return a;
}

int stream(int flags) { return socket(family_, SOCK_STREAM | flags, 0); }

int listener(int backlog, int flags) {
  const int fd = stream(flags);
  const Address a = here();
  if (bind(fd, a.get(), a.length) != 0 || listen(fd, backlog) != 0) std::printf("  no listener: %s\n", strerror(errno));
  return fd;
}

Pair::Pair() {
  l = listener();
  a = stream();
  const Address to = name_of(l);
  if (connect(a, to.get(), to.length) != 0) std::printf("  no connection: %s\n", strerror(errno));
  b = accept(l, nullptr, nullptr);
}

Pair::~Pair() {
  for (const int fd : {a, b, l}) {
    if (fd >= 0) close(fd);
  }
}

void set_nonblocking(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

bool await(int fd, short events) {
  pollfd p{fd, events, 0};
  return poll(&p, 1, 1'000) > 0;
}

bool await_bytes(int fd, int n) {
  for (int i = 0; i < 200; ++i) {
    int unread = 0;
    if (ioctl(fd, FIONREAD, &unread) == 0 && unread >= n) return true;
    pause_ms(5);
  }
  return false;
}

void pause_ms(int ms) {
  const timespec t{ms / 1'000, ms % 1'000 * 1'000'000L};
  nanosleep(&t, nullptr);
}

std::string bits_of_poll(short revents) {
  return names(static_cast<uint32_t>(static_cast<unsigned short>(revents)), {{POLLIN, "IN"},
                                                                             {POLLOUT, "OUT"},
                                                                             {POLLPRI, "PRI"},
                                                                             {POLLERR, "ERR"},
                                                                             {POLLHUP, "HUP"},
                                                                             {POLLRDHUP, "RDHUP"},
                                                                             {POLLNVAL, "NVAL"}});
}

std::string bits_of_epoll(uint32_t events) {
  return names(events, {{EPOLLIN, "IN"},
                        {EPOLLOUT, "OUT"},
                        {EPOLLPRI, "PRI"},
                        {EPOLLERR, "ERR"},
                        {EPOLLHUP, "HUP"},
                        {EPOLLRDHUP, "RDHUP"}});
}

std::string state(int fd, short events) {
  pollfd p{fd, events, 0};
  const int n = poll(&p, 1, 0);
  return n < 0 ? "error" : bits_of_poll(p.revents);
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

}  // namespace oracle

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string only = argc > 1 ? argv[1] : "";
  for (const int f : {AF_INET, AF_INET6}) {
    oracle::family_ = f;
    for (const oracle::Case& c : oracle::cases()) {
      if (!only.empty() && only != c.name) continue;
      std::printf("%s %s\n", c.name, f == AF_INET ? "IPv4" : "IPv6");
      alarm(10);  // a case that hangs ends the run
      c.run();
    }
  }
  std::printf("end\n");
  return 0;
}
