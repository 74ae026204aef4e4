// Trace on a door that answers when the test says so.
#include "ping/trace.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>

namespace millrace::ping {
namespace {

const IpAddr kTarget = IpAddr::v4(192, 0, 2, 1);
const IpAddr kFirst = IpAddr::v4(10, 0, 0, 1);
const IpAddr kSecond = IpAddr::v4(10, 0, 1, 1);

class TraceDoor final : public Door {
 public:
  Result<Reply> request(const Request& r) override {
    Reply reply;
    if (std::holds_alternative<req::OpenDatagram>(r)) {
      reply.handle = {1, 1};
      return reply;
    }
    if (const auto* send = std::get_if<req::SendBatch>(&r)) {
      const Message& m = send->messages[0];
      hops.push_back(m.hop_limit);
      sequences.push_back(
          static_cast<uint16_t>(std::to_integer<int>(m.data[6]) << 8 | std::to_integer<int>(m.data[7])));
      reply.bytes = 1;
      return reply;
    }
    if (const auto* take = std::get_if<req::TakeError>(&r); take != nullptr && !errors.empty()) {
      *take->into = errors.front();
      errors.pop_front();
      return reply;
    }
    if (const auto* receive = std::get_if<req::ReceiveBatch>(&r); receive != nullptr && !answers.empty()) {
      Message& m = receive->messages[0];
      const uint16_t sequence = answers.front();
      answers.pop_front();
      std::memset(m.into.data(), 0, 8);
      m.into[6] = static_cast<std::byte>(sequence >> 8);
      m.into[7] = static_cast<std::byte>(sequence);
      m.data = m.into.first(8);
      m.remote = {kTarget, 0};
      reply.bytes = 1;
      return reply;
    }
    return fail(Error::kWouldBlock);
  }
  [[nodiscard]] Instant now() const override { return time; }
  void wake_at(Instant when) override { wake = when; }
  void stop(int s) override { status = s; }

  std::vector<int> hops;
  std::vector<uint16_t> sequences;
  std::deque<DatagramError> errors;
  std::deque<uint16_t> answers;
  Instant time{1'000'000'000};
  Instant wake{};
  int status = -1;
};

class TraceTest : public testing::Test {
 protected:
  TraceTest() {
    Options o;
    o.target = kTarget;
    o.wait = seconds(1);
    trace_ = std::make_unique<Trace>(o, [this](const std::string& line) { lines_.push_back(line); });
    trace_->start(net_);
  }
  void wait() {
    door_.time = door_.wake;
    trace_->tick(net_);
  }
  void expired(const IpAddr& router, uint16_t sequence) {
    door_.errors.push_back({{kTarget, 0}, router, static_cast<uint8_t>(Error::kHostUnreachable), 0, true, sequence});
    trace_->event(net_, {{1, 1}, 0, kError});
  }
  void answer(uint16_t sequence) {
    door_.answers.push_back(sequence);
    trace_->event(net_, {{1, 1}, 0, kReadable});
  }
  [[nodiscard]] std::string last() const { return lines_.back(); }

  TraceDoor door_;
  Net net_{door_};
  std::vector<std::string> lines_;
  std::unique_ptr<Trace> trace_;
};

TEST_F(TraceTest, ALateRoutersAnswerCountsForNoOtherHop) {
  wait();
  wait();
  wait();  // nobody answered three times
  EXPECT_EQ(last(), " 1  *");
  EXPECT_EQ(door_.hops, (std::vector<int>{1, 1, 1, 2}));
  const uint16_t asked = door_.sequences.back();
  expired(kFirst, door_.sequences[1]);
  EXPECT_EQ(last(), " 1  *") << "the second hop is still open";
  EXPECT_EQ(door_.hops.size(), 4u);
  expired(kSecond, asked);
  EXPECT_EQ(last().substr(0, 14), " 2  10.0.1.1  ");
  EXPECT_EQ(door_.hops.back(), 3);
  expired(kSecond, asked);
  EXPECT_EQ(door_.hops.back(), 3) << "twice said";
  answer(asked);
  EXPECT_EQ(door_.status, -1);
  answer(door_.sequences.back());
  EXPECT_EQ(door_.status, 0);
}

TEST_F(TraceTest, AnAnswerToAnEarlierTryOfTheHopCountsWithItsOwnTime) {
  wait();
  door_.time = door_.time + milliseconds(500);
  expired(kFirst, door_.sequences[0]);
  EXPECT_EQ(last(), " 1  10.0.0.1  1500.000 ms");
  EXPECT_EQ(door_.hops.back(), 2);
}

}  // namespace
}  // namespace millrace::ping
