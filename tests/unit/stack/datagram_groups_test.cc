// Groups, broadcasts, errors and ICMP sockets through the worker's doors. Both families.
#include <algorithm>

#include "datagram_fixture.h"
#include "wire/icmpv4.h"
#include "wire/icmpv6.h"
#include "wire/nd.h"

namespace millrace::stack {
namespace {

class GroupTest : public Datagrams {
 protected:
  [[nodiscard]] IpAddr group() const { return v6() ? *IpAddr::parse("ff05::1234") : IpAddr::v4(239, 1, 2, 3); }
  [[nodiscard]] MacAddr group_mac() const {
    return v6() ? MacAddr{{0x33, 0x33, 0, 0, 0x12, 0x34}} : MacAddr{{1, 0, 0x5e, 1, 2, 3}};
  }
  [[nodiscard]] static std::vector<IpAddr> in_order(std::vector<IpAddr> list) {
    std::ranges::sort(list, {}, &IpAddr::bytes);
    return list;
  }
  void receive_group(const Data& payload, const IpAddr& source = {}) {
    Dgram d{{source.is_unspecified() ? peer() : source, 4000}, {group(), 7}, payload};
    d.to = group_mac();
    receive(d);
  }
  /// An ICMP error of `from` about the first datagram that is waiting to leave.
  void answer_with_error(uint8_t type, uint8_t code, uint32_t rest = 0) {
    const auto frames = sent();
    ASSERT_FALSE(frames.empty());
    const Data& f = frames[0];
    const wire::Bytes quoted(f.data() + 14, f.size() - 14);
    const size_t ip = v6() ? 40 : 20;
    pkt::Packet* p = worker_->impl().packets.frame();
    const size_t bytes = 14 + ip + 8 + quoted.size();
    const wire::MutableBytes out(p->append(static_cast<uint16_t>(bytes)), bytes);
    wire::EthernetHeader{our_mac, peer_mac, v6() ? wire::EtherType::kIpv6 : wire::EtherType::kIpv4}.emit(out);
    const auto length = static_cast<uint16_t>(8 + quoted.size());
    if (v6()) {
      wire::Ipv6Header{0, 0, length, wire::kProtocolIcmpv6, 64, peer(), ours()}.emit(out.subspan(14));
    } else {
      wire::Ipv4Header h;
      h.total_length = static_cast<uint16_t>(ip + length);
      h.protocol = wire::kProtocolIcmp;
      h.source = peer();
      h.destination = ours();
      h.emit(out.subspan(14));
    }
    const wire::MutableBytes icmp = out.subspan(14 + ip);
    wire::store_be32(icmp.data(), uint32_t{type} << 24 | uint32_t{code} << 16);
    wire::store_be32(&icmp[4], rest);
    std::memcpy(&icmp[8], quoted.data(), quoted.size());
    const uint64_t pseudo = v6() ? wire::pseudo_sum(peer(), ours(), wire::kProtocolIcmpv6, length) : 0;
    wire::store_be16(&icmp[2], wire::finish(wire::add_sums(pseudo, wire::sum_bytes(icmp))));
    worker_->input(interface_, {&p, 1}, now_);
  }
  void port_unreachable() { answer_with_error(v6() ? 1 : 3, v6() ? 4 : 3); }
};
INSTANTIATE_TEST_SUITE_P(Families, GroupTest, testing::Bool(), [](const auto& i) { return i.param ? "v6" : "v4"; });

TEST_P(GroupTest, EveryMemberHearsAGroupAndNobodyElse) {
  DatagramOptions reuse;
  reuse.reuse = true;
  const Handle a = open({any(), 7}, reuse);
  const Handle b = open({any(), 7}, reuse);
  const Handle other = open({any(), 7}, reuse);
  receive_group(pattern(5));
  EXPECT_EQ(count("eth.drop.not_ours"), 1u) << "a frame to a group that nobody joined";
  must(req::JoinGroup{a, group(), interface_});
  must(req::JoinGroup{b, group(), interface_});
  receive_group(pattern(50));
  EXPECT_EQ(copy(take(a)->data), pattern(50));
  const auto m = take(b);
  ASSERT_TRUE(m);
  EXPECT_EQ(copy(m->data), pattern(50));
  EXPECT_EQ(m->local, group());
  EXPECT_EQ(nothing(other), Error::kWouldBlock);
  must(req::LeaveGroup{a, group(), interface_});
  receive_group(pattern(51));
  EXPECT_EQ(nothing(a), Error::kWouldBlock);
  EXPECT_EQ(copy(take(b)->data), pattern(51));
  must(req::Close{b});
  receive_group(pattern(52));
  EXPECT_EQ(count("eth.drop.not_ours"), 2u) << "closing leaves";
}

TEST_P(GroupTest, NoErrorIsSentAboutAGroup) {
  const Handle a = open({any(), 8});
  must(req::JoinGroup{a, group(), interface_});
  (void)sent();
  receive_group(pattern(5));
  EXPECT_EQ(count("udp.drop.group_no_socket"), 1u);
  EXPECT_TRUE(sent().empty());
}

TEST_P(GroupTest, SourceFiltersIncludeAndExclude) {
  const IpAddr second = v6() ? *IpAddr::parse("fd00:6d72::77") : IpAddr::v4(198, 18, 0, 77);
  const Handle h = open({any(), 7});
  must(req::JoinGroup{h, group(), interface_, peer()});
  EXPECT_EQ(ask(req::JoinGroup{h, group(), interface_, peer()}).error(), Error::kAlreadyExists);
  receive_group(pattern(1));
  receive_group(pattern(2), second);
  EXPECT_EQ(take(h)->data.size(), 1u);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
  must(req::JoinGroup{h, group(), interface_, second});
  receive_group(pattern(2), second);
  EXPECT_EQ(take(h)->data.size(), 2u);
  const IpAddr blocked[] = {peer()};
  must(req::SetGroupFilter{h, group(), interface_, true, blocked});
  receive_group(pattern(1));
  receive_group(pattern(2), second);
  EXPECT_EQ(take(h)->data.size(), 2u);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
  must(req::SetGroupFilter{h, group(), interface_, false, {}});
  EXPECT_EQ(ask(req::LeaveGroup{h, group(), interface_}).error(), Error::kNotFound) << "an empty list leaves";
}

// RFC 3376 3.2, 5.1; RFC 3810 4.2, 6.1
TEST_P(GroupTest, FiltersOfSocketsAreMergedIntoReports) {
  must(req::SetInterface{interface_, {}});
  (void)sent();
  // The records of the report that waits: type and sources of each about the group.
  struct Record {
    uint8_t type;
    std::vector<IpAddr> sources;
    bool operator==(const Record&) const = default;
  };
  const auto told = [&] {
    std::vector<Record> out;
    worker_->advance(now_);
    const size_t size = v6() ? 16 : 4;
    for (const Data& f : sent()) {
      const wire::Bytes m = wire::Bytes(f).subspan(v6() ? 62 : 38);
      if (wire::load_u8(m.data()) != (v6() ? 143 : 0x22)) continue;
      const wire::Bytes r = m.subspan(8);
      if (wire::load_be16(&m[6]) != 1 || (v6() ? wire::load_v6(&r[4]) : wire::load_v4(&r[4])) != group()) continue;
      Record record{wire::load_u8(r.data()), {}};
      for (size_t i = 0; i < wire::load_be16(&r[2]); ++i) {
        const std::byte* at = &r[4 + size + i * size];
        record.sources.push_back(v6() ? wire::load_v6(at) : wire::load_v4(at));
      }
      out.push_back(record);
    }
    now_ = now_ + seconds(5);  // what is said twice is said
    worker_->advance(now_);
    (void)sent();
    return out;
  };
  using Records = std::vector<Record>;
  constexpr uint8_t kToInclude = 3, kToExclude = 4, kAllow = 5, kBlock = 6;
  const IpAddr s1 = peer();
  const IpAddr s2 = v6() ? *IpAddr::parse("fd00:6d72::77") : IpAddr::v4(198, 18, 0, 77);
  (void)told();
  DatagramOptions reuse;
  reuse.reuse = true;
  const Handle a = open({any(), 7}, reuse);
  const Handle b = open({any(), 7}, reuse);
  must(req::JoinGroup{a, group(), interface_, s1});
  EXPECT_EQ(told(), (Records{{kAllow, {s1}}}));
  must(req::JoinGroup{b, group(), interface_, s2});
  EXPECT_EQ(told(), (Records{{kAllow, {s2}}})) << "the union of both";
  const IpAddr blocked[] = {s1, s2};
  must(req::SetGroupFilter{b, group(), interface_, true, blocked});
  EXPECT_EQ(told(), (Records{{kToExclude, {s2}}})) << "one socket wants the first, none the second";
  must(req::LeaveGroup{a, group(), interface_, s1});
  EXPECT_EQ(told(), (Records{{kBlock, {s1}}}));
  const Handle c = open({any(), 7}, reuse);
  must(req::JoinGroup{c, group(), interface_});
  EXPECT_EQ(told(), (Records{{kAllow, in_order({s1, s2})}})) << "somebody wants everything";
  must(req::SetGroupFilter{b, group(), interface_, false, {blocked, 1}});
  EXPECT_EQ(told(), Records{}) << "still everything";
  must(req::Close{c});
  EXPECT_EQ(told(), (Records{{kToInclude, {s1}}})) << "closing takes its wish along";
  must(req::Close{b});
  EXPECT_EQ(told(), (Records{{kBlock, {s1}}})) << "and so does the last";
  // More sources than one record holds: then every source.
  std::vector<IpAddr> many;
  for (uint32_t i = 0; i < 80; ++i) {
    many.push_back(v6() ? IpAddr({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, static_cast<uint8_t>(i)})
                        : IpAddr::v4(198, 18, 1, static_cast<uint8_t>(i)));
  }
  const std::span<const IpAddr> all(many);
  must(req::SetGroupFilter{a, group(), interface_, false, all.first(64)});
  EXPECT_EQ(told().at(0).sources.size(), 64U);
  const Handle d = open({any(), 7}, reuse);
  must(req::SetGroupFilter{d, group(), interface_, false, all.last(16)});
  EXPECT_EQ(told(), (Records{{kToExclude, {}}}));
}

TEST_P(GroupTest, SendsToAGroupWithItsOwnHopLimitAndFrameAddress) {
  DatagramOptions o;
  o.multicast_hop_limit = 5;
  const Handle h = open({any(), 9}, o);
  EXPECT_TRUE(send(h, pattern(40), {group(), 7}));
  const auto d = sent_datagrams();
  ASSERT_EQ(d.size(), 1u);
  EXPECT_EQ(d[0].to, group_mac());
  EXPECT_EQ(d[0].ttl, 5);
  EXPECT_EQ(d[0].source, (Endpoint{ours(), 9}));
}

TEST_P(GroupTest, MembersHereHearWhatIsSentUnlessTold) {
  const Handle member = open({any(), 7});
  must(req::JoinGroup{member, group(), interface_});
  DatagramOptions quiet;
  quiet.multicast_loop = false;
  const Handle loud = open({any(), 9});
  const Handle still = open({any(), 10}, quiet);
  EXPECT_TRUE(send(loud, pattern(30), {group(), 7}));
  EXPECT_TRUE(send(still, pattern(31), {group(), 7}));
  EXPECT_EQ(sent_datagrams().size(), 2u);
  const auto m = take(member);
  ASSERT_TRUE(m);
  EXPECT_EQ(copy(m->data), pattern(30));
  EXPECT_EQ(m->remote, (Endpoint{ours(), 9}));
  EXPECT_EQ(nothing(member), Error::kWouldBlock);
}

// RFC 1112 6.1, RFC 4291 2.7
TEST_P(GroupTest, WhatMustNotLeaveTheHostIsHeardHereAndNowhereElse) {
  const Handle member = open({any(), 7});
  DatagramOptions here;
  here.multicast_hop_limit = 0;
  const Handle sender = open({any(), 9}, here);
  (void)sent();
  EXPECT_EQ(send(sender, pattern(30), {group(), 7}), 1u) << "without a member it vanishes";
  must(req::JoinGroup{member, group(), interface_});
  for (const size_t size : {0, 30, 4000, 65'507}) {
    EXPECT_EQ(send(sender, pattern(size), {group(), 7}), 1u) << size;
    EXPECT_TRUE(sent().empty()) << size;
    const auto m = take(member);
    ASSERT_TRUE(m) << size;
    EXPECT_EQ(copy(m->data), pattern(size));
    EXPECT_EQ(m->hop_limit, 0);
    EXPECT_EQ(m->remote, (Endpoint{ours(), 9}));
  }
  EXPECT_EQ(send(sender, pattern(65'530), {group(), 7}).error(), Error::kTooBig);
  if (!v6()) return;
  for (const char* name : {"ff01::1234", "ff00::1234", "ff11::1234"}) {
    const IpAddr node = *IpAddr::parse(name);
    must(req::JoinGroup{member, node, interface_});
    (void)sent();
    const Handle far = open({any(), 0});
    EXPECT_EQ(send(far, pattern(31), {node, 7}), 1u);
    EXPECT_TRUE(sent().empty()) << name;
    EXPECT_EQ(take(member)->data.size(), 31u);
    Dgram in{{peer(), 67}, {node, 7}, pattern(9)};
    in.to = wire::multicast_mac_v6(node);
    receive(in);
    EXPECT_EQ(nothing(member), Error::kWouldBlock) << "nor does it come in from outside";
  }
}

TEST_P(GroupTest, MembersHereHearLargeAndSegmentedDatagramsAsTheLinkDoes) {
  const Handle member = open({any(), 7});
  must(req::JoinGroup{member, group(), interface_});
  const Handle sender = open({any(), 9});
  (void)sent();
  EXPECT_TRUE(send(sender, pattern(4000), {group(), 7}));
  EXPECT_EQ(sent().size(), 3u) << "fragments";
  EXPECT_EQ(copy(take(member)->data), pattern(4000));
  EXPECT_EQ(nothing(member), Error::kWouldBlock);
  EXPECT_TRUE(send(sender, pattern(250), {group(), 7}, 100));
  EXPECT_EQ(sent_datagrams().size(), 3u);
  for (const size_t size : {100, 100, 50}) EXPECT_EQ(take(member)->data.size(), size);
  EXPECT_EQ(nothing(member), Error::kWouldBlock);
}

TEST_P(GroupTest, ASocketConnectedToAGroupSendsToItAndHearsNothing) {
  DatagramOptions o;
  o.reuse = true;
  o.multicast_hop_limit = 3;
  const Handle member = open({any(), 7}, o);
  const Handle h = open({any(), 7}, o);
  must(req::JoinGroup{member, group(), interface_});
  must(req::JoinGroup{h, group(), interface_});
  (void)sent();
  must(req::ConnectDatagram{h, {group(), 7}});
  Endpoint local, remote;
  must(req::Names{h, &local, &remote});
  EXPECT_EQ(local, (Endpoint{ours(), 7}));
  EXPECT_EQ(remote, (Endpoint{group(), 7}));
  for (const size_t size : {5, 4000}) {
    EXPECT_TRUE(send(h, pattern(size), {}));
    EXPECT_EQ(copy(take(member)->data), pattern(size)) << "members here hear it";
    EXPECT_EQ(nothing(h), Error::kWouldBlock);
    const auto frames = sent();
    ASSERT_EQ(frames.size(), size == 5 ? 1u : 3u);
    EXPECT_EQ(std::memcmp(frames[0].data(), group_mac().bytes.data(), 6), 0);
    EXPECT_EQ(frames[0][v6() ? 21 : 22], std::byte{3});
  }
  receive_group(pattern(6));
  EXPECT_EQ(take(member)->data.size(), 6u);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
  must(req::ConnectDatagram{h, {}});
  receive_group(pattern(6));
  EXPECT_EQ(take(h)->data.size(), 6u);
  EXPECT_EQ(send(h, pattern(5), {}).error(), Error::kNotConnected);
}

TEST_P(GroupTest, ASocketBoundToAGroupSendsFromAnAddressOfItsOwn) {
  const Handle h = open({group(), 7});
  must(req::JoinGroup{h, group(), interface_});
  (void)sent();
  EXPECT_TRUE(send(h, pattern(5), {peer(), 4000}));
  EXPECT_EQ(sent_datagrams().at(0).source, (Endpoint{ours(), 7}));
  must(req::ConnectDatagram{h, {peer(), 4000}});
  EXPECT_TRUE(send(h, pattern(5), {}));
  EXPECT_EQ(sent_datagrams().at(0).source, (Endpoint{ours(), 7}));
  receive_group(pattern(6));
  EXPECT_EQ(take(h)->data.size(), 6u) << "its peer, to the group";
  must(req::AddRoute{{peer(), static_cast<uint8_t>(v6() ? 128 : 32)}, interface_});
  EXPECT_TRUE(send(h, pattern(5), {})) << "after a change of routes too";
  EXPECT_EQ(sent_datagrams().at(0).source, (Endpoint{ours(), 7}));
}

TEST_P(GroupTest, JoiningChecksItsArguments) {
  const Handle h = open({any(), 7});
  EXPECT_EQ(ask(req::JoinGroup{h, peer(), interface_}).error(), Error::kInvalid);
  EXPECT_EQ(ask(req::JoinGroup{h, group(), IfIndex{9}}).error(), Error::kInvalid);
  for (int i = 0; i < 64; ++i) {
    std::array<uint8_t, 16> b = group().bytes();
    b[15] = static_cast<uint8_t>(i);
    must(req::JoinGroup{h, IpAddr(b), interface_});
  }
  std::array<uint8_t, 16> b = group().bytes();
  b[15] = 200;
  EXPECT_EQ(ask(req::JoinGroup{h, IpAddr(b), interface_}).error(), Error::kTooMany);
}

TEST_P(GroupTest, BroadcastNeedsPermissionAndReachesEverySocket) {
  if (v6()) return;
  const Handle h = open({any(), 7});
  for (const IpAddr& to : {IpAddr::v4(255, 255, 255, 255), IpAddr::v4(198, 18, 0, 255)}) {
    EXPECT_EQ(send(h, pattern(5), {to, 67}).error(), Error::kPermission);
    EXPECT_EQ(ask(req::ConnectDatagram{h, {to, 67}}).error(), Error::kPermission);
  }
  DatagramOptions o;
  o.broadcast = true;
  must(req::SetDatagramOptions{h, o});
  for (const IpAddr& to : {IpAddr::v4(255, 255, 255, 255), IpAddr::v4(198, 18, 0, 255)}) {
    EXPECT_TRUE(send(h, pattern(5), {to, 67}));
    const auto d = sent_datagrams();
    ASSERT_EQ(d.size(), 1u);
    EXPECT_EQ(d[0].to, kBroadcastMac);
    EXPECT_EQ(d[0].destination.addr, to);
    Dgram in{{peer(), 67}, {to, 7}, pattern(9)};
    in.to = kBroadcastMac;
    receive(in);
    const auto m = take(h);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->local, to);
    must(req::ConnectDatagram{h, {to, 67}});
    EXPECT_TRUE(send(h, pattern(5), {}));
    EXPECT_EQ(sent_datagrams().at(0).to, kBroadcastMac);
    must(req::ConnectDatagram{h, {}});
  }
}

// RFC 1122 4.1.3.3
TEST_P(GroupTest, AConnectedSocketReportsAClosedPortOnce) {
  const Handle h = open({any(), 7});
  must(req::ConnectDatagram{h, {peer(), 4000}});
  EXPECT_TRUE(send(h, pattern(10), {}));
  port_unreachable();
  EXPECT_EQ(events(h) & kError, kError);
  EXPECT_EQ(send(h, pattern(10), {}).error(), Error::kConnectionRefused);
  EXPECT_TRUE(send(h, pattern(10), {}));
}

TEST_P(GroupTest, AnUnconnectedSocketHearsOfErrorsByItsQueueOnly) {
  const Handle h = open({any(), 7});
  EXPECT_TRUE(send(h, pattern(10), {peer(), 4000}));
  port_unreachable();
  EXPECT_EQ(events(h), 0u);
  DatagramError e;
  EXPECT_EQ(ask(req::TakeError{h, &e}).error(), Error::kWouldBlock);
  DatagramOptions o;
  o.error_queue = true;
  must(req::SetDatagramOptions{h, o});
  EXPECT_TRUE(send(h, pattern(10), {peer(), 4000}));
  port_unreachable();
  EXPECT_EQ(events(h), kError);
  must(req::TakeError{h, &e});
  EXPECT_EQ(e.destination, (Endpoint{peer(), 4000}));
  EXPECT_EQ(e.reporter, peer());
  EXPECT_EQ(static_cast<Error>(e.error), Error::kConnectionRefused);
  EXPECT_TRUE(send(h, pattern(10), {peer(), 4000})) << "no error is pending for calls";
}

TEST_P(GroupTest, ErrorQueueIsBounded) {
  DatagramOptions o;
  o.error_queue = true;
  const Handle h = open({any(), 7}, o);
  for (uint16_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(send(h, pattern(10), {peer(), static_cast<uint16_t>(4000 + i)}));
    port_unreachable();
  }
  DatagramError e;
  uint16_t n = 0;
  while (ask(req::TakeError{h, &e})) EXPECT_EQ(e.destination.port, 4000 + n++);
  EXPECT_EQ(n, 16);
  EXPECT_EQ(count("udp.drop.error_queue_full"), 4u);
}

TEST_P(GroupTest, ErrorsAboutOthersDatagramsAreIgnored) {
  const Handle h = open({any(), 7});
  EXPECT_TRUE(send(h, pattern(10), {peer(), 4000}));
  must(req::Close{h});
  port_unreachable();
  EXPECT_EQ(count("udp.drop.error_unknown"), 1u);
}

TEST_P(GroupTest, PingSocketSendsRequestsAndHearsItsOwnAnswers) {
  const auto opened = ask(req::OpenDatagram{{any(), 0}, DatagramKind::kPing, 0, {}});
  ASSERT_TRUE(opened);
  const Handle h = opened->handle;
  const Handle other = ask(req::OpenDatagram{{any(), 0}, DatagramKind::kPing, 0, {}})->handle;
  const Handle all = ask(req::OpenDatagram{{any(), 0}, DatagramKind::kIcmp, 0, {}})->handle;
  Endpoint local;
  must(req::Names{h, &local, nullptr});
  Data message(8);
  message[0] = std::byte{static_cast<uint8_t>(v6() ? 128 : 8)};
  message[7] = std::byte{1};
  const Data content = pattern(56);
  message.insert(message.end(), content.begin(), content.end());
  EXPECT_TRUE(send(h, message, {peer(), 0}));
  auto frames = sent();
  ASSERT_EQ(frames.size(), 1u);
  Data& f = frames[0];
  const size_t ip = v6() ? 40 : 20;
  EXPECT_EQ(wire::load_be16(&f[14 + ip + 4]), local.port);
  // The peer turns it around.
  pkt::Packet* p = worker_->impl().packets.frame();
  std::byte* at = p->append(static_cast<uint16_t>(f.size()));
  std::memcpy(at, f.data(), f.size());
  std::memcpy(at, our_mac.bytes.data(), 6);
  std::memcpy(at + 6, peer_mac.bytes.data(), 6);
  const size_t addr = v6() ? 16 : 4;
  const size_t first = 14 + ip - 2 * addr;
  std::memcpy(at + first, &f[first + addr], addr);
  std::memcpy(at + first + addr, &f[first], addr);
  std::byte* icmp = at + 14 + ip;
  const uint16_t before = wire::load_be16(icmp);
  icmp[0] = std::byte{static_cast<uint8_t>(v6() ? 129 : 0)};
  wire::store_be16(icmp + 2, wire::update_checksum(wire::load_be16(icmp + 2), before, wire::load_be16(icmp)));
  worker_->input(interface_, {&p, 1}, now_);
  const auto m = take(h);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->data.size(), 64u);
  EXPECT_EQ(copy(m->data.subspan(8)), content);
  EXPECT_EQ(m->remote.addr, peer());
  EXPECT_EQ(nothing(other), Error::kWouldBlock);
  EXPECT_EQ(copy(take(all)->data.subspan(8)), content);
  EXPECT_EQ(count("icmp.drop.echo_reply"), 0u);
  EXPECT_EQ(send(h, pattern(20), {peer(), 0}).error(), Error::kInvalid) << "not an echo request";
  EXPECT_EQ(send(all, message, {peer(), 0}).error(), Error::kNotSupported);
}

TEST_P(GroupTest, PingSocketHearsErrorsOfItsOwnRequests) {
  DatagramOptions o;
  o.error_queue = true;
  const Handle h = ask(req::OpenDatagram{{any(), 0}, DatagramKind::kPing, 0, o})->handle;
  Data message(40);
  message[0] = std::byte{static_cast<uint8_t>(v6() ? 128 : 8)};
  message[6] = std::byte{2};
  message[7] = std::byte{1};
  EXPECT_TRUE(send(h, message, {peer(), 0}));
  answer_with_error(v6() ? 3 : 11, 0);
  EXPECT_EQ(events(h), kError);
  DatagramError e;
  must(req::TakeError{h, &e});
  EXPECT_EQ(static_cast<Error>(e.error), Error::kHostUnreachable);
  EXPECT_EQ(e.destination.addr, peer());
  EXPECT_TRUE(e.expired);
  EXPECT_EQ(e.sequence, 0x201);
}

}  // namespace
}  // namespace millrace::stack
