// DatagramClient against a real worker with a UDP echo: both families, with device checksums and its own, over a link
// that may lose, repeat or spoil frames. And the window of numbered requests by itself.
#include "load/datagram_client.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "load/templated_datagrams.h"
#include "load/way.h"
#include "server.h"
#include "wire/ip_protocol.h"

namespace millrace::load {
namespace {

struct Variant {
  bool v6 = false;
  bool device_checksum = false;
};

std::string name_of(const ::testing::TestParamInfo<Variant>& info) {
  return std::string(info.param.v6 ? "V6" : "V4") + (info.param.device_checksum ? "DeviceSums" : "OwnSums");
}

class DatagramClientTest : public ::testing::TestWithParam<Variant>, protected Server {
 protected:
  DatagramClientTest() : Server(GetParam().v6, GetParam().device_checksum), source_(add_source(10)) {
    add_address();
    socket_ = ask(req::OpenDatagram{{server_, kPort}}).handle;
    std::array<pkt::Packet*, 16> announcements;
    for (size_t n = worker_->output(interface_, announcements, now_); n > 0; --n) cache_.free(announcements[n - 1]);
  }
  void make(uint32_t flows, uint32_t window, uint32_t size = 64) {
    DatagramSettings s;
    s.target = {server_, kPort};
    s.source = source_;
    s.next_hop = kServerMac;
    s.flows = flows;
    s.window = window;
    s.size = size;
    client_ = std::make_unique<DatagramClient>(s, runtime::FramePort{kClientMac, limits(), &cache_},
                                               [] { return uint64_t{0}; });
  }
  [[nodiscard]] const DatagramCounters& seen() const { return client_->counters(); }

  void to_client(pkt::Packet* p) {
    cross(*p);
    if (client_->input({&p, 1}) == 0) return;
    ++others_;
    cache_.free(p);
  }
  pkt::Packet* copy_of(const pkt::Packet& p) {
    pkt::Packet* copy = cache_.frame();
    std::memcpy(copy->append(p.len), p.data(), p.len);
    return copy;
  }
  void echo() {
    std::array<Message, 32> batch{};
    while (const auto taken = worker_->request(req::ReceiveBatch{socket_, batch, false}, now_)) {
      for (size_t i = 0; i < taken->bytes; ++i) batch[i].turn_around();
      (void)worker_->request(req::SendBatch{socket_, {batch.data(), taken->bytes}}, now_);
      batch = {};
    }
  }
  /// Requests to the server and its answers back. `fault` may spoil an answer; false: it is lost.
  void round(const std::function<bool(pkt::Packet&)>& fault = {}) {
    std::array<pkt::Packet*, 64> out;
    const size_t sent = client_->output(out);
    for (size_t k = 0; k < sent; ++k) {
      cross(*out[k]);
      worker_->input(interface_, {&out[k], 1}, now_);
    }
    echo();
    worker_->clear_events();
    const size_t answered = worker_->output(interface_, out, now_);
    for (size_t k = 0; k < answered; ++k) {
      if (fault && !fault(*out[k])) {
        cache_.free(out[k]);
      } else {
        to_client(out[k]);
      }
    }
  }
  [[nodiscard]] static size_t payload_at() { return 14 + (GetParam().v6 ? 40 : 20) + 8; }

  std::unique_ptr<DatagramClient> client_;
  IpAddr source_;
  Handle socket_{};
  int others_ = 0;
};

TEST_P(DatagramClientTest, EveryRequestOfEveryFlowIsAnsweredOnce) {
  for (const uint32_t size : {16u, 19u, 64u, 1400u}) {
    make(5, 8, size);
    for (int k = 0; k < 20; ++k) round();
    EXPECT_EQ(seen().answers, 20u * 5 * 8) << size;
    EXPECT_EQ(seen().wrong + seen().again + seen().lost + seen().bad_checksum + seen().no_packets, 0u) << size;
  }
  EXPECT_EQ(worker_->check(), "");
  for (const auto& c : worker_->counters()) {
    EXPECT_FALSE(c.name.find(".drop.") != std::string::npos && c.value != 0) << c.name;
  }
}

TEST_P(DatagramClientTest, AWrongByteAnywhereInThePayloadIsNoAnswer) {
  make(1, 1);
  for (const size_t at : {size_t{0}, size_t{7}, size_t{8}, size_t{63}}) {
    const uint64_t before = seen().answers;
    round([&](pkt::Packet& p) {
      p.data()[payload_at() + at] ^= std::byte{0x40};
      return true;
    });
    EXPECT_EQ(seen().answers, before);
    for (int k = 0; k < 2; ++k) client_->give_up_after(1);
  }
  // Where the device vouches for the sum only the comparison tells.
  EXPECT_EQ(GetParam().device_checksum ? seen().wrong : seen().bad_checksum, 4u);
  EXPECT_EQ(seen().lost, 4u);
}

TEST_P(DatagramClientTest, AnAnswerThatComesTwiceCountsOnce) {
  make(1, 4);
  round([&](pkt::Packet& p) {
    to_client(copy_of(p));
    return true;
  });
  EXPECT_EQ(seen().answers, 4u);
  EXPECT_EQ(seen().again, 4u);
}

// The door of a program that opens one socket and sends its probes nowhere.
class ProbeDoor final : public Door {
 public:
  Result<Reply> request(const Request& r) override {
    if (const auto* open = std::get_if<req::OpenDatagram>(&r)) port = open->local.port;
    Reply reply;
    reply.handle = {1, 1};
    return reply;
  }
  [[nodiscard]] Instant now() const override { return Instant{1'000'000'000}; }
  void wake_at(Instant) override {}
  void stop(int) override {}
  uint16_t port = 0;
};

TEST_P(DatagramClientTest, ALateAnswerToTheProbeIsNoFlowsHoweverManyThereAre) {
  Options o;
  o.target = {server_, kPort};
  o.connections = 65'536 - 1'024;
  Report report;
  ProbeDoor door;
  Net net(door);
  TemplatedDatagrams program(o, {[] { return uint64_t{0}; }, 1e9, {}}, report);
  program.attach({kClientMac, limits(), &cache_});
  program.start(net);
  ASSERT_NE(door.port, 0);
  const std::vector<std::byte> payload(64);
  for (int i = 0; i < 2; ++i) {
    Message m;
    m.data = payload;
    m.remote = {source_, door.port};
    ask(req::SendBatch{socket_, {&m, 1}});
    pkt::Packet* answer = nullptr;
    ASSERT_EQ(worker_->output(interface_, {&answer, 1}, now_), 1u);
    cross(*answer);
    EXPECT_EQ(program.input({&answer, 1}, now_), 1u) << "the stack's, whenever it comes";
    cache_.free(answer);
    program.tick(net);
  }
}

TEST_P(DatagramClientTest, WhatIsLostIsCountedAndAskedAnew) {
  make(2, 4);
  round([](pkt::Packet&) { return false; });
  round();
  EXPECT_EQ(seen().answers, 0u);  // the windows are full
  for (int k = 0; k < 11; ++k) client_->give_up_after(10);
  EXPECT_EQ(seen().lost, 8u);
  round();
  EXPECT_EQ(seen().answers, 8u);
}

TEST_P(DatagramClientTest, FramesOfOthersGoToTheStack) {
  make(1, 2);
  round([&](pkt::Packet& p) {
    p.data()[payload_at() - 5] ^= std::byte{1};  // the low byte of the destination port: 1024 becomes 1025
    return true;
  });
  EXPECT_EQ(others_, 2);
  EXPECT_EQ(seen().answers + seen().wrong, 0u);
}

TEST_P(DatagramClientTest, AnAnswerTellsTheWayBack) {
  make(1, 1);
  round([&](pkt::Packet& p) {
    const auto way = way_of(p, wire::kProtocolUdp, {server_, kPort}, 0);
    EXPECT_TRUE(way && way->next_hop == kServerMac && way->source == source_);
    EXPECT_FALSE(way_of(p, wire::kProtocolTcp, {server_, kPort}, 0));
    EXPECT_FALSE(way_of(p, wire::kProtocolUdp, {server_, kPort + 1}, 0));
    EXPECT_FALSE(way_of(p, wire::kProtocolUdp, {server_, kPort}, 1025));
    return true;
  });
}

INSTANTIATE_TEST_SUITE_P(All, DatagramClientTest,
                         ::testing::Values(Variant{}, Variant{.device_checksum = true}, Variant{.v6 = true},
                                           Variant{.v6 = true, .device_checksum = true}),
                         name_of);

TEST(EchoWindow, AnswersCountInAnyOrderAndOnce) {
  EchoWindow w;
  uint64_t clock = 100;
  for (int k = 0; k < 70; ++k) EXPECT_TRUE(w.sent([&] { return clock++; }));
  EXPECT_EQ(w.in_flight(), 70u);
  EXPECT_EQ(w.take(69), EchoWindow::Answer::kGood);
  EXPECT_EQ(w.take(69), EchoWindow::Answer::kAgain);
  EXPECT_EQ(w.take(0), EchoWindow::Answer::kTimed);
  EXPECT_EQ(w.timed_at(), 100u);
  EXPECT_EQ(w.take(64), EchoWindow::Answer::kGood);  // one is timed at a time
  EXPECT_EQ(w.take(70), EchoWindow::Answer::kNotAsked);
  EXPECT_EQ(w.in_flight(), 67u);
}

TEST(EchoWindow, ARequestASpanAgoIsLostWhenItsPlaceIsTaken) {
  EchoWindow w;
  const auto clock = [] { return uint64_t{0}; };
  EXPECT_TRUE(w.sent(clock));  // number 0 never comes back
  for (uint32_t k = 1; k < EchoWindow::kSpan; ++k) {
    EXPECT_TRUE(w.sent(clock));
    EXPECT_EQ(w.take(k), EchoWindow::Answer::kGood);
  }
  EXPECT_EQ(w.in_flight(), 1u);
  EXPECT_FALSE(w.sent(clock));
  EXPECT_EQ(w.in_flight(), 1u);
  EXPECT_EQ(w.take(0), EchoWindow::Answer::kAgain);
  EXPECT_EQ(w.take(EchoWindow::kSpan), EchoWindow::Answer::kTimed);
  EXPECT_EQ(w.in_flight(), 0u);
}

}  // namespace
}  // namespace millrace::load
