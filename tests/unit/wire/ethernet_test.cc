// Ethernet headers and VLAN tags.
#include "wire/ethernet.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const auto kFrame = hex("ff ff ff ff ff ff  02 00 5e 10 00 01  08 06  aa bb");
const auto kTagged = hex("01 00 5e 00 00 01  02 00 5e 10 00 01  81 00  b0 64 08 00  45");

TEST(Ethernet, ReadsItsFields) {
  const auto view = EthernetView::check(kFrame);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->destination(), kBroadcastMac);
  EXPECT_EQ(view->source().to_string(), "02:00:5e:10:00:01");
  EXPECT_EQ(view->type(), EtherType::kArp);
  ASSERT_EQ(view->payload().size(), 2u);
  EXPECT_EQ(view->payload()[0], std::byte{0xaa});
}

TEST(Ethernet, AcceptsAnEmptyPayloadAndRefusesLess) {
  EXPECT_TRUE(EthernetView::check(cut(kFrame, 14)));
  for (size_t size = 0; size < 14; ++size) EXPECT_FALSE(EthernetView::check(cut(kFrame, size))) << size;
}

TEST(Ethernet, EmitsWhatItParsed) {
  std::vector<std::byte> out(14);
  EthernetHeader::parse(*EthernetView::check(kFrame)).emit(out);
  EXPECT_EQ(out, cut(kFrame, 14));
}

TEST(Vlan, ReadsPriorityDropEligibleAndId) {
  const auto ethernet = EthernetView::check(kTagged);
  ASSERT_TRUE(ethernet);
  ASSERT_TRUE(is_vlan(ethernet->type()));
  const auto tag = VlanView::check(ethernet->payload());
  ASSERT_TRUE(tag);
  EXPECT_EQ(tag->priority(), 5);
  EXPECT_TRUE(tag->drop_eligible());
  EXPECT_EQ(tag->vlan_id(), 100);
  EXPECT_EQ(tag->type(), EtherType::kIpv4);
  EXPECT_EQ(tag->payload().size(), 1u);
}

TEST(Vlan, RefusesATruncatedTag) {
  for (size_t size = 14; size < 18; ++size) {
    EXPECT_FALSE(VlanView::check(EthernetView::check(cut(kTagged, size))->payload()));
  }
}

TEST(Vlan, EmitsWhatItParsed) {
  const auto bytes = hex("3f ff 86 dd");
  const VlanTag tag = VlanTag::parse(*VlanView::check(bytes));
  EXPECT_EQ(tag, (VlanTag{1, true, 4095, EtherType::kIpv6}));
  std::vector<std::byte> out(4);
  tag.emit(out);
  EXPECT_EQ(out, bytes);
}

TEST(Vlan, KeepsPriorityAndDropEligibleApart) {
  EXPECT_EQ(VlanTag::parse(*VlanView::check(hex("e0 01 08 00"))), (VlanTag{7, false, 1, EtherType::kIpv4}));
  EXPECT_EQ(VlanTag::parse(*VlanView::check(hex("10 01 08 00"))), (VlanTag{0, true, 1, EtherType::kIpv4}));
}

TEST(Vlan, KnowsBothTagTypes) {
  EXPECT_TRUE(is_vlan(EtherType::kServiceVlan));
  EXPECT_FALSE(is_vlan(EtherType::kIpv6));
}

}  // namespace
}  // namespace millrace::wire
