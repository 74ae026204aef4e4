// TCP headers: fields, every refused form, flags, the timestamp fast path.
#include "wire/tcp.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "hex.h"
#include "wire/checksum.h"
#include "wire/ip_protocol.h"

namespace millrace::wire {
namespace {

// A data segment of a Linux host: ports 44556 and 80, aligned timestamps.
const auto kSegment =
    hex("ae 0c 00 50  12 34 56 78  9a bc de f0  80 18 01 f6  be ef 00 07"
        "01 01 08 0a  11 22 33 44  55 66 77 88  de ad");

TEST(Tcp, ReadsItsFields) {
  const auto view = TcpView::check(kSegment);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 44556);
  EXPECT_EQ(view->destination_port(), 80);
  EXPECT_EQ(view->seq(), base::Seq32(0x12345678));
  EXPECT_EQ(view->ack(), base::Seq32(0x9abcdef0));
  EXPECT_EQ(view->header_length(), 32);
  EXPECT_EQ(view->flags(), kPsh | kAck);
  EXPECT_EQ(view->window(), 502);
  EXPECT_EQ(view->checksum(), 0xbeef);
  EXPECT_EQ(view->urgent(), 7);
  EXPECT_EQ(view->options().size(), 12u);
}

TEST(Tcp, NeedsTheWholeHeaderButNoPayload) {
  EXPECT_TRUE(TcpView::check(cut(kSegment, 32)));
  for (size_t size = 0; size < 32; ++size) EXPECT_FALSE(TcpView::check(cut(kSegment, size))) << size;
}

TEST(Tcp, RefusesDataOffsetsBelowFive) {
  for (int words = 0; words < 16; ++words) {
    const bool good = words >= 5 && static_cast<size_t>(words) * 4 <= kSegment.size();
    EXPECT_EQ(TcpView::check(with(kSegment, 12, words << 4)).has_value(), good) << words;
  }
}

TEST(Tcp, IgnoresReservedBitsInTheDataOffset) {
  const auto bytes = with(kSegment, 12, 0x8f);
  const auto view = TcpView::check(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header_length(), 32);
}

TEST(Tcp, NamesEachFlag) {
  const std::array<bool (*)(TcpFlags), 8> readers = {
      [](TcpFlags f) { return f.fin(); }, [](TcpFlags f) { return f.syn(); }, [](TcpFlags f) { return f.rst(); },
      [](TcpFlags f) { return f.psh(); }, [](TcpFlags f) { return f.ack(); }, [](TcpFlags f) { return f.urg(); },
      [](TcpFlags f) { return f.ece(); }, [](TcpFlags f) { return f.cwr(); }};
  const std::array<TcpFlags, 8> flags = {kFin, kSyn, kRst, kPsh, kAck, kUrg, kEce, kCwr};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(flags[i].raw(), 1u << i);
    for (size_t j = 0; j < 8; ++j) EXPECT_EQ(readers[j](flags[i]), i == j);
  }
  EXPECT_TRUE((kSyn | kAck).any(kAck | kRst));
  EXPECT_FALSE((kSyn | kAck).all(kAck | kRst));
  EXPECT_TRUE((kSyn | kAck).all(kAck | kSyn));
  EXPECT_EQ((kSyn | kAck) & ~kSyn, kAck);
}

TEST(Tcp, RecognisesSegmentsWithNothingButTimestamps) {
  uint32_t value = 0;
  uint32_t echo = 0;
  ASSERT_TRUE(TcpView::check(kSegment)->only_timestamps(value, echo));
  EXPECT_EQ(value, 0x11223344u);
  EXPECT_EQ(echo, 0x55667788u);
  const auto longer = with(kSegment + hex("00 00 00 00"), 12, 0x90);
  EXPECT_FALSE(TcpView::check(longer)->only_timestamps(value, echo));
  EXPECT_FALSE(TcpView::check(with(kSegment, 12, 0x70))->only_timestamps(value, echo));
  for (size_t at = 20; at < 24; ++at)
    EXPECT_FALSE(TcpView::check(with(kSegment, at, 0x3))->only_timestamps(value, echo));
}

TEST(Tcp, EmitsWhatItParsed) {
  std::vector<std::byte> out(20);
  TcpHeader::parse(*TcpView::check(kSegment)).emit(out);
  EXPECT_EQ(out, cut(kSegment, 20));
}

// SYN segments as Linux 6.1 sent them, behind their pseudo-headers' addresses.
TEST(Tcp, AgreesWithTheChecksumsOfALinuxHost) {
  const auto over_v4 = hex("93e21f907ba32d0f00000000a002faf05e980000020405b40402080aed5417d2000000000103030a");
  const auto over_v6 = hex("1f9091a6ba5b3087afb91582a012fe3c29c10000020404d80402080aa630e3d8352a2b580103030a");
  const uint64_t pseudo_v4 = pseudo_sum(IpAddr::v4(198, 18, 0, 1), IpAddr::v4(198, 18, 1, 2), kProtocolTcp, 40);
  const uint64_t pseudo_v6 =
      pseudo_sum(*IpAddr::parse("fd00:6d73::2"), *IpAddr::parse("fd00:6d72::1"), kProtocolTcp, 40);
  EXPECT_TRUE(is_valid(add_sums(pseudo_v4, sum_bytes(over_v4))));
  EXPECT_TRUE(is_valid(add_sums(pseudo_v6, sum_bytes(over_v6))));
  EXPECT_FALSE(is_valid(add_sums(pseudo_v4, sum_bytes(over_v6))));
}

// Options of the same SYN, emitted again.
TEST(Tcp, EmitsTheOptionsOfALinuxSyn) {
  const auto options = hex("020405b40402080aed5417d2000000000103030a");
  std::vector<std::byte> out(20);
  EXPECT_EQ(TcpOptions::parse(options).emit_syn(out), 20u);
  EXPECT_EQ(out, options);
}

TEST(Tcp, RoundTripsEveryField) {
  base::Rng rng(13);
  for (int round = 0; round < 500; ++round) {
    TcpHeader header;
    header.source_port = static_cast<uint16_t>(rng.next());
    header.destination_port = static_cast<uint16_t>(rng.next());
    header.seq = base::Seq32(static_cast<uint32_t>(rng.next()));
    header.ack = base::Seq32(static_cast<uint32_t>(rng.next()));
    header.header_length = static_cast<uint8_t>(rng.between(5, 15) * 4);
    header.flags = TcpFlags(static_cast<uint8_t>(rng.next()));
    header.window = static_cast<uint16_t>(rng.next());
    header.checksum = static_cast<uint16_t>(rng.next());
    header.urgent = static_cast<uint16_t>(rng.next());
    std::vector<std::byte> out(60);
    header.emit(out);
    const auto view = TcpView::check(out);
    ASSERT_TRUE(view);
    ASSERT_EQ(TcpHeader::parse(*view), header);
  }
}

}  // namespace
}  // namespace millrace::wire
