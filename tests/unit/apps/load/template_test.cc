// TemplateClient against a real worker with an echo program: both families, with and without timestamps and device
// checksums, over a link that may lose, repeat or spoil frames.
#include "load/template_client.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "server.h"
#include "wire/tcp.h"

namespace millrace::load {
namespace {

struct Variant {
  bool v6 = false;
  bool timestamps = true;
  bool device_checksum = false;
};

std::string name_of(const ::testing::TestParamInfo<Variant>& info) {
  return std::string(info.param.v6 ? "V6" : "V4") + (info.param.timestamps ? "Timestamps" : "Plain") +
         (info.param.device_checksum ? "DeviceSums" : "OwnSums");
}

class TemplateTest : public ::testing::TestWithParam<Variant>, protected Server, public TemplateClient::User {
 protected:
  TemplateTest() : Server(GetParam().v6, GetParam().device_checksum) {
    for (int k = 0; k < 3; ++k) sources_.push_back(add_source(10 + k));
    add_address();
    listener_ = ask(req::Listen{{server_, kPort}}).handle;
  }

  void make(uint32_t connections, const std::string& request = "sixteen bytes ok") {
    TemplateSettings s;
    s.target = {server_, kPort};
    s.sources = sources_;
    s.next_hop = kServerMac;
    s.connections = connections;
    s.request = request;
    s.timestamps = GetParam().timestamps;
    client_ = std::make_unique<TemplateClient>(s, runtime::FramePort{kClientMac, limits(), &cache_}, *this);
    got_.assign(connections, "");
    for (uint32_t i = 0; i < connections; ++i) client_->open(i);
  }

  /// One frame that goes over the link.
  void pass(pkt::Packet* p, bool to_server) {
    if (fault_ && !fault_(*p, to_server)) {
      cache_.free(p);
      return;
    }
    ++passed_;
    cross(*p);
    if (to_server) {
      worker_->input(interface_, {&p, 1}, now_);
    } else if (client_->input({&p, 1}, now_) != 0) {
      ++others_;
      cache_.free(p);
    }
  }
  void serve() {
    std::byte buffer[4096];
    const auto seen = worker_->events();
    const std::vector<Event> events(seen.begin(), seen.end());
    worker_->clear_events();
    for (const Event& e : events) {
      if (e.handle == listener_) {
        while (const auto c = worker_->request(req::Accept{listener_}, now_)) {
          accepted_.push_back(c->handle);
          echo(c->handle, buffer);
        }
      } else if ((e.mask & (kReadable | kPeerClosed)) != 0) {
        echo(e.handle, buffer);
      }
    }
  }
  void echo(Handle h, std::span<std::byte> buffer) {
    while (const auto n = worker_->request(req::Receive{h, buffer, false}, now_)) {
      if (n->bytes == 0) return (void)worker_->request(req::Close{h}, now_);
      if (silent_) continue;
      (void)worker_->request(req::Send{h, buffer.first(n->bytes)}, now_);
    }
  }
  /// A millisecond of both ends' lives.
  void turn() {
    std::array<pkt::Packet*, 64> out;
    for (int round = 0; round < 8; ++round) {
      const size_t sent = client_->output(out, now_);
      for (size_t k = 0; k < sent; ++k) pass(out[k], true);
      serve();
      const size_t answered = worker_->output(interface_, out, now_);
      for (size_t k = 0; k < answered; ++k) pass(out[k], false);
    }
    client_->sweep(now_);
    now_ = now_ + milliseconds(1);
    worker_->advance(now_);
  }
  void turns(int n) {
    for (int k = 0; k < n; ++k) turn();
  }

  void opened(uint32_t i) override {
    ++opened_;
    if (ask_at_once_) client_->request(i);
  }
  void received(uint32_t i, std::string_view bytes) override {
    got_[i] += bytes;
    if (got_[i].size() % 16 == 0 && ask_again_ > 0) {
      --ask_again_;
      client_->request(i);
    }
  }
  void closed(uint32_t) override { ++closed_; }
  void broken(uint32_t, ErrorKind why) override { broken_.insert(why); }

  std::unique_ptr<TemplateClient> client_;
  std::vector<IpAddr> sources_;
  Handle listener_{};
  std::vector<Handle> accepted_;
  std::function<bool(pkt::Packet&, bool)> fault_;  // false: the frame is lost
  std::vector<std::string> got_;
  std::multiset<ErrorKind> broken_;
  uint64_t passed_ = 0;
  int opened_ = 0;
  int closed_ = 0;
  int others_ = 0;
  int ask_again_ = 0;
  bool ask_at_once_ = true;
  bool silent_ = false;
};

TEST_P(TemplateTest, EveryConnectionAsksAndIsAnswered) {
  ask_again_ = 1000;
  make(100);
  turns(30);
  EXPECT_EQ(opened_, 100);
  uint64_t bytes = 0;
  for (const std::string& text : got_) {
    bytes += text.size();
    for (size_t at = 0; at < text.size(); at += 16) EXPECT_EQ(text.substr(at, 16), "sixteen bytes ok");
  }
  EXPECT_EQ(bytes, 1100u * 16);
  EXPECT_EQ(client_->counters().sum(), 0u);
  EXPECT_TRUE(broken_.empty());
  EXPECT_EQ(worker_->check(), "");
  for (const auto& c : worker_->counters()) {
    const bool drop = c.name.find(".drop.") != std::string::npos;
    EXPECT_FALSE(drop && c.value != 0) << c.name;
  }
}

TEST_P(TemplateTest, ConnectionsEndOnBothSides) {
  make(30);
  turns(5);
  for (uint32_t i = 0; i < 30; ++i) client_->close(i);
  turns(5);
  EXPECT_EQ(closed_, 30);
  EXPECT_EQ(worker_->sockets().size(), 1u);  // the listener
  EXPECT_EQ(client_->counters().sum(), 0u);
}

TEST_P(TemplateTest, AnAnswerIsAcknowledgedByTheNextRequestOrAfterADelay) {
  ask_again_ = 20;
  uint64_t to_server = 0;
  fault_ = [&](pkt::Packet&, bool up) { return (to_server += up ? 1 : 0) > 0 || !up; };
  make(1);
  turns(30);
  EXPECT_EQ(got_[0].size(), 21u * 16);
  EXPECT_EQ(to_server, 1u + 21);  // the SYN and requests, none of them alone an acknowledgment
  turns(60);
  EXPECT_EQ(to_server, 1u + 21 + 1);
  EXPECT_EQ(client_->counters().sum(), 0u);
}

TEST_P(TemplateTest, AClosedConnectionOpensAgain) {
  make(1);
  turns(3);
  client_->close(0);
  turns(3);
  client_->open(0);
  turns(3);
  EXPECT_EQ(opened_, 2);
  EXPECT_EQ(got_[0].size(), 32u);
}

TEST_P(TemplateTest, LostFramesAreSentAgainAndCounted) {
  uint32_t n = 0;
  fault_ = [&](pkt::Packet&, bool) { return ++n % 7 != 0; };
  ask_again_ = 200;
  make(10);
  turns(8000);
  uint64_t bytes = 0;
  for (const std::string& text : got_) bytes += text.size();
  EXPECT_EQ(bytes, 210u * 16);
  EXPECT_GT(client_->counters().resent, 0u);
  EXPECT_TRUE(broken_.empty());
}

TEST_P(TemplateTest, RepeatedFramesAreDeliveredOnce) {
  ask_again_ = 50;
  fault_ = [&](pkt::Packet& p, bool to_server) {
    if (to_server) return true;
    pkt::Packet* copy = cache_.frame();
    std::memcpy(copy->append(p.len), p.data(), p.len);
    copy->flags = GetParam().device_checksum ? pkt::kRxL4ChecksumNone : 0;
    if (client_->input({&copy, 1}, now_) != 0) cache_.free(copy);  // ARP, ND
    return true;
  };
  make(5);
  turns(60);
  uint64_t bytes = 0;
  for (const std::string& text : got_) bytes += text.size();
  EXPECT_EQ(bytes, 55u * 16);
  EXPECT_GT(client_->counters().duplicates, 0u);
}

/// Where the client itself checks sums; a device that says good is believed.
class OwnChecksumTest : public TemplateTest {};

TEST_P(OwnChecksumTest, SpoiledFramesAreNotTaken) {
  uint32_t n = 0;
  fault_ = [&](pkt::Packet& p, bool to_server) {
    if (!to_server && ++n % 5 == 0) p.data()[p.len - 1] ^= std::byte{1};
    return true;
  };
  ask_again_ = 40;
  make(3);
  turns(20'000);
  uint64_t bytes = 0;
  for (const std::string& text : got_) bytes += text.size();
  EXPECT_EQ(bytes, 43u * 16);
  EXPECT_TRUE(broken_.empty());
  EXPECT_GT(client_->counters().bad_checksum, 0u);
}

TEST_P(TemplateTest, AServerThatRefusesIsNamed) {
  ask(req::Close{listener_});
  make(4);
  turns(3);
  EXPECT_EQ(broken_.count(ErrorKind::kRefused), 4u);
}

TEST_P(TemplateTest, AServerThatIsSilentTimesOut) {
  fault_ = [](pkt::Packet&, bool) { return false; };
  make(2);
  turns(5000);
  EXPECT_EQ(broken_.count(ErrorKind::kTimedOut), 2u);
  EXPECT_EQ(client_->counters().resent, 2u * 6);
}

TEST_P(TemplateTest, AResetEndsTheConnection) {
  silent_ = true;
  make(3);
  turns(3);
  ASSERT_EQ(accepted_.size(), 3u);
  ask(req::Abort{accepted_[1]});
  turns(3);
  EXPECT_EQ(broken_.count(ErrorKind::kReset), 1u);
  EXPECT_EQ(broken_.size(), 1u);
}

TEST_P(TemplateTest, AServerThatClosesIsAnsweredWithFin) {
  silent_ = true;
  make(1);
  turns(3);
  ask(req::Close{accepted_[0]});
  turns(10);
  EXPECT_EQ(broken_.count(ErrorKind::kEnded), 1u);
  EXPECT_EQ(closed_, 1);
}

TEST_P(TemplateTest, WhatIsNotItsOwnGoesToTheStack) {
  make(3);
  turns(2);
  TemplateSettings other;
  other.target = {server_, 8};
  other.sources = sources_;
  other.next_hop = kServerMac;
  other.request = "x";
  TemplateClient stranger(other, runtime::FramePort{kClientMac, limits(), &cache_}, *this);
  others_ = 0;  // announcements of the address
  stranger.open(0);
  std::array<pkt::Packet*, 4> out;
  ASSERT_EQ(stranger.output(out, now_), 1u);
  pass(out[0], true);
  ASSERT_EQ(worker_->output(interface_, out, now_), 1u);  // a reset from port 8
  pass(out[0], false);
  EXPECT_EQ(others_, 1);
}

INSTANTIATE_TEST_SUITE_P(Variants, TemplateTest,
                         ::testing::Values(Variant{}, Variant{.timestamps = false}, Variant{.v6 = true},
                                           Variant{.v6 = true, .timestamps = false}, Variant{.device_checksum = true},
                                           Variant{.v6 = true, .device_checksum = true}),
                         name_of);

INSTANTIATE_TEST_SUITE_P(Variants, OwnChecksumTest,
                         ::testing::Values(Variant{}, Variant{.timestamps = false}, Variant{.v6 = true},
                                           Variant{.v6 = true, .timestamps = false}),
                         name_of);

}  // namespace
}  // namespace millrace::load
