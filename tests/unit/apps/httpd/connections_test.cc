// How the HTTP server and the echo service treat connections: pieces, pipelining, back-pressure, ends, time limits.
#include "httpd_fixture.h"

namespace millrace::httpd {
namespace {

using Connections = HttpdTest;

TEST_F(Connections, ARequestMayComeByteByByte) {
  const uint32_t id = dial();
  const std::string text = get("/small", "Accept: */*\r\n");
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    say(id, text.substr(i, 1));
    ASSERT_EQ(door_.at(id).out, "") << "answered after " << i;
  }
  EXPECT_EQ(program_.http().busy(), 1u);
  EXPECT_EQ(ask(id, text.substr(text.size() - 1)).status, 200);
  EXPECT_EQ(program_.http().busy(), 0u);
}

TEST_F(Connections, EveryCutOfTwoRequestsGivesTwoAnswers) {
  const std::string text = get("/small") + get("/bytes/300");
  for (size_t cut = 1; cut < text.size(); ++cut) {
    const uint32_t id = dial();
    door_.feed(id, text.substr(0, cut));
    run();
    say(id, text.substr(cut));
    std::string out = door_.take_out(id);
    EXPECT_EQ(take_response(out).body.size(), 64u);
    EXPECT_EQ(take_response(out).body, pattern_text(0, 300));
    EXPECT_EQ(out, "") << cut;
  }
}

TEST_F(Connections, PipelinedRequestsAreAnsweredInOrderAndTogether) {
  const uint32_t id = dial();
  std::string text;
  for (int i = 0; i < 50; ++i) text += get("/small") + get("/bytes/" + std::to_string(i)) + get("/nothing");
  say(id, text);
  EXPECT_EQ(door_.at(id).writes.size(), 1u);
  std::string out = door_.take_out(id);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(take_response(out).body.size(), 64u);
    ASSERT_EQ(take_response(out).body, pattern_text(0, static_cast<uint64_t>(i)));
    ASSERT_EQ(take_response(out).status, 404);
  }
  EXPECT_EQ(out, "");
}

TEST_F(Connections, ManyPipelinedRequestsOverflowTheBatchUnharmed) {
  const uint32_t id = dial();
  std::string text;
  for (int i = 0; i < 2000; ++i) text += i % 3 == 0 ? get("/bytes/5000") : get("/small");
  say(id, text);
  std::string out = door_.take_out(id);
  size_t at = 0;
  for (int i = 0; i < 2000; ++i) {
    const size_t end = out.find("\r\n\r\n", at);
    ASSERT_NE(end, std::string::npos);
    at = end + 4 + (i % 3 == 0 ? 5000 : 64);
  }
  EXPECT_EQ(at, out.size());
}

TEST_F(Connections, NothingBehindACloseIsAnswered) {
  const uint32_t id = dial();
  say(id, get("/small") + get("/small", "Connection: close\r\n") + get("/nothing"));
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).status, 200);
  EXPECT_EQ(take_response(out).header("Connection"), "close");
  EXPECT_EQ(out, "");
  EXPECT_TRUE(door_.at(id).closed);
}

class Window : public HttpdTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(Window, AnyWriteSpaceGivesTheSameBytes) {
  const uint32_t id = dial();
  door_.at(id).space = 0;
  std::string text = get("/small") + get("/bytes/70000") + get("/") + get("/bytes/9000") + get("/small");
  say(id, text);
  EXPECT_EQ(door_.at(id).out, "");
  for (int i = 0; i < 200'000 && door_.at(id).write_armed; ++i) {
    door_.allow(id, GetParam());
    run();
  }
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).body.size(), 64u);
  EXPECT_TRUE(take_response(out).body == pattern_text(0, 70'000));
  EXPECT_EQ(take_response(out).status, 200);
  EXPECT_TRUE(take_response(out).body == pattern_text(0, 9'000));
  EXPECT_EQ(take_response(out).body.size(), 64u);
  EXPECT_EQ(out, "");
  EXPECT_EQ(program_.http().busy(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Window, ::testing::Values(1, 7, 100, 1460, 65'536, 1'000'000));

TEST_F(Connections, AClientThatDoesNotReadIsNotRead) {
  const uint32_t id = dial();
  door_.at(id).space = 100'000;
  for (int i = 0; i < 100; ++i) door_.feed(id, get("/bytes/50000"));
  run();
  for (int i = 0; i < 100; ++i) door_.feed(id, get("/small") + std::string(2000, '\n'));
  run();
  EXPECT_EQ(door_.at(id).in.size(), 100u) << "further requests must wait in the socket";
  EXPECT_EQ(door_.at(id).out.size(), 100'000u);
  door_.at(id).space = SIZE_MAX / 2;
  door_.allow(id, 1);
  run();
  std::string out = door_.take_out(id);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(take_response(out).body.size(), 50'000u);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(take_response(out).body.size(), 64u);
}

TEST_F(Connections, WantOfMemoryInTheStackDelaysAResponseButDoesNotLoseIt) {
  const uint32_t id = dial();
  door_.at(id).starved = true;
  door_.feed(id, get("/small") + get("/bytes/100000"));
  for (int i = 0; i < 5; ++i) (void)door_.turn(program_);
  EXPECT_EQ(door_.at(id).out, "");
  door_.at(id).starved = false;
  run();
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).body.size(), 64u);
  EXPECT_EQ(take_response(out).body.size(), 100'000u);
}

TEST_F(Connections, ALongBodyLetsOthersHaveTheirTurn) {
  const uint32_t bulk = dial();
  const uint32_t small = dial();
  door_.feed(bulk, get("/bytes/100000000"));
  door_.feed(small, get("/small"));
  (void)door_.turn(program_);
  EXPECT_LT(door_.at(bulk).out.size(), 8u << 20);
  EXPECT_NE(door_.at(small).out, "");
  run();
  std::string out = door_.take_out(bulk);
  EXPECT_TRUE(take_response(out).body == pattern_text(0, 100'000'000));
}

TEST_F(Connections, AClientThatSendsWithoutEndIsCutOffAfterItsShareOfATurn) {
  const uint32_t greedy = dial();
  const size_t size = 20 << 20;
  door_.feed(greedy, "PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  for (size_t i = 0; i < 20; ++i) door_.feed(greedy, std::string(size / 20, 'x'));
  (void)door_.turn(program_);
  EXPECT_FALSE(door_.at(greedy).in.empty());
  run();
  std::string out = door_.take_out(greedy);
  EXPECT_EQ(take_response(out).status, 200);
  EXPECT_EQ(program_.http().busy(), 0u);
}

TEST_F(Connections, ThePeersEndClosesAnIdleConnection) {
  const uint32_t id = dial();
  door_.peer_end(id);
  run();
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_EQ(program_.http().connections(), 0u);
}

TEST_F(Connections, ThePeersEndBehindARequestStillGetsTheAnswer) {
  const uint32_t id = dial();
  door_.at(id).space = 10;
  door_.feed(id, get("/bytes/20000"));
  door_.peer_end(id);
  run();
  EXPECT_FALSE(door_.at(id).closed);
  door_.allow(id, 1 << 20);
  run();
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).body.size(), 20'000u);
  EXPECT_TRUE(door_.at(id).closed);
}

TEST_F(Connections, AResetInTheMiddleOfEverythingFreesTheConnection) {
  const uint32_t reading = dial();
  say(reading, "GET / HT");
  const uint32_t writing = dial();
  door_.at(writing).space = 10;
  say(writing, get("/bytes/100000") + get("/small"));
  EXPECT_EQ(program_.http().busy(), 2u);
  door_.peer_reset(reading);
  door_.peer_reset(writing);
  run();
  EXPECT_EQ(program_.http().connections(), 0u);
  EXPECT_EQ(program_.http().busy(), 0u);
  EXPECT_EQ(ask(dial(), get("/small")).status, 200);
}

TEST_F(Connections, DataThatCameBeforeTheAcceptIsServed) {
  const uint32_t id = door_.dial(80);
  door_.feed(id, get("/small"));
  run();
  EXPECT_NE(door_.at(id).out, "");
}

TEST_F(Connections, AnIdleOneIsClosedAfterItsTime) {
  const uint32_t id = dial();
  EXPECT_EQ(ask(id, get("/small")).status, 200);
  door_.pass(program_, seconds(60));
  EXPECT_FALSE(door_.at(id).closed);
  door_.pass(program_, seconds(30));
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_FALSE(door_.at(id).aborted);
  EXPECT_EQ(door_.wake(), kNever) << "no connection, no ticks";
}

TEST_F(Connections, AHalfRequestIsAnsweredWithATimeoutHoweverItTrickles) {
  const uint32_t id = dial();
  say(id, "GET / HTTP/1.1\r\n");
  for (int i = 0; i < 20; ++i) {
    door_.feed(id, "X: y\r\n");
    door_.pass(program_, seconds(1));
  }
  std::string out = door_.take_out(id);
  EXPECT_EQ(take_response(out).status, 408);
  door_.pass(program_, seconds(20));
  EXPECT_TRUE(door_.at(id).closed);
}

TEST_F(Connections, AClientThatStopsReadingIsAborted) {
  const uint32_t id = dial();
  door_.at(id).space = 10'000;
  say(id, get("/bytes/1000000"));
  door_.pass(program_, seconds(90));
  EXPECT_TRUE(door_.at(id).aborted);
  EXPECT_EQ(program_.http().busy(), 0u);
}

TEST_F(Connections, ALingeringOneIsClosedAfterAWhile) {
  const uint32_t id = dial();
  EXPECT_EQ(ask(id, "rubbish\r\n\r\n").status, 501);
  EXPECT_FALSE(door_.at(id).closed);
  door_.pass(program_, seconds(10));
  EXPECT_TRUE(door_.at(id).closed);
}

TEST_F(Connections, TheDateMovesOn) {
  const uint32_t id = dial();
  const std::string first = ask(id, get("/small")).header("Date");
  struct tm read {};
  ASSERT_NE(strptime(first.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &read), nullptr) << first;
  EXPECT_NEAR(static_cast<double>(timegm(&read)), static_cast<double>(time(nullptr)), 2.0);
}

TEST_F(Connections, StopClosesEverything) {
  const uint32_t id = dial();
  const uint32_t echo = dial(7);
  say(id, "GET / HT");
  Net net(door_);
  program_.stop(net);
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_TRUE(door_.at(echo).closed);
}

TEST_F(Connections, EchoSendsBackWhatCame) {
  const uint32_t id = dial(7);
  say(id, "hello ");
  say(id, "world");
  EXPECT_EQ(door_.take_out(id), "hello world");
  door_.peer_end(id);
  run();
  EXPECT_TRUE(door_.at(id).closed);
  EXPECT_EQ(program_.echo().connections(), 0u);
}

TEST_F(Connections, EchoHoldsBackWhileThePeerDoesNotRead) {
  const uint32_t id = dial(7);
  door_.at(id).space = 5;
  for (const char* word : {"one two ", "three ", "four"}) door_.feed(id, word);
  run();
  EXPECT_EQ(door_.at(id).out, "one t");
  door_.feed(id, " five");
  run();
  EXPECT_EQ(door_.at(id).in.size(), 1u);
  door_.allow(id, 100);
  run();
  EXPECT_EQ(door_.take_out(id), "one two three four five");
}

}  // namespace
}  // namespace millrace::httpd
