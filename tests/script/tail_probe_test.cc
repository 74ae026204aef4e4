// Tail loss probes: RFC 8985 7.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(TailProbe, sack_variants());

constexpr int64_t kLeastRto = 200;  // ms, over and above the round trip

/// A server with a measured round trip of 64 ms; what was acknowledged ends at `at`.
struct Measured {
  Script& s;
  Handle c;
  uint32_t at;
  explicit Measured(Script& script, uint32_t segments = 2)
      : s(script), c(script.server()), at(1 + segments * s.full()) {
    s.write(c, segments * s.full());
    s.expect_data(1, at);
    s.advance(64);
    s.in(ACK);
  }
};

TEST_P(TailProbe, LastSegmentIsSentAgainAfterTwoRoundTrips) {  // RFC 8985 7.2, 7.3
  Script s(GetParam());
  Measured m(s);
  s.write(m.c, 3 * s.full());
  s.expect_data(m.at, m.at + 3 * s.full());
  s.quiet(127);
  s.expect_after(128, ACK, seq(m.at + 2 * s.full()), len(s.full()));
  EXPECT_EQ(s.counter("tcp.tail_probes"), 1u);
  // Nothing answers: the timeout comes, counted from the probe.
  s.expect_after(kLeastRto + 64, ACK, seq(m.at), len(s.full()));
  EXPECT_EQ(s.counter("tcp.rtos"), 1u);
}

TEST_P(TailProbe, SelectiveAcknowledgmentOfTheProbeTellsRack) {  // RFC 8985 7.4, 3.4
  Script s(GetParam());
  Measured m(s, 4);
  const uint32_t full = s.full();
  s.write(m.c, 4 * full);
  s.expect_data(m.at, m.at + 4 * full);
  s.advance(64);
  s.in(ACK, ack(m.at + full));  // the last three are lost
  s.mark();
  s.expect_after(128, ACK, seq(m.at + 3 * full), len(full));
  s.advance(64);
  s.in(ACK, ack(m.at + full), sack({{m.at + 3 * full, m.at + 4 * full}}));
  s.expect(ACK, seq(m.at + full), len(full));
  s.advance(64);
  s.in(ACK, ack(m.at + 2 * full), sack({{m.at + 3 * full, m.at + 4 * full}}));
  s.expect(ACK, seq(m.at + 2 * full), len(full));
  s.in(ACK, ack(m.at + 4 * full));
  s.quiet(5'000);
  EXPECT_EQ(s.counter("tcp.rtos"), 0u);
}

TEST_P(TailProbe, NewDataIsTheProbeIfThereIsAny) {  // RFC 8985 7.3
  Options o;
  o.tcp.initial_window = 2;
  Script s(GetParam(), o);
  Measured m(s);
  const uint32_t full = s.full();
  s.write(m.c, 10 * full);
  s.expect_data(m.at, m.at + 4 * full);  // all that the window lets out
  s.expect_nothing();
  s.expect_after(128, ACK, seq(m.at + 4 * full), len(full));
  s.expect_nothing();
  s.advance(64);
  s.in(ACK, ack(m.at + 5 * full));
  EXPECT_EQ(s.counter("tcp.retransmits"), 0u);
  EXPECT_EQ(s.info().tcp.ssthresh, UINT32_MAX);
  EXPECT_GT(s.skip(), 0u);
}

TEST_P(TailProbe, SegmentAloneIsProbedWhenItsTimeoutIsDue) {  // RFC 8985 7.2
  Script s(GetParam());
  Measured m(s);
  s.write(m.c, 100);
  s.expect(ACK, seq(m.at), len(100));
  s.expect_after(kLeastRto + 64, ACK, seq(m.at), len(100));
  EXPECT_EQ(s.counter("tcp.tail_probes"), 1u);
  EXPECT_EQ(s.counter("tcp.rtos"), 0u);
  s.expect_after(kLeastRto + 64, ACK, seq(m.at), len(100));
  EXPECT_EQ(s.counter("tcp.rtos"), 1u);
}

TEST_P(TailProbe, LossThatTheProbeMendedHalvesTheWindow) {  // RFC 8985 7.4.2
  Script s(GetParam());
  Measured m(s);
  const uint32_t full = s.full();
  s.write(m.c, 2 * full);
  s.expect_data(m.at, m.at + 2 * full);
  s.advance(64);
  s.in(ACK, ack(m.at + full));
  s.mark();
  s.expect_after(kLeastRto + 64, ACK, seq(m.at + full), len(full));
  s.advance(64);
  s.in(ACK, ack(m.at + 2 * full));  // the probe, or was it the original?
  EXPECT_EQ(s.info().tcp.ssthresh, UINT32_MAX);
  s.write(m.c, full);
  s.expect(ACK, seq(m.at + 2 * full), len(full));
  s.advance(64);
  s.in(ACK, ack(m.at + 3 * full));  // no duplicate was reported
  EXPECT_EQ(s.counter("tcp.tail_probes_mended"), 1u);
  EXPECT_EQ(s.info().tcp.cwnd, 2 * full);
}

TEST_P(TailProbe, ProbeThatTheReceiverHadAlreadyChangesNothing) {  // RFC 8985 7.4.1
  Script s(GetParam());
  Measured m(s);
  const uint32_t full = s.full();
  s.write(m.c, full);
  s.expect(ACK, seq(m.at), len(full));
  s.expect_after(kLeastRto + 64, ACK, seq(m.at), len(full));
  s.in(ACK, ack(m.at + full));
  s.in(ACK, ack(m.at + full), sack({{m.at, m.at + full}}));
  s.write(m.c, full);
  s.expect(ACK, seq(m.at + full), len(full));
  s.advance(64);
  s.in(ACK, ack(m.at + 2 * full));
  EXPECT_EQ(s.counter("tcp.tail_probes_mended"), 0u);
  EXPECT_EQ(s.info().tcp.ssthresh, UINT32_MAX);
  EXPECT_EQ(std::string(s.info().tcp.recovery), "open");
}

TEST_P(TailProbe, AcknowledgmentPutsTheProbeOff) {  // RFC 8985 7.2
  Script s(GetParam());
  Measured m(s, 6);
  const uint32_t full = s.full();
  s.write(m.c, 6 * full);
  s.expect_data(m.at, m.at + 6 * full);
  s.quiet(120);
  s.in(ACK, ack(m.at + full));
  s.mark();
  s.quiet(127);
  s.in(ACK, ack(m.at + 6 * full));
  s.quiet(5'000);
  EXPECT_EQ(s.counter("tcp.tail_probes"), 0u);
}

TEST_P(TailProbe, NoneWithoutRack) {
  Options o;
  o.tcp.rack = 0;
  Script s(GetParam(), o);
  Measured m(s);
  s.write(m.c, 3 * s.full());
  s.expect_data(m.at, m.at + 3 * s.full());
  s.expect_after(kLeastRto + 64, ACK, seq(m.at), len(s.full()));
  EXPECT_EQ(s.counter("tcp.tail_probes"), 0u);
}

}  // namespace
}  // namespace millrace::script
