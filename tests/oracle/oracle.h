// The vocabulary of the oracle: small cases that print what a program can observe of sockets. The same binary runs on
// the kernel and under `millrace run`; both must print the same (tests/e2e/run_test.py). So nothing is printed that may
// differ by right: ports, times, sizes of buffers.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace oracle {

struct Case {
  const char* name;
  void (*run)();
};
std::vector<Case>& cases();

struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

#define CASE(name)                                              \
  static void name();                                           \
  static const ::oracle::Register register_##name(#name, name); \
  static void name()

/// Prints "what: 3", or "what: EAGAIN" for -1; returns `result`.
long show(const char* what, long result);
/// Prints "what: text".
void note(const char* what, const std::string& text);
void note(const char* what, long number);

/// An address of this host in the family under test: "198.18.0.2" or "fd00:6d72::2".
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] uint16_t port() const;
  void set_port(uint16_t port);
};
int family();
Address here(uint16_t port = 0);
Address any(uint16_t port = 0);
/// "127.0.0.1" or "::1", which are the kernel's.
Address loopback(uint16_t port = 0);
Address name_of(int fd);
Address peer_of(int fd);

int stream(int flags = 0);
/// A listener on a port of its own.
int listener(int backlog = 8, int flags = 0);
/// Two ends of a connection.
struct Pair {
  int a = -1;  ///< connected
  int b = -1;  ///< accepted
  int l = -1;
  Pair();
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
};
void set_nonblocking(int fd, bool on = true);
/// Waits up to a second until poll() reports any of `events`; prints nothing.
bool await(int fd, short events);
/// Waits until `n` bytes are unread.
bool await_bytes(int fd, int n);
void pause_ms(int ms);
std::string bits_of_poll(short revents);
std::string bits_of_epoll(uint32_t events);
/// poll() without waiting, as text.
std::string state(int fd, short events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI);
int option(int fd, int level, int name);

}  // namespace oracle
