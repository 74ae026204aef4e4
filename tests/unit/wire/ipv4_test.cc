// IPv4 headers: fields, every refused form, options, checksum.
#include "wire/ipv4.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "hex.h"

namespace millrace::wire {
namespace {

// UDP from 192.168.0.1 to 192.168.0.199, the header that textbooks compute the checksum b861 for.
const auto kHeader = hex("45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7");
const auto kDatagram = kHeader + std::vector<std::byte>(0x73 - 20, std::byte{7});
// Router alert, then a record route option, then the end.
const auto kWithOptions =
    hex("48 c0 00 22 12 34 20 05 01 02 00 00 0a 00 00 01 e0 00 00 16  94 04 00 00  01 07 07 04 00 00 00 00  11 22");

TEST(Ipv4, ReadsItsFields) {
  const auto view = Ipv4View::check(kDatagram);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header_length(), 20);
  EXPECT_EQ(view->traffic_class(), 0);
  EXPECT_EQ(view->total_length(), 0x73);
  EXPECT_TRUE(view->dont_fragment());
  EXPECT_FALSE(view->more_fragments());
  EXPECT_FALSE(view->is_fragment());
  EXPECT_EQ(view->ttl(), 64);
  EXPECT_EQ(view->protocol(), kProtocolUdp);
  EXPECT_EQ(view->checksum(), 0xb861);
  EXPECT_EQ(view->source(), IpAddr::v4(192, 168, 0, 1));
  EXPECT_EQ(view->destination(), IpAddr::v4(192, 168, 0, 199));
  EXPECT_EQ(view->payload().size(), 0x73u - 20);
  EXPECT_TRUE(view->options().empty());
}

TEST(Ipv4, ReadsFragmentFields) {
  const auto view = Ipv4View::check(kWithOptions);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header_length(), 32);
  EXPECT_EQ(view->traffic_class(), 0xc0);
  EXPECT_EQ(view->id(), 0x1234);
  EXPECT_TRUE(view->more_fragments());
  EXPECT_FALSE(view->dont_fragment());
  EXPECT_EQ(view->fragment_offset(), 40);
  EXPECT_TRUE(view->is_fragment());
  EXPECT_EQ(view->payload_length(), 2);
  EXPECT_EQ(view->payload()[0], std::byte{0x11});
  EXPECT_EQ(view->options().size(), 12u);
}

TEST(Ipv4, CutsLinkLayerPadding) {
  const auto padded = kDatagram + std::vector<std::byte>(9, std::byte{0});
  const auto view = Ipv4View::check(padded);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->datagram().size(), 0x73u);
  EXPECT_EQ(view->payload().size(), 0x73u - 20);
}

TEST(Ipv4, RefusesTruncatedDatagrams) {
  for (size_t size = 0; size < kDatagram.size(); ++size) EXPECT_FALSE(Ipv4View::check(cut(kDatagram, size))) << size;
}

TEST(Ipv4, RefusesOtherVersions) {
  for (int version = 0; version < 16; ++version) {
    EXPECT_EQ(Ipv4View::check(with(kDatagram, 0, version << 4 | 5)).has_value(), version == 4) << version;
  }
}

TEST(Ipv4, RefusesHeaderLengthsBelowTwentyOrBeyondTheDatagram) {
  for (int words = 0; words < 5; ++words) EXPECT_FALSE(Ipv4View::check(with(kDatagram, 0, 0x40 | words))) << words;
  auto small = with(cut(kDatagram, 24), 3, 24);
  EXPECT_TRUE(Ipv4View::check(with(small, 0, 0x46)));
  EXPECT_FALSE(Ipv4View::check(with(small, 0, 0x47)));
  // Header longer than the datagram says, though the bytes are there.
  EXPECT_FALSE(Ipv4View::check(with(with(kDatagram, 3, 20), 0, 0x46)));
}

TEST(Ipv4, RefusesTotalLengthsBelowTheHeaderOrBeyondTheBytes) {
  EXPECT_FALSE(Ipv4View::check(with(kDatagram, 3, 19)));
  EXPECT_TRUE(Ipv4View::check(with(kDatagram, 3, 20)));
  EXPECT_FALSE(Ipv4View::check(with(kDatagram, 3, 0x74)));
}

TEST(Ipv4, ChecksTheChecksumWithAndWithoutOptions) {
  EXPECT_TRUE(Ipv4View::check(kDatagram)->checksum_ok());
  for (size_t at = 4; at < 20; ++at) {
    const auto changed = with(kDatagram, at, static_cast<int>(kDatagram[at]) ^ 0x10);
    EXPECT_FALSE(Ipv4View::check(changed)->checksum_ok()) << at;
  }
  auto options = kWithOptions;
  EXPECT_FALSE(Ipv4View::check(options)->checksum_ok());
  store_be16(&options[10], finish(sum_bytes(options.data(), 32)));
  EXPECT_TRUE(Ipv4View::check(options)->checksum_ok());
  EXPECT_FALSE(Ipv4View::check(with(options, 23, 1))->checksum_ok());
}

TEST(Ipv4, EmitsWhatItParsedWithTheChecksum) {
  std::vector<std::byte> out(20);
  Ipv4Header::parse(*Ipv4View::check(kDatagram)).emit(out);
  EXPECT_EQ(out, kHeader);
}

TEST(Ipv4, RoundTripsEveryField) {
  base::Rng rng(11);
  for (int round = 0; round < 500; ++round) {
    Ipv4Header header;
    header.traffic_class = static_cast<uint8_t>(rng.next());
    header.total_length = static_cast<uint16_t>(rng.between(20, 1500));
    header.id = static_cast<uint16_t>(rng.next());
    header.dont_fragment = rng.chance(1, 2);
    header.more_fragments = rng.chance(1, 2);
    header.fragment_offset = static_cast<uint16_t>(rng.below(0x2000) * 8);
    header.ttl = static_cast<uint8_t>(rng.next());
    header.protocol = static_cast<uint8_t>(rng.next());
    header.source = IpAddr::v4(static_cast<uint32_t>(rng.next()));
    header.destination = IpAddr::v4(static_cast<uint32_t>(rng.next()));
    std::vector<std::byte> out(header.total_length);
    header.emit(out);
    const auto view = Ipv4View::check(out);
    ASSERT_TRUE(view);
    ASSERT_TRUE(view->checksum_ok());
    ASSERT_EQ(Ipv4Header::parse(*view), header);
  }
}

TEST(Ipv4Quoted, NeedsOnlyTheHeader) {
  const auto quote = cut(kDatagram, 28);
  EXPECT_FALSE(Ipv4View::check(quote));
  const auto view = Ipv4View::check_quoted(quote);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->quoted_payload(quote).size(), 8u);
  EXPECT_EQ(view->quoted_payload(kDatagram + hex("00 00")).size(), 0x73u - 20);
  EXPECT_FALSE(Ipv4View::check_quoted(cut(kDatagram, 19)));
  EXPECT_FALSE(Ipv4View::check_quoted(with(cut(kDatagram, 20), 0, 0x46)));
  EXPECT_FALSE(Ipv4View::check_quoted(with(quote, 3, 19)));
}

TEST(Ipv4Options, AreWalkedOverPadding) {
  const auto view = Ipv4View::check(kWithOptions);
  Ipv4OptionWalker walker(*view);
  const auto alert = walker.next();
  ASSERT_TRUE(alert);
  EXPECT_EQ(alert->kind, kIpv4OptionRouterAlert);
  EXPECT_EQ(alert->position, 20);
  EXPECT_EQ(alert->data.size(), 2u);
  const auto record = walker.next();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->kind, kIpv4OptionRecordRoute);
  EXPECT_EQ(record->position, 25);
  EXPECT_EQ(record->data.size(), 5u);
  EXPECT_FALSE(walker.next());
  EXPECT_FALSE(walker.malformed());
}

struct OptionCase {
  const char* options;
  unsigned good;
  bool malformed;
  uint8_t position;
};

class Ipv4OptionForms : public testing::TestWithParam<OptionCase> {};

TEST_P(Ipv4OptionForms, StopWhereTheyBreak) {
  const OptionCase& c = GetParam();
  auto bytes = kHeader + hex(c.options);
  bytes[0] = static_cast<std::byte>(0x40 | bytes.size() / 4);
  bytes[3] = static_cast<std::byte>(bytes.size());
  const auto view = Ipv4View::check(bytes);
  ASSERT_TRUE(view);
  Ipv4OptionWalker walker(*view);
  unsigned good = 0;
  while (walker.next()) ++good;
  EXPECT_EQ(good, c.good);
  EXPECT_EQ(walker.malformed(), c.malformed);
  EXPECT_EQ(walker.position(), c.position);
  EXPECT_FALSE(walker.next());
}

INSTANTIATE_TEST_SUITE_P(All, Ipv4OptionForms,
                         testing::Values(OptionCase{"", 0, false, 20}, OptionCase{"01 01 01 01", 0, false, 24},
                                         OptionCase{"00 94 00 00", 0, false, 24},  // nothing behind the end counts
                                         OptionCase{"94 04 00 00", 1, false, 24},
                                         OptionCase{"94 00 00 00", 0, true, 20},  // length 0
                                         OptionCase{"94 01 00 00", 0, true, 20},  // length 1
                                         OptionCase{"94 05 00 00", 0, true, 20},  // past the header
                                         OptionCase{"01 01 01 94", 0, true, 23},  // no length byte
                                         OptionCase{"94 04 00 00 07 ff 00 00", 1, true, 24}));

}  // namespace
}  // namespace millrace::wire
