// Urgent data: RFC 9293 3.8.5 and 3.10.7.4 sixth, RFC 6093.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Urgent, all_variants());

size_t left(Script& s, Handle c) { return s.ask(req::UrgentLeft{c})->bytes; }
bool told(Script& s, Handle c) { return (s.events(c) & kUrgent) != 0; }

TEST_P(Urgent, ThePeersUrgentDataIsSignalledAndStaysInTheStream) {  // MUST-31 to MUST-33, RFC 6093 3.2
  Script s(GetParam());
  const Handle c = s.server();
  EXPECT_EQ(left(s, c), 0u);
  s.in(ACK | PSH, seq(1), len(10), urg(4));
  s.expect(ACK, ack(11));
  EXPECT_TRUE(told(s, c));
  EXPECT_EQ(left(s, c), 4u);
  EXPECT_EQ(s.read(c, 3), 3u);
  EXPECT_EQ(left(s, c), 1u);
  EXPECT_EQ(s.read(c), 7u);
  EXPECT_EQ(left(s, c), 0u);
}

TEST_P(Urgent, APointerThatMovesOnIsSignalledAgainAndOneThatStaysIsNot) {  // MUST-32
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(10), urg(100));
  s.expect(ACK, ack(11));
  EXPECT_TRUE(told(s, c));
  s.in(ACK, seq(11), len(10), urg(90));
  EXPECT_FALSE(told(s, c)) << "the same end";
  s.in(ACK, seq(21), len(10), urg(60));
  EXPECT_FALSE(told(s, c)) << "an end in front of it";
  s.in(ACK, seq(31), len(10), urg(71));
  EXPECT_TRUE(told(s, c));
  EXPECT_EQ(left(s, c), 101u);
  s.skip();
}

TEST_P(Urgent, APointerWithoutDataCountsAndOneToWhatWasReadDoesNot) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), urg(5));
  EXPECT_TRUE(told(s, c));
  EXPECT_EQ(left(s, c), 5u);
  s.in(ACK, seq(1), len(10));
  EXPECT_EQ(s.read(c), 10u);
  EXPECT_EQ(left(s, c), 0u);
  s.in(ACK, seq(1), len(10), urg(5));  // again, and all of it is old
  EXPECT_FALSE(told(s, c));
  EXPECT_EQ(left(s, c), 0u);
  s.in(ACK, seq(11), len(1), urg(0));
  EXPECT_FALSE(told(s, c));
  s.skip();
}

TEST_P(Urgent, WhatTheProgramCallsUrgentIsPointedAt) {  // MUST-30
  Options o;
  o.tcp.rack = 0;  // no tail loss probe: the timeout sends the first segment again
  Script s(GetParam(), o);
  const Handle c = s.server();
  s.write(c, 50);
  s.expect(ACK, seq(1), len(50));
  EXPECT_EQ(s.try_write(c, 100, false, true).value_or(0), 100u);
  s.expect(ACK | URG, seq(51), len(100), urg(100));
  s.write(c, 10);
  s.expect(ACK, seq(151), len(10));
  s.advance(64);
  s.in(ACK, ack(51));
  s.mark();
  s.expect_after(264, ACK | URG, seq(51), len(100), urg(100));  // sent again, it is urgent still
  s.in(ACK, ack(161));
  s.write(c, 10);
  s.expect(ACK, seq(161), len(10));
}

TEST_P(Urgent, EverySegmentInFrontOfTheEndPointsAtIt) {
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  EXPECT_EQ(s.try_write(c, 2 * full + 30, false, true).value_or(0), 2 * full + 30);
  s.expect(ACK | URG, seq(1), len(full), urg(static_cast<uint16_t>(2 * full + 30)));
  s.expect(ACK | URG, seq(1 + full), len(full), urg(static_cast<uint16_t>(full + 30)));
  s.expect(ACK | URG, seq(1 + 2 * full), len(30), urg(30));
}

TEST_P(Urgent, ItIsToldOverAShutWindowToo) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, win(0));
  EXPECT_EQ(s.try_write(c, 100, false, true).value_or(0), 100u);
  s.expect_nothing();
  s.in(ACK, seq(1), len(10), win(0));
  s.expect(ACK | URG, seq(1), ack(11), len(0), urg(100));
}

TEST_P(Urgent, TooManyConnectionsWithUrgentDataAreCountedAndTheirDataStillFlows) {
  Options options;
  options.max_connections = 1'100;
  Script s(GetParam(), options);
  const Handle first = s.server();
  for (uint16_t i = 0; i < 1'030; ++i) {
    s.peer_port(static_cast<uint16_t>(20'000 + i));
    s.in(SYN, seq(0), s.offer());
    s.skip();
    s.in(ACK, len(10), urg(10));
    (void)s.accept(s.listener());
    s.skip();
  }
  EXPECT_EQ(s.counter("tcp.urgent_in"), 1'024u);
  EXPECT_EQ(s.counter("tcp.urgent_ignored"), 6u);
  EXPECT_EQ(s.try_write(first, 10, false, true).error(), Error::kNoBuffers);
}

}  // namespace
}  // namespace millrace::script
