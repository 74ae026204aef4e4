// SYN cookies as pure functions (RFC 4987 3.6), and the keys behind them.
#include "tcp/syn_cookie.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace::tcp {
namespace {

const Tuple k4{IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 7), 80, 40'000};
const Tuple k6{*IpAddr::parse("2001:db8::1"), *IpAddr::parse("2001:db8::7"), 80, 40'000};
const Instant kStart(1'000'000'000'000);

class SynCookie : public testing::TestWithParam<bool> {
 protected:
  const Tuple& tuple() const { return GetParam() ? k6 : k4; }
  SynCookies cookies_{{1, 2}};
};
INSTANTIATE_TEST_SUITE_P(Families, SynCookie, testing::Bool());

TEST_P(SynCookie, ComesBackWithTheMssRoundedDown) {
  const std::pair<uint16_t, uint16_t> kRounded[] = {{64, 64},       {535, 64},      {536, 536},     {1'199, 536},
                                                    {1'380, 1'360}, {1'459, 1'440}, {1'460, 1'460}, {65'495, 8'940}};
  for (const auto& [offered, kept] : kRounded) {
    const SynCookies::Made made = cookies_.make(tuple(), Seq32(77), offered, kStart);
    const auto found = cookies_.check(tuple(), Seq32(77), made.iss, kStart);
    ASSERT_TRUE(found) << offered;
    EXPECT_EQ(found->mss, kept) << offered;
    EXPECT_EQ(found->ts_offset, made.ts_offset);
  }
}

TEST_P(SynCookie, IsOnlyForItsTupleAndSequenceNumber) {
  const Seq32 iss = cookies_.make(tuple(), Seq32(77), 1'460, kStart).iss;
  EXPECT_FALSE(cookies_.check(tuple(), Seq32(78), iss, kStart));
  EXPECT_FALSE(cookies_.check(tuple(), Seq32(77), iss + 1, kStart));
  for (int i = 0; i < 4; ++i) {
    Tuple other = tuple();
    if (i == 0) std::swap(other.local, other.remote);
    if (i == 1) ++other.local_port;
    if (i == 2) ++other.remote_port;
    if (i == 3) other.remote = GetParam() ? *IpAddr::parse("2001:db8::8") : IpAddr::v4(198, 51, 100, 8);
    EXPECT_FALSE(cookies_.check(other, Seq32(77), iss, kStart)) << i;
  }
  SynCookies others({1, 3});
  EXPECT_FALSE(others.check(tuple(), Seq32(77), iss, kStart));
}

TEST_P(SynCookie, IsGoodForOneToTwoLivesOfItsKey) {
  for (const int64_t into_s : {0, 1, 63}) {
    const Instant made = Instant((kStart.ns() / SynCookies::kLife.ns()) * SynCookies::kLife.ns()) + seconds(into_s);
    const Seq32 iss = cookies_.make(tuple(), Seq32(77), 1'460, made).iss;
    EXPECT_TRUE(cookies_.check(tuple(), Seq32(77), iss, made + seconds(64)));
    EXPECT_TRUE(cookies_.check(tuple(), Seq32(77), iss, made + seconds(127 - into_s)));
    EXPECT_TRUE(cookies_.outstanding(made + seconds(127 - into_s)));
    EXPECT_FALSE(cookies_.outstanding(made + seconds(128 - into_s)));
    for (int64_t later = 128 - into_s; later < 600; later += 32) {
      EXPECT_FALSE(cookies_.check(tuple(), Seq32(77), iss, made + seconds(later))) << later;
    }
  }
}

TEST_P(SynCookie, GuessesFail) {
  const Seq32 iss = cookies_.make(tuple(), Seq32(77), 1'460, kStart).iss;
  int right = 0;
  for (uint32_t i = 1; i < 100'000; ++i)
    right += cookies_.check(tuple(), Seq32(77), iss + i * 2'654'435u, kStart) ? 1 : 0;
  EXPECT_EQ(right, 0);
}

TEST(SynCookies, NoneIsOutstandingBeforeTheFirst) {
  SynCookies cookies({1, 2});
  EXPECT_FALSE(cookies.outstanding(Instant()));
  EXPECT_FALSE(cookies.check(k4, Seq32(1), Seq32(0x80000000u), Instant()));
}

TEST(SynOffer, ComesBackFromATimestampThatIsNeverLate) {
  for (uint32_t bits = 0; bits < 64; ++bits) {
    const SynOffer offer = SynOffer::of(bits);
    EXPECT_EQ(offer.bits(), bits);
    for (const uint32_t now : {0u, 1u, 63u, 64u, 0xffffffffu, 0x80000000u, 1'234'567u}) {
      const uint32_t stamp = offer.put_into(now);
      EXPECT_EQ(SynOffer::of(stamp), offer);
      EXPECT_LT(now - stamp, 64u) << now << " " << bits;
    }
  }
}

TEST(RotatingKey, DiffersByEpochAndIsTheSameAgain) {
  base::RotatingKey keys({5, 6});
  std::set<uint64_t> seen;
  for (uint64_t epoch = 0; epoch < 8; ++epoch) seen.insert(keys.at(epoch).k0 ^ keys.at(epoch).k1);
  EXPECT_EQ(seen.size(), 8u);
  const base::SipKey third = keys.at(3);
  (void)keys.at(5);
  EXPECT_EQ(keys.at(3).k0, third.k0);
  EXPECT_EQ(keys.at(3).k1, third.k1);
}

TEST(SipHash, OfWordsIsThatOfTheirBytes) {
  const std::array<uint64_t, 3> words{1, 0x0102030405060708, UINT64_MAX};
  EXPECT_EQ(base::siphash({3, 4}, words), base::siphash({3, 4}, std::as_bytes(std::span(words))));
}

}  // namespace
}  // namespace millrace::tcp
