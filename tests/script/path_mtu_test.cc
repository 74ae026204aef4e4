// Path MTU discovery as TCP shows it: segments shrink, what was too large is sent again at once, the window stays.
// RFC 1191 6.4 and 6.5, RFC 8201 5.4, RFC 5927 4.1.
#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(PathMtu, all_variants());

constexpr uint16_t kPath = 1400;

uint32_t small(const Script& s) { return s.full() - (1500 - kPath); }

TEST_P(PathMtu, TooBigMakesSegmentsSmallerAndSendsThemAgainAtOnce) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, 3 * s.full());
  EXPECT_EQ(s.expect_data(1, 1 + 3 * s.full()), 3U);
  const uint32_t cwnd = s.info().tcp.cwnd;
  s.icmp_too_big(kPath);
  const size_t pieces = s.expect_data(1, 1 + 3 * s.full());
  EXPECT_GE(pieces, 4U);
  EXPECT_EQ(s.info().tcp.cwnd, cwnd) << "no congestion was seen (RFC 1191 6.5)";
  EXPECT_EQ(s.counter("tcp.path_mtu"), 1U);
  s.icmp_too_big(kPath);  // the others of the window are told apart
  s.expect_nothing();
  s.in(ACK, ack(1 + 3 * s.full()));
  s.write(c, 2 * small(s));
  s.expect(ACK, seq(1 + 3 * s.full()), len(small(s)));
  s.expect(ACK, seq(1 + 3 * s.full() + small(s)), len(small(s)));
}

TEST_P(PathMtu, NewConnectionsStartWithWhatIsKnown) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, s.full());
  EXPECT_EQ(s.expect_data(1, 1 + s.full()), 1U);
  s.icmp_too_big(kPath);
  EXPECT_GE(s.expect_data(1, 1 + s.full()), 2U);
  s.in(ACK, ack(1 + s.full()));
  s.peer_port(40'001);
  s.in(SYN, seq(0), s.offer());
  s.expect(SYN | ACK, seq(0), ack(1), mss(s.path_mss()));  // what we take is another matter
  s.in(ACK);
  const Handle d = s.accept(s.listener());
  s.write(d, s.full());
  s.expect(ACK, seq(1), len(small(s)));
  s.skip();
}

TEST_P(PathMtu, AMessageOutsideTheWindowChangesNothing) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, s.full());
  EXPECT_EQ(s.expect_data(1, 1 + s.full()), 1U);
  s.icmp_too_big(kPath, 100'000);
  s.expect_nothing();
  s.in(ACK, ack(1 + s.full()));
  s.write(c, s.full());
  s.expect(ACK, seq(1 + s.full()), len(s.full()));
}

TEST_P(PathMtu, AfterTenMinutesLargerSegmentsAreTried) {
  Script s(GetParam());
  const Handle c = s.server();
  s.write(c, s.full());
  EXPECT_EQ(s.expect_data(1, 1 + s.full()), 1U);
  s.icmp_too_big(kPath);
  EXPECT_GE(s.expect_data(1, 1 + s.full()), 2U);
  s.in(ACK, ack(1 + s.full()));
  s.advance(600'000);
  s.write(c, s.full());
  s.expect(ACK, seq(1 + s.full()), len(s.full()));
}

}  // namespace
}  // namespace millrace::script
