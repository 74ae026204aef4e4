// Path MTUs: learned from messages that can be genuine, bounded in size, number and time, obeyed by output.
#include "fixture.h"

#include "ip/pmtu.h"

namespace millrace::ip {
namespace {

class PmtuTest : public IpTest {
 protected:
  PmtuTest() { learn_peers(); }
  static Frame seal_v4(Frame message) {
    wire::store_be16(&message[2], 0);
    wire::store_be16(&message[2], wire::finish(wire::sum_bytes(message)));
    return message;
  }
  Frame echo(bool v6, size_t size) {
    Frame out = bytes(size);
    out[0] = std::byte{v6 ? uint8_t{128} : uint8_t{8}};
    out[1] = std::byte{0};
    if (v6) {
      wire::seal_icmpv6(out, peer6_, our6_);
      return out;
    }
    return seal_v4(out);
  }
  /// The reply to an echo request of `size` bytes, and a router's word that it is too big.
  void ping_and_too_big(bool v6, size_t size, uint32_t mtu, bool forged = false) {
    const IpAddr from = v6 ? peer6_ : peer4_;
    const IpAddr us = v6 ? our6_ : our4_;
    const uint8_t protocol = v6 ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp;
    (void)receive(from, us, protocol, echo(v6, size));
    Frame reply = sent_one();
    reply.erase(reply.begin(), reply.begin() + 14);
    if (forged) reply[v6 ? 44 : 24] ^= std::byte{1};  // another identifier
    Frame message(8);
    message[0] = std::byte{v6 ? uint8_t{2} : uint8_t{3}};
    message[1] = std::byte{v6 ? uint8_t{0} : uint8_t{4}};
    wire::store_be32(&message[4], mtu);
    reply.resize(std::min<size_t>(reply.size(), 500));
    message = message + reply;
    if (v6) {
      wire::seal_icmpv6(message, from, us);
    } else {
      message = seal_v4(message);
    }
    (void)receive(from, us, protocol, message);
  }
  size_t frames_of_reply(bool v6, size_t size) {
    (void)receive(v6 ? peer6_ : peer4_, v6 ? our6_ : our4_, v6 ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp,
                  echo(v6, size));
    return sent().size();
  }
};

TEST_F(PmtuTest, EchoRepliesFollowThePath) {
  for (const bool v6 : {false, true}) {
    EXPECT_EQ(frames_of_reply(v6, 1400), 1U);
    ping_and_too_big(v6, 1400, 1300);
    EXPECT_EQ(frames_of_reply(v6, 1400), 2U);
    EXPECT_EQ(ip_->route(v6 ? peer6_ : peer4_, {}, 0)->mtu, 1300);
  }
  EXPECT_EQ(ip_->route(addr("192.0.2.10"), {}, 0)->mtu, 1500) << "others are as they were";
  EXPECT_EQ(count("ip.pmtu.learned"), 2U);
}

// RFC 8200 5 for the least
TEST_F(PmtuTest, TheMtuOfAnInterfaceChangesWithinWhatItsDeviceTakes) {
  const auto mtu = [&] { return ip_->route(peer6_, {}, 0)->mtu; };
  const uint16_t epoch = ip_->epoch();
  ASSERT_TRUE(ip_->set_mtu(if_, 1'300));
  EXPECT_EQ(mtu(), 1'300);
  EXPECT_NE(ip_->epoch(), epoch) << "whoever holds a route looks again";
  ASSERT_TRUE(ip_->set_mtu(if_, 1'500));
  EXPECT_EQ(mtu(), 1'500);
  EXPECT_EQ(ip_->set_mtu(if_, 1'501).error(), Error::kInvalid);
  EXPECT_EQ(ip_->set_mtu(if_, 1'279).error(), Error::kInvalid);
  EXPECT_EQ(ip_->set_mtu(IfIndex{9}, 1'300).error(), Error::kNotFound);
}

TEST_F(PmtuTest, AForgedQuoteIsNotBelieved) {
  ping_and_too_big(false, 1400, 1300, true);
  ping_and_too_big(true, 1400, 1300, true);
  EXPECT_EQ(count("icmp.drop.not_ours"), 2U);
  EXPECT_EQ(ip_->route(peer4_, {}, 0)->mtu, 1500);
  EXPECT_EQ(ip_->route(peer6_, {}, 0)->mtu, 1500);
}

TEST_F(PmtuTest, AnMtuGrowsOnlyWithAge) {
  (void)ip_->learn_mtu(peer4_, 1000, now_);
  EXPECT_EQ(ip_->learn_mtu(peer4_, 1200, now_), 1000);
  EXPECT_EQ(ip_->next_deadline(), now_ + seconds(600));
  const uint16_t epoch = ip_->epoch();
  advance(seconds(600) - nanoseconds(1));
  EXPECT_EQ(ip_->route(peer4_, {}, 0)->mtu, 1000);
  advance(nanoseconds(1));
  EXPECT_EQ(ip_->route(peer4_, {}, 0)->mtu, 1500);
  EXPECT_NE(ip_->epoch(), epoch) << "who holds a route looks again";
}

TEST_F(PmtuTest, BelowTheMinimumRoutersFragment) {
  EXPECT_EQ(ip_->learn_mtu(peer4_, 300, now_), 552);
  const auto route = ip_->route(peer4_, {}, 0);
  EXPECT_EQ(route->mtu, 552);
  EXPECT_TRUE(ip_->send({route->source, peer4_, 17, 64, 0, *route, true}, packet(bytes(200)), now_));
  const Frame f = sent_one();
  const auto view = wire::Ipv4View::check(wire::Bytes(f).subspan(14));
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->dont_fragment());
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(ip_->learn_mtu(peer6_, 1280, now_), 1280);
}

TEST_F(PmtuTest, SettingsChangeWhileItRuns) {
  const auto row = [](const char* name) {
    uint16_t i = 0;
    while (std::string(kSettingRows[i].name) != name) ++i;
    return i;
  };
  EXPECT_TRUE(ip_->set(row("pmtu_min_v4"), 1'000));
  EXPECT_EQ(ip_->learn_mtu(peer4_, 300, now_), 1'000);
  EXPECT_EQ(ip_->set(row("pmtu_min_v4"), 67).error(), Error::kInvalid);
  EXPECT_EQ(ip_->set(row("pmtu_entries"), 10).error(), Error::kNotSupported);
  EXPECT_EQ(ip_->set(row("reassembly_bytes"), 65'536).error(), Error::kInvalid) << "below the share of one source";
  EXPECT_EQ(ip_->set(1'000, 1).error(), Error::kNotFound);
  EXPECT_EQ(ip_->settings().pmtu_min_v4, 1'000);
}

TEST_F(PmtuTest, DatagramsThatMayNotBeFragmentedAreRefused) {
  (void)ip_->learn_mtu(peer6_, 1280, now_);
  const auto route = ip_->route(peer6_, {}, 0);
  EXPECT_EQ(ip_->send({route->source, peer6_, 17, 64, 0, *route}, packet(bytes(1241)), now_).error(), Error::kTooBig);
  EXPECT_TRUE(ip_->send({route->source, peer6_, 17, 64, 0, *route}, packet(bytes(1240)), now_));
}

TEST(PmtuTable, FullTableForgetsWhatEndsFirst) {
  Pmtu table(2, {1, 2});
  table.learn(addr("10.0.0.1"), {1000, false}, Instant(10));
  table.learn(addr("10.0.0.2"), {1100, false}, Instant(20));
  table.learn(addr("10.0.0.1"), {900, false}, Instant(30));
  table.learn(addr("10.0.0.3"), {1200, false}, Instant(40));
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(table.evicted(), 1U);
  EXPECT_EQ(table.find(addr("10.0.0.1")).mtu, 900);
  EXPECT_EQ(table.find(addr("10.0.0.2")).mtu, 0xffff);
  EXPECT_TRUE(table.advance(Instant(30)));
  EXPECT_EQ(table.find(addr("10.0.0.1")).mtu, 0xffff);
  EXPECT_EQ(table.find(addr("10.0.0.3")).mtu, 1200);
  EXPECT_EQ(table.next_deadline(), Instant(40));
  EXPECT_TRUE(table.advance(Instant(40)));
  EXPECT_FALSE(table.advance(Instant(50)));
  EXPECT_EQ(table.next_deadline(), kNever);
}

}  // namespace
}  // namespace millrace::ip
