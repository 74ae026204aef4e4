// ARP for IPv4 over Ethernet.
#include "wire/arp.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const auto kRequest =
    hex("00 01 08 00 06 04 00 01  02 00 00 00 00 01  c6 12 00 01"
        "00 00 00 00 00 00  c6 12 00 02");

TEST(Arp, ReadsItsFields) {
  const auto view = ArpView::check(kRequest);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->operation(), ArpOperation::kRequest);
  EXPECT_EQ(view->sender_mac().to_string(), "02:00:00:00:00:01");
  EXPECT_EQ(view->sender(), IpAddr::v4(198, 18, 0, 1));
  EXPECT_EQ(view->target_mac(), MacAddr{});
  EXPECT_EQ(view->target(), IpAddr::v4(198, 18, 0, 2));
}

TEST(Arp, AcceptsPaddingAndRefusesTruncation) {
  EXPECT_TRUE(ArpView::check(kRequest + hex("00 00 00 00")));
  for (size_t size = 0; size < 28; ++size) EXPECT_FALSE(ArpView::check(cut(kRequest, size))) << size;
}

TEST(Arp, RefusesOtherHardwareAndProtocols) {
  for (size_t at = 0; at < 6; ++at) EXPECT_FALSE(ArpView::check(with(kRequest, at, 0x77))) << at;
}

TEST(Arp, PassesUnknownOperationsOn) {
  EXPECT_EQ(static_cast<int>(ArpView::check(with(kRequest, 7, 9))->operation()), 9);
}

TEST(Arp, EmitsWhatItParsed) {
  std::vector<std::byte> out(28);
  ArpMessage::parse(*ArpView::check(kRequest)).emit(out);
  EXPECT_EQ(out, kRequest);
  const ArpMessage reply{ArpOperation::kReply,
                         {{2, 0, 0, 0, 0, 2}},
                         IpAddr::v4(198, 18, 0, 2),
                         {{2, 0, 0, 0, 0, 1}},
                         IpAddr::v4(198, 18, 0, 1)};
  reply.emit(out);
  EXPECT_EQ(out, hex("00 01 08 00 06 04 00 02  02 00 00 00 00 02  c6 12 00 02  02 00 00 00 00 01  c6 12 00 01"));
  EXPECT_EQ(ArpMessage::parse(*ArpView::check(out)), reply);
}

}  // namespace
}  // namespace millrace::wire
