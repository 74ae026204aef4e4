// ICMP and ICMPv6: echo, the errors that we send and those that we must not, the errors that we hear.
#include "fixture.h"

namespace millrace::ip {
namespace {

class IcmpTest : public IpTest {
 protected:
  IcmpTest() { learn_peers(); }

  Frame echo_request_v4(size_t n = 32) {
    Frame m = Frame(8) + bytes(n);
    wire::Icmpv4Header::echo_request(7, 9).emit(m);
    return m;
  }
  Frame echo_request_v6(const IpAddr& to, size_t n = 32) {
    Frame m = Frame(8) + bytes(n);
    wire::Icmpv6Header::echo_request(7, 9).emit(m, peer6_, to);
    return m;
  }
  // The ICMP message of a frame, with its IP header checked.
  static wire::Icmpv4View v4(const Frame& f) {
    const auto ip = wire::Ipv4View::check(wire::Bytes(f).subspan(14));
    EXPECT_TRUE(ip && ip->checksum_ok());
    const auto m = wire::Icmpv4View::check(ip->payload());
    EXPECT_TRUE(m && m->checksum_ok());
    return *m;
  }
  static wire::Icmpv6View v6(const Frame& f) {
    const auto ip = wire::Ipv6View::check(wire::Bytes(f).subspan(14));
    EXPECT_TRUE(ip);
    const auto m = wire::Icmpv6View::check(ip->payload());
    EXPECT_TRUE(m && m->checksum_ok(ip->source(), ip->destination()));
    return *m;
  }
  static Frame copy(wire::Bytes b) { return {b.begin(), b.end()}; }

  // An error of a router about a TCP segment that we sent.
  Frame error_v4(const wire::Icmpv4Header& header, const Frame& quoted) {
    Frame m = Frame(8) + quoted;
    header.emit(m);
    return m;
  }
  Frame error_v6(const wire::Icmpv6Header& header, const Frame& quoted) {
    Frame m = Frame(8) + quoted;
    header.emit(m, peer6_, our6_);
    return m;
  }
  Frame our_segment_v4() { return datagram(our4_, addr("203.0.113.5"), 6, tcp_header(1000, 80, 77)); }
  Frame our_segment_v6() { return datagram(our6_, addr("2001:db8:5::5"), 6, tcp_header(1000, 80, 77)); }
};

TEST_F(IcmpTest, EchoRequestsAreAnswered) {
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, echo_request_v4()));
  const Frame f = sent_one();
  EXPECT_EQ(wire::load_mac(f.data()), kPeerMac);
  const auto m = v4(f);
  EXPECT_EQ(m.type(), wire::Icmpv4Type::kEchoReply);
  EXPECT_EQ(m.id(), 7);
  EXPECT_EQ(m.sequence(), 9);
  EXPECT_EQ(copy(m.payload()), bytes(32));
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6, echo_request_v6(our6_)));
  const Frame f6 = sent_one();
  const auto m6 = v6(f6);
  EXPECT_EQ(m6.type(), wire::Icmpv6Type::kEchoReply);
  EXPECT_EQ(m6.id(), 7);
  EXPECT_EQ(copy(m6.payload()), bytes(32));
}

TEST_F(IcmpTest, EchoRequestInPiecesIsAnswered) {
  limits_.max_segments = 64;
  make({});
  learn_peers();
  const Frame frame =
      ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, datagram(peer4_, our4_, 1, echo_request_v4(1001)));
  EXPECT_FALSE(input(frame, 101));
  const Frame whole = sent_one();
  EXPECT_EQ(copy(v4(whole).payload()), bytes(1001));
}

TEST_F(IcmpTest, ReplyIsMadeLinearForADeviceThatNeedsIt) {
  const Frame frame =
      ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, datagram(peer4_, our4_, 1, echo_request_v4(1001)));
  EXPECT_FALSE(input(frame, 101));
  pkt::Packet* p = nullptr;
  ASSERT_EQ(ip_->drain(if_, {&p, 1}), 1U);
  EXPECT_EQ(p->segs, 1);
  EXPECT_EQ(p->total, frame.size());
  cache_.free(p);
}

TEST_F(IcmpTest, EchoToAllNodesIsAnsweredFromOurAddress) {
  const IpAddr all = addr("ff02::1");
  EXPECT_FALSE(input(ethernet(MacAddr{{0x33, 0x33, 0, 0, 0, 1}}, kPeerMac, wire::EtherType::kIpv6,
                              datagram(peer6_, all, wire::kProtocolIcmpv6, echo_request_v6(all)))));
  const Frame f = sent_one();
  EXPECT_EQ(v6(f).type(), wire::Icmpv6Type::kEchoReply);
  EXPECT_EQ(wire::load_v6(&f[22]), our6_);
}

TEST_F(IcmpTest, EchoIsRateLimited) {
  Config config;
  config.icmp_echo_per_second = 20;
  make(config);
  learn_peers();
  for (int i = 0; i < 10; ++i) (void)receive(peer4_, our4_, wire::kProtocolIcmp, echo_request_v4());
  EXPECT_EQ(sent().size(), 2U) << "the burst";
  EXPECT_EQ(count("icmp.drop.echo_limited"), 8U);
  now_ = now_ + milliseconds(50);
  for (int i = 0; i < 10; ++i) (void)receive(peer4_, our4_, wire::kProtocolIcmp, echo_request_v4());
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(IcmpTest, SourceQuenchIsIgnored) {  // RFC 9293 3.9.2.2 MUST-55
  wire::Icmpv4Header quench;
  quench.type = wire::Icmpv4Type::kSourceQuench;
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, error_v4(quench, our_segment_v4())));
  EXPECT_TRUE(ip_->errors().empty());
  EXPECT_EQ(count("icmp.drop.unknown_type"), 1U);
}

TEST_F(IcmpTest, BadMessagesAreDropped) {
  Frame m = echo_request_v4();
  m[20] ^= std::byte{1};
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, m));
  m = echo_request_v6(our6_);
  m[20] ^= std::byte{1};
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6, m));
  EXPECT_EQ(count("icmp.drop.bad_checksum"), 2U);
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, bytes(7)));
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6, bytes(7)));
  EXPECT_EQ(count("icmp.drop.truncated"), 2U);
  EXPECT_TRUE(sent().empty());
}

// RFC 1122 3.2.2.1
TEST_F(IcmpTest, UnknownProtocolAndPortAreReportedWithAQuote) {
  const Frame d = datagram(peer4_, our4_, 200, bytes(50));
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, d)));
  Frame f = sent_one();
  EXPECT_EQ(v4(f).type(), wire::Icmpv4Type::kUnreachable);
  EXPECT_EQ(v4(f).code(), 2);
  EXPECT_EQ(copy(v4(f).payload()), d);
  EXPECT_EQ(wire::load_v4(&f[30]), peer4_);
  auto udp = receive(peer4_, our4_, wire::kProtocolUdp, bytes(1000));
  ASSERT_TRUE(udp);
  ip_->port_unreachable(*udp, now_);
  f = sent_one();
  EXPECT_EQ(v4(f).code(), 3);
  EXPECT_EQ(f.size(), 14U + 576) << "as much as fits in 576 bytes";
  EXPECT_EQ(count("ip.drop.unknown_protocol"), 1U);
}

TEST_F(IcmpTest, Ipv6UnknownHeaderAndPortAreReported) {
  EXPECT_FALSE(receive(peer6_, our6_, 200, bytes(50)));
  Frame f = sent_one();
  EXPECT_EQ(v6(f).type(), wire::Icmpv6Type::kParameterProblem);
  EXPECT_EQ(v6(f).code(), wire::kIcmpv6UnrecognizedNextHeader);
  EXPECT_EQ(v6(f).pointer(), 6U);
  auto udp = receive(peer6_, our6_, wire::kProtocolUdp, bytes(1400));
  ASSERT_TRUE(udp);
  ip_->port_unreachable(*udp, now_);
  f = sent_one();
  EXPECT_EQ(v6(f).type(), wire::Icmpv6Type::kUnreachable);
  EXPECT_EQ(v6(f).code(), 4);
  EXPECT_EQ(f.size(), 14U + 1280);
}

TEST_F(IcmpTest, UnknownIpv6OptionIsReported) {
  const Frame options = {std::byte{wire::kProtocolTcp}, std::byte{0}, std::byte{0x9e}, std::byte{4},
                         std::byte{0},                  std::byte{0}, std::byte{0},    std::byte{0}};
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolDestinationOptions, options + bytes(20)));
  const Frame f = sent_one();
  EXPECT_EQ(v6(f).code(), wire::kIcmpv6UnrecognizedOption);
  EXPECT_EQ(v6(f).pointer(), 42U);
  EXPECT_EQ(count("ip.drop.bad_options"), 1U);
}

// RFC 1122 3.2.2, RFC 4443 2.4 (e)
TEST_F(IcmpTest, NoErrorsAboutErrors) {
  // A malformed option in a datagram that is itself an ICMP error.
  Frame d = datagram(peer4_, our4_, wire::kProtocolIcmp,
                     error_v4(wire::Icmpv4Header::unreachable(wire::Icmpv4Unreachable::kPort), our_segment_v4()));
  const Frame option = {std::byte{7}, std::byte{77}, std::byte{0}, std::byte{0}};
  d.insert(d.begin() + 20, option.begin(), option.end());
  d[0] = std::byte{0x46};
  wire::store_be16(&d[2], static_cast<uint16_t>(d.size()));
  wire::store_be16(&d[10], 0);
  wire::store_be16(&d[10], wire::finish(wire::sum_bytes(d.data(), 24)));
  EXPECT_FALSE(input(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4, d)));
  EXPECT_EQ(count("ip.drop.bad_options"), 1U);
  EXPECT_EQ(count("icmp.out.errors_forbidden"), 1U);
  EXPECT_TRUE(sent().empty());
}

TEST_F(IcmpTest, NoErrorsAboutErrorsBehindExtensionHeaders) {
  const auto with_option = [&](const Frame& upper) {
    const Frame options = {std::byte{wire::kProtocolIcmpv6}, std::byte{0}, std::byte{0x9e}, std::byte{4},
                           std::byte{0},                     std::byte{0}, std::byte{0},    std::byte{0}};
    EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolDestinationOptions, options + upper));
  };
  with_option(error_v6(wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::kPort), our_segment_v6()));
  with_option(Frame(40, std::byte{137}));  // a redirect
  EXPECT_EQ(count("icmp.out.errors_forbidden"), 2U);
  EXPECT_TRUE(sent().empty());
  with_option(echo_request_v6(our6_));
  EXPECT_EQ(sent().size(), 1U);
}

TEST_F(IcmpTest, NoErrorsToTheUnspecifiedAddress) {
  const Frame options = {std::byte{wire::kProtocolTcp}, std::byte{0}, std::byte{0x9e}, std::byte{4},
                         std::byte{0},                  std::byte{0}, std::byte{0},    std::byte{0}};
  const Frame d = datagram(IpAddr(), addr("ff02::1"), wire::kProtocolDestinationOptions, options + bytes(20));
  EXPECT_FALSE(input(ethernet(MacAddr{{0x33, 0x33, 0, 0, 0, 1}}, kPeerMac, wire::EtherType::kIpv6, d)));
  EXPECT_EQ(count("icmp.out.errors_forbidden"), 1U);
}

TEST_F(IcmpTest, ReplyCarriesNoReceiveFlags) {
  pkt::Packet* p = packet(ethernet(kOurMac, kPeerMac, wire::EtherType::kIpv4,
                                   datagram(peer4_, our4_, wire::kProtocolIcmp, echo_request_v4())));
  p->flags |= pkt::kRxIpChecksumGood | pkt::kRxRssHash;
  p->set_tx_lengths(1, 2, 3, 4);
  EXPECT_FALSE(ip_->input(if_, p, now_));
  ASSERT_EQ(ip_->drain(if_, {&p, 1}), 1U);
  EXPECT_EQ(p->flags, 0U);
  EXPECT_EQ(p->tx_offload, 0U);
  cache_.free(p);
}

TEST_F(IcmpTest, NoErrorsAboutGroupsOrUnknownSenders) {
  auto broadcast = receive(peer4_, addr("192.0.2.255"), wire::kProtocolUdp, bytes(50));
  ASSERT_TRUE(broadcast);
  EXPECT_TRUE(broadcast->to_group);
  ip_->port_unreachable(*broadcast, now_);
  const IpAddr all = addr("ff02::1");
  const MacAddr mac{{0x33, 0x33, 0, 0, 0, 1}};
  auto group = input(ethernet(mac, kPeerMac, wire::EtherType::kIpv6, datagram(peer6_, all, 17, bytes(50))));
  ASSERT_TRUE(group);
  ip_->port_unreachable(*group, now_);
  EXPECT_FALSE(input(ethernet(mac, kPeerMac, wire::EtherType::kIpv6, datagram(IpAddr(), all, 17, bytes(50)))));
  EXPECT_EQ(count("icmp.out.errors_forbidden"), 2U);
  EXPECT_TRUE(sent().empty());
}

TEST_F(IcmpTest, ErrorsAreRateLimited) {
  const auto refuse = [&](const IpAddr& from, const IpAddr& to) {
    for (int i = 0; i < 50; ++i) ip_->port_unreachable(*receive(from, to, wire::kProtocolUdp, bytes(50)), now_);
  };
  refuse(peer4_, our4_);
  EXPECT_EQ(sent().size(), 10U) << "the burst of 100 a second";
  EXPECT_EQ(count("icmp.out.errors_limited"), 40U);
  now_ = now_ + milliseconds(20);
  refuse(peer6_, our6_);
  EXPECT_EQ(sent().size(), 2U);
}

struct ErrorCase {
  wire::Icmpv4Header v4;
  PathError::Kind kind;
  uint16_t mtu;
};
class IcmpErrorV4 : public IcmpTest, public ::testing::WithParamInterface<ErrorCase> {};

TEST_P(IcmpErrorV4, ComesOutAsPathError) {
  Frame quoted = our_segment_v4();
  wire::store_be16(&quoted[2], 1500);  // cut short by the router
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, error_v4(GetParam().v4, quoted)));
  ASSERT_EQ(ip_->errors().size(), 1U);
  const PathError& e = ip_->errors()[0];
  EXPECT_EQ(e.kind, GetParam().kind);
  EXPECT_EQ(e.mtu, GetParam().mtu);
  EXPECT_EQ(e.protocol, wire::kProtocolTcp);
  EXPECT_EQ(e.source, our4_);
  EXPECT_EQ(e.destination, addr("203.0.113.5"));
  EXPECT_EQ(e.source_port, 1000);
  EXPECT_EQ(e.destination_port, 80);
  EXPECT_EQ(e.sequence, 77U);
}

using Kind = PathError::Kind;
using U4 = wire::Icmpv4Unreachable;
INSTANTIATE_TEST_SUITE_P(
    Kinds, IcmpErrorV4,
    ::testing::Values(ErrorCase{wire::Icmpv4Header::unreachable(U4::kNet), Kind::kNetUnreachable, 0},
                      ErrorCase{wire::Icmpv4Header::unreachable(U4::kHost), Kind::kHostUnreachable, 0},
                      ErrorCase{wire::Icmpv4Header::unreachable(U4::kProtocol), Kind::kProtocolUnreachable, 0},
                      ErrorCase{wire::Icmpv4Header::unreachable(U4::kPort), Kind::kPortUnreachable, 0},
                      ErrorCase{wire::Icmpv4Header::unreachable(U4::kAdminProhibited), Kind::kAdminProhibited, 0},
                      ErrorCase{wire::Icmpv4Header::time_exceeded(0), Kind::kTimeExceeded, 0},
                      ErrorCase{wire::Icmpv4Header::parameter_problem(0, 20), Kind::kParameterProblem, 0},
                      ErrorCase{wire::Icmpv4Header::fragmentation_needed(1400), Kind::kPacketTooBig, 1400}));

TEST_F(IcmpTest, OldRoutersWithoutMtuGetAPlateau) {
  Frame quoted = our_segment_v4();
  wire::store_be16(&quoted[2], 1500);
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp,
                       error_v4(wire::Icmpv4Header::fragmentation_needed(0), quoted)));
  ASSERT_EQ(ip_->errors().size(), 1U);
  EXPECT_EQ(ip_->errors()[0].mtu, 1492);
}

TEST_F(IcmpTest, Icmpv6ErrorsComeOutAsPathErrors) {
  const auto hear = [&](const wire::Icmpv6Header& h) {
    Frame quoted = our_segment_v6();
    wire::store_be16(&quoted[4], 1460);
    (void)receive(peer6_, our6_, wire::kProtocolIcmpv6, error_v6(h, quoted));
  };
  hear(wire::Icmpv6Header::packet_too_big(1400));
  hear(wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::kAddress));
  hear(wire::Icmpv6Header::parameter_problem(wire::kIcmpv6UnrecognizedNextHeader, 6));
  hear(wire::Icmpv6Header::time_exceeded(0));
  ASSERT_EQ(ip_->errors().size(), 4U);
  EXPECT_EQ(ip_->errors()[0].kind, Kind::kPacketTooBig);
  EXPECT_EQ(ip_->errors()[0].mtu, 1400);
  EXPECT_EQ(ip_->errors()[0].sequence, 77U);
  EXPECT_EQ(ip_->errors()[0].source, our6_);
  EXPECT_EQ(ip_->errors()[1].kind, Kind::kHostUnreachable);
  EXPECT_EQ(ip_->errors()[2].kind, Kind::kProtocolUnreachable);
  EXPECT_EQ(ip_->errors()[3].kind, Kind::kTimeExceeded);
}

TEST_F(IcmpTest, ErrorsAboutDatagramsThatWeDidNotSendAreDropped) {
  const auto unreachable = wire::Icmpv4Header::unreachable(U4::kPort);
  const Frame other = datagram(peer4_, our4_, 6, tcp_header(1, 2, 3));
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, error_v4(unreachable, other)));
  EXPECT_EQ(count("icmp.drop.not_ours"), 1U);
  const Frame echo = datagram(our4_, peer4_, 1, tcp_header(1, 2, 3));
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, error_v4(unreachable, echo)));
  EXPECT_EQ(count("icmp.drop.not_ours"), 2U);
  EXPECT_FALSE(
      receive(peer6_, our6_, wire::kProtocolIcmpv6,
              error_v6(wire::Icmpv6Header::time_exceeded(0), datagram(peer6_, our6_, 6, tcp_header(1, 2, 3)))));
  EXPECT_EQ(count("icmp.drop.not_ours"), 3U);
  Frame cut = our_segment_v4();
  cut.resize(27);
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp, error_v4(unreachable, cut)));
  EXPECT_EQ(count("icmp.drop.bad_quote"), 1U);
  EXPECT_TRUE(ip_->errors().empty());
}

TEST_F(IcmpTest, ImpossibleMtusAreDropped) {
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp,
                       error_v4(wire::Icmpv4Header::fragmentation_needed(67), our_segment_v4())));
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6,
                       error_v6(wire::Icmpv6Header::packet_too_big(1279), our_segment_v6())));
  EXPECT_EQ(count("icmp.drop.bad_mtu"), 2U);
  // What is no larger than that cannot have been too big.
  EXPECT_FALSE(receive(peer4_, our4_, wire::kProtocolIcmp,
                       error_v4(wire::Icmpv4Header::fragmentation_needed(1400), our_segment_v4())));
  EXPECT_FALSE(receive(peer6_, our6_, wire::kProtocolIcmpv6,
                       error_v6(wire::Icmpv6Header::packet_too_big(1400), our_segment_v6())));
  EXPECT_EQ(count("icmp.drop.bad_mtu"), 4U);
  EXPECT_TRUE(ip_->errors().empty());
}

TEST_F(IcmpTest, ErrorsForUpperLayersAreBounded) {
  for (int i = 0; i < 1'100; ++i) {
    (void)receive(peer4_, our4_, wire::kProtocolIcmp,
                  error_v4(wire::Icmpv4Header::unreachable(U4::kPort), our_segment_v4()));
  }
  EXPECT_EQ(ip_->errors().size(), 1'024U);
  EXPECT_EQ(count("icmp.drop.error_queue_full"), 76U);
}

}  // namespace
}  // namespace millrace::ip
