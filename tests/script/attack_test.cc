// What a peer, or somebody who forges its segments, can make the stack spend or believe: each script shows the bound.
// Others stand where their subject is: SACK in sack_limits_test.cc, SYN floods and slow readers in rare_test.cc, tiny
// segment sizes in handshake_test.cc, acknowledgments of what was never sent in data_test.cc.
#include <algorithm>

#include "flight.h"

namespace millrace::script {
namespace {

SCRIPTS(Attack, plain_variants());

// RFC 5961 3.2, 4.2, 5.2 and 7: one answer in half a second, whatever is forged and however much of it.
TEST_P(Attack, AConnectionAnswersForgedSegmentsTwiceASecond) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, len(10));
  s.skip();
  size_t answers = 0;
  for (int ms = 0; ms < 2'000; ms += 10) {
    s.in(RST, seq(500));
    s.in(SYN, seq(700), s.offer());
    s.in(SYN | ACK, seq(900), s.offer());
    s.in(ACK, seq(11), ack(50'000));            // of data never sent
    s.in(ACK, seq(11), ack(1u - 10'000'000u));  // older than any window
    s.in(ACK, seq(2'000'000'000), len(100));    // far beyond the window
    s.in(ACK, seq(2'500'000'000), len(100));    // far below it
    s.in(ACK, seq(3), ack(1));                  // a bare ACK of old
    answers += s.skip();
    s.advance(10);
  }
  EXPECT_GE(answers, 3U);
  EXPECT_LE(answers, 4U);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.read(c), 10U);
}

// The side channel of CVE-2016-5696: a right guess about one connection showed in how many challenges others still got.
TEST_P(Attack, ChallengesOfOneConnectionCannotBeSeenInThoseOfAnother) {
  constexpr uint16_t kOwn = 200;  // the attacker's connections
  Options o;
  o.max_connections = 512;
  const auto answered = [&](bool guess_is_right) {
    Script s(GetParam(), o);
    s.server();
    for (uint16_t i = 0; i < kOwn; ++i) {
      s.peer_port(static_cast<uint16_t>(41'000 + i));
      s.in(SYN, seq(0), s.offer());
      s.in(ACK);
      (void)s.accept(s.listener());
      s.skip();
    }
    s.peer_port(40'000);
    for (int i = 0; i < 5'000; ++i) s.in(RST, seq(guess_is_right ? 500 : 2'000'000'000));
    s.skip();
    size_t n = 0;
    for (uint16_t i = 0; i < kOwn; ++i) {
      s.peer_port(static_cast<uint16_t>(41'000 + i));
      s.in(RST, seq(500));
      n += s.skip();
    }
    return n;
  };
  EXPECT_EQ(answered(true), kOwn);
  EXPECT_EQ(answered(false), kOwn);
}

// Two ends that disagree and answer each other's answers: the loop dies.
TEST_P(Attack, AcksThatAnswerAcksGoNoRound) {
  Script s(GetParam());
  s.server();
  s.in(ACK, ack(70'000));
  size_t answers = s.skip();
  for (int i = 0; i < 1'000; ++i) {
    s.advance(1);
    s.in(ACK, ack(70'000));
    answers += s.skip();
  }
  EXPECT_LE(answers, 4U);
}

// Data of old is reported each time, since its sender may need to know (RFC 2883 4): that is no stray.
TEST_P(Attack, RetransmissionsAreAnsweredEachTime) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(100));
  s.skip();
  for (int i = 0; i < 10; ++i) {
    s.in(ACK, seq(1), len(100));
    EXPECT_EQ(s.skip(), 1U);
  }
  EXPECT_EQ(s.read(c), 100U);
  s.skip();
}

// A byte in every second place: the runs that a segment may have to walk past, and what they hold, are bounded.
TEST_P(Attack, OutOfOrderRunsAreBounded) {
  Options o;
  o.frames = 12'000;
  Script s(GetParam(), o);
  SocketOptions large;
  large.receive_buffer = 4 << 20;
  const Handle c = s.server(large);
  constexpr uint32_t kSegments = 3'000;
  for (uint32_t i = 0; i < kSegments; ++i) s.in(ACK, seq(2 + 2 * i), len(1));
  s.skip();
  EXPECT_EQ(s.info().tcp.out_of_order, 1'024U);
  EXPECT_EQ(s.counter("tcp.drop.reassembly_full"), kSegments - 1'024);
  for (uint32_t at = 0; at < 3'000; at += 1'000) {  // the gaps and all that waits
    s.in(ACK, seq(1 + at), len(1'000));
    s.skip();
  }
  EXPECT_EQ(s.info().tcp.out_of_order, 0U);
  EXPECT_EQ(s.read(c), 3'000U);
  s.skip();
}

// Segments that arrive in order and are not read are charged with what they occupy, a byte each or not.
TEST_P(Attack, OneByteSegmentsHoldNoMoreThanTheBuffer) {
  Options o;
  o.frames = 4'000;
  Script s(GetParam(), o);
  SocketOptions small;
  small.receive_buffer = 20'000;
  const Handle c = s.server(small);
  uint32_t taken = 0;
  for (uint32_t i = 0; i < 5'000; ++i) {
    s.in(ACK, len(1));
    taken = s.info().receive_queue;
  }
  s.skip();
  EXPECT_EQ(taken, 5'000U);
  EXPECT_LE(s.info().tcp.receive_charge, 2 * small.receive_buffer + 4'096);
  EXPECT_EQ(s.read(c), 5'000U);
  s.skip();
}

// RFC 3465 2: bytes count, not acknowledgments.
TEST_P(Attack, DividedAcknowledgmentsOpenTheWindowNoFurther) {
  const auto window_after = [&](uint32_t step) {
    Script s(GetParam());
    const Handle c = s.server();
    s.write(c, 10 * s.full());
    s.skip();
    for (uint32_t at = step; at <= 10 * s.full(); at += step) {
      s.in(ACK, ack(1 + at));
      s.skip();
    }
    return s.info().tcp.cwnd;
  };
  Script s(GetParam());
  const uint32_t honest = window_after(2 * s.full());
  EXPECT_LE(window_after(10), honest);
}

// RFC 5681 3.2: duplicates let out what they stand for, and no more than was in flight.
TEST_P(Attack, DuplicateAcksLetOutNoMoreThanWasInFlight) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 200 * s.full());
  s.skip();
  const uint32_t before = s.info().tcp.flight;
  const uint64_t again = s.counter("tcp.retransmits");
  for (int i = 0; i < 5'000; ++i) {
    s.in(ACK, ack(1));
    s.skip();
  }
  EXPECT_LE(s.info().tcp.flight, 2 * before + 3 * s.full());
  EXPECT_LE(s.counter("tcp.retransmits") - again, 2U);
}

// RFC 2018 8: a peer may give up what it reported; after a timeout nothing of it is believed.
TEST_P(Attack, WhatThePeerReportedAndGaveUpIsSentAgain) {
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t end = 1 + 5 * s.full();
  s.write(c, end - 1);
  s.skip();
  s.in(ACK, ack(1), sack({{1 + s.full(), end}}));
  s.advance(3'000);
  s.skip();
  uint32_t at = 1 + s.full();  // only the first had been kept
  for (int i = 0; i < 5 && at < end; ++i) {
    s.in(ACK, ack(at));
    s.advance(200'000);
    ASSERT_FALSE(s.sent().empty());
    EXPECT_EQ(*s.sent().front().seq, at);
    s.skip();
    at += s.full();
  }
  s.in(ACK, ack(end));
  EXPECT_EQ(s.info().send_queue, 0U);
  s.skip();
}

// RFC 6429 3: a window that stays shut pins a closed socket's data for eight probes.
TEST_P(Attack, AShutWindowKeepsAnOrphanForEightProbes) {
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, win(0));
  s.write(c, 1'000);
  s.close(c);
  for (int i = 0; i < 8; ++i) {
    for (int ms = 0; s.sent().empty() && ms < 300'000; ms += 100) s.advance(100);
    ASSERT_EQ(s.skip(), 1U);
    s.in(ACK, win(0));
  }
  EXPECT_EQ(s.state(), "FIN-WAIT-1");
  s.advance(300'000);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.counter("tcp.timed_out"), 1U);
  s.skip();
}

// RFC 6429 3: with memory nearly gone even a socket that is open does not wait longer.
TEST_P(Attack, AShutWindowIsGivenUpWhenBlocksRunOut) {
  Script s(GetParam(), few_blocks());
  const Handle c = greedy_server(s);
  s.in(ACK, win(0));
  while (s.try_write(c, 60'000)) continue;
  for (int i = 0; i < 8; ++i) {
    for (int ms = 0; s.sent().empty() && ms < 300'000; ms += 100) s.advance(100);
    ASSERT_EQ(s.skip(), 1U);
    EXPECT_EQ(s.state(), "ESTABLISHED");
    s.in(ACK, win(0));
  }
  s.advance(300'000);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
  EXPECT_LT(s.worker().blocks_in_use(), 2U);
  s.skip();
}

TEST_P(Attack, AUserTimeoutBoundsAShutWindow) {  // RFC 5482 3
  Script s(GetParam());
  SocketOptions patient;
  patient.user_timeout = seconds(10);
  const Handle c = s.server(patient);
  s.in(ACK, win(0));
  s.write(c, 100);
  for (int ms = 0; ms < 30'000; ms += 100) {
    s.advance(100);
    if (s.skip() > 0) s.in(ACK, win(0));
  }
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
}

}  // namespace
}  // namespace millrace::script
