// Every rule of the observer against hand-made segments: the good conversation passes, each bad one is named.
#include "sim/observer.h"

#include <gtest/gtest.h>

namespace millrace::sim {
namespace {

constexpr uint32_t kIsnA = 1'000;
constexpr uint32_t kIsnB = 500'000;

class ObserverTest : public ::testing::Test {
 protected:
  ObserverTest() {
    ObserverRules rules;
    rules.prompt_acks = {true, true};
    observer = std::make_unique<Observer>(rules, [this](const std::string& what) {
      if (failure.empty()) failure = what;
    });
  }
  static Bytes syn_options() {
    return {2, 4, 0x05, 0xb4, 4, 2, 1, 1, 3, 3, 7, 0};  // MSS 1460, SACK, scale 7
  }
  Bytes segment(int from, uint32_t seq, uint32_t ack, uint8_t flags, size_t payload = 0, uint16_t window = 512,
                Bytes options = {}) {
    TcpSpec s;
    const Endpoint a{IpAddr::v4(10, 0, 0, 1), 1000};
    const Endpoint b{IpAddr::v4(10, 0, 0, 2), 2000};
    s.source = from == 0 ? a : b;
    s.destination = from == 0 ? b : a;
    s.seq = (from == 0 ? kIsnA : kIsnB) + seq;
    s.ack = (flags & kAck) != 0 ? (from == 0 ? kIsnB : kIsnA) + ack : 0;
    s.flags = flags;
    s.window = window;
    s.options = options;
    for (size_t i = 0; i < payload; ++i) s.payload.push_back(static_cast<uint8_t>(seq + i));
    return build_tcp(s);
  }
  void send(int from, const Bytes& frame) { observer->sent(from, frame, now); }
  void deliver(int to, const Bytes& frame) {
    Frame f;
    f.bytes = frame;
    observer->delivered(to, f, now);
  }
  void pass(int from, const Bytes& frame) {
    send(from, frame);
    deliver(1 - from, frame);
  }
  void handshake(Bytes options = syn_options()) {
    pass(0, segment(0, 0, 0, kSyn, 0, 60'000, options));
    pass(1, segment(1, 0, 1, kSyn | kAck, 0, 60'000, options));
    pass(0, segment(0, 1, 1, kAck));
    EXPECT_EQ(failure, "");
  }
  void expect_failure(const std::string& piece) { EXPECT_NE(failure.find(piece), std::string::npos) << failure; }
  static Bytes sack(std::initializer_list<std::pair<uint32_t, uint32_t>> blocks) {
    Bytes o{1, 1, 5, static_cast<uint8_t>(2 + 8 * blocks.size())};
    for (const auto& [left, right] : blocks) {
      o.resize(o.size() + 8);
      store32(&o[o.size() - 8], kIsnA + left);
      store32(&o[o.size() - 4], kIsnA + right);
    }
    return o;
  }

  std::string failure;
  Instant now{};
  std::unique_ptr<Observer> observer;
};

TEST_F(ObserverTest, AGoodConversationPasses) {
  handshake();
  pass(0, segment(0, 1, 1, kAck | kPsh, 100));
  pass(1, segment(1, 1, 101, kAck, 50));
  pass(0, segment(0, 101, 51, kAck | kFin));
  pass(1, segment(1, 51, 102, kAck | kFin));
  pass(0, segment(0, 102, 52, kAck));
  EXPECT_EQ(failure, "");
  EXPECT_EQ(observer->data_bytes_delivered(), 150u);
}

TEST_F(ObserverTest, AWrongChecksumIsNamed) {
  Bytes frame = segment(0, 0, 0, kSyn);
  frame.back() ^= 1;
  send(0, frame);
  expect_failure("checksum");
}

TEST_F(ObserverTest, DataBeforeTheHandshakeIsNamed) {
  pass(0, segment(0, 0, 0, kSyn, 0, 60'000, syn_options()));
  pass(1, segment(1, 0, 1, kSyn | kAck, 0, 60'000, syn_options()));
  send(1, segment(1, 1, 1, kAck, 10));
  expect_failure("before the connection is established");
}

TEST_F(ObserverTest, SendingBeyondTheWindowIsNamed) {
  handshake();
  pass(1, segment(1, 1, 1, kAck, 0, 512));
  send(0, segment(0, 1, 1, kAck, 1'460));
  EXPECT_EQ(failure, "");
  send(0, segment(0, 70'000, 1, kAck, 100));
  expect_failure("gap");
}

TEST_F(ObserverTest, TheWindowOfASynIsNotScaled) {
  pass(0, segment(0, 0, 0, kSyn, 0, 100, syn_options()));
  pass(1, segment(1, 0, 1, kSyn | kAck, 0, 1'000, syn_options()));
  pass(0, segment(0, 1, 1, kAck));
  send(0, segment(0, 1, 1, kAck, 1'001));
  expect_failure("the window ends at");
}

TEST_F(ObserverTest, AOneByteProbeMayExceedAClosedWindow) {
  pass(0, segment(0, 0, 0, kSyn, 0, 100, syn_options()));
  pass(1, segment(1, 0, 1, kSyn | kAck, 0, 0, syn_options()));
  pass(0, segment(0, 1, 1, kAck));
  send(0, segment(0, 1, 1, kAck, 1));
  EXPECT_EQ(failure, "");
}

TEST_F(ObserverTest, AcceptingBeyondOnesOwnWindowIsNamed) {
  pass(0, segment(0, 0, 0, kSyn, 0, 100, syn_options()));
  pass(1, segment(1, 0, 1, kSyn | kAck, 0, 0, syn_options()));
  pass(0, segment(0, 1, 1, kAck));
  pass(0, segment(0, 1, 1, kAck, 1));
  send(1, segment(1, 1, 2, kAck, 0, 0));
  expect_failure("beyond its advertised window");
}

TEST_F(ObserverTest, AcknowledgingWhatWasNotReceivedIsNamed) {
  handshake();
  send(0, segment(0, 1, 1, kAck, 100));  // lost
  send(1, segment(1, 1, 101, kAck));
  expect_failure("received 1");
}

TEST_F(ObserverTest, AShrinkingWindowIsNamed) {
  handshake();
  pass(1, segment(1, 1, 1, kAck, 0, 600));
  send(1, segment(1, 1, 1, kAck, 0, 599));
  expect_failure("shrinks");
}

TEST_F(ObserverTest, ExceedingTheMssIsNamed) {
  handshake();
  send(0, segment(0, 1, 1, kAck, 1'461));
  expect_failure("MSS");
}

TEST_F(ObserverTest, OtherBytesInARetransmissionAreNamed) {
  handshake();
  send(0, segment(0, 1, 1, kAck, 100));
  Bytes changed = segment(0, 1, 1, kAck, 100);
  TcpSpec s;
  s.source = {IpAddr::v4(10, 0, 0, 1), 1000};
  s.destination = {IpAddr::v4(10, 0, 0, 2), 2000};
  s.seq = kIsnA + 1;
  s.ack = kIsnB + 1;
  s.window = 512;
  s.payload = Bytes(100, 0xaa);
  send(0, build_tcp(s));
  expect_failure("other bytes");
}

TEST_F(ObserverTest, SackBlocksMustBeReceivedApartAndBeyondTheAck) {
  handshake();
  for (const uint32_t seq : {1u, 101u, 201u, 301u}) send(0, segment(0, seq, 1, kAck, 100));
  deliver(1, segment(0, 101, 1, kAck, 100));
  deliver(1, segment(0, 201, 1, kAck, 100));
  send(1, segment(1, 1, 1, kAck, 0, 512, sack({{101, 301}})));
  EXPECT_EQ(failure, "");
  send(1, segment(1, 1, 1, kAck, 0, 512, sack({{201, 301}, {101, 201}})));
  expect_failure("overlap or touch");
  failure.clear();
  send(1, segment(1, 1, 1, kAck, 0, 512, sack({{101, 401}})));
  expect_failure("never received");
  failure.clear();
  deliver(1, segment(0, 1, 1, kAck, 100));
  send(1, segment(1, 1, 101, kAck, 0, 512, sack({{201, 301}, {101, 150}})));
  expect_failure("at or before");
}

TEST_F(ObserverTest, ATimestampOfAnOutOfOrderSegmentMustNotBeEchoed) {
  const auto syn = [](uint32_t val, uint32_t ecr) {
    Bytes o{2, 4, 0x05, 0xb4};
    const Bytes ts = timestamp_option(val, ecr);
    o.insert(o.end(), ts.begin(), ts.end());
    return o;
  };
  pass(0, segment(0, 0, 0, kSyn, 0, 60'000, syn(10, 0)));
  pass(1, segment(1, 0, 1, kSyn | kAck, 0, 60'000, syn(900, 10)));
  pass(0, segment(0, 1, 1, kAck, 0, 60'000, timestamp_option(11, 900)));
  send(0, segment(0, 1, 1, kAck, 100, 60'000, timestamp_option(12, 900)));
  pass(0, segment(0, 101, 1, kAck, 100, 60'000, timestamp_option(20, 900)));
  send(1, segment(1, 1, 1, kAck, 0, 60'000, timestamp_option(901, 11)));
  EXPECT_EQ(failure, "");
  send(1, segment(1, 1, 1, kAck, 0, 60'000, timestamp_option(901, 20)));
  expect_failure("newer than");
}

TEST_F(ObserverTest, RetransmissionsMustBackOff) {
  handshake();
  const Bytes data = segment(0, 1, 1, kAck, 100);
  send(0, data);
  for (const int64_t at : {200, 600, 1'400}) {
    now = Instant() + milliseconds(at);
    send(0, data);
  }
  EXPECT_EQ(failure, "");
  now = Instant() + milliseconds(2'200);
  send(0, data);
  expect_failure("no back-off");
}

TEST_F(ObserverTest, EverySecondFullSegmentAndAllInTimeMustBeAcknowledged) {
  handshake();
  pass(0, segment(0, 1, 1, kAck, 1'460));
  observer->turn_end(1, now);
  EXPECT_EQ(failure, "");
  now = Instant() + milliseconds(60);
  observer->turn_end(1, now);
  expect_failure("overdue");
  failure.clear();
  now = Instant() + milliseconds(1);
  pass(0, segment(0, 1'461, 1, kAck, 1'460));
  observer->turn_end(1, now);
  expect_failure("two full segments");
}

TEST_F(ObserverTest, NothingFollowsAReset) {
  handshake();
  send(0, segment(0, 1, 1, kRst | kAck));
  send(0, segment(0, 1, 1, kAck));
  expect_failure("after a reset");
}

TEST_F(ObserverTest, FinDoesNotMove) {
  handshake();
  send(0, segment(0, 1, 1, kAck | kFin, 10));
  send(0, segment(0, 1, 1, kAck | kFin, 9));
  expect_failure("FIN moves");
}

}  // namespace
}  // namespace millrace::sim
