// ICMP messages, and the datagrams that errors of both families quote.
#include "wire/icmpv4.h"

#include <gtest/gtest.h>

#include "hex.h"
#include "wire/quoted.h"

namespace millrace::wire {
namespace {

const auto kEcho = hex("08 00 00 00 12 34 00 07 61 62 63");

TEST(Icmpv4, ReadsEcho) {
  const auto view = Icmpv4View::check(kEcho);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type(), Icmpv4Type::kEchoRequest);
  EXPECT_EQ(view->code(), 0);
  EXPECT_EQ(view->id(), 0x1234);
  EXPECT_EQ(view->sequence(), 7);
  EXPECT_EQ(view->payload().size(), 3u);
  EXPECT_FALSE(view->is_error());
}

TEST(Icmpv4, RefusesLessThanEightBytes) {
  for (size_t size = 0; size < 8; ++size) EXPECT_FALSE(Icmpv4View::check(cut(kEcho, size))) << size;
  EXPECT_TRUE(Icmpv4View::check(cut(kEcho, 8)));
}

TEST(Icmpv4, ReadsWhatEachErrorCarries) {
  EXPECT_EQ(Icmpv4View::check(hex("03 04 00 00 00 00 05 78"))->next_hop_mtu(), 1400);
  EXPECT_EQ(Icmpv4View::check(hex("0c 00 00 00 14 00 00 00"))->pointer(), 20);
  EXPECT_EQ(Icmpv4View::check(hex("05 01 00 00 c0 00 02 fe"))->gateway(), IpAddr::v4(192, 0, 2, 254));
}

TEST(Icmpv4, TellsErrorsFromQueries) {  // RFC 1122 3.2.2
  for (int type = 0; type < 256; ++type) {
    const bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    EXPECT_EQ(Icmpv4View::check(with(kEcho, 0, type))->is_error(), error) << type;
  }
}

TEST(Icmpv4, EmitsWithAChecksumOverTheWholeMessage) {
  auto bytes = kEcho;
  Icmpv4Header::parse(*Icmpv4View::check(bytes)).emit(bytes);
  EXPECT_TRUE(Icmpv4View::check(bytes)->checksum_ok());
  EXPECT_EQ(with(with(bytes, 2, 0), 3, 0), kEcho);
  for (size_t at = 0; at < bytes.size(); ++at) {
    EXPECT_FALSE(Icmpv4View::check(with(bytes, at, static_cast<int>(bytes[at]) ^ 1))->checksum_ok()) << at;
  }
}

TEST(Icmpv4, EmitsAheadOfAPayloadThatLiesElsewhere) {
  auto whole = kEcho;
  Icmpv4Header::echo_reply(0x1234, 7).emit(whole);
  std::vector<std::byte> header(8);
  Icmpv4Header::echo_reply(0x1234, 7).emit(header, sum_bytes(kEcho.data() + 8, 3));
  EXPECT_EQ(header, cut(whole, 8));
}

TEST(Icmpv4, MakesEachMessage) {
  std::vector<std::byte> out(8);
  const auto made = [&](const Icmpv4Header& header) {
    header.emit(out);
    EXPECT_TRUE(Icmpv4View::check(out)->checksum_ok());
    EXPECT_EQ(Icmpv4Header::parse(*Icmpv4View::check(out)), header);
    return with(with(out, 2, 0), 3, 0);
  };
  EXPECT_EQ(made(Icmpv4Header::echo_request(1, 2)), hex("08 00 00 00 00 01 00 02"));
  EXPECT_EQ(made(Icmpv4Header::echo_reply(1, 2)), hex("00 00 00 00 00 01 00 02"));
  EXPECT_EQ(made(Icmpv4Header::unreachable(Icmpv4Unreachable::kPort)), hex("03 03 00 00 00 00 00 00"));
  EXPECT_EQ(made(Icmpv4Header::fragmentation_needed(1400)), hex("03 04 00 00 00 00 05 78"));
  EXPECT_EQ(made(Icmpv4Header::time_exceeded(kIcmpv4ReassemblyTimeout)), hex("0b 01 00 00 00 00 00 00"));
  EXPECT_EQ(made(Icmpv4Header::parameter_problem(0, 20)), hex("0c 00 00 00 14 00 00 00"));
}

const auto kQuotedV4 =
    hex("45 00 05 dc 00 01 40 00 40 06 00 00 c6 12 00 02 c6 12 00 01"
        "00 50 ae 0c de ad be ef");

TEST(Quoted, GivesTheTupleAndSequenceOverIpv4) {
  const auto quoted = parse_quoted_v4(kQuotedV4);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->source, IpAddr::v4(198, 18, 0, 2));
  EXPECT_EQ(quoted->destination, IpAddr::v4(198, 18, 0, 1));
  EXPECT_EQ(quoted->protocol, kProtocolTcp);
  ASSERT_TRUE(quoted->has_sequence());
  EXPECT_EQ(quoted->source_port(), 80);
  EXPECT_EQ(quoted->destination_port(), 44556);
  EXPECT_EQ(quoted->sequence(), 0xdeadbeef);
}

TEST(Quoted, SaysHowMuchTheErrorCutOff) {
  for (size_t size = 20; size <= 28; ++size) {
    const auto bytes = cut(kQuotedV4, size);
    const auto quoted = parse_quoted_v4(bytes);
    ASSERT_TRUE(quoted);
    EXPECT_EQ(quoted->has_ports(), size >= 24);
    EXPECT_EQ(quoted->has_sequence(), size >= 28);
  }
  for (size_t size = 0; size < 20; ++size) EXPECT_FALSE(parse_quoted_v4(cut(kQuotedV4, size)));
}

TEST(Quoted, FindsNoPortsInLaterFragments) {
  const auto quoted = parse_quoted_v4(with(kQuotedV4, 7, 1));
  ASSERT_TRUE(quoted);
  EXPECT_FALSE(quoted->has_ports());
}

const auto kQuotedV6 =
    hex("60 00 00 00 05 00 06 40"
        "fd 00 6d 72 00 00 00 00 00 00 00 00 00 00 00 02 fd 00 6d 72 00 00 00 00 00 00 00 00 00 00 00 01");

TEST(Quoted, GivesTheTupleAndSequenceOverIpv6) {
  const auto bytes = kQuotedV6 + hex("00 50 ae 0c de ad be ef");
  const auto quoted = parse_quoted_v6(bytes);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->source, *IpAddr::parse("fd00:6d72::2"));
  EXPECT_EQ(quoted->protocol, kProtocolTcp);
  ASSERT_TRUE(quoted->has_sequence());
  EXPECT_EQ(quoted->source_port(), 80);
  EXPECT_EQ(quoted->sequence(), 0xdeadbeef);
  EXPECT_FALSE(parse_quoted_v6(cut(bytes, 39)));
  const auto bare = cut(bytes, 40);
  EXPECT_FALSE(parse_quoted_v6(bare)->has_ports());
}

TEST(Quoted, LooksBehindExtensionHeadersOverIpv6) {
  const auto options = with(kQuotedV6, 6, 60) + hex("11 00 01 04 00 00 00 00  00 35 30 39 00 08 00 00");
  const auto quoted = parse_quoted_v6(options);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(quoted->protocol, kProtocolUdp);
  EXPECT_EQ(quoted->source_port(), 53);
  const auto first_fragment = with(kQuotedV6, 6, 44) + hex("11 00 00 01 00 00 00 01  00 35 30 39");
  EXPECT_EQ(parse_quoted_v6(first_fragment)->protocol, kProtocolUdp);
  EXPECT_EQ(parse_quoted_v6(first_fragment)->source_port(), 53);
  const auto later_fragment = with(kQuotedV6, 6, 44) + hex("11 00 00 08 00 00 00 01  00 35 30 39");
  EXPECT_FALSE(parse_quoted_v6(later_fragment)->has_ports());
  const auto cut_options = with(kQuotedV6, 6, 60) + hex("11 00 01");
  EXPECT_FALSE(parse_quoted_v6(cut_options)->has_ports());
}

}  // namespace
}  // namespace millrace::wire
