// Sockets that go to other programs, or come from them: over exec, in messages of AF_UNIX sockets. What the worker
// knows of a socket goes with the socket; what only this process knows is written into a parcel here, and read from
// one that another program wrote, which need not be well-meaning.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr uint64_t kFormat = 1;
constexpr size_t kMostGiven = 3'072;  // bytes of options that a listener's connections inherit
constexpr size_t kMostPassed = 253;   // SCM_MAX_FD
constexpr uint8_t kLastState = static_cast<uint8_t>(Stream::State::kConnected);

class Writer {
 public:
  void word(uint64_t value) { bytes(&value, sizeof value); }
  void flag(bool on) { word(on ? 1 : 0); }
  void time(Duration d) { word(static_cast<uint64_t>(d.ns())); }
  void endpoint(const Endpoint& e) {
    const auto address = e.addr.bytes();
    bytes(address.data(), address.size());
    word(e.port);
  }
  void bytes(const void* data, size_t n) {
    const auto* from = static_cast<const std::byte*>(data);
    out.insert(out.end(), from, from + n);
  }
  std::vector<std::byte> out;
};

// Beyond the end everything is 0.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  uint64_t word() {
    uint64_t value = 0;
    bytes(&value, sizeof value);
    return value;
  }
  bool flag() { return word() != 0; }
  Duration time() { return Duration(std::clamp<int64_t>(static_cast<int64_t>(word()), 0, INT64_MAX / 4)); }
  Endpoint endpoint() {
    std::array<uint8_t, 16> address{};
    bytes(address.data(), address.size());
    return {IpAddr(address), static_cast<uint16_t>(word())};
  }
  void bytes(void* into, size_t n) {
    n = std::min(n, in_.size());
    if (n != 0) std::memcpy(into, in_.data(), n);
    in_ = in_.subspan(n);
  }
  [[nodiscard]] size_t left() const { return in_.size(); }

 private:
  std::span<const std::byte> in_;
};

void write_given(Writer& w, const std::vector<GivenOption>* options) {
  size_t bytes = 0;
  for (const GivenOption& o : options != nullptr ? *options : std::vector<GivenOption>()) {
    if ((bytes += o.value.size() + 24) > kMostGiven) break;
    w.word(1);
    w.word(static_cast<uint32_t>(o.level));
    w.word(static_cast<uint32_t>(o.name));
    w.word(o.value.size());
    w.bytes(o.value.data(), o.value.size());
  }
  w.word(0);
}

std::shared_ptr<std::vector<GivenOption>> read_given(Reader& r) {
  std::shared_ptr<std::vector<GivenOption>> options;
  while (r.word() == 1) {
    if (options == nullptr) options = std::make_shared<std::vector<GivenOption>>();
    GivenOption o;
    o.level = static_cast<int>(static_cast<uint32_t>(r.word()));
    o.name = static_cast<int>(static_cast<uint32_t>(r.word()));
    o.value.resize(std::min<uint64_t>(r.word(), r.left()));
    r.bytes(o.value.data(), o.value.size());
    options->push_back(std::move(o));
  }
  return options;
}

void write_socket(Writer& w, const Socket& s) {
  w.word(kFormat);
  w.endpoint(s.local);
  w.endpoint(s.remote);
  for (const bool on : {s.shut_read, s.shut_write, s.reuse_address, s.reuse_port, s.v6_only}) w.flag(on);
  w.time(s.receive_timeout);
  w.time(s.send_timeout);
}

bool read_socket(Reader& r, Socket& s) {
  if (r.word() != kFormat) return false;
  s.local = r.endpoint();
  s.remote = r.endpoint();
  for (bool* on : {&s.shut_read, &s.shut_write, &s.reuse_address, &s.reuse_port, &s.v6_only}) *on = r.flag();
  s.receive_timeout = r.time();
  s.send_timeout = r.time();
  return true;
}

Transport::Parcel pack(const Stream& s) {
  Transport::Parcel parcel;
  parcel.handle = s.handle;
  parcel.claim = s.claim;
  parcel.stream = s.options;
  Writer w;
  write_socket(w, s);
  w.word(static_cast<uint8_t>(s.state));
  for (const bool on : {s.ended, s.broken, s.error_waits, s.unclaimed, s.chosen_port, s.linger}) w.flag(on);
  w.word(static_cast<uint32_t>(s.linger_s));
  w.word(s.low_water);
  write_given(w, s.given.get());
  parcel.rest = std::move(w.out);
  return parcel;
}

bool unpack(const Transport::Parcel& parcel, Stream& s) {
  Reader r(parcel.rest);
  if (!read_socket(r, s)) return false;
  s.options = parcel.stream;
  s.claim = parcel.claim;
  const auto state = static_cast<uint8_t>(std::min<uint64_t>(r.word(), kLastState));
  // A worker knows all but fresh ones.
  s.state = parcel.handle.valid() ? static_cast<Stream::State>(state == 0 ? kLastState : state) : Stream::State::kFresh;
  for (bool* on : {&s.ended, &s.broken, &s.error_waits, &s.unclaimed, &s.chosen_port, &s.linger}) *on = r.flag();
  s.linger_s = static_cast<int>(std::min<uint64_t>(r.word(), INT32_MAX));
  s.low_water = static_cast<uint32_t>(std::clamp<uint64_t>(r.word(), 1, INT32_MAX));
  s.given = read_given(r);
  s.writable = s.state != Stream::State::kConnecting && s.state != Stream::State::kListening;
  s.readable = s.state != Stream::State::kConnecting;  // look before believing
  return true;
}

Transport::Parcel pack(const Datagram& d) {
  Transport::Parcel parcel;
  parcel.handle = d.handle;
  parcel.datagram = d.options;
  Writer w;
  write_socket(w, d);
  const Told& t = d.told;
  for (const bool on :
       {t.destination, t.ttl, t.tos, t.destination_v6, t.hop_limit, t.traffic_class, t.segment, d.error_waits}) {
    w.flag(on);
  }
  w.word(static_cast<uint8_t>(t.stamp));
  w.word(d.segment);
  w.word(static_cast<uint32_t>(d.pending));
  parcel.rest = std::move(w.out);
  return parcel;
}

bool unpack(const Transport::Parcel& parcel, Datagram& d) {
  Reader r(parcel.rest);
  if (!read_socket(r, d)) return false;
  d.options = parcel.datagram;
  Told& t = d.told;
  for (bool* on : {&t.destination, &t.ttl, &t.tos, &t.destination_v6, &t.hop_limit, &t.traffic_class, &t.segment,
                   &d.error_waits}) {
    *on = r.flag();
  }
  t.stamp = static_cast<Told::Stamp>(std::min<uint64_t>(r.word(), static_cast<uint8_t>(Told::Stamp::kNs)));
  d.segment = static_cast<uint16_t>(r.word());
  d.pending = static_cast<int>(r.word() % 4'096);
  d.readable = d.handle.valid();
  return true;
}

int number_option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return kernel::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

// Calls `visit` with each descriptor that the message carries.
template <class Visit>
void each_passed(const msghdr& message, Visit&& visit) {
  const auto* at = static_cast<const std::byte*>(message.msg_control);
  size_t left = at != nullptr ? message.msg_controllen : 0;
  while (left >= sizeof(cmsghdr)) {
    cmsghdr head{};
    std::memcpy(&head, at, sizeof head);
    if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > left) return;
    if (head.cmsg_level == SOL_SOCKET && head.cmsg_type == SCM_RIGHTS) {
      const size_t count = std::min((head.cmsg_len - CMSG_LEN(0)) / sizeof(int), kMostPassed);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, at + CMSG_LEN(0) + i * sizeof fd, sizeof fd);
        visit(fd);
      }
    }
    const size_t step = std::min<size_t>(CMSG_ALIGN(head.cmsg_len), left);
    at += step;
    left -= step;
  }
}

}  // namespace

// The descriptor's own token counts: another process that has the socket too may have given it one.
long Stack::deposit(int fd, Socket& socket, Transport::Way way) {
  Token token;
  if (!read_token(fd, token)) {
    token = socket.token.valid() ? socket.token : make_token();
    if (!token.valid() || !write_token(fd, token)) return -EOPNOTSUPP;
  } else if (socket.token.valid() && socket.token != token && tokens_.contains(token)) {
    return -EBADF;  // the number names another by now
  }
  set_token(socket, token);
  if (Stream* stream = socket.kind() == FileKind::kStream ? static_cast<Stream*>(&socket) : nullptr) {
    settle_options(fd, *stream);
    const auto done = transport_->deposit(token, pack(*stream), way);
    return done ? 0 : -errno_of(done.error());
  }
  const auto done = transport_->deposit(token, pack(static_cast<Datagram&>(socket)), way);
  return done ? 0 : -errno_of(done.error());
}

void Stack::set_token(Socket& socket, const Token& token) {
  if (socket.token == token) return;
  if (socket.token.valid()) tokens_.erase(socket.token);
  socket.token = token;
  if (token.valid()) tokens_[token] = &socket;
}

// Its parent may have been killed while another of its threads held the lock.
bool Stack::may_lock_in_vfork() {
  constexpr int kTries = 200;
  constexpr timespec kPause{0, 1'000'000};
  if (!in_vfork() || inside != 0) return false;
  for (int i = 0; i < kTries; ++i) {
    if (mutex_.try_lock()) {
      mutex_.unlock();
      return true;
    }
    kernel::call(SYS_nanosleep, kernel::arg(&kPause));
  }
  return false;
}

std::vector<Token> Stack::before_exec(std::span<const int> also) {
  if (kernel::pid() != owner_ && !may_lock_in_vfork()) return {};
  const Lock lock(*this);
  std::vector<Token> given;
  if (lock.busy() || numbers_ != nullptr || transport_ == nullptr || ended_) return given;
  const int pid = kernel::pid();
  std::vector<std::pair<int, Socket*>> leaving;
  const auto note = [&](int fd, File* file) {
    if (file == nullptr || !file->is_socket() || file->fenced) return;
    auto* socket = static_cast<Socket*>(file);
    const auto same = [&](const auto& l) { return l.second == socket; };
    if (std::any_of(leaving.begin(), leaving.end(), same)) return;
    if (pid != owner_ && socket->leaves_with == pid) return;
    leaving.emplace_back(fd, socket);
  };
  for (const int fd : also) note(fd, descriptors_.find(fd));
  descriptors_.each(0, UINT32_MAX, [&](int fd, File* file) {
    const int flags = kernel::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) note(fd, file);
  });
  if (leaving.empty() || (pid != owner_ && !transport_->reachable())) return given;
  for (const auto& [fd, socket] : leaving) {
    if (deposit(fd, *socket, Transport::Way::kExec) != 0) continue;
    if (pid == owner_) {
      given.push_back(socket->token);
    } else {
      socket->leaves_with = pid;  // once, however often the child tries; memory of its own would be left behind
    }
  }
  return given;
}

void Stack::withdraw(std::span<const Token> given) {
  const Lock lock(*this);
  if (lock.busy() || transport_ == nullptr) return;
  for (const Token& token : given) transport_->withdraw(token);
}

// The tables are the parent's, and what the child does to its numbers is not in them: a copy can only be for a program
// that it is about to become.
void Stack::duplicated_in_vfork(int fd) {
  if (!may_lock_in_vfork()) return;
  const Lock lock(*this);
  Socket* socket = socket_of(fd);
  const int pid = kernel::pid();
  if (lock.busy() || socket == nullptr || socket->fenced || transport_ == nullptr || socket->leaves_with == pid) return;
  if (transport_->reachable() && deposit(fd, *socket, Transport::Way::kExec) == 0) socket->leaves_with = pid;
}

long Stack::before_pass(const msghdr& message, std::vector<Token>& given) {
  long result = 0;
  bool any = false;
  each_passed(message, [&](int fd) { any = any || ours(fd); });
  if (!any) return 0;
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  each_passed(message, [&](int fd) {
    if (result != 0 || !ours(fd)) return;
    Socket* socket = socket_of(fd);
    if (socket == nullptr || transport_ == nullptr) {
      result = -EOPNOTSUPP;  // a set of epoll
    } else if (socket->fenced) {
      result = -EBADF;
    } else {
      result = deposit(fd, *socket, Transport::Way::kMessage);
      if (result == -ENFILE) result = -ETOOMANYREFS;
      if (result == 0) given.push_back(socket->token);
    }
  });
  if (result == 0) return 0;
  for (const Token& token : given) transport_->withdraw(token);
  given.clear();
  return result;
}

void Stack::passed(const msghdr& message) {
  each_passed(message, [&](int fd) { (void)collect(fd); });
}

bool Stack::collect(int fd) {
  Token token;
  if (numbers_ != nullptr || !read_token(fd, token)) return false;
  if (ours(fd)) forget(fd);  // the number was closed past us
  const Lock lock(*this);
  if (lock.busy() || !bring_up()) return false;
  if (const auto known = tokens_.find(token); known != tokens_.end()) {
    if (!descriptors_.set(fd, known->second)) return false;
    ++known->second->numbers;
    transport_->withdraw(token);
    return true;
  }
  const int family = number_option(fd, SO_DOMAIN);
  if (!wanted(family, number_option(fd, SO_TYPE), number_option(fd, SO_PROTOCOL))) return false;
  const int type = number_option(fd, SO_TYPE);
  std::unique_ptr<Socket> socket;
  if (type == SOCK_STREAM) {
    socket = std::make_unique<Stream>(*transport_, family);
  } else {
    socket = std::make_unique<Datagram>(*transport_, family);
  }
  socket->slot = new_slot(*socket);
  auto parcel = transport_->collect(token, socket->slot);
  if (parcel) {
    socket->handle = parcel->handle;
    const bool good = type == SOCK_STREAM ? unpack(*parcel, static_cast<Stream&>(*socket))
                                          : unpack(*parcel, static_cast<Datagram&>(*socket));
    socket->nonblocking = (kernel::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
    if (good && descriptors_.set(fd, socket.get())) {
      socket->numbers = 1;
      set_token(*socket, token);
      if (socket->handle.valid()) {
        (void)transport_->request(req::Names{socket->handle, &socket->local, &socket->remote});
      }
      socket.release();
      ++live_sockets_;
      return true;
    }
    if (parcel->handle.valid()) (void)transport_->request(req::Close{parcel->handle});
    if (parcel->claim != 0) transport_->release(parcel->claim);
  }
  slots_[socket->slot] = nullptr;
  free_slots_.push_back(socket->slot);
  return false;
}

}  // namespace millrace::posix
