// Path MTU discovery as TCP shows it: segments shrink, what was too large is sent again at once, the window stays.
// RFC 1191 6.4 and 6.5, RFC 8201 5.4, RFC 5927 4.1.
#include <algorithm>
#include <map>

#include "vocabulary.h"

namespace millrace::script {
namespace {

SCRIPTS(PathMtu, all_variants());
SCRIPTS(PathMtuSack, sack_variants());

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

Options probing(int64_t mode) {
  Options o;
  o.tcp.mtu_probing = mode;
  return o;
}

// What a path without ICMP messages lets through; the rest vanishes.
class BlackHole {
 public:
  BlackHole(Script& s, uint32_t most) : s_(s), most_(most) {}
  /// The peer gets what is small enough of what was sent, and acknowledges it.
  void pass() {
    const auto sent = s_.sent();
    s_.skip();
    for (const Segment& one : sent) {
      largest = std::max(largest, one.len);
      if (one.len > most_ || one.len == 0) continue;
      have_[*one.seq] = std::max(have_[*one.seq], *one.seq + one.len);
    }
    Blocks blocks;
    for (const auto& [from, to] : have_) {
      if (from <= edge) {
        edge = std::max(edge, to);
      } else if (!blocks.empty() && blocks.back().second >= from) {
        blocks.back().second = std::max(blocks.back().second, to);
      } else {
        blocks.emplace_back(from, to);
      }
    }
    if (blocks.size() > 3) blocks.erase(blocks.begin(), blocks.end() - 3);
    if (sent.empty()) return;
    if (s_.variant().sack && !blocks.empty()) {
      s_.in(ACK, ack(edge), sack(blocks));
    } else {
      s_.in(ACK, ack(edge));
    }
  }
  uint32_t edge = 1;     ///< what the peer has, up to here
  uint32_t largest = 0;  ///< segment that was sent

 private:
  Script& s_;
  uint32_t most_;
  std::map<uint32_t, uint32_t> have_;
};

// RFC 4821 7.7, RFC 2923 2.1
TEST_P(PathMtu, TimeoutsOfLargeSegmentsMakeThemSmall) {
  for (const uint32_t step : {1'100U, 600U}) {
    Script s(GetParam(), probing(1));
    if (s.variant().v6 && step < 1'200) continue;  // every IPv6 path carries 1,280 (RFC 8200 5)
    const Handle c = s.server();
    BlackHole path(s, step - 40 - (s.variant().ts ? 12 : 0));
    const uint32_t all = 6 * s.full();
    s.write(c, all);
    for (int i = 0; i < 400 && path.edge < 1 + all; ++i) {
      path.pass();
      s.advance(200);
    }
    EXPECT_EQ(path.edge, 1 + all);
    EXPECT_EQ(s.counter("tcp.mtu_black_holes"), step == 1'100 ? 1U : 2U);
    EXPECT_EQ(s.info().tcp.mss, (step == 1'100 ? 1'024U : 536U) - (s.variant().ts ? 12 : 0));
    s.skip();
  }
}

TEST_P(PathMtu, SmallSegmentsThatTimeOutSayNothingOfTheirSize) {
  Script s(GetParam(), probing(1));
  const Handle c = s.server();
  s.write(c, 400);
  s.advance(60'000);
  s.skip();
  EXPECT_EQ(s.counter("tcp.mtu_black_holes"), 0U);
  s.in(ACK, ack(401));
  EXPECT_EQ(s.info().tcp.mss, s.full());
}

TEST_P(PathMtu, BlackHolesAreLeftAloneWhereTheSettingSaysSo) {
  Script s(GetParam(), probing(0));
  const Handle c = s.server();
  s.write(c, s.full());
  s.advance(60'000);
  s.skip();
  EXPECT_EQ(s.info().tcp.mss, s.full());
}

// RFC 4821 7.3 to 7.6: a segment that is lost alone costs nothing but the search, and the size that arrives is found.
TEST_P(PathMtuSack, ProbesFindTheLargestSegmentThatArrives) {
  Script s(GetParam(), probing(2));
  const Handle c = s.server();
  const uint32_t headers = (s.variant().v6 ? 60U : 40U) + (s.variant().ts ? 12U : 0U);
  const uint32_t base = (s.variant().v6 ? 1'280U : 1'064U) - headers;
  const uint32_t most = 1'420U - headers;
  EXPECT_EQ(s.info().tcp.mss, base);
  BlackHole path(s, most);
  uint32_t written = 0;
  for (int i = 0; i < 60; ++i) {
    for (int j = 0; j < 40; ++j) written += static_cast<uint32_t>(*s.try_write(c, 1'000));
    for (int j = 0; j < 12; ++j) {
      s.advance(20);
      path.pass();
    }
  }
  EXPECT_EQ(path.edge, 1 + written);
  EXPECT_EQ(path.largest, s.full()) << "the largest is tried first";
  EXPECT_LE(s.info().tcp.mss, most);
  EXPECT_GT(s.info().tcp.mss, most - 32);
  EXPECT_GE(s.counter("tcp.mtu_probes_lost"), 1U);
  EXPECT_EQ(s.counter("tcp.rtos"), 0U);
  EXPECT_EQ(s.counter("tcp.fast_retransmits"), 0U) << "no congestion was seen";
  s.skip();
}

}  // namespace
}  // namespace millrace::script
