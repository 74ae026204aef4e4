// The service's side of shared memory without a process of its own: a worker with a loopback interface, guests, and
// programs that attach in the same thread, whose waiting runs the house.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "../posix/fixture.h"
#include "service/channel.h"
#include "service/deposits.h"
#include "service/guest.h"

namespace millrace::service {

class House final : public Door, private posix::Sink {
 public:
  House() {
    ground_.door = this;
    ground_.ports = &ports;
    ground_.sockets = &sockets;
    ground_.is_local = [](const IpAddr& a) { return a.is_loopback(); };
    ground_.fork = [this](Guest& parent) {
      unborn_ = make(unborn_end_);
      unborn_->inherit(parent);
      return uint64_t{1};
    };
    std::optional<Attachment> nobodys;
    deposits.emplace(ground_, make(nobodys));
    ground_.deposits = &*deposits;
  }
  ~House() override {
    unborn_.reset();
    guests.clear();
    deposits.reset();
    turns(4);
  }

  Result<Reply> request(const Request& r) override { return sim.request(r); }
  [[nodiscard]] Instant now() const override { return now_; }
  void wake_at(Instant) override {}
  void stop(int) override {}

  /// A program that attaches.
  std::unique_ptr<Channel> attach() {
    Attachment end = raw();
    return std::make_unique<Channel>(std::move(end), "", [this] { turn(); });
  }
  /// One that writes into its segment what it likes.
  Attachment raw() {
    std::optional<Attachment> end;
    guests.push_back(make(end));
    return std::move(*end);
  }
  /// The child of the program that forked last.
  Attachment child() {
    guests.push_back(std::move(unborn_));
    return std::move(*unborn_end_);
  }
  void forget_child() { unborn_.reset(); }
  void turn() {
    if (stopped) return;
    now_ = now_ + microseconds(10);
    sim.set_now(now_);
    deposits->look_at_clock(now_);
    (void)reset_those_waiting(ground_);
    for (const auto& guest : guests) guest->serve(64);
    sim.turn(*this);
    for (const auto& guest : guests) guest->publish();
  }
  void pass(Duration time) {
    now_ = now_ + time;
    turns(4);
  }
  void turns(int n) {
    for (int i = 0; i < n; ++i) turn();
  }

  bool stopped = false;  ///< the service's process is
  posix::SimTransport sim;
  posix::Ports ports{1};
  SharedSockets sockets;
  std::optional<Deposits> deposits;
  std::vector<std::unique_ptr<Guest>> guests;

 private:
  void event(const Event& e) override { tell_holders(sockets, e); }

  std::unique_ptr<Guest> make(std::optional<Attachment>& end) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    auto segment = Segment::make();
    EXPECT_TRUE(segment);
    auto mapped = Segment::map(runtime::Descriptor(dup(segment->fd())));
    EXPECT_TRUE(mapped);
    end.emplace(Attachment{runtime::Descriptor(), std::move(*mapped),
                           runtime::Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
                           runtime::Descriptor(ends[0])});
    return std::make_unique<Guest>(ground_, std::move(*segment), runtime::Descriptor(ends[1]));
  }

  Ground ground_;
  Instant now_{2'000'000'000};
  std::unique_ptr<Guest> unborn_;
  std::optional<Attachment> unborn_end_;
};

/// A program: sockets above a channel.
class Tenant {
 public:
  explicit Tenant(House& house) : house_(house), stack_([this] { return house_.attach(); }, {true}) {}
  Tenant(House& house, std::unique_ptr<Channel> channel)
      : house_(house), given_(std::move(channel)), stack_([this] { return std::move(given_); }, {true}) {}
  ~Tenant() {
    for (const int fd : open_) (void)stack_.close(fd);
    house_.turns(4);
  }

  int socket(int flags = 0) { return keep(stack_.socket(AF_INET, SOCK_STREAM | flags, 0)); }
  long bind(int fd, uint16_t port) {
    Name n(port);
    return stack_.bind(fd, n.get(), n.length);
  }
  int listener(uint16_t port) {
    const int fd = socket();
    EXPECT_EQ(bind(fd, port), 0);
    EXPECT_EQ(stack_.listen(fd, 8), 0);
    return fd;
  }
  int connected(uint16_t port) {
    const int fd = socket();
    Name n(port);
    EXPECT_EQ(stack_.connect(fd, n.get(), n.length), 0);
    return fd;
  }
  int accept(int fd, int flags = 0) { return keep(stack_.accept4(fd, nullptr, nullptr, flags)); }
  long write(int fd, const std::string& text, int flags = MSG_NOSIGNAL) {
    return posix::write_text(stack_, fd, text, flags);
  }
  std::string read(int fd, size_t most = 4'096, int flags = 0) { return posix::read_text(stack_, fd, most, flags); }
  long close(int fd) {
    std::erase(open_, fd);
    const long result = stack_.close(fd);
    house_.turns(4);
    return result;
  }
  posix::Stack& stack() { return stack_; }

 private:
  struct Name {
    explicit Name(uint16_t port) {
      posix::write_address({IpAddr::v4(127, 0, 0, 1), port}, AF_INET, get(), &length);
    }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);
  };
  int keep(long fd) {
    if (fd >= 0) open_.push_back(static_cast<int>(fd));
    return static_cast<int>(fd);
  }

  House& house_;
  std::unique_ptr<Channel> given_;
  posix::Stack stack_;
  std::vector<int> open_;
};

}  // namespace millrace::service
