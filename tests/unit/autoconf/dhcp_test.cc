// The DHCPv4 client, on a virtual clock: RFC 2131 4.4.
#include "autoconf/dhcp.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace millrace::autoconf {
namespace {

using Kind = Action::Kind;
using wire::DhcpType;

const MacAddr kMac{{2, 0, 0, 0, 0, 1}};
IpAddr addr(const char* text) { return *IpAddr::parse(text); }
const IpAddr kServer = addr("192.0.2.1");
const IpAddr kAddress = addr("192.0.2.50");

class DhcpTest : public ::testing::Test {
 protected:
  DhcpTest() { client_.start(now_); }

  void advance(Duration d) {
    const Instant end = now_ + d;
    while (client_.next_deadline() <= end) {
      now_ = std::max(now_, client_.next_deadline());
      Actions out;
      client_.tick(now_, out);
      take(out);
    }
    now_ = end;
  }
  void take(const Actions& actions) {
    for (const Action& a : actions) {
      if (a.kind == Kind::kSendDhcp) {
        sent_.push_back(a);
        sent_at_.push_back(now_);
      } else {
        done_.push_back(a);
      }
    }
  }
  wire::DhcpReply reply(DhcpType type, uint32_t lease_s = 1'000) {
    wire::DhcpReply r;
    r.type = type;
    r.xid = sent_.empty() ? 0 : sent_.back().dhcp.xid;
    r.client_mac = kMac;
    r.address = kAddress;
    r.server = kServer;
    r.prefix_length = 24;
    r.lease_s = lease_s;
    r.routers.add(kServer);
    return r;
  }
  bool hear(const wire::DhcpReply& r) {
    Actions out;
    const bool taken = client_.hear(r, now_, out);
    take(out);
    return taken;
  }
  void discover() {
    while (sent_.empty()) advance(milliseconds(100));
  }
  void check_done() {
    Actions out;
    client_.address_free(now_, out);
    take(out);
  }
  void bind(uint32_t lease_s = 1'000) {
    discover();
    ASSERT_TRUE(hear(reply(DhcpType::kOffer)));
    ASSERT_TRUE(hear(reply(DhcpType::kAck, lease_s)));
    check_done();
    ASSERT_EQ(client_.state(), DhcpState::kBound);
    sent_.clear();
    sent_at_.clear();
  }
  size_t count(Kind kind) const { return static_cast<size_t>(std::ranges::count(done_, kind, &Action::kind)); }

  DhcpClient client_{kMac, 1};
  Instant now_{seconds(50).ns()};
  std::vector<Action> sent_;
  std::vector<Instant> sent_at_;
  std::vector<Action> done_;
};

// RFC 2131 4.4.1, table 5
TEST_F(DhcpTest, LeaseIsWonInFourMessages) {
  discover();
  EXPECT_EQ(sent_[0].dhcp.type, DhcpType::kDiscover);
  EXPECT_TRUE(sent_[0].dhcp.broadcast);
  EXPECT_TRUE(sent_[0].dhcp.client.is_unspecified());
  EXPECT_FALSE(sent_[0].dhcp.requested);
  ASSERT_TRUE(hear(reply(DhcpType::kOffer)));
  ASSERT_EQ(sent_.size(), 2U);
  EXPECT_EQ(sent_[1].dhcp.type, DhcpType::kRequest);
  EXPECT_EQ(sent_[1].dhcp.requested, kAddress);
  EXPECT_EQ(sent_[1].dhcp.server, kServer);
  EXPECT_EQ(sent_[1].dhcp.xid, sent_[0].dhcp.xid);
  ASSERT_TRUE(hear(reply(DhcpType::kAck)));
  EXPECT_EQ(client_.state(), DhcpState::kChecking);
  ASSERT_EQ(count(Kind::kAddress), 1U);
  EXPECT_EQ(done_[0].prefix, (Prefix{kAddress, 24}));
  EXPECT_EQ(done_[0].lifetimes.valid_until, now_ + seconds(1'000));
  EXPECT_EQ(count(Kind::kRoute), 0U) << "not before the address is known to be free";
  check_done();
  EXPECT_EQ(client_.state(), DhcpState::kBound);
  ASSERT_EQ(count(Kind::kRoute), 1U);
}

// RFC 2131 4.1
TEST_F(DhcpTest, DiscoverIsRepeatedWithGrowingPauses) {
  discover();
  advance(seconds(400));
  ASSERT_GE(sent_at_.size(), 8U);
  const int64_t want[] = {4, 8, 16, 32, 64, 64, 64};
  for (size_t i = 0; i < 7; ++i) {
    const int64_t pause = (sent_at_[i + 1] - sent_at_[i]).ms();
    EXPECT_NEAR(static_cast<double>(pause), static_cast<double>(want[i] * 1'000), 1'000) << i;
  }
  EXPECT_GT(sent_.back().dhcp.secs, 100);
}

TEST_F(DhcpTest, UnansweredRequestStartsOver) {
  discover();
  ASSERT_TRUE(hear(reply(DhcpType::kOffer)));
  const uint32_t xid = sent_.back().dhcp.xid;
  advance(seconds(70));
  size_t requests = 0;
  for (const Action& a : sent_) requests += a.dhcp.type == DhcpType::kRequest ? 1 : 0;
  EXPECT_EQ(requests, 4U);
  EXPECT_EQ(sent_.back().dhcp.type, DhcpType::kDiscover);
  EXPECT_NE(sent_.back().dhcp.xid, xid);
}

TEST_F(DhcpTest, AnswersToOthersAndForgeriesAreIgnored) {
  discover();
  auto r = reply(DhcpType::kOffer);
  r.xid ^= 1;
  EXPECT_FALSE(hear(r));
  r = reply(DhcpType::kOffer);
  r.client_mac.bytes[5] = 9;
  EXPECT_FALSE(hear(r));
  EXPECT_FALSE(hear(reply(DhcpType::kAck))) << "we asked for nothing yet";
  r = reply(DhcpType::kOffer);
  r.address = addr("127.0.0.1");
  (void)hear(r);
  r = reply(DhcpType::kOffer);
  r.server = IpAddr::any_v4();
  (void)hear(r);
  EXPECT_EQ(client_.state(), DhcpState::kSelecting);
  ASSERT_TRUE(hear(reply(DhcpType::kOffer)));
  r = reply(DhcpType::kNak);
  r.server = addr("192.0.2.66");
  EXPECT_FALSE(hear(r)) << "refused by a server that we did not ask";
  r = reply(DhcpType::kAck, 1);
  (void)hear(r);
  EXPECT_EQ(client_.state(), DhcpState::kRequesting) << "a lease of a second is none";
}

// RFC 2131 4.4.5
TEST_F(DhcpTest, LeaseIsRenewedAtItsHalf) {
  bind(1'000);
  advance(seconds(499));
  EXPECT_TRUE(sent_.empty());
  advance(seconds(2));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(client_.state(), DhcpState::kRenewing);
  EXPECT_EQ(sent_[0].gateway, kServer) << "by unicast";
  EXPECT_EQ(sent_[0].dhcp.client, kAddress);
  EXPECT_FALSE(sent_[0].dhcp.requested);
  EXPECT_FALSE(sent_[0].dhcp.server);
  done_.clear();
  ASSERT_TRUE(hear(reply(DhcpType::kAck, 2'000)));
  EXPECT_EQ(client_.state(), DhcpState::kBound);
  ASSERT_EQ(count(Kind::kAddress), 1U);
  EXPECT_EQ(count(Kind::kRoute), 0U) << "the route is there";
  EXPECT_GT(client_.lease_ends(), now_ + seconds(1'990));
}

TEST_F(DhcpTest, SilentServerMeansRebindingThenTheEnd) {
  bind(1'000);
  advance(seconds(874));
  EXPECT_EQ(client_.state(), DhcpState::kRenewing);
  for (size_t i = 1; i < sent_at_.size(); ++i) EXPECT_GE(sent_at_[i] - sent_at_[i - 1], seconds(60));
  advance(seconds(2));
  EXPECT_EQ(client_.state(), DhcpState::kRebinding);
  EXPECT_TRUE(sent_.back().gateway.is_unspecified()) << "by broadcast";
  EXPECT_EQ(sent_.back().dhcp.client, kAddress);
  done_.clear();
  advance(seconds(126));
  EXPECT_EQ(count(Kind::kDropAddress), 1U);
  EXPECT_EQ(count(Kind::kDropRoute), 1U);
  EXPECT_EQ(sent_.back().dhcp.type, DhcpType::kDiscover);
}

TEST_F(DhcpTest, ServersTimesAreTakenIfTheyMakeSense) {
  discover();
  (void)hear(reply(DhcpType::kOffer));
  auto ack = reply(DhcpType::kAck, 1'000);
  ack.t1_s = 100;
  ack.t2_s = 200;
  (void)hear(ack);
  check_done();
  advance(seconds(101));
  EXPECT_EQ(client_.state(), DhcpState::kRenewing);
  advance(seconds(100));
  EXPECT_EQ(client_.state(), DhcpState::kRebinding);
}

TEST_F(DhcpTest, EndlessLeaseIsNeverRenewed) {
  bind(0xffff'ffff);
  EXPECT_EQ(client_.next_deadline(), kNever);
}

// RFC 2131 3.1 step 5
TEST_F(DhcpTest, AddressThatSomebodyHasIsDeclined) {
  discover();
  (void)hear(reply(DhcpType::kOffer));
  (void)hear(reply(DhcpType::kAck));
  sent_.clear();
  Actions out;
  client_.address_taken(now_, out);
  take(out);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].dhcp.type, DhcpType::kDecline);
  EXPECT_EQ(sent_[0].dhcp.requested, kAddress);
  EXPECT_EQ(sent_[0].dhcp.server, kServer);
  EXPECT_TRUE(sent_[0].gateway.is_unspecified());
  EXPECT_EQ(count(Kind::kDropAddress), 1U);
  advance(seconds(10) - nanoseconds(1));
  EXPECT_EQ(sent_.size(), 1U) << "ten seconds of rest";
  advance(seconds(1));
  EXPECT_EQ(sent_.back().dhcp.type, DhcpType::kDiscover);
}

TEST_F(DhcpTest, RefusalEndsTheLease) {
  bind();
  advance(seconds(501));
  done_.clear();
  ASSERT_TRUE(hear(reply(DhcpType::kNak)));
  EXPECT_EQ(count(Kind::kDropAddress), 1U);
  EXPECT_EQ(client_.state(), DhcpState::kInit);
}

// RFC 2131 4.4.2, 3.2
TEST_F(DhcpTest, LinkThatComesBackAsksForTheSameLease) {
  bind();
  client_.stop();
  advance(seconds(10));
  client_.start(now_);
  advance(seconds(1));
  ASSERT_FALSE(sent_.empty());
  EXPECT_EQ(sent_[0].dhcp.type, DhcpType::kRequest);
  EXPECT_EQ(sent_[0].dhcp.requested, kAddress);
  EXPECT_FALSE(sent_[0].dhcp.server);
  EXPECT_TRUE(sent_[0].dhcp.client.is_unspecified());
  ASSERT_TRUE(hear(reply(DhcpType::kAck)));
  EXPECT_EQ(client_.state(), DhcpState::kBound);
}

TEST_F(DhcpTest, UnansweredRebootKeepsTheLease) {
  bind();
  client_.stop();
  client_.start(now_);
  advance(seconds(30));
  EXPECT_EQ(client_.state(), DhcpState::kBound);
  EXPECT_EQ(count(Kind::kDropAddress), 0U);
}

TEST_F(DhcpTest, LeaseEndsWhileTheLinkIsDown) {
  bind();
  client_.stop();
  advance(seconds(1'001));
  EXPECT_EQ(count(Kind::kDropAddress), 1U);
}

// RFC 3442
TEST_F(DhcpTest, ClasslessRoutesStandInsteadOfRouters) {
  discover();
  (void)hear(reply(DhcpType::kOffer));
  auto ack = reply(DhcpType::kAck);
  ack.has_routes = true;
  ack.routes.add({*Prefix::parse("10.0.0.0/8"), addr("192.0.2.7")});
  ack.routes.add({*Prefix::parse("198.51.100.0/24"), IpAddr::any_v4()});
  ack.mtu = 1'400;
  (void)hear(ack);
  check_done();
  ASSERT_EQ(count(Kind::kRoute), 2U);
  for (const Action& a : done_) {
    EXPECT_TRUE(a.kind != Kind::kRoute || a.prefix.length != 0);
    EXPECT_TRUE(a.kind != Kind::kMtu || a.value == 1'400U);
  }
}

TEST_F(DhcpTest, ReleaseGivesTheLeaseBack) {
  bind();
  Actions out;
  client_.release(out);
  take(out);
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_EQ(sent_[0].dhcp.type, DhcpType::kRelease);
  EXPECT_EQ(sent_[0].gateway, kServer);
  EXPECT_EQ(sent_[0].dhcp.client, kAddress);
  EXPECT_EQ(count(Kind::kDropAddress), 1U);
  EXPECT_EQ(client_.next_deadline(), kNever);
}

}  // namespace
}  // namespace millrace::autoconf
