// TCP options: every kind, every malformed form, order and padding of what is emitted.
#include "wire/tcp_options.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "hex.h"

namespace millrace::wire {
namespace {

using base::Seq32;

std::vector<std::byte> emitted_syn(const TcpOptions& options) {
  std::vector<std::byte> out(40);
  out.resize(options.emit_syn(out));
  EXPECT_EQ(out.size(), options.syn_size());
  return out;
}
std::vector<std::byte> emitted(const TcpOptions& options) {
  std::vector<std::byte> out(40);
  out.resize(options.emit(out));
  EXPECT_EQ(out.size(), options.size());
  return out;
}

TEST(TcpOptions, ReadTheSynOfALinuxHost) {
  const auto o = TcpOptions::parse(hex("02 04 05 b4  04 02 08 0a 11 22 33 44 00 00 00 00  01 03 03 07"));
  TcpOptions want;
  want.has_mss = true;
  want.mss = 1460;
  want.sack_permitted = true;
  want.has_timestamps = true;
  want.ts_val = 0x11223344;
  want.has_wscale = true;
  want.wscale = 7;
  EXPECT_EQ(o, want);
}

TEST(TcpOptions, ReadTheAlignedTimestampForm) {
  const auto o = TcpOptions::parse(hex("01 01 08 0a 11 22 33 44 55 66 77 88"));
  TcpOptions want;
  want.has_timestamps = true;
  want.ts_val = 0x11223344;
  want.ts_ecr = 0x55667788;
  EXPECT_EQ(o, want);
}

TEST(TcpOptions, ReadTimestampsAtAnyPlace) {
  for (const char* form : {"08 0a 11 22 33 44 55 66 77 88 01 01", "01 08 0a 11 22 33 44 55 66 77 88 01",
                           "08 0a 11 22 33 44 55 66 77 88 00 00", "01 01 08 0a 11 22 33 44 55 66 77 88 01 01 01 01"}) {
    const auto o = TcpOptions::parse(hex(form));
    EXPECT_TRUE(o.has_timestamps) << form;
    EXPECT_EQ(o.ts_val, 0x11223344u);
    EXPECT_EQ(o.ts_ecr, 0x55667788u);
    EXPECT_FALSE(o.malformed);
  }
}

TEST(TcpOptions, ReadOneToFourSackBlocks) {
  for (uint8_t blocks = 1; blocks <= 4; ++blocks) {
    auto bytes = hex("01 01 05");
    bytes.push_back(static_cast<std::byte>(2 + 8 * blocks));
    for (uint8_t i = 0; i < 2 * blocks; ++i) bytes = bytes + hex("00 00 10") + std::vector{static_cast<std::byte>(i)};
    const auto o = TcpOptions::parse(bytes);
    ASSERT_EQ(o.sack_count, blocks);
    for (uint8_t i = 0; i < blocks; ++i) {
      EXPECT_EQ(o.sack[i], (SackBlock{Seq32(0x1000u + 2u * i), Seq32(0x1001u + 2u * i)}));
    }
    EXPECT_FALSE(o.malformed);
  }
}

TEST(TcpOptions, ReadFastOpenRequestsAndCookies) {
  const auto request = TcpOptions::parse(hex("22 02 01 01"));
  EXPECT_TRUE(request.has_fast_open);
  EXPECT_EQ(request.fast_open_length, 0);
  const auto cookie = TcpOptions::parse(hex("22 0a 01 02 03 04 05 06 07 08 01 01"));
  EXPECT_TRUE(cookie.has_fast_open);
  EXPECT_EQ(cookie.fast_open_length, 8);
  EXPECT_EQ(cookie.fast_open_cookie[7], std::byte{8});
}

TEST(TcpOptions, LimitTheWindowScaleToFourteen) {  // RFC 7323 2.3
  EXPECT_EQ(TcpOptions::parse(hex("03 03 0e 00")).wscale, 14);
  EXPECT_EQ(TcpOptions::parse(hex("03 03 0f 00")).wscale, 14);
  EXPECT_EQ(TcpOptions::parse(hex("03 03 ff 00")).wscale, 14);
}

TEST(TcpOptions, SkipUnknownKinds) {  // RFC 9293 3.1 MUST-6
  const auto o =
      TcpOptions::parse(hex("fd 04 ab cd  13 12 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  02 04 05 b4"));
  EXPECT_EQ(o.unknown, 2);
  EXPECT_TRUE(o.has_mss);
  EXPECT_EQ(o.mss, 1460);
  EXPECT_FALSE(o.malformed);
}

TEST(TcpOptions, IgnoreWhatStandsBehindTheEnd) {
  const auto o = TcpOptions::parse(hex("00 02 04 05 b4 01 01 01"));
  EXPECT_EQ(o, TcpOptions{});
  EXPECT_EQ(TcpOptions::parse({}), TcpOptions{});
}

TEST(TcpOptions, TakeTheLastOfTwo) { EXPECT_EQ(TcpOptions::parse(hex("02 04 05 b4 02 04 02 18")).mss, 536); }

struct BadCase {
  const char* name;
  const char* bytes;
};
class MalformedTcpOptions : public testing::TestWithParam<BadCase> {};

// RFC 9293 3.1 MUST-7. Each form follows a good MSS option, which must survive, and precedes a window scale, which
// must not be read.
TEST_P(MalformedTcpOptions, StopTheParserAndAreFlagged) {
  const auto o = TcpOptions::parse(hex("02 04 05 b4") + hex(GetParam().bytes));
  EXPECT_TRUE(o.malformed);
  EXPECT_EQ(o.mss, 1460);
  EXPECT_FALSE(o.has_wscale && o.wscale == 9);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, MalformedTcpOptions,
    testing::Values(BadCase{"LengthZero", "fd 00 03 03 09"}, BadCase{"LengthOne", "fd 01 03 03 09"},
                    BadCase{"PastTheEnd", "fd 06 03 03 09"}, BadCase{"NoLength", "fd"},
                    BadCase{"MssShort", "02 03 05 03 03 09"}, BadCase{"MssLong", "02 05 05 b4 00 03 03 09"},
                    BadCase{"WindowScaleShort", "03 02 03 03 09"}, BadCase{"WindowScaleLong", "03 04 01 01 03 03 09"},
                    BadCase{"SackPermittedLong", "04 03 01 03 03 09"},
                    BadCase{"TimestampsShort", "08 09 01 01 01 01 01 01 01 03 03 09"},
                    BadCase{"TimestampsLong", "08 0b 01 01 01 01 01 01 01 01 01 03 03 09"},
                    BadCase{"TimestampsCut", "08 0a 01 01 01 01 01 01 01"}, BadCase{"SackEmpty", "05 02 03 03 09"},
                    BadCase{"SackHalfBlock", "05 06 01 01 01 01 03 03 09"},
                    BadCase{"SackTooMany",
                            "05 2a 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01"
                            "01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 03 03 09"},
                    BadCase{"FastOpenTwo", "22 04 01 01 03 03 09"},
                    BadCase{"FastOpenOdd", "22 07 01 01 01 01 01 03 03 09"},
                    BadCase{"FastOpenLong", "22 14 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 03 03 09"}),
    [](const auto& form) { return form.param.name; });

TEST(TcpOptions, EmitTheFullSynInOrder) {
  TcpOptions o;
  o.has_mss = o.sack_permitted = o.has_timestamps = o.has_wscale = true;
  o.mss = 1460;
  o.ts_val = 0x11223344;
  o.wscale = 7;
  EXPECT_EQ(emitted_syn(o), hex("02 04 05 b4  04 02 08 0a 11 22 33 44 00 00 00 00  01 03 03 07"));
  o.has_timestamps = false;
  EXPECT_EQ(emitted_syn(o), hex("02 04 05 b4  01 01 04 02  01 03 03 07"));
  o.sack_permitted = false;
  EXPECT_EQ(emitted_syn(o), hex("02 04 05 b4  01 03 03 07"));
  o.has_wscale = false;
  EXPECT_EQ(emitted_syn(o), hex("02 04 05 b4"));
  o.has_timestamps = true;
  EXPECT_EQ(emitted_syn(o), hex("02 04 05 b4  01 01 08 0a 11 22 33 44 00 00 00 00"));
  EXPECT_TRUE(emitted_syn({}).empty());
}

TEST(TcpOptions, EmitFastOpenPaddedBehind) {
  TcpOptions o;
  o.has_fast_open = true;
  EXPECT_EQ(emitted_syn(o), hex("22 02 01 01"));
  o.fast_open_length = 8;
  o.fast_open_cookie = {std::byte{9}, std::byte{8}};
  EXPECT_EQ(emitted_syn(o), hex("22 0a 09 08 00 00 00 00 00 00 01 01"));
  o.fast_open_experimental = true;
  EXPECT_EQ(emitted_syn(o), hex("fe 0c f9 89 09 08 00 00 00 00 00 00"));
  o.fast_open_length = 0;
  EXPECT_EQ(emitted_syn(o), hex("fe 04 f9 89"));
}

TEST(TcpOptions, ReadFastOpenAsTheExperimentThatItWas) {  // RFC 6994
  const auto cookie = TcpOptions::parse(hex("fe 08 f9 89 01 02 03 04 03 03 07"));
  EXPECT_TRUE(cookie.has_fast_open && cookie.fast_open_experimental && cookie.has_wscale);
  EXPECT_EQ(cookie.fast_open_length, 4);
  EXPECT_EQ(cookie.fast_open_cookie[3], std::byte{4});
  for (const char* other : {"fe 08 f9 88 01 02 03 04 03 03 07", "fe 02 03 03 07", "fe 03 f9 03 03 07"}) {
    const auto read = TcpOptions::parse(hex(other));
    EXPECT_FALSE(read.has_fast_open || read.malformed) << other;
    EXPECT_TRUE(read.has_wscale) << other;
  }
  EXPECT_TRUE(TcpOptions::parse(hex("fe 07 f9 89 01 02 03 03 03 07")).malformed);
}

TEST(TcpOptions, FitTheLongestSynIntoFortyBytes) {
  TcpOptions o;
  o.has_mss = o.sack_permitted = o.has_timestamps = o.has_wscale = o.has_fast_open = true;
  o.fast_open_length = 16;
  EXPECT_EQ(emitted_syn(o).size(), 40u);
  o.fast_open_experimental = true;
  EXPECT_EQ(emitted_syn(o).size(), 40u);
}

TEST(TcpOptions, EmitTimestampsThenSack) {
  TcpOptions o;
  EXPECT_TRUE(emitted(o).empty());
  o.has_timestamps = true;
  o.ts_val = 1;
  o.ts_ecr = 2;
  EXPECT_EQ(emitted(o), hex("01 01 08 0a 00 00 00 01 00 00 00 02"));
  o.sack_count = 1;
  o.sack[0] = {Seq32(0x10), Seq32(0x20)};
  EXPECT_EQ(emitted(o), hex("01 01 08 0a 00 00 00 01 00 00 00 02  01 01 05 0a 00 00 00 10 00 00 00 20"));
  o.has_timestamps = false;
  EXPECT_EQ(emitted(o), hex("01 01 05 0a 00 00 00 10 00 00 00 20"));
}

TEST(TcpOptions, LeaveOutTheFourthSackBlockBesideTimestamps) {  // RFC 2018 3
  TcpOptions o;
  o.sack_count = 4;
  for (uint8_t i = 0; i < 4; ++i) o.sack[i] = {Seq32(i), Seq32(i + 1u)};
  EXPECT_EQ(TcpOptions::parse(emitted(o)).sack_count, 4);
  EXPECT_EQ(emitted(o).size(), 36u);
  o.has_timestamps = true;
  const auto back = TcpOptions::parse(emitted(o));
  EXPECT_EQ(back.sack_count, 3);
  EXPECT_EQ(back.sack[2], o.sack[2]);
  EXPECT_EQ(emitted(o).size(), 40u);
}

TEST(TcpOptions, RoundTripInEveryCombination) {
  base::Rng rng(14);
  for (int set = 0; set < 32; ++set) {
    TcpOptions o;
    o.has_mss = (set & 1) != 0;
    o.sack_permitted = (set & 2) != 0;
    o.has_timestamps = (set & 4) != 0;
    o.has_wscale = (set & 8) != 0;
    o.has_fast_open = (set & 16) != 0;
    if (o.has_mss) o.mss = static_cast<uint16_t>(rng.next());
    if (o.has_wscale) o.wscale = static_cast<uint8_t>(rng.below(15));
    if (o.has_timestamps) o.ts_val = static_cast<uint32_t>(rng.next());
    const auto bytes = emitted_syn(o);
    EXPECT_EQ(bytes.size() % 4, 0u);
    EXPECT_EQ(TcpOptions::parse(bytes), o) << set;
  }
}

}  // namespace
}  // namespace millrace::wire
