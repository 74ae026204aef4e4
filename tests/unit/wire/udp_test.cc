// UDP headers and their checksum rules.
#include "wire/udp.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const auto kDatagram = hex("30 39 00 35 00 0b 00 00 61 62 63");
const IpAddr kA = IpAddr::v4(192, 0, 2, 1);
const IpAddr kB = IpAddr::v4(192, 0, 2, 2);

TEST(Udp, ReadsItsFields) {
  const auto padded = kDatagram + hex("00 00");
  const auto view = UdpView::check(padded);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->source_port(), 12345);
  EXPECT_EQ(view->destination_port(), 53);
  EXPECT_EQ(view->length(), 11);
  EXPECT_EQ(view->payload().size(), 3u);
}

TEST(Udp, RefusesLengthsBelowTheHeaderOrBeyondTheBytes) {
  for (size_t size = 0; size < kDatagram.size(); ++size) EXPECT_FALSE(UdpView::check(cut(kDatagram, size))) << size;
  EXPECT_FALSE(UdpView::check(with(kDatagram, 5, 7)));
  EXPECT_TRUE(UdpView::check(with(kDatagram, 5, 8)));
  EXPECT_FALSE(UdpView::check(with(kDatagram, 5, 12)));
}

TEST(Udp, TakesNoChecksumOverIpv4Only) {
  const auto view = UdpView::check(kDatagram);
  EXPECT_TRUE(view->checksum_ok(kA, kB));
  EXPECT_FALSE(view->checksum_ok(*IpAddr::parse("2001:db8::1"), *IpAddr::parse("2001:db8::2")));
}

TEST(Udp, ChecksTheChecksumWithThePseudoHeader) {
  for (const auto& [a, b] : {std::pair{kA, kB}, std::pair{*IpAddr::parse("fe80::1"), *IpAddr::parse("fe80::2")}}) {
    auto bytes = kDatagram;
    UdpHeader header = UdpHeader::parse(*UdpView::check(bytes));
    header.checksum = finish_nonzero(add_sums(pseudo_sum(a, b, kProtocolUdp, 11), sum_bytes(bytes)));
    header.emit(bytes);
    EXPECT_TRUE(UdpView::check(bytes)->checksum_ok(a, b));
    EXPECT_FALSE(UdpView::check(bytes)->checksum_ok(a, a));
    for (size_t at = 8; at < bytes.size(); ++at) EXPECT_FALSE(UdpView::check(with(bytes, at, 0))->checksum_ok(a, b));
  }
}

TEST(Udp, EmitsWhatItParsed) {
  std::vector<std::byte> out(8);
  UdpHeader::parse(*UdpView::check(kDatagram)).emit(out);
  EXPECT_EQ(out, cut(kDatagram, 8));
}

}  // namespace
}  // namespace millrace::wire
