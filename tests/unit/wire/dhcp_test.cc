// DHCP messages: what is read from replies, what is written.
#include "wire/dhcp.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::wire {
namespace {

IpAddr addr(const char* text) { return *IpAddr::parse(text); }

class Message {
 public:
  Message() : bytes_(kDhcpFixedSize) {
    store_be32(bytes_.data(), 0x0201'0600);
    store_be32(&bytes_[4], 0x1234'5678);
    store_v4(&bytes_[16], addr("192.0.2.50"));
    store_mac(&bytes_[28], {{2, 0, 0, 0, 0, 1}});
    store_be32(&bytes_[236], 0x6382'5363);
  }
  Message& option(uint8_t code, std::initializer_list<int> content) {
    bytes_.push_back(static_cast<std::byte>(code));
    bytes_.push_back(static_cast<std::byte>(content.size()));
    for (const int b : content) bytes_.push_back(static_cast<std::byte>(b));
    return *this;
  }
  Message& at(size_t where, std::initializer_list<int> content) {
    for (const int b : content) bytes_[where++] = static_cast<std::byte>(b);
    return *this;
  }
  std::optional<DhcpReply> parse() const {
    const auto view = DhcpView::check(bytes_);
    return view ? DhcpReply::parse(*view) : std::nullopt;
  }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

TEST(WireDhcp, AnAcknowledgmentIsRead) {
  const auto reply = Message()
                         .option(53, {5})
                         .option(54, {192, 0, 2, 1})
                         .option(1, {255, 255, 254, 0})
                         .option(51, {0, 0, 14, 16})
                         .option(58, {0, 0, 7, 8})
                         .option(59, {0, 0, 12, 78})
                         .option(3, {192, 0, 2, 1, 192, 0, 2, 2})
                         .option(6, {192, 0, 2, 53})
                         .option(26, {5, 120})
                         .option(255, {})
                         .parse();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->type, DhcpType::kAck);
  EXPECT_EQ(reply->xid, 0x12345678U);
  EXPECT_EQ(reply->address, addr("192.0.2.50"));
  EXPECT_EQ(reply->server, addr("192.0.2.1"));
  EXPECT_EQ(reply->prefix_length, 23);
  EXPECT_EQ(reply->lease_s, 3'600U);
  EXPECT_EQ(reply->t1_s, 1'800U);
  EXPECT_EQ(reply->t2_s, 3'150U);
  EXPECT_EQ(reply->mtu, 1'400);
  ASSERT_EQ(reply->routers.size, 2U);
  EXPECT_EQ(reply->routers.items[1], addr("192.0.2.2"));
  ASSERT_EQ(reply->resolvers.size, 1U);
  EXPECT_FALSE(reply->has_routes);
}

// RFC 3442
TEST(WireDhcp, ClasslessRoutesAreRead) {
  const auto reply = Message()
                         .option(53, {5})
                         .option(121, {0, 192, 0, 2, 1, 8, 10, 192, 0, 2, 2, 25, 198, 51, 100, 129, 0, 0, 0, 0})
                         .parse();
  ASSERT_TRUE(reply && reply->has_routes);
  ASSERT_EQ(reply->routes.size, 3U);
  EXPECT_EQ(reply->routes.items[0], (DhcpRoute{*Prefix::parse("0.0.0.0/0"), addr("192.0.2.1")}));
  EXPECT_EQ(reply->routes.items[1], (DhcpRoute{*Prefix::parse("10.0.0.0/8"), addr("192.0.2.2")}));
  EXPECT_EQ(reply->routes.items[2], (DhcpRoute{*Prefix::parse("198.51.100.128/25"), addr("0.0.0.0")}));
}

TEST(WireDhcp, MalformedOptionsCountAsAbsent) {
  const auto reply = Message()
                         .option(53, {2})
                         .option(51, {0, 0, 1})
                         .option(1, {255, 0, 255, 0})
                         .option(3, {192, 0, 2})
                         .option(6, {127, 0, 0, 1, 224, 0, 0, 1})
                         .option(121, {33, 1, 2, 3, 4, 5, 6, 7, 8, 9})
                         .parse();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->lease_s, 0U);
  EXPECT_EQ(reply->prefix_length, 0);
  EXPECT_EQ(reply->routers.size, 0U);
  EXPECT_EQ(reply->resolvers.size, 0U);
  EXPECT_FALSE(reply->has_routes);
}

TEST(WireDhcp, WhatIsNoReplyIsRefused) {
  EXPECT_FALSE(Message().parse()) << "no type";
  EXPECT_FALSE(Message().option(53, {1}).parse()) << "a client's message";
  EXPECT_FALSE(Message().option(53, {5}).at(0, {1}).parse()) << "a request";
  EXPECT_FALSE(Message().option(53, {5}).at(2, {8}).parse()) << "not Ethernet";
  EXPECT_FALSE(Message().option(53, {5}).at(236, {0}).parse()) << "no cookie";
  Message cut;
  cut.bytes().pop_back();
  EXPECT_FALSE(cut.parse());
  Message overrun;
  overrun.option(53, {5}).bytes().push_back(std::byte{51});
  EXPECT_TRUE(overrun.parse()) << "an option cut off at the end ends the list";
}

// RFC 2132 9.3, RFC 3396 5
TEST(WireDhcp, OptionsInOtherFieldsAndInPiecesAreJoined) {
  const auto reply = Message()
                         .option(53, {5})
                         .option(52, {3})
                         .option(3, {192, 0})
                         .at(108, {3, 2, 2, 7, 255})
                         .at(44, {51, 4, 0, 0, 0, 99, 255})
                         .parse();
  ASSERT_TRUE(reply);
  ASSERT_EQ(reply->routers.size, 1U);
  EXPECT_EQ(reply->routers.items[0], addr("192.0.2.7"));
  EXPECT_EQ(reply->lease_s, 99U);
}

TEST(WireDhcp, ListsAreCutAtTheirRoom) {
  Message m;
  m.option(53, {5});
  for (int i = 1; i < 40; ++i) m.option(121, {32, 10, 0, 0, i, 192, 0, 2, 1});
  for (int i = 1; i < 10; ++i) m.option(6, {192, 0, 2, i});
  const auto reply = m.parse();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->routes.size, kDhcpMaxRoutes);
  EXPECT_EQ(reply->resolvers.size, kDhcpMaxServers);
}

TEST(WireDhcp, AMessageIsWrittenWithItsOptions) {
  DhcpMessage m;
  m.type = DhcpType::kRequest;
  m.xid = 0xa1b2c3d4;
  m.secs = 7;
  m.broadcast = true;
  m.mac = {{2, 0, 0, 0, 0, 1}};
  m.requested = addr("192.0.2.50");
  m.server = addr("192.0.2.1");
  m.max_size = 1'500;
  std::vector<std::byte> out(DhcpMessage::kMaxSize, std::byte{0xff});
  m.emit(out);
  EXPECT_EQ(load_be32(out.data()), 0x01010600U);
  EXPECT_EQ(load_be32(&out[4]), 0xa1b2c3d4U);
  EXPECT_EQ(load_be16(&out[8]), 7);
  EXPECT_EQ(load_be16(&out[10]), 0x8000);
  EXPECT_EQ(load_mac(&out[28]), m.mac);
  EXPECT_EQ(load_be32(&out[236]), 0x63825363U);
  const std::string text(reinterpret_cast<const char*>(&out[240]), 34);
  EXPECT_EQ(text, std::string("\x35\x01\x03\x3d\x07\x01\x02\0\0\0\0\x01\x32\x04\xc0\0\x02\x32\x36\x04\xc0\0\x02\x01"
                              "\x39\x02\x05\xdc\x37\x06\x01\x79\x03\x06", 34));
}

}  // namespace
}  // namespace millrace::wire
