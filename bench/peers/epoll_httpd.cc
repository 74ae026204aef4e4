// The kernel peer of millrace-httpd: the same requests, the same parser and the same responses on the kernel's sockets
// with epoll, in one thread. What differs between the two is the stack. /bytes/N is sent by sendfile from memory, the
// kernel's zero-copy way, or with --copy by send; --busy-poll spins instead of sleeping.
//
//   epoll_httpd --port 8080 [--busy-poll] [--copy]
#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>

#include "httpd/memo.h"
#include "httpd/request_reader.h"
#include "httpd/response.h"
#include "httpd/site.h"

namespace {

using namespace millrace::httpd;

constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kMemfdBytes = kPatternPeriod * 4180;  // a little more than 1 MiB

struct Conn {
  RequestReader reader;
  bool reading = false;
  bool close = false;
  std::string unsent;
  Plan body{};  // the rest of a streamed body
  [[nodiscard]] bool blocked() const { return !unsent.empty() || body.length > 0; }
};

class Server {
 public:
  Server(uint16_t port, bool busy_poll, bool copy) : busy_poll_(busy_poll), copy_(copy), site_("the kernel's stack") {
    listener_ = check(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    const int on = 1;
    const int off = 0;
    check(::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(::setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), "IPV6_V6ONLY");
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    check(::listen(listener_, 65'535), "listen");
    epoll_ = check(::epoll_create1(0), "epoll_create1");
    watch(listener_);
    memory_ = check(::memfd_create("pattern", 0), "memfd_create");
    for (size_t at = 0; at < kMemfdBytes;) {
      const std::string_view piece = pattern(at, kMemfdBytes - at);
      at += static_cast<size_t>(check(static_cast<int>(::write(memory_, piece.data(), piece.size())), "write"));
    }
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events;
    while (true) {
      const int n = ::epoll_wait(epoll_, events.data(), events.size(), busy_poll_ ? 0 : -1);
      if (n > 0) {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        date_.refresh(millrace::Instant(now.tv_sec * 1'000'000'000 + now.tv_nsec));
      }
      for (int i = 0; i < n; ++i) handle(events[static_cast<size_t>(i)]);
    }
  }

 private:
  static int check(int result, const char* what) {
    if (result >= 0) return result;
    fmt::print(stderr, "epoll_httpd: {}: {}\n", what, std::strerror(errno));
    std::exit(1);
  }

  void watch(int fd) {
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.fd = fd}};
    check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }

  void accept_all() {
    while (true) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      conns_[fd] = std::make_unique<Conn>();
      watch(fd);
    }
  }

  void handle(const epoll_event& event) {
    const int fd = event.data.fd;
    if (fd == listener_) return accept_all();
    Conn& conn = *conns_[fd];
    bool alive = true;
    if ((event.events & EPOLLOUT) != 0 && conn.blocked()) alive = drain(fd, conn);
    if (alive && (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) alive = serve(fd, conn);
    if (alive) return;
    conns_.erase(fd);
    ::close(fd);
  }

  // Each of these returns whether the connection lives on.

  bool serve(int fd, Conn& conn) {
    while (!conn.blocked()) {
      const ssize_t n = ::recv(fd, buffer_.data(), buffer_.size(), 0);
      if (n < 0) return errno == EAGAIN;
      if (n == 0) return false;
      std::string_view input(buffer_.data(), static_cast<size_t>(n));
      while (!input.empty()) {
        if (conn.blocked()) return false;  // behind a body that waits, this small server takes no pipelined request
        if (!one_request(fd, conn, input)) return false;
      }
      if (static_cast<size_t>(n) < buffer_.size()) return true;  // nothing more now; an edge follows
    }
    return true;
  }

  bool one_request(int fd, Conn& conn, std::string_view& input) {
    if (const Memo::Entry* known = conn.reading ? nullptr : memo_.find(input)) {
      input.remove_prefix(known->bytes);
      return respond(fd, conn, known->plan);
    }
    const bool fresh = !conn.reading;
    const std::string_view begin = input;
    if (fresh) conn.reader.reset();
    conn.reading = true;
    size_t consumed = 0;
    const auto state = conn.reader.feed(input, consumed);
    input.remove_prefix(consumed);
    if (state == RequestReader::State::kMore) return true;
    conn.reading = false;
    if (state == RequestReader::State::kFailed) {
      input = {};
      return respond(fd, conn, site_.refusal(conn.reader.request().failure));
    }
    const Plan plan = site_.answer(conn.reader.request());
    if (fresh && conn.reader.request().body_bytes == 0) memo_.remember(begin.substr(0, consumed), plan);
    return respond(fd, conn, plan);
  }

  bool respond(int fd, Conn& conn, const Plan& plan) {
    conn.close = plan.close;
    if (plan.ready) return send_text(fd, conn, ready_text(*plan.resource, date_), 0);
    size_t bytes = append_head(head_.data(), plan, date_);
    const bool no_body = plan.head_only || plan.length == 0 || plan.body == Plan::Body::kSum;
    if (!no_body && plan.body == Plan::Body::kResource) {
      const std::string text = std::string(head_.data(), bytes) + plan.resource->body.substr(plan.offset, plan.length);
      return send_text(fd, conn, text, 0) && !(conn.close && !conn.blocked());
    }
    if (!no_body) conn.body = plan;
    if (!send_text(fd, conn, {head_.data(), bytes}, no_body ? 0 : MSG_MORE)) return false;
    if (conn.unsent.empty() && !stream(fd, conn)) return false;
    return !(conn.close && !conn.blocked());
  }

  bool send_text(int fd, Conn& conn, std::string_view text, int flags) {
    if (!conn.unsent.empty()) {
      conn.unsent.append(text);
      return true;
    }
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | flags);
    if (n < 0 && errno != EAGAIN) return false;
    conn.unsent.append(text.substr(n < 0 ? 0 : static_cast<size_t>(n)));
    return true;
  }

  bool stream(int fd, Conn& conn) {
    Plan& body = conn.body;
    while (body.length > 0) {
      off_t from = static_cast<off_t>(body.offset % kPatternPeriod);
      ssize_t n = 0;
      if (copy_) {
        const std::string_view text = pattern(body.offset, body.length);
        n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | (text.size() < body.length ? MSG_MORE : 0));
      } else {
        n = ::sendfile(fd, memory_, &from, std::min<uint64_t>(body.length, kMemfdBytes - kPatternPeriod));
      }
      if (n < 0) return errno == EAGAIN;
      body.offset += static_cast<uint64_t>(n);
      body.length -= static_cast<uint64_t>(n);
    }
    return true;
  }

  bool drain(int fd, Conn& conn) {
    if (!conn.unsent.empty()) {
      const std::string waiting = std::exchange(conn.unsent, {});
      if (!send_text(fd, conn, waiting, 0)) return false;
      if (!conn.unsent.empty()) return true;
    }
    if (!stream(fd, conn)) return false;
    if (conn.blocked()) return true;
    return !conn.close && serve(fd, conn);
  }

  bool busy_poll_;
  bool copy_;
  int listener_ = -1;
  int epoll_ = -1;
  int memory_ = -1;
  Site site_;
  Memo memo_;
  DateClock date_;
  std::unordered_map<int, std::unique_ptr<Conn>> conns_;
  std::array<char, kReadBytes> buffer_{};
  std::array<char, kMaxResponseHead> head_{};
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("HTTP server on the kernel's sockets, the peer of millrace-httpd", "epoll_httpd");
  uint16_t port = 8080;
  bool busy_poll = false;
  bool copy = false;
  cli.add_option("--port", port)->capture_default_str();
  cli.add_flag("--busy-poll", busy_poll, "spin in epoll_wait");
  cli.add_flag("--copy", copy, "send bodies by copy, not by sendfile");
  CLI11_PARSE(cli, argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  auto server = std::make_unique<Server>(port, busy_poll, copy);
  fmt::print("listening on port {}\n", port);
  std::fflush(stdout);
  server->run();
}
