// The load generator against a server made of strings: what it sends, counts and measures.
#include "load/generator.h"

#include <gtest/gtest.h>

#include <set>

#include "../fake_door.h"

namespace millrace::load {
namespace {

uint64_t fake_now = 0;  // nanoseconds are cycles here

class GeneratorTest : public ::testing::Test {
 protected:
  GeneratorTest() {
    options_.target = *Endpoint::parse("198.18.0.2:80");
    options_.warmup = milliseconds(100);
    options_.duration = seconds(1);
    set_time(seconds(1000));
  }
  void set_time(Duration since) {
    door_.set_now(Instant(since.ns()));
    fake_now = static_cast<uint64_t>(since.ns());
  }
  void start() {
    generator_ = std::make_unique<Generator>(options_, Machine{[] { return fake_now; }, 1e9, {}}, report_);
    Net net(door_);
    generator_->start(net);
  }
  /// Connections that the program opened and nobody has answered yet.
  void establish_all() {
    for (uint32_t id = 1; id <= door_.sockets(); ++id) {
      if (door_.at(id).connecting && !door_.at(id).closed) door_.establish(id);
    }
  }
  /// Answers every whole HTTP request that was sent; returns how many.
  size_t answer_all(const std::string& response) {
    size_t answered = 0;
    for (uint32_t id = 1; id <= door_.sockets(); ++id) {
      std::string& out = door_.at(id).out;
      std::string text;
      for (size_t end = out.find("\r\n\r\n"); end != std::string::npos; end = out.find("\r\n\r\n")) {
        EXPECT_TRUE(out.starts_with("GET /small HTTP/1.1\r\nHost: 198.18.0.2:80\r\n")) << out;
        out.erase(0, end + 4);
        text += response;
        ++answered;
      }
      if (!text.empty()) door_.feed(id, text);
    }
    return answered;
  }
  /// Lets the program run for `time` in steps, answering in each.
  void live(Duration time, Duration step = milliseconds(1), bool answer = true) {
    for (const Instant end = door_.now() + time; door_.now() < end && !door_.stopped();) {
      for (int turns = 0; turns < 4 && door_.turn(*generator_); ++turns) {
      }
      establish_all();
      if (answer) answer_all(kGood);
      for (int turns = 0; turns < 4 && door_.turn(*generator_); ++turns) {
      }
      set_time(Duration((door_.now() + step).ns()));
    }
  }
  uint64_t errors(ErrorKind kind) const { return report_.errors[static_cast<size_t>(kind)]; }
  const Report& report() const { return report_; }

  inline static const std::string kGood = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
  Options options_;
  test::FakeDoor door_;
  Report report_;
  std::unique_ptr<Generator> generator_;
};

TEST_F(GeneratorTest, OpensAllConnectionsThenAsksOnEach) {
  options_.connections = 100;
  start();
  live(milliseconds(1), milliseconds(1), false);
  live(milliseconds(20), milliseconds(1), false);
  EXPECT_EQ(door_.sockets(), 100u);
  for (uint32_t id = 1; id <= 100; ++id) EXPECT_NE(door_.at(id).out, "") << id;
}

TEST_F(GeneratorTest, AClosedLoopKeepsOneRequestInFlightAndCountsResponses) {
  options_.connections = 10;
  start();
  live(seconds(3));
  ASSERT_TRUE(door_.stopped());
  EXPECT_EQ(door_.status(), 0);
  EXPECT_TRUE(report().good()) << report().text(options_);
  // A step of a millisecond answers each connection's request; about 1,000 steps are measured.
  EXPECT_NEAR(static_cast<double>(report().responses), 10'000, 200);
  EXPECT_NEAR(report().seconds, 1.0, 0.01);
  EXPECT_EQ(report().latency.count(), report().responses);
  EXPECT_EQ(report().body_bytes, report().responses * 5);
}

TEST_F(GeneratorTest, APipelineKeepsSoManyRequestsInFlight) {
  options_.connections = 3;
  options_.pipeline = 8;
  start();
  live(milliseconds(5), milliseconds(1), false);
  EXPECT_EQ(answer_all(kGood), 24u);
  door_.run(*generator_);
  EXPECT_EQ(answer_all(kGood), 24u);
}

TEST_F(GeneratorTest, OutstandingLimitsTheWholeAndVisitsAllConnections) {
  options_.connections = 50;
  options_.outstanding = 5;
  start();
  live(milliseconds(10), milliseconds(1), false);
  size_t in_flight = 0;
  for (uint32_t id = 1; id <= 50; ++id) in_flight += static_cast<size_t>(!door_.at(id).out.empty());
  EXPECT_EQ(in_flight, 5u);
  std::set<uint32_t> visited;
  for (int i = 0; i < 200; ++i) {
    for (uint32_t id = 1; id <= 50; ++id) {
      if (!door_.at(id).out.empty()) visited.insert(id);
    }
    EXPECT_EQ(answer_all(kGood), 5u);
    (void)door_.turn(*generator_);
  }
  EXPECT_GT(visited.size(), 45u);
}

TEST_F(GeneratorTest, AScheduleStartsRequestsAtItsRate) {
  options_.connections = 10;
  options_.rate = 2000;
  start();
  live(seconds(3));
  EXPECT_TRUE(report().good()) << report().text(options_);
  EXPECT_NEAR(static_cast<double>(report().responses), 2000, 20);
  EXPECT_EQ(report().late, 0u);
}

TEST_F(GeneratorTest, OnAScheduleAStallCountsForEveryRequestThatWasDue) {
  options_.connections = 10;
  options_.rate = 1000;
  start();
  live(milliseconds(600));
  live(milliseconds(400), milliseconds(1), false);  // the server sleeps for 400 of the 1,000 measured milliseconds
  live(seconds(3));
  const auto ms = [&](double p) { return static_cast<double>(report().latency.percentile(p)) / 1e6; };
  EXPECT_GT(report().responses, 900u);
  EXPECT_LT(ms(50), 10);
  EXPECT_GT(ms(90), 250) << "requests that were due during the stall must count from when they were due";
  EXPECT_NEAR(ms(100), 400, 20);
}

TEST_F(GeneratorTest, TooHighARateIsReported) {
  options_.connections = 1;
  options_.rate = 100'000;
  start();
  live(seconds(3));
  EXPECT_GT(report().late, 90'000u);
}

struct Bad {
  const char* name;
  std::string response;
  ErrorKind kind;
};

class Faults : public GeneratorTest, public ::testing::WithParamInterface<Bad> {};

TEST_P(Faults, AreCountedByKindAndTheConnectionIsOpenedAgain) {
  options_.connections = 2;
  start();
  live(milliseconds(200));
  ASSERT_EQ(report().error_count(), 0u);
  EXPECT_EQ(answer_all(GetParam().response), 2u);
  door_.run(*generator_, 100);
  EXPECT_EQ(errors(GetParam().kind), 2u) << report().text(options_);
  live(seconds(2));
  EXPECT_TRUE(door_.stopped());
  EXPECT_FALSE(report().good());
  EXPECT_EQ(door_.status(), 1);
  EXPECT_GT(report().responses, 500u) << "the new connections carry on";
  EXPECT_EQ(report().error_count(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Each, Faults,
    ::testing::Values(Bad{"status", "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhello", ErrorKind::kStatus},
                      Bad{"length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", ErrorKind::kLength},
                      Bad{"content", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellO", ErrorKind::kContent},
                      Bad{"syntax", "rubbish\r\n\r\n", ErrorKind::kSyntax},
                      Bad{"unasked", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloextra", ErrorKind::kSyntax}),
    [](const auto& test) { return test.param.name; });

TEST_F(GeneratorTest, ResetsAndEarlyEndsAreCounted) {
  options_.connections = 3;
  start();
  live(milliseconds(200));
  door_.peer_reset(1);
  door_.peer_end(2);
  live(seconds(2));
  EXPECT_EQ(errors(ErrorKind::kReset), 1u);
  EXPECT_EQ(errors(ErrorKind::kEnded), 1u);
}

TEST_F(GeneratorTest, ARequestThatIsNeverAnsweredIsCounted) {
  options_.connections = 3;
  start();
  live(milliseconds(200));
  door_.at(2).closed = true;  // the fake drops what is fed to it from now on
  live(seconds(2));
  EXPECT_EQ(errors(ErrorKind::kUnanswered), 1u);
}

TEST_F(GeneratorTest, ALongAnswerWhoseBytesKeepComingIsNotUnanswered) {
  start();
  live(milliseconds(200));
  const std::string answer = kGood.substr(0, kGood.size() - 1);
  door_.feed(1, answer.substr(0, answer.size() - 3));
  for (size_t at = answer.size() - 3; at < answer.size(); ++at) {
    live(milliseconds(300), milliseconds(1), false);
    door_.feed(1, answer.substr(at, 1));
  }
  live(seconds(2), milliseconds(1), false);
  EXPECT_TRUE(door_.stopped());
  EXPECT_EQ(errors(ErrorKind::kUnanswered), 0u);
}

TEST_F(GeneratorTest, AnAnswerThatStopsHalfwayIsUnanswered) {
  start();
  live(milliseconds(200));
  door_.feed(1, kGood.substr(0, kGood.size() - 1));
  live(seconds(2), milliseconds(1), false);
  EXPECT_TRUE(door_.stopped());
  EXPECT_EQ(errors(ErrorKind::kUnanswered), 1u);
}

TEST_F(GeneratorTest, AServerThatStopsAnsweringEndsTheRun) {
  options_.patience = milliseconds(500);
  options_.duration = seconds(60);
  start();
  live(milliseconds(200));
  live(seconds(3), milliseconds(1), false);
  EXPECT_TRUE(door_.stopped());
  EXPECT_EQ(report().failure, "the server stopped answering");
}

TEST_F(GeneratorTest, ConnectionsThatDoNotOpenEndTheRun) {
  options_.connections = 5;
  options_.patience = seconds(2);
  start();
  for (int i = 0; i < 3000 && !door_.stopped(); ++i) {
    (void)door_.turn(*generator_);
    set_time(Duration((door_.now() + milliseconds(1)).ns()));
  }
  EXPECT_EQ(report().failure, "only 0 of 5 connections could be opened in time");
  EXPECT_EQ(door_.status(), 1);
}

TEST_F(GeneratorTest, OneRequestAConnectionOpensNewOnes) {
  options_.connections = 4;
  options_.requests_per_connection = 1;
  start();
  live(seconds(2));
  EXPECT_TRUE(report().good()) << report().text(options_);
  EXPECT_GT(report().connects, 500u);
  EXPECT_NEAR(static_cast<double>(report().connects), static_cast<double>(report().responses), 10);
}

TEST_F(GeneratorTest, SourcesAndPortsAreUsedInTurn) {
  options_.connections = 8;
  options_.sources = {*IpAddr::parse("198.18.0.3"), *IpAddr::parse("198.18.0.4")};
  options_.fixed_ports = true;
  start();
  live(milliseconds(10), milliseconds(1), false);
  std::set<std::string> locals;
  for (uint32_t id = 1; id <= 8; ++id) locals.insert(door_.at(id).local.to_string());
  EXPECT_EQ(locals.size(), 8u);
  EXPECT_TRUE(locals.contains("198.18.0.3:1024") && locals.contains("198.18.0.4:1027"));
}

TEST_F(GeneratorTest, AConnectRateIsKept) {
  options_.connections = 1000;
  options_.connect_rate = 1000;
  start();
  live(milliseconds(500), milliseconds(1), false);
  EXPECT_NEAR(static_cast<double>(door_.sockets()), 500, 20);
}

TEST_F(GeneratorTest, EchoSurvivesAnyPiecesAndWriteSpace) {
  options_.mode = Mode::kEcho;
  options_.size = 1000;
  options_.pipeline = 3;
  options_.connections = 2;
  start();
  for (int i = 0; i < 30'000 && !door_.stopped(); ++i) {
    (void)door_.turn(*generator_);
    establish_all();
    for (uint32_t id = 1; id <= door_.sockets(); ++id) {
      auto& socket = door_.at(id);
      if (socket.space == SIZE_MAX) socket.space = 100;
      const std::string out = door_.take_out(id).substr(0);
      if (out.empty()) continue;
      door_.feed(id, out.substr(0, out.size() / 2 + 1));
      if (out.size() / 2 + 1 < out.size()) door_.feed(id, out.substr(out.size() / 2 + 1));
      door_.allow(id, 97);
    }
    set_time(Duration((door_.now() + microseconds(100)).ns()));
  }
  EXPECT_TRUE(report().good()) << report().text(options_);
  EXPECT_GT(report().responses, 1000u);
}

TEST_F(GeneratorTest, AWrongEchoIsFound) {
  options_.mode = Mode::kEcho;
  start();
  live(milliseconds(5), milliseconds(1), false);
  std::string out = door_.take_out(1);
  out[10] ^= 1;
  door_.feed(1, out);
  (void)door_.turn(*generator_);
  EXPECT_EQ(errors(ErrorKind::kContent), 1u);
}

TEST_F(GeneratorTest, TheReportReadsWell) {
  options_.connections = 2;
  start();
  live(seconds(2));
  const std::string text = report().text(options_);
  EXPECT_NE(text.find("198.18.0.2:80 http, 2 connections, /small, closed loop"), std::string::npos) << text;
  EXPECT_NE(text.find("errors: none"), std::string::npos) << text;
  const std::string json = report().json(options_);
  EXPECT_NE(json.find("\"requests_per_s\""), std::string::npos) << json;
}

}  // namespace
}  // namespace millrace::load
