// ICMPv6 messages.
#include "wire/icmpv6.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const IpAddr kA = *IpAddr::parse("fd00:6d72::1");
const IpAddr kB = *IpAddr::parse("fd00:6d72::2");
const auto kEcho = hex("80 00 00 00 12 34 00 07 61 62 63");

TEST(Icmpv6, ReadsItsFields) {
  const auto view = Icmpv6View::check(kEcho);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type(), Icmpv6Type::kEchoRequest);
  EXPECT_EQ(view->id(), 0x1234);
  EXPECT_EQ(view->sequence(), 7);
  EXPECT_EQ(view->payload().size(), 3u);
  EXPECT_EQ(Icmpv6View::check(hex("02 00 00 00 00 01 05 78"))->mtu(), 0x10578u);
  EXPECT_EQ(Icmpv6View::check(hex("04 01 00 00 00 00 00 28"))->pointer(), 40u);
}

TEST(Icmpv6, RefusesLessThanEightBytes) {
  for (size_t size = 0; size < 8; ++size) EXPECT_FALSE(Icmpv6View::check(cut(kEcho, size))) << size;
}

TEST(Icmpv6, TellsErrorsByTheHighBit) {  // RFC 4443 2.1
  for (int type = 0; type < 256; ++type) EXPECT_EQ(Icmpv6View::check(with(kEcho, 0, type))->is_error(), type < 128);
}

TEST(Icmpv6, EmitsWithAChecksumOverMessageAndPseudoHeader) {
  auto bytes = kEcho;
  Icmpv6Header::parse(*Icmpv6View::check(bytes)).emit(bytes, kA, kB);
  const auto view = Icmpv6View::check(bytes);
  EXPECT_TRUE(view->checksum_ok(kA, kB));
  EXPECT_FALSE(view->checksum_ok(kA, kA));
  EXPECT_EQ(with(with(bytes, 2, 0), 3, 0), kEcho);
  for (size_t at = 0; at < bytes.size(); ++at) {
    EXPECT_FALSE(Icmpv6View::check(with(bytes, at, static_cast<int>(bytes[at]) ^ 1))->checksum_ok(kA, kB)) << at;
  }
  std::vector<std::byte> header(8);
  Icmpv6Header::echo_request(0x1234, 7).emit(header, kA, kB, 3, sum_bytes(kEcho.data() + 8, 3));
  EXPECT_EQ(header, cut(bytes, 8));
}

TEST(Icmpv6, SealsAMessageInPlace) {
  auto emitted = kEcho;
  Icmpv6Header::echo_request(0x1234, 7).emit(emitted, kA, kB);
  auto sealed = with(kEcho, 2, 0x99);
  seal_icmpv6(sealed, kA, kB);
  EXPECT_EQ(sealed, emitted);
}

TEST(Icmpv6, MakesEachMessage) {
  std::vector<std::byte> out(8);
  const auto made = [&](const Icmpv6Header& header) {
    header.emit(out, kA, kB);
    EXPECT_EQ(Icmpv6Header::parse(*Icmpv6View::check(out)), header);
    return with(with(out, 2, 0), 3, 0);
  };
  EXPECT_EQ(made(Icmpv6Header::echo_reply(1, 2)), hex("81 00 00 00 00 01 00 02"));
  EXPECT_EQ(made(Icmpv6Header::unreachable(Icmpv6Unreachable::kPort)), hex("01 04 00 00 00 00 00 00"));
  EXPECT_EQ(made(Icmpv6Header::packet_too_big(1280)), hex("02 00 00 00 00 00 05 00"));
  EXPECT_EQ(made(Icmpv6Header::time_exceeded(0)), hex("03 00 00 00 00 00 00 00"));
  EXPECT_EQ(made(Icmpv6Header::parameter_problem(kIcmpv6UnrecognizedOption, 43)), hex("04 02 00 00 00 00 00 2b"));
}

}  // namespace
}  // namespace millrace::wire
