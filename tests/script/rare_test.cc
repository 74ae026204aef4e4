// Keepalive (RFC 9293 3.8.4), ICMP errors (RFC 9293 3.9.2.2, RFC 5927), limits of tables and pools.
#include "flight.h"

namespace millrace::script {
namespace {

SCRIPTS(Rare, plain_variants());

SocketOptions marking(uint8_t traffic_class, uint8_t hop_limit) {
  SocketOptions o;
  o.traffic_class = traffic_class;
  o.hop_limit = hop_limit;
  return o;
}

TEST_P(Rare, AllSegmentsOfAMarkedListenerBearItsDscpAndHopLimit) {  // RFC 9293 3.9.2 MUST-48, MUST-49
  Script s(GetParam());
  const Handle l = s.listen(marking(0xb8 | 3, 9));  // ECN's bits are not the program's
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), marked(0xb8, 9), ecn(0));
  s.in(ACK);
  const Handle c = s.accept(l);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100), marked(0xb8, 9), ecn(0));
  s.expect_after(1'000, ACK, seq(1), len(100), marked(0xb8, 9), ecn(0));
  s.in(ACK, len(2 * 100));
  s.expect(ACK, ack(201), marked(0xb8, 9));
  (void)s.read(c);
  s.close(c);
  s.expect(FIN | ACK, marked(0xb8, 9));
  s.in(FIN | ACK);
  s.expect(ACK, marked(0xb8, 9));
  s.in(ACK, seq(1));  // TIME-WAIT answers
  s.expect(ACK, marked(0xb8, 9));
}

TEST_P(Rare, SynAckThatIsACookieBearsTheListenersMarks) {
  Options o;
  o.tcp.syncookies = 2;
  Script s(GetParam(), o);
  (void)s.listen(marking(0xb8, 9));
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), marked(0xb8, 9));
}

TEST_P(Rare, MarksOfALivingConnectionFollowTheOptions) {  // RFC 9293 3.9.2 MUST-48, MUST-49
  Script s(GetParam());
  const Handle c = s.client();
  s.write(c, 100);
  s.expect(ACK, len(100), marked(0, 64));
  s.in(ACK);
  ASSERT_TRUE(s.ask(req::SetOptions{c, marking(0x28, 3)}));
  s.write(c, 100);
  s.expect(ACK, len(100), marked(0x28, 3));
  s.in(ACK);
  ASSERT_TRUE(s.ask(req::SetOptions{c, marking(0, 0)}));
  s.write(c, 100);
  s.expect(ACK, len(100), marked(0, 64));
  s.in(ACK);
  ASSERT_TRUE(s.ask(req::SetOptions{c, marking(0x28, 3)}));
  s.abort(c);
  s.expect(RST | ACK, marked(0x28, 3));
}

TEST_P(Rare, MarksOfAClientBeginWithItsSyn) {  // RFC 9293 3.9.2 MUST-48, MUST-49
  Script s(GetParam());
  (void)s.connect(marking(0x10, 255));
  s.expect(SYN, marked(0x10, 255));
  s.skip();
}

SocketOptions keepalive() {
  SocketOptions o;
  o.keepalive = true;
  o.keepalive_idle = seconds(10);
  o.keepalive_interval = seconds(2);
  o.keepalive_probes = 3;
  return o;
}

TEST_P(Rare, KeepaliveIsOffUnlessAskedFor) {  // RFC 9293 3.8.4 MUST-25
  Script s(GetParam());
  s.server();
  s.quiet(int64_t{24} * 3'600'000);
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Rare, KeepaliveProbesThenGivesUp) {  // RFC 9293 3.8.4
  Script s(GetParam());
  const Handle c = s.server(keepalive());
  s.mark();
  s.expect_after(10'000, ACK, seq(0), ack(1), len(0));
  s.expect_after(2'000, ACK, seq(0), len(0));
  s.expect_after(2'000, ACK, seq(0), len(0));
  s.quiet(1'999);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  s.advance(1);
  EXPECT_EQ(s.state(), "");
  EXPECT_EQ(s.try_read(c).error(), Error::kTimedOut);
}

TEST_P(Rare, AnsweredKeepaliveGoesOnForever) {  // RFC 9293 3.8.4
  Script s(GetParam());
  s.server(keepalive());
  s.mark();
  for (int i = 0; i < 20; ++i) {
    s.expect_after(10'000, ACK, seq(0), len(0));
    s.in(ACK);
  }
  EXPECT_EQ(s.state(), "ESTABLISHED");
}

TEST_P(Rare, DataPutsKeepaliveOff) {
  Script s(GetParam());
  const Handle c = s.server(keepalive());
  for (uint32_t i = 0; i < 5; ++i) {
    s.advance(9'000);
    s.in(ACK, len(10));
    s.expect(ACK, ack(11 + 10 * i));
  }
  (void)s.read(c);
  s.expect_after(10'000, ACK, seq(0), len(0));
}

TEST_P(Rare, KeepaliveOfThePeerIsAnswered) {  // RFC 9293 3.10.7.4 first
  Script s(GetParam());
  s.server();
  s.in(ACK, seq(0), len(0));
  s.expect(ACK, seq(1), ack(1));
  s.in(ACK, seq(0), len(1));  // with the garbage byte of old stacks
  s.expect(ACK, seq(1), ack(1));
}

TEST_P(Rare, KeepaliveMayBeSwitchedOnLater) {
  Script s(GetParam());
  const Handle c = s.server();
  s.advance(60'000);
  s.expect_nothing();
  EXPECT_TRUE(s.ask(req::SetOptions{c, keepalive()}));
  s.mark();
  s.expect_after(10'000, ACK, seq(0), len(0));
}

// --- ICMP ------------------------------------------------------------------------------------------------------------

uint8_t port_unreachable(const Script& s) { return s.variant().v6 ? 4 : 3; }

TEST_P(Rare, PortUnreachableRefusesAConnectionBeingOpened) {  // RFC 9293 3.9.2.2 MUST-54
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.icmp_unreachable(port_unreachable(s));
  EXPECT_NE(s.events(c) & kError, 0u);
  EXPECT_EQ(s.try_read(c).error(), Error::kConnectionRefused);
  s.quiet(10'000);
}

TEST_P(Rare, IcmpErrorIsSoftOnceEstablished) {  // RFC 9293 3.9.2.2 MUST-56, RFC 5927 5.2
  Script s(GetParam());
  const Handle c = s.server();
  (void)s.events(c);
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.icmp_unreachable(port_unreachable(s));
  s.icmp_unreachable(s.variant().v6 ? 0 : 1);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.events(c), 0u);
  s.expect_after(1'000, ACK, seq(1), len(100));
  s.in(ACK);
}

TEST_P(Rare, SoftErrorNamesTheReasonWhenTheConnectionTimesOut) {  // RFC 9293 3.9.2.2 SHLD-25
  Options o;
  o.tcp.retries = 3;
  Script s(GetParam(), o);
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.icmp_unreachable(s.variant().v6 ? 3 : 1);  // host (address) unreachable
  s.advance(15'000);
  EXPECT_EQ(s.skip(), 3u);
  EXPECT_EQ(s.try_read(c).error(), Error::kHostUnreachable);
}

TEST_P(Rare, IcmpErrorWithAForeignSequenceNumberIsIgnored) {  // RFC 5927 4.1
  Script s(GetParam());
  const Handle c = s.connect();
  s.expect(SYN, seq(0));
  s.icmp_unreachable(port_unreachable(s), 1'000);
  s.icmp_unreachable(port_unreachable(s), -1'000);
  EXPECT_EQ(s.state(), "SYN-SENT");
  EXPECT_EQ(s.events(c), 0u);
}

// --- Limits ----------------------------------------------------------------------------------------------------------

TEST_P(Rare, FullHalfOpenTableRecyclesItsOldestEntry) {  // RFC 4987 3.4
  Options o;
  o.max_half_open = 2;
  o.tcp.syncookies = 0;
  Script s(GetParam(), o);
  s.listen();
  for (const uint16_t port : {40'000, 40'001, 40'002}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
    s.advance(1);
  }
  EXPECT_EQ(s.counter("tcp.half_open_evicted"), 1u);
  for (const uint16_t port : {40'001, 40'002}) {
    s.peer_port(port);
    s.in(ACK);
    EXPECT_EQ(s.state(), "ESTABLISHED");
  }
  s.peer_port(40'000);
  EXPECT_EQ(s.state(), "");
  s.in(ACK);
  s.expect(RST, seq(1));
}

TEST_P(Rare, EntryWhoseSynAckWasSentAgainCountsAsOldAsItIs) {
  Options o;
  o.max_half_open = 2;
  o.tcp.syncookies = 0;
  Script s(GetParam(), o);
  s.listen();
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.expect_after(1'000, SYN | ACK, seq(0));
  for (const uint16_t port : {40'001, 40'002}) {
    s.peer_port(port);
    s.in(SYN, seq(0), s.offer());
    s.expect(SYN | ACK, seq(0));
  }
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.peer_port(40'000);
  EXPECT_EQ(s.state(), "");
}

TEST_P(Rare, FloodOfForgedSynsKeepsNeitherOldNorNewClientsOut) {  // RFC 4987 3.4
  Options o;
  o.max_half_open = 8;
  o.tcp.syncookies = 0;
  Script s(GetParam(), o);
  const Handle old = s.server();
  const auto flood = [&](uint16_t from, uint16_t count) {
    for (uint16_t i = 0; i < count; ++i) {
      s.peer_port(static_cast<uint16_t>(from + i));
      s.in(SYN, seq(0), s.offer());
      s.expect(SYN | ACK, seq(0));
    }
  };
  flood(20'000, 500);
  s.advance(1);
  s.peer_port(50'000);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.advance(1);
  flood(21'000, 7);
  s.peer_port(50'000);
  s.in(ACK);
  EXPECT_EQ(s.state(), "ESTABLISHED");
  EXPECT_EQ(s.counter("tcp.half_open_evicted"), 500u);
  s.peer_port(40'000);
  s.write(old, 100);
  s.expect(ACK, seq(1), len(100));
  s.in(ACK);
}

TEST_P(Rare, FullConnectionTableRefusesNewOnesAndOthersGoOn) {
  Options o;
  o.max_connections = 2;
  Script s(GetParam(), o);
  const Handle first = s.server();
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  const Handle second = s.accept(s.listener());
  s.peer_port(40'002);
  EXPECT_EQ(s.ask(req::Connect{{s.remote(), 40'002}, {}, 0, {}}).error(), Error::kTooMany);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.in(ACK);
  EXPECT_EQ(s.counter("tcp.drop.table_full"), 1u);
  EXPECT_EQ(s.state(), "SYN-RECEIVED");
  s.peer_port(40'000);
  s.write(first, 10);
  s.expect(ACK, seq(1), len(10));
  s.abort(first);
  s.expect(RST | ACK, seq(11));
  s.peer_port(40'002);
  s.in(ACK);  // there is room now
  EXPECT_EQ(s.state(), "ESTABLISHED");
  (void)second;
}

// The second connection takes the place of the first while what the first received is still on its way to its socket.
TEST_P(Rare, BurstThatEndsOneConnectionAndOpensAnotherKeepsTheirAccountsApart) {
  Script s(GetParam());
  const Handle first = s.server();
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0));
  s.hold_input();
  s.peer_port(40'000);
  s.in(ACK, len(100));
  s.in(ACK, len(100));  // copied behind the other
  s.in(RST, seq(201));
  s.peer_port(40'001);
  s.in(ACK, len(1'000));
  s.deliver();
  s.skip();
  const Handle second = s.accept(s.listener());
  EXPECT_EQ(s.read(second), 1'000u);
  EXPECT_EQ(s.read(first), 200u);
}

TEST_P(Rare, ReassemblyIsLimitedByTrueSize) {
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 20'000;
  const Handle c = s.server(o);
  // One byte in every second place: each holds a buffer of two kilobytes.
  for (uint32_t i = 0; i < 200; ++i) s.in(ACK, seq(2 + 2 * i), len(1));
  s.skip();
  EXPECT_GT(s.counter("tcp.drop.reassembly_full"), 100u);
  s.in(ACK, seq(1), len(1));
  s.skip();
  EXPECT_EQ(s.read(c), 2u);
  s.skip();
}

TEST_P(Rare, ExhaustedBlocksRefuseTheWriteAndComeBack) {
  Script s(GetParam(), few_blocks());
  const Handle c = greedy_server(s);
  uint32_t written = 0;
  for (;;) {
    const auto taken = s.try_write(c, 60'000);
    if (!taken) {
      EXPECT_EQ(taken.error(), Error::kNoBuffers);
      break;
    }
    written += static_cast<uint32_t>(*taken);
    ASSERT_LT(written, 16u << 20);
  }
  EXPECT_GT(written, 1u << 20);
  s.skip();
  while (s.info().send_queue > 0 && !s.failed()) {
    s.in(ACK);
    s.skip();
  }
  EXPECT_EQ(*s.try_write(c, 1'000), 1'000u);
  s.expect(ACK, seq(written + 1), len(1'000));
}

// 600 frames, of which a slow reader must leave the others an eighth.
TEST_P(Rare, UnreadDataLeavesFramesForEverythingElse) {
  Script s(GetParam());
  SocketOptions o;
  o.receive_buffer = 1 << 20;
  const Handle slow = s.server(o);
  uint32_t sent = 0;
  for (; s.counter("tcp.drop.frames_scarce") == 0 && sent < 700'000 && !s.failed(); sent += 1'000) {
    s.in(ACK, seq(1 + sent), len(1'000));
    s.advance(1);
    s.skip();
  }
  const uint32_t kept = sent - 1'000;
  EXPECT_EQ(s.info().receive_queue, kept);
  EXPECT_GT(kept, 500'000u);
  EXPECT_LT(kept, 540'000u);
  // A second connection is made, hears and answers; what is out of order is not held.
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.skip();
  s.in(ACK);
  const Handle other = s.accept(s.listener());
  s.in(ACK, len(100));
  EXPECT_EQ(s.read(other), 100u);
  s.skip();
  s.write(other, 5'000);
  EXPECT_EQ(s.expect_data(1, 5'001), (5'000 + s.full() - 1) / s.full());
  s.in(ACK, seq(1'000), len(100));
  EXPECT_EQ(s.counter("tcp.drop.reassembly_full"), 1u);
  s.skip();
  // Once it has read, the slow one takes again what was dropped.
  s.peer_port(40'000);
  EXPECT_EQ(s.read(slow), kept);
  s.advance(1);
  s.in(ACK, seq(1 + kept), len(1'000));
  EXPECT_EQ(s.read(slow), 1'000u);
  EXPECT_EQ(s.counter("tcp.drop.frames_scarce"), 1u);
  s.skip();
}

// Fills the pool of blocks through `hog` until a write is refused.
void exhaust_blocks(Script& s, Handle hog) {
  for (int i = 0; i < 1'000; ++i) {
    if (s.try_write(hog, 60'000)) continue;
    for (const uint32_t bytes : {15'000u, 1'500u, 100u}) {
      while (s.try_write(hog, bytes) && !s.failed()) {
      }
    }
    return;
  }
  s.fail({}, "the pool of blocks has no end");
}

TEST_P(Rare, IdleConnectionIsToldWhenBlocksComeBack) {
  Script s(GetParam(), few_blocks());
  const Handle hog = greedy_server(s);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.skip();
  s.in(ACK);
  const Handle idle = s.accept(s.listener());
  (void)s.events(idle);
  exhaust_blocks(s, hog);
  EXPECT_EQ(s.try_write(idle, 100).error(), Error::kNoBuffers);
  EXPECT_EQ(s.try_write(idle, 100).error(), Error::kNoBuffers);
  s.advance(30);
  s.skip();
  EXPECT_EQ(s.events(idle) & kWritable, 0u);
  s.peer_port(40'000);
  s.abort(hog);
  s.skip();
  EXPECT_NE(s.events(idle) & kWritable, 0u);
  s.peer_port(40'001);
  s.write(idle, 100);
  s.expect(ACK, seq(1), len(100));
}

TEST_P(Rare, IdleConnectionIsToldWhenTheDeviceGivesTheLastBlocksBack) {
  Variant v = GetParam();
  v.tso = true;  // frames that refer to blocks
  Script s(v, few_blocks());
  const Handle hog = greedy_server(s);
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.skip();
  s.in(ACK);
  const Handle idle = s.accept(s.listener());
  (void)s.events(idle);
  s.device_keeps(true);
  exhaust_blocks(s, hog);
  EXPECT_EQ(s.try_write(idle, 100).error(), Error::kNoBuffers);
  s.peer_port(40'000);
  s.skip();
  s.abort(hog);  // what the device refers to stays
  s.skip();
  if ((s.events(idle) & kWritable) != 0) exhaust_blocks(s, idle);
  EXPECT_EQ(s.try_write(idle, 100).error(), Error::kNoBuffers);
  (void)s.events(idle);
  s.device_keeps(false);  // no packet, no request: only time passes
  s.advance(10);
  s.skip();
  EXPECT_NE(s.events(idle) & kWritable, 0u);
}

TEST_P(Rare, ExhaustedFramesDelayOutputUntilTheyComeBack) {
  Script s(GetParam());
  const Handle c = s.server();
  s.close_pool(true);
  s.write(c, 100);
  s.expect_nothing();
  EXPECT_GT(s.counter("tcp.no_buffers"), 0u);
  s.close_pool(false);
  s.expect(ACK, seq(1), len(100));
}

TEST_P(Rare, RetransmissionThatFindsNoFrameComesLater) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 100);
  s.expect(ACK, seq(1), len(100));
  s.close_pool(true);
  s.advance(1'500);
  s.expect_nothing();
  s.close_pool(false);
  s.expect(ACK, seq(1), len(100));
}

TEST_P(Rare, TcpInfoTellsWhatTheConnectionKnows) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 300);
  s.expect(ACK, len(300));
  s.advance(30);
  s.in(ACK);
  s.write(c, 2 * s.full());
  s.skip();
  s.advance(5);
  TcpInfo info;
  ASSERT_TRUE(s.ask(req::ReadTcpInfo{c, &info}));
  EXPECT_EQ(info.state, 1);
  EXPECT_EQ(info.bytes_acked, 300U);
  EXPECT_EQ(info.unacked, 2U);
  EXPECT_NEAR(info.rtt, 30'000, 1);
  EXPECT_EQ(info.snd_mss, s.full());
  EXPECT_EQ(info.pmtu, 1'500U);
  EXPECT_EQ(info.last_ack_recv_ms, 5U);
  EXPECT_EQ(info.retrans, 0U);
  EXPECT_EQ((info.options & TcpInfo::kTimestamps) != 0, GetParam().ts);
  s.advance(1'000);
  s.skip();
  ASSERT_TRUE(s.ask(req::ReadTcpInfo{c, &info}));
  EXPECT_GT(info.retransmits, 0);
  EXPECT_GT(info.retrans, 0U);
  s.abort(c);
  EXPECT_EQ(s.ask(req::ReadTcpInfo{c, &info}).error(), Error::kBadHandle);
  s.skip();
}

TEST_P(Rare, TcpInfoCountsAConnectionFromItsBeginning) {
  Options o;
  o.tcp.flow_counters = 1;
  Script s(GetParam(), o);
  const Handle c = s.server();
  TcpInfo info;
  const auto look = [&] { ASSERT_TRUE(s.ask(req::ReadTcpInfo{c, &info})); };
  s.in(ACK, len(100));
  s.in(ACK, len(100));
  s.skip();
  look();
  EXPECT_EQ(info.bytes_received, 200U);
  EXPECT_EQ(info.data_segs_in, 2U);
  EXPECT_EQ(info.segs_in, 3U) << "with the handshake's last";
  EXPECT_EQ(info.busy_time, 0U) << "nothing to send";
  s.write(c, 300);
  s.expect(ACK, len(300));
  s.advance(30);
  s.in(ACK);
  s.advance(7);
  look();
  EXPECT_EQ(info.bytes_sent, 300U);
  EXPECT_EQ(info.bytes_acked, 300U);
  EXPECT_EQ(info.data_segs_out, 1U);
  EXPECT_EQ(info.segs_in, 4U);
  EXPECT_EQ(info.data_segs_in, 2U);
  EXPECT_EQ(info.busy_time, 30'000U) << "the time of idleness does not count";
  EXPECT_EQ(info.rwnd_limited, 0U);
  EXPECT_EQ(info.last_data_sent_ms, 37U);
  s.in(ACK, seq(301), len(100));
  s.skip();
  look();
  EXPECT_EQ(info.rcv_ooopack, 1U);
  EXPECT_EQ(info.bytes_received, 200U);
}

TEST_P(Rare, TcpInfoCountsFromTheFirstQuestionOn) {
  Script s(GetParam());
  const Handle c = s.server();
  TcpInfo info;
  const auto look = [&] { ASSERT_TRUE(s.ask(req::ReadTcpInfo{c, &info})); };
  s.in(ACK, len(100));
  s.skip();
  look();
  EXPECT_EQ(info.bytes_received, 0U);
  s.in(ACK, len(100));
  s.skip();
  look();
  EXPECT_EQ(info.bytes_received, 100U);
  // What is sent again counts twice, and as sent again.
  s.write(c, 300);
  s.expect(ACK, len(300));
  s.advance(3'000);
  s.skip();
  look();
  EXPECT_GT(info.bytes_retrans, 0U);
  EXPECT_EQ(info.bytes_sent, 300U + info.bytes_retrans);
  EXPECT_EQ(info.bytes_retrans, 300U * info.total_retrans);
  s.abort(c);
  s.skip();
}

TEST_P(Rare, TcpInfoTellsWhatHeldTheSenderBack) {
  Options o;
  o.tcp.flow_counters = 1;
  Script s(GetParam(), o);
  const Handle c = s.server();
  TcpInfo info;
  s.in(ACK, win(0));
  s.write(c, 1'000);
  s.advance(50);
  s.in(ACK, win(60'000));
  s.skip();
  s.advance(10);
  s.in(ACK);
  s.advance(40);
  ASSERT_TRUE(s.ask(req::ReadTcpInfo{c, &info}));
  EXPECT_EQ(info.rwnd_limited, 50'000U);
  EXPECT_EQ(info.busy_time, 60'000U);
  EXPECT_EQ(info.sndbuf_limited, 0U);
}

}  // namespace
}  // namespace millrace::script
