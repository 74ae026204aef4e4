// A Stack above a worker with a loopback interface, on virtual time: a call that would sleep moves the clock to the
// next thing that happens. The other end of a connection is another socket of the stack, or a bare socket of the
// worker.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/memory.h"
#include "pkt/pool.h"
#include "posix/convert.h"
#include "posix/ports.h"
#include "posix/stack.h"
#include "stack/impl.h"
#include "stack/worker.h"

namespace millrace::posix {

inline long write_text(Stack& stack, int fd, const std::string& text, int flags) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  return stack.send(fd, {&piece, 1}, flags);
}
/// What was read; "-EAGAIN" and the like for errors.
inline std::string read_text(Stack& stack, int fd, size_t most, int flags) {
  std::string room(most, 0);
  const iovec piece{room.data(), most};
  const long n = stack.receive(fd, {&piece, 1}, flags);
  if (n < 0) return std::string("-") + strerrorname_np(static_cast<int>(-n));
  room.resize(static_cast<size_t>(n));
  return room;
}

class SimTransport final : public Transport {
 public:
  explicit SimTransport(uint32_t connections = 64) {
    stack::WorkerConfig c;
    c.frames = &frames_;
    c.references = &references_;
    c.memory = &memory_;
    c.seed = 7;
    c.max_connections = connections;
    c.max_half_open = 64;
    c.max_time_wait = 64;
    worker_ = std::make_unique<stack::Worker>(c);
    link::NetifConfig netif;
    netif.name = "lo";
    netif.kind = link::LinkKind::kLoopback;
    netif.limits.mtu = 65'535;
    netif.limits.max_segments = 64;
    netif.limits.tx_checksum_v4 = netif.limits.tx_checksum_v6 = true;
    interface_ = *worker_->add_interface(netif);
    for (const char* address : {"127.0.0.1/8", "::1/128"}) {
      EXPECT_TRUE(request(req::AddAddress{interface_, *Prefix::parse(address)}));
    }
  }
  ~SimTransport() override { EXPECT_EQ(worker_->check(), ""); }

  Result<Reply> request(const Request& r) override { return worker_->request(r, now_); }
  void turn(Sink& sink) override {
    worker_->advance(now_);
    (void)flush();
    while (!worker_->events().empty()) {
      const std::vector<Event> events(worker_->events().begin(), worker_->events().end());
      worker_->clear_events();
      for (const Event& e : events) sink.event(e);
    }
  }
  bool flush() override {
    pkt::Packet* frames[32];
    for (;;) {
      const size_t n = worker_->output(interface_, frames, now_);
      if (n == 0) return !worker_->events().empty();
      if (lose_all) {
        for (size_t i = 0; i < n; ++i) worker_->impl().packets.free(frames[i]);
        continue;
      }
      for (size_t i = 0; i < n; ++i) {
        frames[i]->flags = (frames[i]->flags & pkt::kExternal) | pkt::kRxL4ChecksumNone;
        frames[i]->tx_offload = 0;
      }
      worker_->input(interface_, {frames, n}, now_);
    }
  }
  [[nodiscard]] Instant now() override { return now_; }
  bool begin_sleep(std::vector<pollfd>&, Instant& until) override {
    Instant next = until;
    if (!planned_.empty()) next = std::min(next, planned_.begin()->first);
    if (const auto deadline = worker_->next_deadline()) next = std::min(next, *deadline);
    if (next == kNever) {
      ADD_FAILURE() << "sleeps for ever";
      std::abort();
    }
    now_ = std::max(now_, next);
    while (!planned_.empty() && planned_.begin()->first <= now_) {
      const auto action = planned_.begin()->second;
      planned_.erase(planned_.begin());
      action();
    }
    return false;
  }
  void end_sleep(std::span<const pollfd>) override {}
  Result<Reserved> reserve(const Claim& claim) override { return ports.reserve(claim); }
  Result<void> reserve_listen(uint64_t id) override { return ports.listen(id); }
  void unlisten(uint64_t id) override { ports.unlisten(id); }
  void hold(uint64_t id) override { ports.hold(id); }
  void release(uint64_t id) override { ports.release(id); }
  [[nodiscard]] bool is_local(const IpAddr& a) override { return a.is_loopback(); }
  void drain() override { drained = true; }

  /// Runs `action`, which may ask the worker, at that distance from now.
  void plan(Duration after, std::function<void()> action) { planned_.emplace(now_ + after, std::move(action)); }

  /// For a clock from outside.
  void set_now(Instant now) { now_ = std::max(now_, now); }
  [[nodiscard]] Instant deadline() { return worker_->next_deadline().value_or(kNever); }
  /// What the socket connected to `port` would write.
  void write_to_first_peer_of(uint16_t port, std::string_view text) {
    for (const stack::SocketInfo& s : worker_->sockets()) {
      if (s.remote.port != port) continue;
      EXPECT_TRUE(request(req::Send{s.handle, std::as_bytes(std::span(text))}));
      (void)flush();
      return;
    }
    ADD_FAILURE() << "nobody is connected to " << port;
  }

  Ports ports{1};
  std::atomic<bool> lose_all = false;
  bool drained = false;

 private:
  base::HeapMemory memory_;
  pkt::HeapPacketPool frames_{4'096};
  pkt::HeapPacketPool references_{4'096, 0};
  std::unique_ptr<stack::Worker> worker_;
  IfIndex interface_{};
  Instant now_{1'000'000'000};
  std::multimap<Instant, std::function<void()>> planned_;
};

/// IPv4 and IPv6.
class Posix : public testing::TestWithParam<int> {
 protected:
  explicit Posix(const StackOptions& options = {true}) : stack_([this] { return bring(); }, options) {}
  ~Posix() override {
    for (const int fd : open_) (void)stack_.close(fd);
    EXPECT_EQ(stack_.sockets(), 0u);
    if (sim_ != nullptr) {
      EXPECT_EQ(sim_->ports.size(), 0u);
    }
  }

  virtual std::unique_ptr<Transport> bring() {
    auto sim = std::make_unique<SimTransport>(connections_);
    sim_ = sim.get();
    return sim;
  }
  [[nodiscard]] int family() const { return GetParam(); }
  [[nodiscard]] IpAddr here() const { return family() == AF_INET ? IpAddr::v4(127, 0, 0, 1) : *IpAddr::parse("::1"); }
  struct Name {
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  };
  Name name(uint16_t port) {
    Name n;
    write_address({here(), port}, family(), n.get(), &n.length);
    return n;
  }
  int socket(int flags = 0) {
    const auto fd = static_cast<int>(stack_.socket(family(), SOCK_STREAM | flags, 0));
    if (fd >= 0) open_.push_back(fd);
    return fd;
  }
  long close(int fd) {
    std::erase(open_, fd);
    return stack_.close(fd);
  }
  int listener(uint16_t port, int flags = 0) {
    const int fd = socket(flags);
    Name n = name(port);
    EXPECT_EQ(stack_.bind(fd, n.get(), n.length), 0);
    EXPECT_EQ(stack_.listen(fd, 8), 0);
    return fd;
  }
  long connect(int fd, uint16_t port) {
    Name n = name(port);
    return stack_.connect(fd, n.get(), n.length);
  }
  int accept(int fd, int flags = 0) {
    const auto got = static_cast<int>(stack_.accept4(fd, nullptr, nullptr, flags));
    if (got >= 0) open_.push_back(got);
    return got;
  }
  long write(int fd, const std::string& text, int flags = MSG_NOSIGNAL) { return write_text(stack_, fd, text, flags); }
  std::string read(int fd, size_t most = 4'096, int flags = 0) { return read_text(stack_, fd, most, flags); }
  /// A connection; the accepted end is second.
  std::pair<int, int> pair() {
    const int l = listener(7'000);
    const int a = socket();
    EXPECT_EQ(connect(a, 7'000), 0);
    const int b = accept(l);
    EXPECT_EQ(close(l), 0);
    return {a, b};
  }
  [[nodiscard]] Duration since(Instant start) const { return sim_->now() - start; }

  uint32_t connections_ = 64;
  SimTransport* sim_ = nullptr;
  Stack stack_;
  std::vector<int> open_;
};

}  // namespace millrace::posix
