#include "runtime/control.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace millrace::runtime {
namespace {

constexpr size_t kLongestQuestion = 1024;
constexpr auto kAnswerWait = std::chrono::seconds(10);
constexpr timeval kClientWait{2, 0};

Outcome<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return failure(fmt::format("control socket path '{}' has {} characters; expected 1 to {}", path, path.size(),
                               sizeof address.sun_path - 1),
                   "choose another with --control PATH, or --control none");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Whether a process listens at `address`; a socket file alone does not.
bool alive(const sockaddr_un& address) {
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno != ECONNREFUSED && errno != ENOENT && errno != ENOTSOCK;
}

bool is_socket(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

Outcome<std::unique_ptr<ControlServer>> ControlServer::listen(const std::string& path, const Waker& waker) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected<Failure>(address.error());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Descriptor stop(eventfd(0, EFD_CLOEXEC));
  const auto* at = reinterpret_cast<const sockaddr*>(&*address);
  int result = bind(socket.get(), at, sizeof *address);
  if (result != 0 && errno == EADDRINUSE && is_socket(path) && !alive(*address)) {
    unlink(path.c_str());
    result = bind(socket.get(), at, sizeof *address);
  }
  if (result != 0) {
    return failure(fmt::format("cannot listen at the control socket {}: {}", path, std::strerror(errno)),
                   errno == EADDRINUSE ? "another process serves it; choose another with --control PATH"
                                       : "choose another with --control PATH, or --control none");
  }
  chmod(path.c_str(), 0660);
  if (::listen(socket.get(), 8) != 0) {
    return failure(fmt::format("cannot listen at the control socket {}: {}", path, std::strerror(errno)));
  }
  return std::unique_ptr<ControlServer>(new ControlServer(path, std::move(socket), std::move(stop), waker));
}

ControlServer::ControlServer(std::string path, Descriptor socket, Descriptor stop, const Waker& waker)
    : path_(std::move(path)), socket_(std::move(socket)), stop_(std::move(stop)), waker_(waker) {
  // Signals belong to the loop's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ControlServer::~ControlServer() {
  ending_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(stop_.get(), &one, sizeof one);
  {
    const std::lock_guard lock(mutex_);
    answered_.notify_all();
  }
  thread_.join();
  unlink(path_.c_str());
}

void ControlServer::run() {
  for (;;) {
    pollfd waits[] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    if (waits[0].revents == 0) continue;
    const Descriptor client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) serve_client(client);
  }
}

void ControlServer::serve_client(const Descriptor& client) {
  setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &kClientWait, sizeof kClientWait);
  setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &kClientWait, sizeof kClientWait);
  std::string line;
  while (line.find('\n') == std::string::npos && line.size() < kLongestQuestion) {
    char piece[256];
    const ssize_t n = recv(client.get(), piece, sizeof piece, 0);
    if (n <= 0) return;
    line.append(piece, static_cast<size_t>(n));
  }
  question_ = line.substr(0, line.find('\n'));
  std::unique_lock lock(mutex_);
  answer_.reset();
  asked_.store(true, std::memory_order_release);
  waker_.wake();
  answered_.wait_for(lock, kAnswerWait, [this] { return answer_.has_value() || ending_.load(); });
  // Unanswered for so long: the loop is stuck. It may still be reading the question, so wait for it or for the end.
  if (!answer_ && !ending_) {
    write_all(client.get(), "the loop does not answer\n");
    answered_.wait(lock, [this] { return answer_.has_value() || ending_.load(); });
    return;
  }
  if (answer_) write_all(client.get(), *answer_);
}

void ControlServer::reply(std::string text) {
  const std::lock_guard lock(mutex_);
  asked_.store(false, std::memory_order_relaxed);
  answer_ = std::move(text);
  answered_.notify_all();
}

std::string default_control_path(const std::string& interface) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::create_directories(kControlDirectory, error);
  if (access(kControlDirectory, W_OK) != 0) return {};
  for (const auto& entry : fs::directory_iterator(kControlDirectory, error)) {
    const std::string path = entry.path();
    const auto address = address_of(path);
    if (entry.path().extension() == ".sock" && is_socket(path) && address && !alive(*address)) unlink(path.c_str());
  }
  std::string path = fmt::format("{}/{}.sock", kControlDirectory, interface);
  if (!fs::exists(path, error)) return path;
  // The same interface name in another network namespace.
  return fmt::format("{}/{}.{}.sock", kControlDirectory, interface, getpid());
}

Outcome<std::string> ask(const std::string& path, std::string_view question) {
  const auto address = address_of(path);
  if (!address) return tl::unexpected<Failure>(address.error());
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return failure(fmt::format("cannot reach {}: {}", path, std::strerror(errno)),
                   errno == EACCES ? "run as the user of that program, or as root"
                                   : "is the program running? --control PATH names its socket");
  }
  std::string line(question);
  line += '\n';
  if (!write_all(socket.get(), line)) return failure(fmt::format("cannot ask {}: {}", path, std::strerror(errno)));
  std::string answer;
  for (;;) {
    char piece[16'384];
    const ssize_t n = recv(socket.get(), piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(fmt::format("no answer from {}: {}", path, std::strerror(errno)));
    if (n == 0) return answer;
    answer.append(piece, static_cast<size_t>(n));
  }
}

}  // namespace millrace::runtime
