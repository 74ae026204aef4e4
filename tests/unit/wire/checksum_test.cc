// The Internet checksum against a naive reference, and the worked examples of its RFCs.
#include "wire/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace millrace::wire {
namespace {

uint16_t naive_fold(Bytes bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += uint64_t{load_u8(&bytes[i])} << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

std::vector<std::byte> random_bytes(base::Rng& rng, size_t n) {
  std::vector<std::byte> out(n);
  for (auto& b : out) b = static_cast<std::byte>(rng.next());
  return out;
}

template <class... T>
std::vector<std::byte> bytes_of(T... v) {
  return {static_cast<std::byte>(v)...};
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
  const auto data = bytes_of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  EXPECT_EQ(fold(sum_bytes(data)), 0xddf2);
  EXPECT_EQ(finish(sum_bytes(data)), 0x220d);
}

TEST(Checksum, MatchesTheNaiveSumAtEveryLengthAndAlignment) {
  base::Rng rng(1);
  const auto data = random_bytes(rng, 700);
  for (size_t offset = 0; offset < 17; ++offset) {
    for (size_t n = 0; n + offset <= 400; ++n) {
      const Bytes piece = Bytes(data).subspan(offset, n);
      ASSERT_EQ(fold(sum_bytes(piece)), naive_fold(piece)) << offset << " " << n;
    }
  }
}

TEST(Checksum, KeepsEveryCarryInLongRunsOfOnes) {
  for (const size_t n : {1u, 2u, 63u, 64u, 65u, 1500u, 65535u, 65536u}) {
    const std::vector<std::byte> data(n, std::byte{0xff});
    ASSERT_EQ(fold(sum_bytes(data)), naive_fold(data)) << n;
  }
}

TEST(Checksum, IsTheSameHoweverTheBytesAreSplit) {
  base::Rng rng(2);
  for (int round = 0; round < 2000; ++round) {
    const auto data = random_bytes(rng, rng.below(3000));
    Checksum sum;
    size_t at = 0;
    while (at < data.size()) {
      const size_t n = 1 + rng.below(data.size() - at);
      sum.add(Bytes(data).subspan(at, n));
      at += n;
    }
    ASSERT_EQ(sum.finish(), static_cast<uint16_t>(~naive_fold(data)));
  }
}

TEST(Checksum, CombinesKnownPartialSumsAtOddAndEvenBoundaries) {
  base::Rng rng(3);
  for (size_t cut = 0; cut <= 99; ++cut) {
    const auto data = random_bytes(rng, 99);
    const uint64_t a = sum_bytes(Bytes(data).first(cut));
    const uint64_t b = sum_bytes(Bytes(data).subspan(cut));
    ASSERT_EQ(fold(combine(a, cut, b)), naive_fold(data));
  }
}

TEST(Checksum, AddsHostOrderWordsAsTheyLieOnTheWire) {
  Checksum sum;
  sum.add16(0x1234);
  sum.add32(0x89abcdef);
  const auto data = bytes_of(0x12, 0x34, 0x89, 0xab, 0xcd, 0xef);
  EXPECT_EQ(sum.finish(), finish(sum_bytes(data)));
}

TEST(Checksum, SumsThePseudoHeaderOfIpv4) {
  const IpAddr a = IpAddr::v4(192, 0, 2, 1);
  const IpAddr b = IpAddr::v4(198, 51, 100, 255);
  const auto header = bytes_of(192, 0, 2, 1, 198, 51, 100, 255, 0, 6, 0x12, 0x34);
  EXPECT_EQ(fold(pseudo_sum(a, b, 6, 0x1234)), naive_fold(header));
}

TEST(Checksum, SumsThePseudoHeaderOfIpv6WithItsLongLength) {
  base::Rng rng(4);
  const auto raw = random_bytes(rng, 32);
  auto header = raw;
  for (int v : {0x00, 0x01, 0x23, 0x45, 0, 0, 0, 58}) header.push_back(static_cast<std::byte>(v));
  EXPECT_EQ(fold(pseudo_sum(load_v6(raw.data()), load_v6(raw.data() + 16), 58, 0x12345)), naive_fold(header));
}

TEST(Checksum, ValidatesASpanThatHoldsItsOwnChecksum) {
  auto data = bytes_of(0x45, 0, 0, 0x54, 1, 2, 0x40, 0, 0x40, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2);
  store_be16(&data[10], finish(sum_bytes(data)));
  EXPECT_TRUE(is_valid(sum_bytes(data)));
  data[3] ^= std::byte{1};
  EXPECT_FALSE(is_valid(sum_bytes(data)));
}

TEST(Checksum, NeverGivesZeroWhereZeroMeansNone) {
  EXPECT_EQ(finish(sum_be16(0xffff)), 0);
  EXPECT_EQ(finish_nonzero(sum_be16(0xffff)), 0xffff);
  EXPECT_EQ(finish_nonzero(sum_be16(0x1234)), finish(sum_be16(0x1234)));
}

TEST(Checksum, UpdatesAsTheExampleOfRfc1624) {
  // RFC 1624 4: the method of RFC 1141 gives 0xffff here, the right answer is 0.
  EXPECT_EQ(update_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
}

TEST(Checksum, UpdatesLikeARecomputation) {
  base::Rng rng(5);
  for (int round = 0; round < 5000; ++round) {
    auto data = random_bytes(rng, 40);
    const uint16_t before = finish(sum_bytes(data));
    const size_t at = rng.below(18) * 2;
    const uint32_t old_word = load_be32(&data[at]);
    const auto new_word = static_cast<uint32_t>(rng.next());
    store_be32(&data[at], new_word);
    const uint16_t after = update_checksum32(before, old_word, new_word);
    ASSERT_EQ(after, finish(sum_bytes(data)));
    ASSERT_TRUE(is_valid(add_sums(sum_bytes(data), sum_be16(after))));
  }
}

TEST(Bytes, LoadsAndStoresBigEndianAlsoAtCompileTime) {
  constexpr auto stored = [] {
    std::array<std::byte, 15> b{};
    store_be16(&b[1], 0x0102);
    store_be32(&b[3], 0x03040506);
    store_be64(&b[7], 0x0708090a0b0c0d0eULL);
    return b;
  }();
  for (size_t i = 0; i < stored.size(); ++i) EXPECT_EQ(load_u8(&stored[i]), i);
  static_assert(load_be16(&stored[1]) == 0x0102);
  EXPECT_EQ(load_be16(&stored[1]), 0x0102);
  EXPECT_EQ(load_be32(&stored[3]), 0x03040506u);
  EXPECT_EQ(load_be64(&stored[7]), 0x0708090a0b0c0d0eULL);
}

}  // namespace
}  // namespace millrace::wire
