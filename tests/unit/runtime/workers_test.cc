// Two processes' worth of workers in one: hosts with several workers each, every one in a thread of its own, joined by
// a wire in memory that spreads frames over queues as it likes. Built with the thread sanitizer it shows that nothing
// is written by two workers; in every build, that data arrives whatever queue it takes.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "conf/parse.h"
#include "runtime/host.h"
#include "runtime/spsc_ring.h"

namespace millrace::runtime {
namespace {

constexpr size_t kMost = 1'600;
constexpr uint16_t kPort = 7;
constexpr uint32_t kConnections = 24;  // of each client worker
constexpr uint32_t kRounds = 20;
const IpAddr kServer = IpAddr::v4(10, 0, 0, 1);
const IpAddr kClient = IpAddr::v4(10, 0, 0, 2);

struct Frame {
  uint16_t length = 0;
  std::array<std::byte, kMost> bytes;
};
using Ring = SpscRing<Frame>;

/// From each worker of one host to each queue of the other.
struct Wire {
  Wire(uint32_t from, uint32_t to) : to_queues(to) {
    for (uint32_t i = 0; i < from * to; ++i) rings.push_back(std::make_unique<Ring>(128));
  }
  Ring& ring(uint32_t from, uint32_t to) { return *rings[size_t{from} * to_queues + to]; }
  uint32_t to_queues;
  std::vector<std::unique_ptr<Ring>> rings;
};

class WireDevice final : public Device {
 public:
  WireDevice(Wire& in, uint32_t senders, Wire& out, uint32_t queue, MacAddr mac, const Resources& resources)
      : in_(in),
        senders_(senders),
        out_(out),
        queue_(queue),
        mac_(mac),
        rng_(queue + 1),
        cache_(*resources.frames, *resources.references) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return mac_; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*> out) override {
    size_t n = 0;
    for (uint32_t from = 0; from < senders_ && n < out.size(); ++from) {
      Ring& ring = in_.ring(from, queue_);
      const size_t taken = ring.peek(out.size() - n, [&](const Frame& frame) {
        pkt::Packet* p = cache_.frame();
        if (p == nullptr) return;
        std::memcpy(p->append(frame.length), frame.bytes.data(), frame.length);
        out[n++] = p;
      });
      ring.finish(taken);
    }
    return n;
  }
  size_t transmit(std::span<pkt::Packet* const> frames) override {
    for (size_t i = 0; i < frames.size(); ++i) {
      // Flows wander: a NIC whose table is changed all the time.
      if (rng_.chance(1, 64)) salt_ = static_cast<uint32_t>(rng_.next());
      Ring& ring = out_.ring(queue_, salt_ % out_.to_queues);
      ring.take_back([](Frame&) {});
      if (ring.room() == 0) return i;
      Frame frame;
      frame.length = static_cast<uint16_t>(pkt::copy_out(*frames[i], 0, frame.bytes));
      ring.put(frame);
      ring.publish();
      cache_.free(frames[i]);
    }
    return frames.size();
  }

 private:
  Wire& in_;
  uint32_t senders_;
  Wire& out_;
  uint32_t queue_;
  std::string name_ = "wire";
  MacAddr mac_;
  link::DeviceLimits limits_{};
  base::Rng rng_;
  uint32_t salt_ = 0;
  pkt::PacketCache cache_;
};

class WireDriver final : public Driver {
 public:
  WireDriver(Wire& in, uint32_t senders, Wire& out, MacAddr mac) : in_(in), senders_(senders), out_(out), mac_(mac) {}
  [[nodiscard]] std::string_view name() const override { return "wire"; }
  Outcome<void> prepare(const conf::Config&, std::span<const conf::Interface>) override { return {}; }
  Outcome<std::vector<std::unique_ptr<Device>>> open_queues(const conf::Config&, const conf::Interface&,
                                                            std::span<const Resources> workers) override {
    std::vector<std::unique_ptr<Device>> out;
    for (uint32_t i = 0; i < workers.size(); ++i) {
      out.push_back(std::make_unique<WireDevice>(in_, senders_, out_, i, mac_, workers[i]));
    }
    return out;
  }

 private:
  Wire& in_;
  uint32_t senders_;
  Wire& out_;
  MacAddr mac_;
};

class Echo final : public Program {
 public:
  explicit Echo(std::atomic<uint32_t>& served) : served_(served) {}
  void start(Net& net) override { listener_ = *net.listen({IpAddr::any_v4(), kPort}); }
  void event(Net& net, const Event& event) override {
    if ((event.mask & kAcceptable) != 0) {
      while (const auto handle = net.accept(listener_)) {
        served_.fetch_add(1, std::memory_order_relaxed);
        echo(net, *handle);
      }
      return;
    }
    echo(net, event.handle);
  }

 private:
  void echo(Net& net, Handle handle) {
    std::array<std::byte, 4'096> buffer;
    for (;;) {
      const auto n = net.read(handle, buffer);
      if (!n) return;
      if (*n == 0) return net.close(handle);
      (void)net.write(handle, {buffer.data(), *n});  // a message is far smaller than the send buffer
    }
  }
  std::atomic<uint32_t>& served_;
  Handle listener_{};
};

class Asker final : public Program {
 public:
  Asker(uint32_t worker, std::atomic<uint32_t>& done, std::atomic<uint32_t>& wrong)
      : rng_(worker), done_(done), wrong_(wrong) {}
  void start(Net& net) override {
    conns_.resize(kConnections);
    for (uint32_t i = 0; i < kConnections; ++i) conns_[i].handle = *net.connect({kServer, kPort}, i);
  }
  void event(Net& net, const Event& event) override {
    Conn& c = conns_[event.user];
    if ((event.mask & kError) != 0) {
      ++wrong_;
      ++done_;
      return;
    }
    if ((event.mask & kConnected) != 0) ask(net, c);
    std::array<std::byte, 4'096> buffer;
    while (const auto n = net.read(c.handle, buffer)) {
      if (*n == 0) break;
      for (size_t i = 0; i < *n; ++i) {
        if (c.got >= c.asked.size() || buffer[i] != c.asked[c.got++]) ++wrong_;
      }
      if (c.got == c.asked.size()) ask(net, c);
    }
  }

 private:
  struct Conn {
    Handle handle{};
    std::vector<std::byte> asked;
    size_t got = 0;
    uint32_t rounds = 0;
  };
  void ask(Net& net, Conn& c) {
    if (c.rounds++ == kRounds) {
      net.close(c.handle);
      ++done_;
      return;
    }
    c.got = 0;
    c.asked.resize(1 + rng_.below(3'000));
    for (std::byte& b : c.asked) b = static_cast<std::byte>(rng_.next());
    if (net.write(c.handle, c.asked) != c.asked.size()) ++wrong_;
  }
  base::Rng rng_;
  std::atomic<uint32_t>& done_;
  std::atomic<uint32_t>& wrong_;
  std::vector<Conn> conns_;
};

// Ends the loop of worker 0, and so all of them, when everything has been answered.
class Stopper final : public Program {
 public:
  Stopper(std::unique_ptr<Program> inner, const std::atomic<uint32_t>& done, uint32_t wanted)
      : inner_(std::move(inner)), done_(done), wanted_(wanted) {}
  void start(Net& net) override {
    inner_->start(net);
    net.wake_at(net.now() + milliseconds(5));
  }
  void event(Net& net, const Event& event) override { inner_->event(net, event); }
  void tick(Net& net) override {
    if (done_ >= wanted_) return net.stop(0);
    net.wake_at(net.now() + milliseconds(5));
  }

 private:
  std::unique_ptr<Program> inner_;
  const std::atomic<uint32_t>& done_;
  uint32_t wanted_;
};

conf::Config config_of(const IpAddr& addr, uint32_t workers) {
  conf::Config config;
  conf::Interface interface;
  interface.name = "wire";
  interface.driver = "wire";
  interface.addresses = {{addr, 24}};
  config.interfaces = {interface};
  config.workers = workers;
  config.control = "none";
  config.worker.frames = 8'192 * workers;
  config.worker.references = 1'024 * workers;
  config.worker.max_connections = 1'024 * workers;
  config.worker.max_half_open = 1'024 * workers;
  config.worker.max_time_wait = 1'024 * workers;
  config.worker.seed = 11;  // ports and keys, and so who serves whom, are the same in every run
  config.loop.spin_us = 20;
  config.loop.nap_us = 50;  // the wire has no descriptor to sleep on
  return config;
}

void run(uint32_t server_workers, uint32_t client_workers) {
  Wire up(client_workers, server_workers);
  Wire down(server_workers, client_workers);
  DriverRegistry server_drivers;
  server_drivers.add(std::make_unique<WireDriver>(up, client_workers, down, MacAddr{{2, 0, 0, 0, 0, 1}}));
  DriverRegistry client_drivers;
  client_drivers.add(std::make_unique<WireDriver>(down, server_workers, up, MacAddr{{2, 0, 0, 0, 0, 2}}));
  HostOptions quiet;
  quiet.quiet = true;
  auto server = Host::open(config_of(kServer, server_workers), server_drivers, quiet);
  ASSERT_TRUE(server) << server.error().to_string();
  auto client = Host::open(config_of(kClient, client_workers), client_drivers, quiet);
  ASSERT_TRUE(client) << client.error().to_string();

  const uint32_t wanted = client_workers * kConnections;
  std::atomic<uint32_t> done{0};
  std::atomic<uint32_t> wrong{0};
  std::vector<std::atomic<uint32_t>> served(server_workers);
  std::vector<std::unique_ptr<Program>> servers;
  std::vector<std::unique_ptr<Program>> clients;
  for (uint32_t i = 0; i < server_workers; ++i) servers.push_back(std::make_unique<Echo>(served[i]));
  for (uint32_t i = 0; i < client_workers; ++i) clients.push_back(std::make_unique<Asker>(i, done, wrong));
  servers[0] = std::make_unique<Stopper>(std::move(servers[0]), done, wanted);
  clients[0] = std::make_unique<Stopper>(std::move(clients[0]), done, wanted);
  std::thread other([&] { EXPECT_EQ((*server)->run(servers), 0); });
  EXPECT_EQ((*client)->run(clients), 0);
  other.join();
  EXPECT_EQ(done, wanted);
  EXPECT_EQ(wrong, 0u);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < server_workers; ++i) {
    EXPECT_GT(served[i], 0u) << "worker " << i << " serves nobody";
    sum += served[i];
  }
  EXPECT_EQ(sum, wanted);
}

// Joins a group, waits until all have, says its numbers to it and hears what everybody says.
class Member final : public Program {
 public:
  static constexpr uint32_t kAll = 3;
  static constexpr uint32_t kSaid = 40;  // by each
  struct Shared {
    std::atomic<uint32_t> joined{0};
    std::atomic<uint32_t> done{0};
    std::atomic<uint32_t> wrong{0};
  };
  Member(uint32_t worker, Shared& shared) : worker_(worker), shared_(shared) {}
  void start(Net& net) override {
    give_up_ = net.now() + seconds(60);
    socket_ = *net.open_datagram({IpAddr::any_v4(), kPort});
    const auto joined = net.join_group(socket_, kGroup);
    EXPECT_TRUE(joined) << describe(joined ? Error::kIo : joined.error());
    ++shared_.joined;
    net.wake_at(net.now() + milliseconds(1));
  }
  void event(Net& net, const Event&) override {
    std::array<std::byte, 8> room;
    while (const auto m = net.receive_from(socket_, room)) {
      const auto said = std::to_integer<uint32_t>(m->data[0]) * kSaid + std::to_integer<uint32_t>(m->data[1]);
      if (m->data.size() != 2 || said >= heard_.size() || heard_[said]++ != 0) ++shared_.wrong;
      if (++count_ == heard_.size()) ++shared_.done;
    }
  }
  void tick(Net& net) override {
    if (shared_.joined == kAll && sent_ < kSaid) {
      const std::byte words[] = {static_cast<std::byte>(worker_), static_cast<std::byte>(sent_)};
      Message m;
      m.data = words;
      m.remote = {kGroup, kPort};
      if (net.send_batch(socket_, {&m, 1})) ++sent_;
    }
    if (worker_ == 0 && (shared_.done == kAll || net.now() > give_up_)) return net.stop(0);
    net.wake_at(net.now() + milliseconds(1));
  }

 private:
  const IpAddr kGroup = IpAddr::v4(239, 1, 2, 3);
  uint32_t worker_;
  Shared& shared_;
  Handle socket_{};
  uint32_t sent_ = 0;
  uint32_t count_ = 0;
  Instant give_up_{};
  std::array<uint8_t, kAll * kSaid> heard_{};
};

// RFC 1112 6.1, over the rings between threads.
TEST(Workers, MembersOfAGroupHearEachOtherOnceWhoeverRunsThem) {
  Wire in(1, Member::kAll);
  Wire out(Member::kAll, 1);
  DriverRegistry drivers;
  drivers.add(std::make_unique<WireDriver>(in, 1, out, MacAddr{{2, 0, 0, 0, 0, 1}}));
  HostOptions quiet;
  quiet.quiet = true;
  auto host = Host::open(config_of(kServer, Member::kAll), drivers, quiet);
  ASSERT_TRUE(host) << host.error().to_string();
  Member::Shared shared;
  std::vector<std::unique_ptr<Program>> programs;
  for (uint32_t i = 0; i < Member::kAll; ++i) programs.push_back(std::make_unique<Member>(i, shared));
  EXPECT_EQ((*host)->run(programs), 0);
  EXPECT_EQ(shared.done, Member::kAll);
  EXPECT_EQ(shared.wrong, 0u);
}

TEST(Workers, OneServesOne) { run(1, 1); }
TEST(Workers, TwoServeOne) { run(2, 1); }
TEST(Workers, FourServeTwoWhateverTheQueues) { run(4, 2); }

TEST(Workers, ADriverForOneWorkerRefusesMore) {
  class Single final : public Driver {
   public:
    [[nodiscard]] std::string_view name() const override { return "wire"; }
    Outcome<void> prepare(const conf::Config&, std::span<const conf::Interface>) override { return {}; }
    Outcome<std::unique_ptr<Device>> open(const conf::Config&, const conf::Interface&, const Resources&) override {
      return failure("not reached");
    }
  };
  DriverRegistry drivers;
  drivers.add(std::make_unique<Single>());
  const auto host = Host::open(config_of(kServer, 2), drivers, {});
  ASSERT_FALSE(host);
  EXPECT_EQ(host.error().to_string().find("the driver 'wire' of interface wire serves one worker, not 2"), 0u);
}

}  // namespace
}  // namespace millrace::runtime
