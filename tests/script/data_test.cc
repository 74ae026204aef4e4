// Data in both directions: RFC 9293 3.8.6.3 (when to acknowledge), 3.7.4 (Nagle), RFC 5681 4.2, RFC 2018, RFC 2883.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(Data, all_variants());
SCRIPTS(DataSack, sack_variants());

SocketOptions with_nagle() {
  SocketOptions o;
  o.no_delay = false;
  return o;
}

// Past the segments that are acknowledged at once while a connection is young.
void settle_down(Script& s, Handle c) {
  for (int i = 0; i < 16; ++i) {
    s.in(ACK, len(s.full()));
    s.skip();
    (void)s.read(c);
    s.skip();
  }
  s.advance(1'000);
  s.skip();
  s.mark();
}

TEST_P(Data, InOrderDataIsReadAndAcknowledged) {  // RFC 9293 3.10.7.4 seventh
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.in(ACK | PSH, seq(1), len(500));
  s.expect(ACK, seq(1), ack(501), len(0));
  EXPECT_EQ(s.events(c), static_cast<uint32_t>(kReadable));
  EXPECT_EQ(s.read(c, 200), 200u);
  EXPECT_EQ(s.read(c, 4'000), 300u);
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Data, WrittenDataGoesOutInFullSegmentsWithPshOnTheLast) {  // RFC 9293 3.9.1.2
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  s.write(c, 2 * full + 100);
  s.expect(ACK, seq(1), ack(1), len(full), psh(false));
  s.expect(ACK, seq(1 + full), len(full), psh(false));
  s.expect(ACK | PSH, seq(1 + 2 * full), len(100));
}

TEST_P(Data, LargeWriteIsOneFrameWhereTheDeviceCuts) {
  Script s(GetParam());
  const Handle c = s.server();
  s.skip();
  const size_t before = s.frames();
  s.write(c, 10 * s.full());
  EXPECT_EQ(s.expect_data(1, 10 * s.full() + 1), 10u);
  EXPECT_EQ(s.frames() - before, s.variant().tso ? 1u : 10u);
}

TEST_P(Data, InitialWindowIsTenSegments) {  // RFC 6928 2
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 30 * s.full());
  EXPECT_EQ(s.expect_data(1, 10 * s.full() + 1), 10u);
  s.expect_nothing();
}

TEST_P(Data, SlowStartDoublesTheWindow) {  // RFC 5681 3.1 (2)
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t full = s.full();
  s.write(c, 60 * full);
  s.expect_data(1, 10 * full + 1);
  s.advance(20);
  for (uint32_t i = 2; i <= 10; i += 2) s.in(ACK, ack(i * full + 1));
  s.expect_data(10 * full + 1, 30 * full + 1);
  s.expect_nothing();
}

TEST_P(Data, SegmentsOutOfOrderWaitForTheGap) {  // RFC 9293 3.10.7.4 SHLD-31, RFC 5681 4.2
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.in(ACK, seq(101), len(100));
  s.expect(ACK, ack(1));
  EXPECT_EQ(s.events(c), 0u);
  s.in(ACK, seq(301), len(100));
  s.expect(ACK, ack(1));
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(201));
  EXPECT_EQ(s.read(c), 200u);
  s.in(ACK, seq(201), len(100));
  s.expect(ACK, ack(401), no_sack());
  EXPECT_EQ(s.read(c), 200u);
}

TEST_P(Data, OverlappingSegmentsGiveEachByteOnce) {  // RFC 9293 3.10.7.4 (trimming)
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(100));
  s.in(ACK, seq(51), len(100));    // half old
  s.in(ACK, seq(201), len(100));   // beyond a gap
  s.in(ACK, seq(251), len(150));   // overlaps what waits
  s.in(ACK, seq(191), len(20));    // overlaps its front
  s.in(ACK, seq(181), len(400));   // swallows all that waits
  s.in(ACK, seq(121), len(100));   // fills the gap, old on both sides
  s.skip();
  EXPECT_EQ(s.read(c), 580u);
  s.in(ACK, seq(581), len(1));
  s.expect(ACK, ack(582));
  EXPECT_EQ(s.read(c), 1u);
}

TEST_P(Data, TailOfASegmentThatOverlapsAWaitingOneIsKept) {  // RFC 9293 3.10.7.4 (trimming)
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(101), len(100));
  s.in(ACK, seq(151), len(150));
  s.skip();
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(301));
  EXPECT_EQ(s.read(c), 300u);
}

TEST_P(Data, DuplicateIsAcknowledgedAtOnceAndReportedByDsack) {  // RFC 2883 4.1, RFC 9293 3.10.7.4
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(101), no_sack());
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(101), sack(s.variant().sack ? Blocks{{1, 101}} : Blocks{}));
  s.in(ACK, seq(101), len(100));
  s.expect(ACK, ack(201), no_sack());  // said once
  EXPECT_EQ(s.read(c), 200u);
  EXPECT_EQ(s.counter("tcp.drop.duplicate"), 1u);
}

TEST_P(Data, SackBlocksNameTheNewestRunFirst) {  // RFC 2018 4
  Script s(GetParam());
  s.server();
  const bool on = s.variant().sack;
  s.in(ACK, seq(101), len(100));
  s.expect(ACK, ack(1), sack(on ? Blocks{{101, 201}} : Blocks{}));
  s.in(ACK, seq(301), len(100));
  s.expect(ACK, ack(1), sack(on ? Blocks{{301, 401}, {101, 201}} : Blocks{}));
  s.in(ACK, seq(501), len(100));
  s.expect(ACK, ack(1), sack(on ? Blocks{{501, 601}, {301, 401}, {101, 201}} : Blocks{}));
  s.in(ACK, seq(201), len(50));  // grows the oldest run
  s.expect(ACK, ack(1), sack(on ? Blocks{{101, 251}, {501, 601}, {301, 401}} : Blocks{}));
  s.in(ACK, seq(401), len(100));  // joins two
  s.expect(ACK, ack(1), sack(on ? Blocks{{301, 601}, {101, 251}} : Blocks{}));
  s.in(ACK, seq(1), len(100));
  s.expect(ACK, ack(251), sack(on ? Blocks{{301, 601}} : Blocks{}));
}

TEST_P(Data, NoMoreSackBlocksThanFit) {  // RFC 2018 3: four, three beside timestamps
  Script s(GetParam());
  s.server();
  for (uint32_t i = 0; i < 6; ++i) s.in(ACK, seq(101 + 200 * i), len(100));
  while (s.sent().size() > 1) s.drop_first();
  const auto blocks = s.sent().front().sack.value_or(Blocks{});
  s.skip();
  if (!s.variant().sack) {
    EXPECT_TRUE(blocks.empty());
    return;
  }
  EXPECT_EQ(blocks.size(), s.variant().ts ? 3u : 4u);
  EXPECT_EQ(blocks.front(), (Blocks::value_type{1'101, 1'201}));
}

TEST_P(DataSack, DuplicateOfWhatWaitsIsReportedWithTheRunItBelongsTo) {  // RFC 2883 4.2, 4.3
  Script s(GetParam());
  s.server();
  s.in(ACK, seq(101), len(300));
  s.expect(ACK, ack(1), sack({{101, 401}}));
  s.in(ACK, seq(501), len(100));
  s.expect(ACK, ack(1), sack({{501, 601}, {101, 401}}));
  s.in(ACK, seq(201), len(100));
  s.expect(ACK, ack(1), sack({{201, 301}, {101, 401}, {501, 601}}));
}

TEST_P(Data, SegmentBeyondTheWindowIsDroppedAndAnswered) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 4'000;
  const Handle c = s.server(o);
  s.in(ACK, seq(4'001), len(10));
  s.expect(ACK, ack(1), win(4'000));
  s.advance(500);
  s.in(ACK, seq(1'000'000), len(10));
  s.expect(ACK, ack(1));
  EXPECT_EQ(s.counter("tcp.drop.outside_window"), 2u);
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Data, SegmentThatReachesBeyondTheWindowIsCutThere) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 4'000;
  const Handle c = s.server(o);
  for (uint32_t at = 1; at < 4'500; at += 900) s.in(ACK, seq(at), len(900));
  s.skip();
  EXPECT_EQ(s.read(c), 4'000u);
  s.skip();
}

TEST_P(Data, SingleSegmentIsAcknowledgedAfterFortyMilliseconds) {  // RFC 9293 3.8.6.3 MUST-40, RFC 5681 4.2
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  s.in(ACK, len(s.full()));
  const uint32_t end = 17 * s.full() + 1;
  s.expect_after(40, ACK, ack(end), len(0));
  EXPECT_EQ(s.counter("tcp.delayed_acks"), 1u);
  (void)s.read(c);
}

TEST_P(Data, EverySecondFullSegmentIsAcknowledgedAtOnce) {  // RFC 9293 3.8.6.3 SHLD-19, RFC 5681 4.2
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  for (int i = 0; i < 3; ++i) {
    s.in(ACK, len(s.full()));
    s.expect_nothing();
    s.in(ACK, len(s.full()));
    s.expect(ACK, len(0));
    (void)s.read(c);
  }
}

TEST_P(Data, TwoSegmentsInOneBurstAreAcknowledgedOnce) {
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  s.hold_input();
  s.in(ACK, len(s.full()));
  s.in(ACK, len(s.full()));
  s.deliver();
  s.expect(ACK, ack(18 * s.full() + 1));
  s.expect_nothing();
  (void)s.read(c);
}

// Software receive offload: what follows in order in a burst is taken in at once, up to a PSH.
TEST_P(Data, SegmentsOfOneBurstAreTakenInAsOne) {
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  const uint64_t passes = s.counter("tcp.fast_path") + s.counter("tcp.slow_path");
  (void)s.events(c);
  s.hold_input();
  for (int i = 0; i < 3; ++i) s.in(ACK, len(s.full()));
  s.in(ACK | PSH, len(100));
  s.in(ACK, len(s.full()));
  s.deliver();
  EXPECT_EQ(s.counter("tcp.merged"), 3u);
  EXPECT_EQ(s.counter("tcp.fast_path") + s.counter("tcp.slow_path") - passes, 2u);
  EXPECT_EQ(s.events(c), uint32_t{kReadable});
  s.expect(ACK, ack(20 * s.full() + 101));
  s.expect_nothing();
  EXPECT_EQ(s.read(c), 4 * s.full() + 100);
}

// Marks of congestion, a longer segment behind a shorter one and a FIN stay apart.
TEST_P(Data, WhatDiffersIsNotTakenInWithTheRest) {
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  s.hold_input();
  s.in(ACK, len(s.full()), ecn(3));
  s.in(ACK, len(s.full()), ecn(3));
  s.in(ACK, len(600));
  s.in(ACK, len(s.full()));
  s.in(ACK | FIN, len(s.full()));
  s.deliver();
  EXPECT_EQ(s.counter("tcp.merged"), 0u);
  (void)s.skip();
  EXPECT_EQ(s.read(c), 4 * s.full() + 600);
}

TEST_P(Data, YoungConnectionAcknowledgesEverySegmentAtOnce) {
  Script s(GetParam());
  const Handle c = s.server();
  for (uint32_t i = 0; i < 4; ++i) {
    s.in(ACK, len(100));
    s.expect(ACK, ack(101 + 100 * i));
  }
  EXPECT_EQ(s.read(c), 400u);
}

TEST_P(Data, AnswerCarriesTheAcknowledgment) {
  Script s(GetParam());
  const Handle c = s.server();
  settle_down(s, c);
  s.in(ACK | PSH, len(200));
  s.expect_nothing();
  EXPECT_EQ(s.read(c), 200u);
  s.write(c, 300);
  s.expect(ACK, seq(1), ack(16 * s.full() + 201), len(300));
  s.in(ACK);
  s.quiet(500);
}

TEST_P(Data, NagleHoldsASmallSegmentWhileDataIsInFlight) {  // RFC 9293 3.7.4 SHLD-7
  Script s(GetParam());
  const Handle c = s.server(with_nagle());
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.write(c, 10);
  s.write(c, 10);
  s.expect_nothing();
  s.in(ACK, ack(11));
  s.expect(ACK, seq(11), len(20));
}

TEST_P(Data, NagleLetsFullSegmentsPass) {  // RFC 9293 3.7.4
  Script s(GetParam());
  const Handle c = s.server(with_nagle());
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.write(c, s.full() + 5);
  s.expect(ACK, seq(11), len(s.full()));
  s.expect_nothing();
  s.in(ACK);
  s.expect(ACK, seq(11 + s.full()), len(5));
}

TEST_P(Data, NoDelaySendsSmallSegmentsAtOnce) {  // RFC 9293 3.7.4 MUST-17
  Script s(GetParam());
  const Handle c = s.server();
  for (uint32_t i = 0; i < 4; ++i) {
    s.write(c, 10);
    s.expect(ACK, seq(1 + 10 * i), len(10));
  }
}

TEST_P(Data, SwitchingNagleOffReleasesWhatItHeld) {
  Script s(GetParam());
  const Handle c = s.server(with_nagle());
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.write(c, 10);
  s.expect_nothing();
  EXPECT_TRUE(s.ask(req::SetOptions{c, {}}));
  s.expect(ACK, seq(11), len(10));
}

TEST_P(Data, MoreHoldsAPartialSegmentUntilTheRestIsWritten) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100, true);
  s.expect_nothing();
  s.write(c, s.full(), true);
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
  s.write(c, 50);
  s.expect(ACK | PSH, seq(1 + s.full()), len(150));
}

TEST_P(Data, MoreHoldsForOneTimeoutAtMost) {
  Script s(GetParam());
  const Handle c = s.server();
  s.mark();
  const int64_t rto_ms = s.info().tcp.rto_us / 1'000;
  s.write(c, 100, true);
  s.expect_after(rto_ms, ACK | PSH, seq(1), len(100));
}

TEST_P(Data, AnAcknowledgmentReleasesWhatMoreHeld) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, s.full() + 100, true);
  s.expect(ACK, seq(1), len(s.full()));
  s.expect_nothing();
  s.in(ACK, ack(1 + s.full()));
  s.expect(ACK, seq(1 + s.full()), len(100), psh(false));
}

TEST_P(Data, CorkHoldsUntilItIsTakenOut) {
  Script s(GetParam());
  SocketOptions o;
  o.cork = true;
  const Handle c = s.server(o);
  s.write(c, s.full() + 100);
  s.expect(ACK, seq(1), len(s.full()));
  s.in(ACK, ack(1 + s.full()));
  s.expect_nothing();
  s.write(c, 50);
  s.expect_nothing();
  EXPECT_TRUE(s.ask(req::SetOptions{c, {}}));
  s.expect(ACK | PSH, seq(1 + s.full()), len(150));
}

TEST_P(Data, NoSegmentHoldsTheEndOfARecordAndWhatFollows) {
  Script s(GetParam());
  const Handle c = s.server();
  const uint32_t half = s.full() / 2;
  uint32_t at = 10 * s.full();
  s.write(c, at);  // the initial window, so that the records have to wait together
  s.expect_data(1, 1 + at);
  for (int i = 0; i < 3; ++i) {
    std::vector<std::byte> record;
    while (record.size() < half) record.push_back(pattern(at++));
    EXPECT_TRUE(s.ask(req::Send{c, record, false, false, true}));
  }
  s.expect_nothing();
  s.in(ACK);
  for (uint32_t i = 3; i > 0; --i) s.expect(ACK | PSH, seq(1 + at - i * half), len(half));
}

TEST_P(Data, LastSegmentOfABurstAndOfItsPiecesHasPsh) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 30 * s.full());
  for (uint32_t i = 0; i < 10; ++i) {  // pieces of half the window, where the round trip says no less
    s.expect(ACK, seq(1 + i * s.full()), len(s.full()), psh(i == 9 || (i == 4 && !GetParam().tso)));
  }
}

TEST_P(Data, TimestampOfASegmentWithAnImpossibleAckIsNotBelieved) {  // RFC 5961 5.2
  Variant v = GetParam();
  v.ts = true;
  Script s(v);
  (void)s.server();
  const uint32_t clock = s.peer_clock();
  s.in(ACK, ack(9'999), tsval(clock + 1'000'000));
  s.expect(ACK, ack(1), ecr(clock));
}

TEST_P(Data, SegmentsWithoutTimestampsAreTakenWhereTheSettingSaysSo) {
  Options o;
  o.tcp.timestamps_strict = 0;
  Script s(GetParam(), o);
  (void)s.server();
  s.in(ACK, seq(1), len(100), ts(false));
  s.expect(ACK, ack(101));
}

TEST_P(Data, QuickAckIsSwitchedOffAndOn) {
  Script s(GetParam());
  const Handle c = s.server();
  SocketOptions o;
  o.quick_ack = false;
  EXPECT_TRUE(s.ask(req::SetOptions{c, o}));
  s.in(ACK, seq(1), len(10));
  s.expect_nothing();
  o.quick_ack = true;
  EXPECT_TRUE(s.ask(req::SetOptions{c, o}));
  s.expect(ACK, ack(11));
  s.in(ACK, seq(11), len(10));
  s.expect(ACK, ack(21));
}

TEST_P(Data, OptionsOfAListenerHoldForWhatItAcceptsFromThenOn) {
  Script s(GetParam());
  const Handle l = s.listen();
  EXPECT_TRUE(s.ask(req::SetOptions{l, with_nagle()}));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
  s.write(c, 10);
  s.expect_nothing();
}

TEST_P(Data, HandshakeOfAnAcceptedConnectionMeasuresTheRoundTrip) {  // RFC 6298 2.2
  Script s(GetParam());
  const Handle l = s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1));
  s.advance(50);
  s.in(ACK);
  const Handle c = s.accept(l);
  EXPECT_EQ(s.info().tcp.srtt_us, 50'000u);
  s.write(c, 10);
  s.expect(ACK, seq(1), len(10));
}

TEST_P(Data, FinReleasesWhatMoreHeld) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100, true);
  s.expect_nothing();
  s.shutdown(c);
  s.expect(FIN | ACK, seq(1), len(100));
}

TEST_P(Data, LentBufferComesBackWhenAcknowledgedAndReleasedByTheDevice) {
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  const auto lent = s.ask(req::LendBuffer{5'000});
  ASSERT_TRUE(lent);
  for (uint32_t i = 0; i < 5'000; ++i) lent->buffer[i] = pattern(i);
  s.device_keeps(true);
  EXPECT_EQ(s.ask(req::SendLent{c, lent->buffer, 5'000, 99})->bytes, 5'000u);
  s.expect_data(1, 5'001);
  EXPECT_EQ(s.events(c), 0u);
  s.in(ACK, ack(4'999));
  EXPECT_EQ(s.events(c), 0u);
  s.in(ACK, ack(5'001));
  const bool referred = s.variant().tso;  // a frame that refers to the buffer, not a copy
  EXPECT_EQ(s.released(), referred ? std::vector<uint64_t>{} : std::vector<uint64_t>{99});
  s.device_keeps(false);
  s.advance(1);
  EXPECT_EQ(s.released(), referred ? std::vector<uint64_t>{99} : std::vector<uint64_t>{});
}

TEST_P(Data, BorrowedPieceIsReadableAndKeepsTheWindowCharged) {
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 4'000;
  const Handle c = s.server(o);
  s.in(ACK, seq(1), len(1'200));
  s.expect(ACK, ack(1'201), win(2'800));
  const auto piece = s.ask(req::Borrow{c});
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->view.size(), 1'200u);
  EXPECT_EQ(piece->view[7], pattern(7));
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
  s.in(ACK, seq(1'201), len(1'200));
  s.expect(ACK, ack(2'401), win(1'600));
  EXPECT_TRUE(s.ask(req::Release{piece->token}));
  EXPECT_EQ(s.ask(req::Release{piece->token}).error(), Error::kBadHandle);
  s.skip();  // the window may open now
}

TEST_P(Data, WrongChecksumIsDroppedInSilence) {  // RFC 9293 3.1 MUST-3
  Script s(GetParam());
  const Handle c = s.server();
  s.in(ACK, seq(1), len(10), corrupt());
  s.quiet(1'000);
  EXPECT_EQ(s.counter("tcp.drop.bad_checksum"), 1u);
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Data, SegmentWithoutAckIsDropped) {  // RFC 9293 3.10.7.4 fifth
  Script s(GetParam());
  const Handle c = s.server();
  s.in(0, seq(1), len(10));
  s.expect_nothing();
  EXPECT_EQ(s.counter("tcp.drop.no_ack"), 1u);
  EXPECT_EQ(s.try_read(c).error(), Error::kWouldBlock);
}

TEST_P(Data, AckOfDataNeverSentIsAnsweredAndIgnored) {  // RFC 9293 3.10.7.4 fifth, RFC 5961 5.2
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.in(ACK, ack(102));
  s.expect(ACK, seq(101), ack(1), len(0));
  s.advance(500);
  s.in(ACK, ack(1u - 10'000'000u));
  s.expect(ACK, seq(101), ack(1), len(0));
  EXPECT_EQ(s.counter("tcp.drop.bad_ack"), 2u);
  EXPECT_EQ(s.info().send_queue, 100u);
}

TEST_P(Data, SendBufferFullThenWritableWhenHalfIsFree) {
  Script s(GetParam());
  SocketOptions o;
  o.send_buffer = 8'000;
  const Handle c = s.server(o);
  (void)s.events(c);
  EXPECT_EQ(*s.try_write(c, 10'000), 8'000u);
  EXPECT_EQ(s.try_write(c, 1).error(), Error::kWouldBlock);
  s.expect_data(1, 8'001);
  s.in(ACK, ack(3'001));
  EXPECT_EQ(s.events(c), 0u);
  s.in(ACK, ack(8'001));
  EXPECT_EQ(s.events(c), static_cast<uint32_t>(kWritable));
  EXPECT_EQ(*s.try_write(c, 10), 10u);
  s.expect(ACK, seq(8'001), len(10));
}

}  // namespace
}  // namespace millrace::script
