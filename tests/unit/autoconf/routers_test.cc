// What router advertisements do, on a virtual clock.
#include "autoconf/routers.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ra_builder.h"

namespace millrace::autoconf {
namespace {

using Kind = Action::Kind;

const IpAddr kR1 = *IpAddr::parse("fe80::1");
const IpAddr kR2 = *IpAddr::parse("fe80::2");
constexpr uint8_t kHigh = 1 << 3;  // as on the wire
constexpr uint8_t kLow = 3 << 3;

IpAddr addr(const char* text) { return *IpAddr::parse(text); }
Prefix prefix(const char* text) { return *Prefix::parse(text); }

class RoutersTest : public ::testing::Test {
 protected:
  Actions hear(const Ra& ra, const IpAddr& source = kR1) {
    Actions out;
    routers_.hear(ra.view(), source, now_, out);
    return out;
  }
  Actions advance(Duration d) {
    Actions out;
    const Instant end = now_ + d;
    while (routers_.next_deadline() <= end) {
      now_ = std::max(now_, routers_.next_deadline());
      routers_.tick(now_, out);
    }
    now_ = end;
    return out;
  }
  static size_t count(const Actions& actions, Kind kind) {
    return static_cast<size_t>(std::ranges::count(actions, kind, &Action::kind));
  }
  static Action only(const Actions& actions, Kind kind) {
    EXPECT_EQ(count(actions, kind), 1U);
    for (const Action& a : actions) {
      if (a.kind == kind) return a;
    }
    return {};
  }

  Routers routers_{{true, {1, 2}, {{2, 0, 0, 0, 0, 1}}, 1500}, 1};
  Instant now_{seconds(1'000).ns()};
};

// RFC 4861 6.3.7, RFC 7559 2
TEST_F(RoutersTest, SolicitsWithGrowingPausesUntilARouterAnswers) {
  routers_.start(now_);
  std::vector<Instant> sent;
  while (sent.size() < 14) {
    now_ = routers_.next_deadline();
    Actions out;
    routers_.tick(now_, out);
    if (count(out, Kind::kSolicit) == 1) sent.push_back(now_);
  }
  EXPECT_LE(sent[0] - Instant(seconds(1'000).ns()), seconds(1));
  Duration before{};
  for (size_t i = 1; i < sent.size(); ++i) {
    const Duration pause = sent[i] - sent[i - 1];
    EXPECT_GE(pause, milliseconds(3'600));
    EXPECT_LE(pause, seconds(3'960));
    EXPECT_TRUE(i == 1 || pause > before || pause > seconds(3'000));
    before = pause;
  }
  EXPECT_GT(before, seconds(3'200));
  (void)hear(Ra(0).prefix("2001:db8::/64", "LA", 100, 100));
  EXPECT_NE(routers_.next_deadline(), kNever) << "no default router yet";
  (void)hear(Ra());
  EXPECT_EQ(count(advance(seconds(1'000)), Kind::kSolicit), 0U);
}

TEST_F(RoutersTest, DefaultRouteComesAndGoesWithTheRouter) {
  const auto route = only(hear(Ra(100)), Kind::kRoute);
  EXPECT_EQ(route.prefix, prefix("::/0"));
  EXPECT_EQ(route.gateway, kR1);
  EXPECT_EQ(route.metric, kMetricMedium);
  EXPECT_TRUE(advance(seconds(99)).empty());
  EXPECT_TRUE(hear(Ra(100)).empty()) << "the same again changes nothing";
  EXPECT_TRUE(advance(seconds(99)).empty());
  const auto drop = only(advance(seconds(1)), Kind::kDropRoute);
  EXPECT_EQ(drop.gateway, kR1);
  (void)hear(Ra(100));
  EXPECT_EQ(count(hear(Ra(0)), Kind::kDropRoute), 1U) << "a lifetime of zero ends it at once";
}

// RFC 4191 2.2, 3.2
TEST_F(RoutersTest, PreferenceDecidesBetweenRouters) {
  (void)hear(Ra(1'000, kLow), kR1);
  EXPECT_EQ(routers_.chosen(), kR1);
  auto actions = hear(Ra(1'000, 0), kR2);
  EXPECT_EQ(only(actions, Kind::kDropRoute).gateway, kR1);
  EXPECT_EQ(only(actions, Kind::kRoute).gateway, kR2);
  EXPECT_EQ(only(hear(Ra(1'000, kHigh), kR1), Kind::kRoute).metric, kMetricHigh);
  EXPECT_EQ(routers_.chosen(), kR1);
  (void)hear(Ra(1'000, 2 << 3), kR1);
  EXPECT_EQ(routers_.chosen(), kR1) << "the reserved value counts as medium; among equals we stay";
}

// RFC 4861 6.3.6
TEST_F(RoutersTest, UnreachableRouterGivesWayWhileAnotherIsThere) {
  (void)hear(Ra(1'000, kHigh), kR1);
  Actions out;
  routers_.set_reachable(kR1, false, out);
  EXPECT_TRUE(out.empty()) << "better than none";
  (void)hear(Ra(1'000, kLow), kR2);
  EXPECT_EQ(routers_.chosen(), kR2);
  routers_.set_reachable(kR1, true, out);
  EXPECT_EQ(routers_.chosen(), kR1);
}

TEST_F(RoutersTest, FullRouterListKeepsThePreferred) {
  for (size_t i = 0; i < kMaxRouters; ++i) {
    (void)hear(Ra(), addr(("fe80::1:" + std::to_string(i)).c_str()));
  }
  (void)hear(Ra(1'800, kLow), kR1);
  (void)hear(Ra(), kR1);
  EXPECT_FALSE(routers_.is_router(kR1));
  EXPECT_EQ(routers_.refused(), 2U);
  (void)hear(Ra(1'800, kHigh), kR2);
  EXPECT_EQ(routers_.chosen(), kR2);
  EXPECT_EQ(routers_.routers().size(), kMaxRouters);
}

// RFC 4862 5.5.3, RFC 7217 5
TEST_F(RoutersTest, AutonomousPrefixFormsOneStableAddress) {
  const auto a = only(hear(Ra().prefix("2001:db8:1::/64", "LA", 3'600, 1'800)), Kind::kAddress);
  EXPECT_TRUE(prefix("2001:db8:1::/64").contains(a.prefix.addr));
  EXPECT_EQ(a.lifetimes.valid_until, now_ + seconds(3'600));
  EXPECT_EQ(a.lifetimes.preferred_until, now_ + seconds(1'800));
  const auto b = only(hear(Ra().prefix("2001:db8:2::/64", "A", 3'600, 1'800)), Kind::kAddress);
  EXPECT_NE(std::vector(a.prefix.addr.bytes().begin() + 8, a.prefix.addr.bytes().end()),
            std::vector(b.prefix.addr.bytes().begin() + 8, b.prefix.addr.bytes().end()));
  const Routers same({true, {1, 2}, {{2, 0, 0, 0, 0, 1}}, 1500}, 77);
  EXPECT_EQ(same.stable_address(prefix("2001:db8:1::/64"), 0), a.prefix.addr) << "whatever the seed of the moment";
  const Routers other({true, {1, 3}, {{2, 0, 0, 0, 0, 1}}, 1500}, 1);
  EXPECT_NE(other.stable_address(prefix("2001:db8:1::/64"), 0), a.prefix.addr);
}

TEST_F(RoutersTest, PrefixesThatFormNoAddress) {
  EXPECT_EQ(count(hear(Ra().prefix("fe80::/64", "LA", 100, 100)), Kind::kAddress), 0U);
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/64", "LA", 100, 101)), Kind::kAddress), 0U) << "preferred beyond valid";
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/60", "LA", 100, 100)), Kind::kAddress), 0U) << "no 64 bits left";
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/64", "LA", 0, 0)), Kind::kAddress), 0U);
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/64", "L", 100, 100)), Kind::kAddress), 0U) << "not autonomous";
  EXPECT_EQ(count(hear(Ra().prefix("ff05::/64", "LA", 100, 100)), Kind::kAddress), 0U);
}

TEST_F(RoutersTest, OnLinkPrefixIsARouteForItsLifetime) {
  const auto actions = hear(Ra(0).prefix("2001:db8::/64", "L", 60, 60));
  const auto route = only(actions, Kind::kRoute);
  EXPECT_EQ(route.prefix, prefix("2001:db8::/64"));
  EXPECT_TRUE(route.gateway.is_unspecified());
  EXPECT_EQ(count(hear(Ra(0).prefix("2001:db8::1/64", "L", 60, 60)), Kind::kRoute), 0U) << "the same prefix";
  EXPECT_EQ(only(advance(seconds(60)), Kind::kDropRoute).prefix, prefix("2001:db8::/64"));
  (void)hear(Ra(0).prefix("2001:db8::/64", "L", 60, 60));
  EXPECT_EQ(count(hear(Ra(0).prefix("2001:db8::/64", "L", 0, 0)), Kind::kDropRoute), 1U);
  EXPECT_EQ(count(hear(Ra(0).prefix("2001:db8::/64", "", 60, 60)), Kind::kRoute), 0U);
}

// RFC 4862 5.5.3 e
TEST_F(RoutersTest, LifetimesAreNotCutBelowTwoHours) {
  (void)hear(Ra().prefix("2001:db8::/64", "A", 10'000, 10'000));
  auto a = only(hear(Ra().prefix("2001:db8::/64", "A", 60, 60)), Kind::kAddress);
  EXPECT_EQ(a.lifetimes.valid_until, now_ + seconds(7'200)) << "cut to two hours";
  EXPECT_EQ(a.lifetimes.preferred_until, now_ + seconds(60)) << "the preferred lifetime is always taken";
  (void)advance(seconds(7'000));
  const Instant before = now_ + seconds(200);
  a = only(hear(Ra().prefix("2001:db8::/64", "A", 60, 0)), Kind::kAddress);
  EXPECT_EQ(a.lifetimes.valid_until, before) << "less than two hours left: ignored";
  EXPECT_EQ(a.lifetimes.preferred_until, now_);
  a = only(hear(Ra().prefix("2001:db8::/64", "A", 300, 300)), Kind::kAddress);
  EXPECT_EQ(a.lifetimes.valid_until, now_ + seconds(300)) << "longer than what is left";
  a = only(hear(Ra().prefix("2001:db8::/64", "A", 0xffff'ffff, 0xffff'ffff)), Kind::kAddress);
  EXPECT_EQ(a.lifetimes, Lifetimes{}) << "for ever";
}

// RFC 7217 6
TEST_F(RoutersTest, LostAddressIsReplacedAFewTimes) {
  IpAddr current = only(hear(Ra().prefix("2001:db8::/64", "A", 1'000, 1'000)), Kind::kAddress).prefix.addr;
  for (int i = 0; i < kIdGenRetries; ++i) {
    Actions out;
    routers_.address_lost(current, now_, out);
    EXPECT_EQ(only(out, Kind::kDropAddress).prefix.addr, current);
    const IpAddr next = only(out, Kind::kAddress).prefix.addr;
    EXPECT_NE(next, current);
    current = next;
  }
  Actions out;
  routers_.address_lost(current, now_, out);
  EXPECT_EQ(count(out, Kind::kAddress), 0U);
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/64", "A", 1'000, 1'000)), Kind::kAddress), 0U) << "given up";
}

TEST_F(RoutersTest, FullPrefixListsRefuseAndGoOn) {
  for (size_t i = 0; i < kMaxFormed + 4; ++i) {
    (void)hear(Ra().prefix(("2001:db8:" + std::to_string(i) + "::/64").c_str(), "LA", 1'000, 1'000));
  }
  EXPECT_EQ(routers_.formed().size(), kMaxFormed);
  EXPECT_EQ(routers_.on_link().size(), kMaxPrefixes);
  EXPECT_EQ(routers_.refused(), 8U);
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8::/64", "A", 2'000, 2'000)), Kind::kAddress), 1U) << "known ones live on";
  (void)advance(seconds(1'000));
  EXPECT_EQ(count(hear(Ra().prefix("2001:db8:99::/64", "LA", 9, 9)), Kind::kAddress), 1U) << "room came back";
}

TEST_F(RoutersTest, RenumberingDeprecatesTheOldPrefix) {
  (void)hear(Ra().prefix("2001:db8:1::/64", "LA", 9'000, 9'000));
  const auto actions =
      hear(Ra().prefix("2001:db8:1::/64", "LA", 7'200, 0).prefix("2001:db8:2::/64", "LA", 9'000, 9'000));
  ASSERT_EQ(count(actions, Kind::kAddress), 2U);
  EXPECT_EQ(actions[0].lifetimes.preferred_until, now_);
  EXPECT_GT(actions[2].lifetimes.preferred_until, now_);
}

TEST_F(RoutersTest, ParametersAreTakenWithinTheirRanges) {
  auto actions = hear(Ra(1'800, 0, 33, 20'000, 2'000).mtu(1'400));
  EXPECT_EQ(only(actions, Kind::kHopLimit).value, 33U);
  EXPECT_EQ(only(actions, Kind::kReachable).value, 20'000U);
  EXPECT_EQ(only(actions, Kind::kRetransmit).value, 2'000U);
  EXPECT_EQ(only(actions, Kind::kMtu).value, 1'400U);
  EXPECT_TRUE(hear(Ra(1'800, 0, 33, 20'000, 2'000).mtu(1'400)).empty()) << "no news";
  EXPECT_TRUE(hear(Ra().mtu(1'279)).empty()) << "RFC 8200 5";
  EXPECT_TRUE(hear(Ra().mtu(1'501)).empty()) << "more than the link has";
  EXPECT_TRUE(hear(Ra(1'800, 0, 0, 3'600'001, 5)).empty()) << "RFC 4861 6.2.1; a flood of solicitations";
}

// RFC 4191 2.3
TEST_F(RoutersTest, RouteInformationIsARouteForItsLifetime) {
  const auto actions = hear(Ra(0).route("2001:db8:f::/48", 1, 50));
  const auto route = only(actions, Kind::kRoute);
  EXPECT_EQ(route.prefix, prefix("2001:db8:f::/48"));
  EXPECT_EQ(route.gateway, kR1);
  EXPECT_EQ(route.metric, kMetricHigh);
  EXPECT_TRUE(hear(Ra(0).route("2001:db8:e::/48", 2, 50)).empty()) << "reserved preference";
  EXPECT_EQ(count(advance(seconds(50)), Kind::kDropRoute), 1U);
  for (size_t i = 0; i < kMaxLearnedRoutes + 3; ++i) {
    (void)hear(Ra(0).route(("2001:db8:" + std::to_string(i) + "::/48").c_str(), 0, 50));
  }
  EXPECT_EQ(routers_.learned().size(), kMaxLearnedRoutes);
  EXPECT_EQ(routers_.refused(), 3U);
}

// RFC 8106 5
TEST_F(RoutersTest, ResolversAndSearchNamesAreKeptForTheirLifetime) {
  (void)hear(Ra().resolvers({"2001:db8::53", "fe80::53"}, 100).names({"\3Foo\7example", "\4corp"}, 50));
  ASSERT_EQ(routers_.resolvers().size(), 2U);
  EXPECT_EQ(routers_.resolvers()[0].addr, addr("2001:db8::53"));
  ASSERT_EQ(routers_.search_names().size(), 2U);
  EXPECT_EQ(routers_.search_names()[0].name, "foo.example");
  EXPECT_EQ(routers_.search_names()[1].name, "corp");
  (void)hear(Ra().resolvers({"2001:db8::53"}, 0));
  EXPECT_EQ(routers_.resolvers().size(), 1U);
  (void)advance(seconds(50));
  EXPECT_TRUE(routers_.search_names().empty());
  (void)advance(seconds(50));
  EXPECT_TRUE(routers_.resolvers().empty());
  (void)hear(Ra().names({"\3a b", std::string("\x40") + std::string(64, 'x')}, 50).resolvers({"ff02::1", "::"}, 50));
  EXPECT_TRUE(routers_.search_names().empty()) << "no names";
  EXPECT_TRUE(routers_.resolvers().empty()) << "no hosts";
  for (char c = 'a'; c < 'a' + 20; ++c) {
    (void)hear(Ra().names({std::string("\1") + c}, 50).resolvers({(std::string("2001:db8::") + c).c_str()}, 50));
  }
  EXPECT_EQ(routers_.search_names().size(), kMaxSearchNames);
}

TEST_F(RoutersTest, LinkDownForgetsEverything) {
  (void)hear(Ra().prefix("2001:db8::/64", "LA", 9'000, 9'000)
                 .route("2001:db8:f::/48", 0, 50)
                 .resolvers({"fd00::1"}, 9));
  Actions out;
  routers_.stop(out);
  EXPECT_EQ(count(out, Kind::kDropRoute), 3U);
  EXPECT_EQ(count(out, Kind::kDropAddress), 1U);
  EXPECT_EQ(routers_.next_deadline(), kNever);
}

}  // namespace
}  // namespace millrace::autoconf
