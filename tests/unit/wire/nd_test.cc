// Neighbour discovery: round trips, options, and each validity rule of RFC 4861.
#include "wire/nd.h"

#include <gtest/gtest.h>

#include "hex.h"

namespace millrace::wire {
namespace {

const IpAddr kHost = *IpAddr::parse("fd00:6d72::1:2");
const IpAddr kLinkLocal = *IpAddr::parse("fe80::1");
const IpAddr kAllNodes = *IpAddr::parse("ff02::1");
const IpAddr kUnspecified;
const MacAddr kMac{{2, 0, 0, 0, 0, 1}};

const auto kTarget = hex("fd 00 6d 72 00 00 00 00 00 00 00 00 00 01 00 02");
const auto kMulticastTarget = hex("ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01");
const auto kMappedTarget = hex("00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01");
const auto kSolicitation = hex("87 00 00 00 00 00 00 00") + kTarget;
const auto kAdvertisement = hex("88 00 00 00 e0 00 00 00") + kTarget;
const auto kRouterSolicitation = hex("85 00 00 00 00 00 00 00");
const auto kRouterAdvertisement = hex("86 00 00 00 40 c0 07 08 00 00 75 30 00 00 03 e8");
const auto kRedirect = hex("89 00 00 00 00 00 00 00") + kTarget + kTarget;
const auto kSourceLink = hex("01 01 02 00 00 00 00 01");
const auto kTargetLink = hex("02 01 02 00 00 00 00 01");

const std::vector<std::vector<std::byte>> kMessages = {kSolicitation, kAdvertisement, kRouterSolicitation,
                                                       kRouterAdvertisement, kRedirect};

TEST(Nd, RefusesTruncatedMessages) {
  for (const auto& message : kMessages) {
    ASSERT_TRUE(NdView::check(message));
    for (size_t size = 0; size < message.size(); ++size) EXPECT_FALSE(NdView::check(cut(message, size))) << size;
  }
}

TEST(Nd, RefusesCodesOtherThanZeroAndOtherTypes) {
  for (const auto& message : kMessages) {
    EXPECT_FALSE(NdView::check(with(message, 1, 1)));
    EXPECT_FALSE(NdView::check(with(message, 0, 128)));
  }
}

TEST(Nd, RefusesOptionsOfLengthZeroOrPastTheEnd) {  // RFC 4861 4.6
  for (const auto& message : kMessages) {
    EXPECT_TRUE(NdView::check(message + kSourceLink));
    EXPECT_TRUE(NdView::check(message + kSourceLink + hex("63 01 00 00 00 00 00 00")));
    EXPECT_FALSE(NdView::check(message + with(kSourceLink, 1, 0)));
    EXPECT_FALSE(NdView::check(message + with(kSourceLink, 1, 2)));
    EXPECT_FALSE(NdView::check(message + kSourceLink + hex("01")));
    EXPECT_FALSE(NdView::check(message + hex("63 01 00 00 00 00 00 00") + with(kSourceLink, 1, 0)));
  }
}

TEST(Nd, RefusesTargetsThatAreNoNode) {
  for (const auto& target : {kMulticastTarget, kMappedTarget}) {
    EXPECT_FALSE(NdView::check(hex("87 00 00 00 00 00 00 00") + target));
    EXPECT_FALSE(NdView::check(hex("88 00 00 00 00 00 00 00") + target));
    EXPECT_FALSE(NdView::check(hex("89 00 00 00 00 00 00 00") + target + kTarget));
    EXPECT_FALSE(NdView::check(hex("89 00 00 00 00 00 00 00") + kTarget + target));
  }
}

TEST(Nd, WantsSolicitationsFromNobodySentToTheGroupWithoutLinkAddress) {  // RFC 4861 7.1.1
  const auto linked = kSolicitation + kSourceLink;
  const auto bare = *NdView::check(kSolicitation);
  EXPECT_TRUE(bare.acceptable(kUnspecified, solicited_node(kHost)));
  EXPECT_FALSE(bare.acceptable(kUnspecified, kHost));
  EXPECT_FALSE(bare.acceptable(kUnspecified, kAllNodes));
  EXPECT_TRUE(bare.acceptable(kLinkLocal, kHost));
  EXPECT_FALSE(NdView::check(linked)->acceptable(kUnspecified, solicited_node(kHost)));
  EXPECT_TRUE(NdView::check(linked)->acceptable(kLinkLocal, solicited_node(kHost)));
}

TEST(Nd, WantsMulticastAdvertisementsUnsolicited) {  // RFC 4861 7.1.2
  EXPECT_TRUE(NdView::check(kAdvertisement)->acceptable(kLinkLocal, kHost));
  EXPECT_FALSE(NdView::check(kAdvertisement)->acceptable(kLinkLocal, kAllNodes));
  const auto unsolicited = with(kAdvertisement, 4, 0x20);
  EXPECT_TRUE(NdView::check(unsolicited)->acceptable(kLinkLocal, kAllNodes));
}

TEST(Nd, WantsRouterSolicitationsFromNobodyWithoutLinkAddress) {  // RFC 4861 6.1.1
  EXPECT_TRUE(NdView::check(kRouterSolicitation)->acceptable(kUnspecified, kAllNodes));
  const auto linked = kRouterSolicitation + kSourceLink;
  EXPECT_FALSE(NdView::check(linked)->acceptable(kUnspecified, kAllNodes));
  EXPECT_TRUE(NdView::check(linked)->acceptable(kLinkLocal, kAllNodes));
}

TEST(Nd, WantsRouterAdvertisementsFromLinkLocalAddresses) {  // RFC 4861 6.1.2
  EXPECT_TRUE(NdView::check(kRouterAdvertisement)->acceptable(kLinkLocal, kAllNodes));
  EXPECT_FALSE(NdView::check(kRouterAdvertisement)->acceptable(kHost, kAllNodes));
}

TEST(Nd, WantsRedirectsFromARouterToARouterOrTheDestinationItself) {  // RFC 4861 8.1
  EXPECT_TRUE(NdView::check(kRedirect)->acceptable(kLinkLocal, kHost));
  EXPECT_FALSE(NdView::check(kRedirect)->acceptable(kHost, kHost));
  const auto elsewhere = with(kRedirect, 23, 9);
  EXPECT_FALSE(NdView::check(elsewhere)->acceptable(kLinkLocal, kHost));
  auto to_router = elsewhere;
  store_v6(&to_router[8], kLinkLocal);
  EXPECT_TRUE(NdView::check(to_router)->acceptable(kLinkLocal, kHost));
}

template <class Message, class Emit>
void expect_round_trip(const Message& message, const IpAddr& source, const IpAddr& destination, const Emit& emit) {
  std::vector<std::byte> out(256);
  out.resize(emit(out));
  const auto icmp = Icmpv6View::check(out);
  ASSERT_TRUE(icmp);
  EXPECT_TRUE(icmp->checksum_ok(source, destination));
  const auto view = NdView::check(out);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->acceptable(source, destination));
  EXPECT_EQ(Message::parse(*view), message);
}

TEST(Nd, RoundTripsSolicitations) {
  const IpAddr group = solicited_node(kHost);
  for (const auto& link : {std::optional<MacAddr>(), std::optional(kMac)}) {
    const NeighbourSolicitation message{kHost, link};
    expect_round_trip(message, kLinkLocal, group, [&](auto& out) { return message.emit(out, kLinkLocal, group); });
  }
}

TEST(Nd, RoundTripsAdvertisements) {
  for (int bits = 0; bits < 16; ++bits) {
    NeighbourAdvertisement message{kHost, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, std::nullopt};
    if ((bits & 8) != 0) message.target_link = kMac;
    expect_round_trip(message, kHost, kLinkLocal, [&](auto& out) { return message.emit(out, kHost, kLinkLocal); });
  }
}

TEST(Nd, RoundTripsRouterSolicitations) {
  for (const auto& link : {std::optional<MacAddr>(), std::optional(kMac)}) {
    const RouterSolicitation message{link};
    expect_round_trip(message, kLinkLocal, kAllNodes,
                      [&](auto& out) { return message.emit(out, kLinkLocal, kAllNodes); });
  }
}

TEST(Nd, RoundTripsRedirects) {
  for (const auto& link : {std::optional<MacAddr>(), std::optional(kMac)}) {
    const Redirect message{kLinkLocal, kHost, link};
    expect_round_trip(message, kLinkLocal, kHost, [&](auto& out) { return message.emit(out, kLinkLocal, kHost); });
  }
}

TEST(Nd, RoundTripsRouterAdvertisementsWithPrefixes) {
  const std::vector<NdPrefix> prefixes = {{*Prefix::parse("2001:db8:1::/64"), true, true, 86400, 14400},
                                          {*Prefix::parse("2001:db8:2::/48"), true, false, kNdInfinite, 0}};
  RouterAdvertisement message;
  message.hop_limit = 64;
  message.managed = true;
  message.lifetime_s = 1800;
  message.reachable_ms = 30000;
  message.retransmit_ms = 1000;
  message.source_link = kMac;
  message.mtu = 1400;
  expect_round_trip(message, kLinkLocal, kAllNodes,
                    [&](auto& out) { return message.emit(out, kLinkLocal, kAllNodes, prefixes); });
  std::vector<std::byte> out(256);
  out.resize(message.emit(out, kLinkLocal, kAllNodes, prefixes));
  std::vector<NdPrefix> read;
  NdOptionWalker walker(NdView::check(out)->options());
  while (const auto option = walker.next()) {
    if (const auto prefix = option->prefix()) read.push_back(*prefix);
  }
  EXPECT_EQ(read, prefixes);
}

// A router's answer as Linux 6.1 sent it, checksum included.
TEST(Nd, EmitsTheAdvertisementOfALinuxRouter) {
  const auto sent = hex("8800dd21e0000000fd006d720000000000000000000000fe02017e67d7e720db");
  const IpAddr router = *IpAddr::parse("fd00:6d72::fe");
  const IpAddr host = *IpAddr::parse("fd00:6d72::1");
  std::vector<std::byte> out(32);
  NeighbourAdvertisement{router, true, true, true, MacAddr{{0x7e, 0x67, 0xd7, 0xe7, 0x20, 0xdb}}}.emit(out, router,
                                                                                                       host);
  EXPECT_EQ(out, sent);
}

TEST(NdOptions, GiveNothingWhenTheirContentIsNotValid) {
  EXPECT_FALSE(NdOption(hex("05 01 00 00 00 00 05 dc")).link_address());
  const auto long_link = hex("01 02 02 00 00 00 00 01 00 00 00 00 00 00 00 00");
  EXPECT_FALSE(NdOption(long_link).link_address());
  EXPECT_EQ(NdOption(hex("05 01 00 00 00 00 05 dc")).mtu(), 1500u);
  EXPECT_FALSE(NdOption(hex("01 01 00 00 00 00 05 dc")).mtu());
  const auto prefix = hex("03 04 40 c0 00 00 00 01 00 00 00 01 00 00 00 00") + kTarget;
  EXPECT_TRUE(NdOption(prefix).prefix());
  EXPECT_FALSE(NdOption(with(prefix, 2, 129)).prefix());
  EXPECT_FALSE(NdOption(cut(with(prefix, 1, 3), 24)).prefix());
  EXPECT_FALSE(NdOption(cut(prefix, 16) + kMappedTarget).prefix());
}

TEST(NdOptions, ReadServersAndRedirectedHeaders) {  // RFC 8106 5.1
  const auto rdnss = hex("19 05 00 00 00 00 02 58") + kTarget + kTarget;
  ASSERT_EQ(NdOption(rdnss).rdnss_count(), 2u);
  EXPECT_EQ(NdOption(rdnss).rdnss_lifetime_s(), 600u);
  EXPECT_EQ(NdOption(rdnss).rdnss_server(1), kHost);
  EXPECT_EQ(NdOption(hex("19 01 00 00 00 00 02 58")).rdnss_count(), 0u);
  EXPECT_EQ(NdOption(cut(rdnss, 32)).rdnss_count(), 0u);
  const auto redirected = hex("04 02 00 00 00 00 00 00 60 01 02 03 04 05 06 07");
  ASSERT_TRUE(NdOption(redirected).redirected());
  EXPECT_EQ(NdOption(redirected).redirected()->size(), 8u);
}

TEST(NdAddresses, MapToTheirGroups) {
  EXPECT_EQ(solicited_node(*IpAddr::parse("fe80::2aa:ff:fe28:9c5a")), *IpAddr::parse("ff02::1:ff28:9c5a"));
  EXPECT_EQ(multicast_mac_v6(*IpAddr::parse("ff02::1:ff28:9c5a")).to_string(), "33:33:ff:28:9c:5a");
}

}  // namespace
}  // namespace millrace::wire
