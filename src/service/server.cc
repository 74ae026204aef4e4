#include "service/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "stack/impl.h"

namespace millrace::service {
namespace {

using runtime::failure;

constexpr size_t kBudget = 64;  // requests of one program in a turn
constexpr Duration kLookEvery = milliseconds(1);
constexpr Duration kHelloTime = seconds(2);
constexpr Duration kBirthTime = seconds(5);
constexpr Duration kLastWords = seconds(120);  // how long a peer may take to read what a dead program sent
constexpr size_t kMostWaiting = 64;            // connections that have not said hello
constexpr size_t kMostUnborn = 512;
constexpr size_t kMostOfOneParent = 32;
constexpr int kBacklog = 64;

bool someone_listens(const sockaddr_un& address) {
  const runtime::Descriptor probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno != ECONNREFUSED && errno != ENOENT && errno != ENOTSOCK;
}

bool is_socket(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

runtime::Outcome<uid_t> user_of(const std::string& name) {
  uid_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
  if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) return number;
  if (const passwd* user = getpwnam(name.c_str())) return user->pw_uid;
  return failure(fmt::format("there is no user '{}'", name));
}

}  // namespace

runtime::Outcome<std::unique_ptr<Server>> Server::listen(const ServerOptions& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.path.empty() || options.path.size() >= sizeof address.sun_path) {
    return failure(fmt::format("service socket path '{}' has {} characters; expected 1 to {}", options.path,
                               options.path.size(), sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, options.path.c_str(), options.path.size() + 1);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(options.path).parent_path(), ignored);
  runtime::Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* at = reinterpret_cast<const sockaddr*>(&address);
  const mode_t before = umask(0777);  // nobody may connect before its mode is set
  int result = ::bind(socket.get(), at, sizeof address);
  if (result != 0 && errno == EADDRINUSE && is_socket(options.path) && !someone_listens(address)) {
    unlink(options.path.c_str());
    result = ::bind(socket.get(), at, sizeof address);
  }
  umask(before);
  if (result != 0) {
    const int why = errno;
    return failure(fmt::format("cannot listen at the service socket {}: {}", options.path, std::strerror(why)),
                   why != EADDRINUSE || !is_socket(options.path)
                       ? ""
                       : "another millraced serves it; choose another with --socket PATH");
  }
  if (!options.group.empty()) {
    const group* g = getgrnam(options.group.c_str());
    if (g == nullptr) return failure(fmt::format("there is no group '{}'", options.group));
    if (chown(options.path.c_str(), static_cast<uid_t>(-1), g->gr_gid) != 0) {
      return failure(
          fmt::format("cannot give {} to group '{}': {}", options.path, options.group, std::strerror(errno)));
    }
  }
  chmod(options.path.c_str(), options.mode);
  if (::listen(socket.get(), kBacklog) != 0) {
    return failure(fmt::format("cannot listen at {}: {}", options.path, std::strerror(errno)));
  }
  runtime::Descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) {
    return failure(fmt::format("cannot watch the service socket: {}", std::strerror(errno)));
  }
  std::unique_ptr<Server> server(new Server(options, std::move(socket), std::move(epoll)));
  for (const std::string& name : options.allowed) {
    const auto uid = user_of(name);
    if (!uid) return tl::unexpected<runtime::Failure>(uid.error());
    server->uids_.push_back(*uid);
  }
  return server;
}

Server::Server(const ServerOptions& options, runtime::Descriptor socket, runtime::Descriptor epoll)
    : options_(options),
      socket_(std::move(socket)),
      epoll_(std::move(epoll)),
      ports_(options.seed),
      rng_(options.seed + 1) {
  ground_.ports = &ports_;
  ground_.sockets = &sockets_;
  ground_.fork = [this](Guest& parent) { return fork(parent); };
}

Server::~Server() { unlink(options_.path.c_str()); }

void Server::attach(stack::Worker& worker, Door& door) {
  ground_.door = &door;
  ground_.is_local = [&worker](const IpAddr& address) { return worker.impl().ip.is_local(address); };
  runtime::Descriptor nobodys;
  auto keeper = make_guest(nobodys);
  if (keeper != nullptr) deposits_ = std::make_unique<Deposits>(ground_, std::move(keeper));
  ground_.deposits = deposits_.get();
  ground_.interfaces = [&worker] { return posix::interface_rows(worker.impl().ip); };
  ports_.ask_for_remains([&worker](const Endpoint& local) { return worker.impl().tcp.has_local(local); });
}

void Server::start(Net& net) {
  net_ = &net;
  idle_since_ = net.now();
  fmt::print(stderr, "millraced: programs attach at {}\n", options_.path);
  if (options_.end_when_idle.ns() != 0) net.wake_at(net.now() + options_.end_when_idle);
}

void Server::tick(Net& net) {
  if (options_.end_when_idle.ns() == 0) return;
  if (!seats_.empty() || !leaving_.empty()) idle_since_ = net.now();
  const Instant end = idle_since_ + options_.end_when_idle;
  if (end <= net.now()) {
    net.stop(0);
  } else {
    net.wake_at(end);
  }
}

// While the worker is still there.
void Server::stop(Net&) {
  unborn_.clear();
  for (const auto& seat : seats_) part(*seat);
  seats_.clear();
  leaving_.clear();
  ground_.deposits = nullptr;
  deposits_.reset();
  (void)reset_those_waiting(ground_);
}

void Server::event(Net&, const Event& event) { tell_holders(sockets_, event); }

// --- The loop's turn -------------------------------------------------------------------------------------------------

size_t Server::poll(Instant now) {
  now_ = now;
  size_t done = reset_those_waiting(ground_);
  const size_t n = seats_.size();
  for (size_t i = 0; i < n; ++i) {
    Seat& seat = *seats_[(first_ + i) % n];
    if (seat.guest != nullptr) done += seat.guest->serve(kBudget);
  }
  ++first_;
  bool any_gone = false;
  for (const auto& seat : seats_) {
    if (seat->guest == nullptr) continue;
    seat->guest->publish();
    any_gone = any_gone || seat->guest->doomed();
  }
  if (look_at_ <= now || any_gone) {
    look_at_ = now + kLookEvery;
    look_at_sockets();
    look_at_clock(now);
    remove_finished();
  }
  return done;
}

void Server::look_at_sockets() {
  constexpr int kAtOnce = 64;
  epoll_event events[kAtOnce];
  const int n = epoll_wait(epoll_.get(), events, kAtOnce, 0);
  bool newcomers = false;
  for (int i = 0; i < n; ++i) {
    auto* seat = static_cast<Seat*>(events[i].data.ptr);
    if (seat == nullptr) {
      newcomers = true;
    } else if ((events[i].events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0) {
      seat->socket.reset();
    } else if (seat->guest == nullptr && (events[i].events & EPOLLIN) != 0) {
      hear(*seat);
    }
  }
  if (newcomers) accept_all();
}

void Server::look_at_clock(Instant now) {
  for (const auto& seat : seats_) {
    if (seat->guest == nullptr && seat->since + kHelloTime < now) seat->socket.reset();
  }
  std::erase_if(unborn_, [&](const auto& entry) { return entry.second.until < now; });
  if (deposits_ != nullptr) deposits_->look_at_clock(now);
}

void Server::remove_finished() {
  for (auto& seat : seats_) {
    const bool gone = !seat->socket || (seat->guest != nullptr && seat->guest->doomed());
    if (!gone) continue;
    if (seat->guest != nullptr) {
      if (seat->guest->doomed()) fmt::print(stderr, "millraced: a program wrote nonsense and was detached\n");
      seat->guest->leave();
      leaving_.push_back({std::move(seat->guest), now_ + kLastWords});
    }
    part(*seat);
    seat.reset();
  }
  std::erase(seats_, nullptr);
  std::erase_if(leaving_, [this](const Leaving& gone) {
    return gone.guest->finished() || gone.guest->doomed() || gone.until < now_;
  });
}

// The program has the bell too, so closing ours would not take it out of the set.
void Server::part(Seat& seat) {
  if (seat.service_bell) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, seat.service_bell.get(), nullptr);
}

bool Server::arm(std::vector<pollfd>& waits) {
  waits.push_back({epoll_.get(), POLLIN, 0});
  bool quiet = ground_.aborts.empty();
  for (const auto& seat : seats_) {
    if (seat->guest != nullptr) quiet = seat->guest->prepare_sleep() && quiet;
  }
  return quiet;
}

void Server::disarm() {
  for (const auto& seat : seats_) {
    if (seat->guest != nullptr) seat->guest->end_sleep();
  }
  look_at_ = {};  // whoever woke us may be new, or gone
}

// --- Attaching -------------------------------------------------------------------------------------------------------

void Server::accept_all() {
  for (;;) {
    runtime::Descriptor socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (seats_.size() >= options_.programs + kMostWaiting) continue;
    auto seat = std::make_unique<Seat>();
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.ptr = seat.get();
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) continue;
    seat->socket = std::move(socket);
    seat->since = now_;
    seats_.push_back(std::move(seat));
    hear(*seats_.back());
  }
}

bool Server::admits(int socket) const {
  if (uids_.empty()) return true;
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return std::find(uids_.begin(), uids_.end(), peer.uid) != uids_.end();
}

void Server::hear(Seat& seat) {
  Hello hello;
  if (!take_hello(seat.socket.get(), hello)) return;
  Verdict verdict = Verdict::kWelcome;
  if (hello.magic != kMagic) {
    seat.socket.reset();
    return;
  }
  runtime::Descriptor reading;
  std::unique_ptr<Guest> guest;
  const auto attached = std::count_if(seats_.begin(), seats_.end(), [](const auto& s) { return s->guest != nullptr; });
  if (!admits(seat.socket.get())) {
    verdict = Verdict::kRefused;
  } else if (hello.version != kVersion) {
    verdict = Verdict::kOtherVersion;
  } else if (static_cast<size_t>(attached) >= options_.programs) {
    verdict = Verdict::kFull;
  } else if (hello.parent != 0) {
    const auto found = unborn_.find(hello.parent);
    verdict = Verdict::kRefused;
    if (found != unborn_.end()) {
      verdict = Verdict::kWelcome;
      guest = std::move(found->second.guest);
      reading = std::move(found->second.bell);
      unborn_.erase(found);
    }
  } else {
    guest = make_guest(reading);
    if (guest == nullptr) verdict = Verdict::kNoMemory;
  }
  if (verdict == Verdict::kWelcome && welcome_guest(seat, std::move(guest), std::move(reading))) return;
  if (verdict != Verdict::kWelcome) (void)welcome(seat.socket.get(), verdict, {});
  seat.socket.reset();
}

std::unique_ptr<Guest> Server::make_guest(runtime::Descriptor& reading) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  reading.reset(ends[0]);
  runtime::Descriptor writing(ends[1]);
  auto segment = Segment::make();
  if (!segment) return nullptr;
  return std::make_unique<Guest>(ground_, std::move(*segment), std::move(writing));
}

bool Server::welcome_guest(Seat& seat, std::unique_ptr<Guest> guest, runtime::Descriptor reading) {
  seat.service_bell.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  seat.guest = std::move(guest);
  // Edges suffice, so that nobody needs to read the bell, whose flags the program could change under us.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = &seat;
  if (!seat.service_bell || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, seat.service_bell.get(), &event) != 0) return false;
  event.events = EPOLLRDHUP;  // whatever else it says there must not keep us awake
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, seat.socket.get(), &event) != 0) return false;
  return welcome(seat.socket.get(), Verdict::kWelcome,
                 {seat.guest->segment().fd(), seat.service_bell.get(), reading.get()});
}

uint64_t Server::fork(Guest& parent) {
  const auto siblings =
      std::count_if(unborn_.begin(), unborn_.end(), [&](const auto& u) { return u.second.parent == parent.id(); });
  if (static_cast<size_t>(siblings) >= kMostOfOneParent || unborn_.size() >= kMostUnborn) return 0;
  if (seats_.size() >= options_.programs) return 0;
  Unborn unborn;
  unborn.guest = make_guest(unborn.bell);
  if (unborn.guest == nullptr) return 0;
  unborn.guest->inherit(parent);
  unborn.parent = parent.id();
  unborn.until = now_ + kBirthTime;
  uint64_t ticket = 0;
  while (ticket == 0 || unborn_.contains(ticket)) ticket = rng_.next();
  unborn_.emplace(ticket, std::move(unborn));
  return ticket;
}

}  // namespace millrace::service
