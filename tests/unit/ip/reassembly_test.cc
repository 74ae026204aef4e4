// Fragments that arrive: every order gives the datagram back, what is malformed or hostile is refused by name, memory
// and time are bounded.
#include "fixture.h"

#include <algorithm>
#include <functional>

#include "base/rng.h"
#include "ip/reassembly.h"
#include "ip/segments.h"

namespace millrace::ip {
namespace {

struct Piece {
  uint32_t start = 0;
  uint32_t length = 0;
  bool more = false;
};

Frame pattern(size_t n) {
  Frame out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(i * 7 + (i >> 8));
  return out;
}

/// Cuts `total` bytes into fragments of `size`.
std::vector<Piece> cut(uint32_t total, uint32_t size) {
  std::vector<Piece> out;
  for (uint32_t at = 0; at < total; at += size) out.push_back({at, std::min(size, total - at), at + size < total});
  return out;
}

/// What differs between the families.
struct Family {
  bool v6;
  uint8_t ecn = 0;
};

class ReassemblyTest : public IpTest, public ::testing::WithParamInterface<bool> {
 protected:
  ReassemblyTest() : v6_(GetParam()) { learn_peers(); }

  Frame fragment(const Frame& payload, const Piece& p, uint32_t id = 7, uint8_t tclass = 0,
                 uint8_t protocol = wire::kProtocolTcp, const char* from = nullptr) {
    const Frame data(payload.begin() + p.start, payload.begin() + p.start + p.length);
    const IpAddr source = from != nullptr ? addr(from) : v6_ ? peer6_ : peer4_;
    if (v6_) {
      Frame headers(48);
      wire::Ipv6Header{tclass, 0, static_cast<uint16_t>(8 + p.length), wire::kProtocolFragment, 61, source, our6_}.emit(
          headers);
      wire::Ipv6Fragment{protocol, static_cast<uint16_t>(p.start), p.more, id}.emit(
          wire::MutableBytes(headers).subspan(40));
      return ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv6, headers + data);
    }
    Frame header(20);
    wire::Ipv4Header{tclass,
                     static_cast<uint16_t>(20 + p.length),
                     static_cast<uint16_t>(id),
                     false,
                     p.more,
                     static_cast<uint16_t>(p.start),
                     61,
                     protocol,
                     source,
                     our4_}
        .emit(header);
    return ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, header + data);
  }
  Frame tcp_payload(size_t n) {
    Frame out = pattern(n);
    const Frame header = tcp_header(1000, 80, 1);
    std::copy(header.begin(), header.begin() + static_cast<ptrdiff_t>(std::min(n, header.size())), out.begin());
    return out;
  }
  void expect_refused(const Frame& frame, const char* counter) {
    const uint64_t before = count(counter);
    EXPECT_FALSE(input(frame));
    EXPECT_EQ(count(counter), before + 1) << counter;
  }
  std::optional<Datagram> feed(const Frame& payload, const std::vector<Piece>& pieces, uint32_t id = 7) {
    std::optional<Datagram> last;
    for (const Piece& p : pieces) {
      EXPECT_FALSE(last) << "whole before its last fragment";
      last = input(fragment(payload, p, id));
    }
    return last;
  }
  bool v6_;
};
INSTANTIATE_TEST_SUITE_P(Families, ReassemblyTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "v6" : "v4"; });

TEST_P(ReassemblyTest, EveryOrderOfFourFragmentsGivesTheDatagram) {
  const Frame payload = tcp_payload(100);
  std::vector<Piece> pieces = cut(100, 32);
  ASSERT_EQ(pieces.size(), 4U);
  std::vector<int> order = {0, 1, 2, 3};
  uint32_t id = 1;
  do {
    std::vector<Piece> turn;
    turn.reserve(order.size());
    for (const int i : order) turn.push_back(pieces[static_cast<size_t>(i)]);
    const auto d = feed(payload, turn, id++);
    ASSERT_TRUE(d);
    EXPECT_EQ(content(*d->packet), payload);
    EXPECT_EQ(d->protocol, wire::kProtocolTcp);
    EXPECT_EQ(d->ttl, 61);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(count("ip.reassembly.datagrams"), 24U);
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_P(ReassemblyTest, TheLargestDatagramIsPutTogetherFromShuffledFragments) {
  const uint32_t most = v6_ ? 65'535 : 65'515;
  const Frame payload = tcp_payload(most);
  base::Rng rng(3);
  for (const uint32_t size : {1480U, 552U, 1232U}) {
    std::vector<Piece> pieces = cut(most, size);
    for (size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[rng.below(i)]);
    const auto d = feed(payload, pieces, size);
    ASSERT_TRUE(d);
    EXPECT_EQ(content(*d->packet), payload);
    EXPECT_EQ(d->packet->flags & pkt::kRxL4ChecksumMask, 0U) << "nobody has verified the whole";
  }
}

TEST_P(ReassemblyTest, FragmentsInPiecesAndWithPaddingGiveTheDatagram) {
  const Frame payload = tcp_payload(2000);
  for (const size_t piece : {size_t{9}, size_t{64}, size_t{300}}) {
    EXPECT_FALSE(input(fragment(payload, {1000, 1000, false}, 9) + bytes(6), piece));
    const auto d = input(fragment(payload, {0, 1000, true}, 9) + bytes(3), piece);
    ASSERT_TRUE(d);
    EXPECT_EQ(content(*d->packet), payload);
  }
}

TEST_P(ReassemblyTest, DatagramsOfDifferentKeysDoNotMix) {
  const Frame a = tcp_payload(64);
  Frame b = a;
  b[63] = std::byte{0xee};
  EXPECT_FALSE(input(fragment(a, {0, 32, true}, 1)));
  EXPECT_FALSE(input(fragment(b, {32, 32, false}, 2)));
  const char* other = v6_ ? "2001:db8::a" : "192.0.2.10";
  EXPECT_FALSE(input(fragment(b, {32, 32, false}, 1, 0, wire::kProtocolTcp, other)));
  const auto d = input(fragment(a, {32, 32, false}, 1));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), a);
  EXPECT_EQ(ip_->packets_held(), 2U);
  // Only IPv4 keeps protocols apart (RFC 791 2.3, RFC 8200 4.5).
  EXPECT_FALSE(input(fragment(a, {0, 32, true}, 5)));
  EXPECT_EQ(input(fragment(a, {32, 32, false}, 5, 0, wire::kProtocolUdp)).has_value(), v6_);
}

// RFC 8200 4.5, RFC 5722 4: teardrop and its kin.
TEST_P(ReassemblyTest, AnOverlapEndsTheDatagramWithoutAWord) {
  const Frame payload = tcp_payload(96);
  Frame other = payload;
  other[40] = std::byte{0xee};
  const Piece overlaps[] = {{24, 32, true}, {40, 16, true}, {32, 16, true}, {40, 8, true}, {0, 88, true}};
  uint32_t id = 10;
  for (const Piece& overlap : overlaps) {
    SCOPED_TRACE(overlap.start);
    EXPECT_FALSE(input(fragment(payload, {0, 32, true}, ++id)));
    EXPECT_FALSE(input(fragment(payload, {32, 32, true}, id)));
    expect_refused(fragment(other, overlap, id), "ip.drop.fragment_overlap");
    EXPECT_EQ(ip_->packets_held(), 0U) << "nothing of it stays";
    expect_refused(fragment(payload, {64, 32, false}, id), "ip.drop.fragment_late");
    expect_refused(fragment(payload, {0, 32, true}, id), "ip.drop.fragment_late");
  }
  advance(seconds(61));
  EXPECT_TRUE(sent().empty());
  const auto d = feed(payload, cut(96, 32), id);
  EXPECT_TRUE(d) << "the identification is free again";
}

TEST_P(ReassemblyTest, ExactDuplicatesAreTolerated) {
  const Frame payload = tcp_payload(96);
  EXPECT_FALSE(input(fragment(payload, {32, 32, true})));
  expect_refused(fragment(payload, {32, 32, true}), "ip.drop.fragment_duplicate");
  EXPECT_FALSE(input(fragment(payload, {64, 32, false})));
  expect_refused(fragment(payload, {64, 32, false}), "ip.drop.fragment_duplicate");
  expect_refused(fragment(payload, {40, 16, true}), "ip.drop.fragment_duplicate");
  const auto d = input(fragment(payload, {0, 32, true}));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), payload);
}

TEST_P(ReassemblyTest, ContradictingEndsEndTheDatagram) {
  const Frame payload = tcp_payload(128);
  const std::pair<Piece, Piece> pairs[] = {
      {{64, 32, false}, {64, 64, false}},  // two ends
      {{64, 32, false}, {96, 32, true}},   // beyond the end
      {{64, 32, true}, {32, 32, false}},   // the end in front of what is there
      {{64, 32, false}, {64, 32, true}},   // the end is none
  };
  uint32_t id = 20;
  for (const auto& [first, second] : pairs) {
    EXPECT_FALSE(input(fragment(payload, first, ++id)));
    expect_refused(fragment(payload, second, id), "ip.drop.fragment_overlap");
  }
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_P(ReassemblyTest, ImpossibleLengthsAreRefused) {
  const Frame payload = tcp_payload(128);
  expect_refused(fragment(payload, {0, 33, true}), "ip.drop.fragment_malformed");
  expect_refused(fragment(payload, {8, 0, false}), "ip.drop.fragment_malformed");
  const auto replies = sent();
  if (!v6_) {
    EXPECT_TRUE(replies.empty());
    return;
  }
  ASSERT_EQ(replies.size(), 1U) << "RFC 8200 4.5: parameter problem at the payload length";
  EXPECT_EQ(wire::load_u8(&replies[0][54]), 4);
  EXPECT_EQ(wire::load_u8(&replies[0][55]), 0);
  EXPECT_EQ(wire::load_be32(&replies[0][58]), 4U);
}

// Ping of death.
TEST_P(ReassemblyTest, AFragmentBeyondTheLongestDatagramIsRefused) {
  Frame payload = pattern(70'000);
  expect_refused(fragment(payload, {65'528, 48, false}, 1, 0, v6_ ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp),
                 "ip.drop.fragment_too_long");
  const auto replies = sent();
  EXPECT_EQ(ip_->packets_held(), 0U);
  if (!v6_) {
    EXPECT_TRUE(replies.empty());
    return;
  }
  ASSERT_EQ(replies.size(), 1U) << "RFC 8200 4.5: parameter problem at the fragment offset";
  EXPECT_EQ(wire::load_u8(&replies[0][54]), 4);
  EXPECT_EQ(wire::load_be32(&replies[0][58]), 42U);
}

TEST_P(ReassemblyTest, TimeIsUpWithAMessageIfTheFirstFragmentIsThere) {
  const Frame payload = tcp_payload(96);
  EXPECT_EQ(ip_->next_deadline(), kNever);
  EXPECT_FALSE(input(fragment(payload, {0, 32, true}, 1)));
  EXPECT_FALSE(input(fragment(payload, {32, 32, true}, 2)));
  EXPECT_EQ(ip_->next_deadline(), now_ + seconds(v6_ ? 60 : 30));
  advance(seconds(v6_ ? 60 : 30) - nanoseconds(1));
  EXPECT_EQ(ip_->packets_held(), 2U);
  advance(nanoseconds(1));
  EXPECT_EQ(count("ip.reassembly.timeouts"), 2U);
  const Frame f = sent_one();  // RFC 1122 3.3.2, RFC 8200 4.5: code 1, about the first fragment
  EXPECT_EQ(wire::load_u8(&f[v6_ ? 54 : 34]), v6_ ? 3 : 11);
  EXPECT_EQ(wire::load_u8(&f[v6_ ? 55 : 35]), 1);
  const Frame quoted(f.begin() + (v6_ ? 62 : 42), f.end());
  const Frame first = fragment(payload, {0, 32, true}, 1);
  EXPECT_EQ(quoted, Frame(first.begin() + 14, first.end()));
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_P(ReassemblyTest, TheMessageQuotesTheFirstFragmentAlone) {
  const Frame payload = tcp_payload(96);
  EXPECT_FALSE(input(fragment(payload, {0, 32, true}, 1)));
  EXPECT_FALSE(input(fragment(payload, {32, 32, true}, 1)));  // copied behind the first
  advance(seconds(60));
  const Frame f = sent_one();
  EXPECT_EQ(f.size(), (v6_ ? 62U : 42U) + (v6_ ? 48U : 20U) + 32U);
}

// RFC 3168 5.3
TEST_P(ReassemblyTest, CongestionOfOneFragmentIsThatOfTheDatagram) {
  const Frame payload = tcp_payload(64);
  const struct {
    uint8_t a, b;
    int result;  // -1: dropped
  } cases[] = {{2, 2, 2}, {2, 3, 3}, {3, 2, 3}, {3, 3, 3}, {0, 0, 0}, {0, 3, -1}, {3, 0, -1}, {1, 3, 3}};
  uint32_t id = 30;
  for (const auto& c : cases) {
    ++id;
    EXPECT_FALSE(input(fragment(payload, {0, 32, true}, id, c.a)));
    const auto d = input(fragment(payload, {32, 32, false}, id, c.b));
    EXPECT_EQ(d.has_value(), c.result >= 0);
    if (d) {
      EXPECT_EQ(d->traffic_class, c.result);
    }
  }
  EXPECT_EQ(count("ip.reassembly.ecn"), 2U);
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_P(ReassemblyTest, FragmentsOfOneDatagramAreLimited) {
  Config config;
  config.settings.reassembly_fragments = 4;
  make(config);
  const Frame payload = tcp_payload(4096);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_FALSE(input(fragment(payload, {i * 1024, 24, true})));
  expect_refused(fragment(payload, {512, 8, true}), "ip.drop.fragment_too_many");
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_P(ReassemblyTest, IncompleteDatagramsAreLimitedAndTheOldestGoes) {
  Config config;
  config.settings.reassembly_datagrams = 3;
  make(config);
  const Frame payload = tcp_payload(64);
  for (uint32_t id = 1; id <= 4; ++id) EXPECT_FALSE(input(fragment(payload, {0, 32, true}, id)));
  EXPECT_EQ(count("ip.reassembly.evicted"), 1U);
  EXPECT_EQ(ip_->packets_held(), 3U);
  EXPECT_TRUE(input(fragment(payload, {32, 32, false}, 4)));
  EXPECT_TRUE(input(fragment(payload, {32, 32, false}, 2)));
  EXPECT_FALSE(input(fragment(payload, {32, 32, false}, 1))) << "the oldest had to go";
}

TEST_P(ReassemblyTest, OneSourceCannotTakeTheRoomOfAnother) {
  Config config;
  config.settings.reassembly_source_bytes = 65'536;
  make(config);
  const Frame payload = tcp_payload(64);
  const char* other = v6_ ? "2001:db8::a" : "192.0.2.10";
  EXPECT_FALSE(input(fragment(payload, {0, 32, true}, 1, 0, wire::kProtocolTcp, other)));
  for (uint32_t id = 1; id <= 100; ++id) EXPECT_FALSE(input(fragment(payload, {0, 32, true}, id)));
  const auto each = static_cast<uint32_t>(sizeof(pkt::Packet) + pkt::kHeadroom + pkt::kFrameRoom);
  EXPECT_EQ(ip_->packets_held(), 65'536 / each + 1);
  EXPECT_EQ(count("ip.reassembly.evicted_source"), 100 - 65'536 / each);
  EXPECT_TRUE(input(fragment(payload, {32, 32, false}, 1, 0, wire::kProtocolTcp, other)));
}

TEST_P(ReassemblyTest, AFloodStaysWithinTheLimitOfMemory) {
  Config config;
  config.settings.reassembly_bytes = 262'144;
  make(config);
  const Frame payload = tcp_payload(64);
  const uint64_t each = sizeof(pkt::Packet) + pkt::kHeadroom + pkt::kFrameRoom;
  base::Rng rng(5);
  for (uint32_t i = 0; i < 5'000; ++i) {
    const std::string from = (v6_ ? "2001:db8::" : "192.0.2.") + std::to_string(2 + rng.below(250));
    EXPECT_FALSE(input(
        fragment(payload, {8 * static_cast<uint32_t>(rng.below(4)), 8, true}, i, 0, wire::kProtocolUdp, from.c_str())));
    ASSERT_LE(ip_->packets_held() * each, 262'144U);
  }
  EXPECT_GT(count("ip.reassembly.evicted"), 4'000U);
  EXPECT_TRUE(feed(payload, cut(64, 32), 7'000'000)) << "a well-behaved datagram still gets through";
}

TEST_P(ReassemblyTest, WhileFramesAreScarceFragmentsGiveWay) {
  const Frame payload = tcp_payload(64);
  for (uint32_t id = 1; id <= 20; ++id) EXPECT_FALSE(input(fragment(payload, {0, 32, true}, id)));
  std::vector<pkt::Packet*> taken;
  while (frames_.available() > frames_.capacity() / 16) taken.push_back(cache_.frame());
  expect_refused(fragment(payload, {0, 32, true}, 21), "ip.drop.fragment_no_room");
  EXPECT_EQ(ip_->packets_held(), 0U);
  for (pkt::Packet* p : taken) cache_.free(p);
}

TEST_P(ReassemblyTest, TinyFragmentsShareABuffer) {
  const Frame payload = tcp_payload(816);
  const auto pieces = cut(816, 24);
  for (size_t i = 0; i + 1 < pieces.size(); ++i) EXPECT_FALSE(input(fragment(payload, pieces[i])));
  EXPECT_EQ(ip_->packets_held(), 1U);
  const auto d = input(fragment(payload, pieces.back()));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), payload);
  EXPECT_EQ(d->packet->segs, 1);
}

// RFC 1122 3.3.2, 3.2.2.1
TEST_P(ReassemblyTest, ErrorsAboutAWholeDatagramQuoteIt) {
  const Frame payload = pattern(64);
  EXPECT_FALSE(input(fragment(payload, {32, 32, false}, 1, 0, wire::kProtocolUdp)));
  const auto whole = input(fragment(payload, {0, 32, true}, 1, 0, wire::kProtocolUdp));
  ASSERT_TRUE(whole);
  ip_->port_unreachable(*whole, now_);
  const Frame f = sent_one();
  EXPECT_EQ(wire::load_u8(&f[v6_ ? 54 : 34]), v6_ ? 1 : 3);
  const size_t header = v6_ ? 40 : 20;
  const Frame quoted(f.begin() + (v6_ ? 62 : 42), f.end());
  ASSERT_EQ(quoted.size(), header + 64);
  EXPECT_EQ(Frame(quoted.begin() + static_cast<ptrdiff_t>(header), quoted.end()), payload);
  if (v6_) {
    EXPECT_EQ(wire::load_u8(&quoted[6]), wire::kProtocolUdp);
    EXPECT_EQ(wire::load_be16(&quoted[4]), 64);
  } else {
    const auto view = wire::Ipv4View::check(quoted);
    ASSERT_TRUE(view);
    EXPECT_FALSE(view->is_fragment());
    EXPECT_TRUE(view->checksum_ok());
  }
}

class Fragments6Test : public IpTest {
 protected:
  Fragments6Test() { learn_peers(); }
  Frame v6(const Frame& chain, uint8_t next) {
    return ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv6, datagram(peer6_, our6_, next, chain));
  }
  static Frame fragment_header(uint8_t next, uint16_t offset, bool more, uint32_t id = 3) {
    Frame out(8);
    wire::Ipv6Fragment{next, offset, more, id}.emit(out);
    return out;
  }
  static Frame destination_options(uint8_t next, uint8_t units = 0) {
    Frame out(8 * (1 + size_t{units}));
    out[0] = std::byte{next};
    out[1] = std::byte{units};
    out[2] = std::byte{1};
    out[3] = static_cast<std::byte>(out.size() - 4);
    return out;
  }
};

// RFC 6946 4: processed alone, whatever other fragments with its identification wait.
TEST_F(Fragments6Test, AtomicFragmentsStandAlone) {
  const Frame tcp = tcp_header(1, 2, 3);
  EXPECT_FALSE(input(v6(fragment_header(6, 0, true) + tcp + bytes(4), 44)));
  const auto d = input(v6(fragment_header(6, 0, false) + tcp, 44));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), tcp);
  EXPECT_TRUE(input(v6(fragment_header(6, 24, false) + bytes(8), 44))) << "the other datagram is unharmed";
}

// RFC 7112 5
TEST_F(Fragments6Test, FirstFragmentMustHaveTheWholeHeaderChain) {
  const Frame chains[] = {
      fragment_header(6, 0, true) + bytes(16),                                       // half a TCP header
      fragment_header(60, 0, true) + destination_options(6),                         // no upper layer at all
      fragment_header(60, 0, true) + Frame{std::byte{6}, std::byte{4}} + bytes(14),  // options cut short
  };
  for (const Frame& chain : chains) {
    EXPECT_FALSE(input(v6(chain, 44)));
    const Frame f = sent_one();
    EXPECT_EQ(wire::load_u8(&f[54]), 4);
    EXPECT_EQ(wire::load_u8(&f[55]), 3);
  }
  EXPECT_EQ(count("ip.drop.fragment_header_chain"), 3U);
  EXPECT_EQ(ip_->packets_held(), 0U);
}

TEST_F(Fragments6Test, HeadersInFrontAndBehindTheFragmentHeaderStay) {
  const Frame tcp = tcp_header(1, 2, 3);
  const Frame tail = destination_options(6) + tcp + bytes(100);
  const Frame first(tail.begin(), tail.begin() + 64);
  const Frame second(tail.begin() + 64, tail.end());
  EXPECT_FALSE(input(v6(destination_options(44, 1) + fragment_header(60, 64, false) + second, 60)));
  const auto d = input(v6(destination_options(44, 2) + fragment_header(60, 0, true) + first, 60));
  ASSERT_TRUE(d);
  EXPECT_EQ(content(*d->packet), tcp + bytes(100));
}

TEST_F(Fragments6Test, AFragmentInsideADatagramOfFragmentsIsRefused) {
  const Frame inner = fragment_header(6, 0, true, 4) + tcp_header(1, 2, 3) + bytes(4);
  EXPECT_FALSE(input(v6(fragment_header(44, 24, false) + Frame(inner.begin() + 24, inner.end()), 44)));
  EXPECT_FALSE(input(v6(fragment_header(44, 0, true) + Frame(inner.begin(), inner.begin() + 24), 44)));
  EXPECT_EQ(count("ip.drop.fragment_malformed"), 1U);
  EXPECT_EQ(ip_->packets_held(), 0U);
}

// RFC 6980 5
TEST_F(Fragments6Test, NeighbourDiscoveryInFragmentsIsIgnored) {
  ASSERT_TRUE(ip_->remove_neighbour(if_, peer6_));
  Frame ns(24);
  wire::store_u8(ns.data(), 135);
  wire::store_v6(&ns[8], our6_);
  wire::seal_icmpv6(ns, peer6_, our6_);
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv6,
                              datagram(peer6_, our6_, 44, fragment_header(58, 0, false) + ns, 255))));
  EXPECT_EQ(count("nd.drop.invalid"), 1U);
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv6, datagram(peer6_, our6_, 58, ns, 255))));
  EXPECT_EQ(count("nd.drop.invalid"), 1U);
}

// RFC 1122 3.2.2: only the first fragment may draw an error.
TEST_F(Fragments6Test, NoErrorIsSentAboutLaterFragmentsOfIpv4) {
  const auto frame = [&](uint16_t offset) {
    Frame header(28);
    wire::Ipv4Header{0, 36, 9, false, true, offset, 64, 17, peer4_, our4_}.emit(header);
    header[0] = std::byte{0x47};
    header[20] = std::byte{7};
    header[21] = std::byte{40};  // runs past the header
    wire::store_be16(&header[10], 0);
    wire::store_be16(&header[10], wire::finish(wire::sum_bytes(header)));
    return ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, header + bytes(8));
  };
  EXPECT_FALSE(input(frame(80)));
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(count("icmp.out.errors_forbidden"), 1U);
  EXPECT_FALSE(input(frame(0)));
  EXPECT_EQ(sent().size(), 1U);
}

}  // namespace
}  // namespace millrace::ip
