// Datagram sockets through the worker's doors: who gets a datagram, what arrives, what leaves, limits. Both families.
#include <set>

#include "datagram_fixture.h"

namespace millrace::stack {
namespace {

using DatagramTest = Datagrams;
INSTANTIATE_TEST_SUITE_P(Families, DatagramTest, testing::Bool(), [](const auto& i) { return i.param ? "v6" : "v4"; });

class FewMessages : public Datagrams {
 protected:
  FewMessages() : Datagrams(64, 100) {}
};
INSTANTIATE_TEST_SUITE_P(Families, FewMessages, testing::Bool(), [](const auto& i) { return i.param ? "v6" : "v4"; });

TEST_P(DatagramTest, DeliversWithEverythingThatTheHeadersSay) {
  const Handle h = open({any(), 7}, {}, 42);
  receive({{peer(), 4000}, {ours(), 7}, pattern(100), 33, 0x2a});
  EXPECT_EQ(events(h), kReadable);
  const auto m = take(h);
  ASSERT_TRUE(m);
  EXPECT_EQ(copy(m->data), pattern(100));
  EXPECT_EQ(m->remote, (Endpoint{peer(), 4000}));
  EXPECT_EQ(m->local, ours());
  EXPECT_EQ(m->interface, interface_);
  EXPECT_EQ(m->hop_limit, 33);
  EXPECT_EQ(m->traffic_class, 0x2a);
  EXPECT_EQ(m->length, 100u);
  EXPECT_EQ(m->received, now_);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
}

TEST_P(DatagramTest, SendsToAnyDestinationWithTheRoutesSource) {
  const Handle h = open({any(), 7});
  EXPECT_EQ(send(h, pattern(99), {peer(), 5000}), 1u);
  const auto d = sent_datagrams();
  ASSERT_EQ(d.size(), 1u);
  EXPECT_EQ(d[0].source, (Endpoint{ours(), 7}));
  EXPECT_EQ(d[0].destination, (Endpoint{peer(), 5000}));
  EXPECT_EQ(d[0].payload, pattern(99));
  EXPECT_EQ(d[0].ttl, 64);
  EXPECT_FALSE(d[0].no_checksum);
}

TEST_P(DatagramTest, EmptyDatagramsTravelBothWays) {
  const Handle h = open({any(), 7});
  receive(4000, 7, {});
  Message m;
  ASSERT_EQ(ask(req::ReceiveBatch{h, {&m, 1}})->bytes, 1u);
  EXPECT_EQ(m.length, 0u);
  EXPECT_EQ(m.token, 0u) << "nothing to give back";
  EXPECT_EQ(send(h, {}, {peer(), 5000}), 1u);
  ASSERT_EQ(sent_datagrams().size(), 1u);
}

TEST_P(DatagramTest, AnEchoInPlaceSendsTheSameBytesBack) {
  const Handle h = open({any(), 7});
  for (uint8_t i = 0; i < 10; ++i) receive(static_cast<uint16_t>(4000 + i), 7, pattern(64u + i, i));
  Message m[16];
  ASSERT_EQ(ask(req::ReceiveBatch{h, m})->bytes, 10u);
  for (auto& one : m) one.turn_around();
  ASSERT_EQ(ask(req::SendBatch{h, {m, 10}})->bytes, 10u);
  const auto d = sent_datagrams();
  ASSERT_EQ(d.size(), 10u);
  for (uint8_t i = 0; i < 10; ++i) {
    EXPECT_EQ(d[i].payload, pattern(64u + i, i));
    EXPECT_EQ(d[i].destination.port, 4000 + i);
    EXPECT_EQ(d[i].source, (Endpoint{ours(), 7}));
    EXPECT_EQ(d[i].ttl, 64);
  }
  EXPECT_FALSE(ask(req::ReleaseBatch{{m, 1}})) << "a sent message was given back already";
}

TEST_P(DatagramTest, ConnectionsDoNotWaitBehindAllDatagrams) {
  const Handle h = open({any(), 7});
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(send(h, pattern(1'000), {peer(), 5000}));
  must(req::Connect{{peer(), 80}});
  // A device with room for one frame at a time, then for eight.
  for (const size_t room : {size_t{1}, size_t{8}}) {
    size_t frames = 0;
    size_t syns = 0;
    while (syns == 0 && frames < 40) {
      pkt::Packet* out[8];
      const size_t n = worker_->output(interface_, {out, room}, now_);
      ASSERT_EQ(n, room);
      frames += n;
      for (size_t i = 0; i < n; ++i) {
        syns += wire::load_u8(out[i]->data() + 14 + (v6() ? 6 : 9)) == wire::kProtocolTcp ? 1 : 0;
        worker_->impl().packets.free(out[i]);
      }
    }
    EXPECT_EQ(syns, 1u);
    EXPECT_LE(frames, 2 * room);
    must(req::Connect{{peer(), 81}});
  }
  (void)sent();
}

TEST_P(DatagramTest, ASocketThatABusyTurnBlockedMaySendWhenItIsWoken) {
  DatagramOptions options;
  options.send_buffer = 57'344;
  const Handle h = open({any(), 7}, options);
  must(req::Connect{{peer(), 80}});  // something of a connection's leaves in the same turn
  size_t taken = 0;
  while (send(h, pattern(1'400), {peer(), 5000})) ++taken;
  ASSERT_GT(taken, 32u);
  ASSERT_LT(taken, 64u);
  pkt::Packet* out[64];
  const size_t n = worker_->output(interface_, out, now_);
  EXPECT_EQ(n, taken + 1);
  for (size_t i = 0; i < n; ++i) worker_->impl().packets.free(out[i]);
  EXPECT_TRUE(send(h, pattern(1'400), {peer(), 5000}));
  (void)sent();
}

TEST_P(DatagramTest, DatagramsThatWaitHoldUpNobodysAnswer) {
  const Handle h = open({any(), 7});
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(send(h, pattern(1'000), {peer(), 5000}));
  receive(4000, 9, pattern(10));  // nobody there: port unreachable
  pkt::Packet* out[1];
  ASSERT_EQ(worker_->output(interface_, out, now_), 1u);
  EXPECT_EQ(wire::load_u8(out[0]->data() + 14 + (v6() ? 6 : 9)), v6() ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp);
  worker_->impl().packets.free(out[0]);
  EXPECT_EQ(sent_datagrams().size(), 20u);
}

TEST_P(DatagramTest, APartOfABorrowedMessageMayBeSent) {
  const Handle h = open({any(), 7});
  receive(4000, 7, pattern(64));
  Message m;
  ASSERT_TRUE(ask(req::ReceiveBatch{h, {&m, 1}}));
  m.turn_around();
  m.data = m.data.subspan(10, 20);
  ASSERT_TRUE(ask(req::SendBatch{h, {&m, 1}}));
  const auto d = sent_datagrams();
  ASSERT_EQ(d.size(), 1u);
  const Data all = pattern(64);
  EXPECT_EQ(d[0].payload, Data(all.begin() + 10, all.begin() + 30));
}

TEST_P(DatagramTest, OtherBytesMayAnswerABorrowedMessage) {
  const Handle h = open({any(), 7});
  receive(4000, 7, pattern(64));
  Message m;
  ASSERT_TRUE(ask(req::ReceiveBatch{h, {&m, 1}}));
  m.turn_around();
  const Data other = pattern(500, 9);
  m.data = other;
  ASSERT_TRUE(ask(req::SendBatch{h, {&m, 1}}));
  EXPECT_EQ(sent_datagrams().at(0).payload, other);
  EXPECT_EQ(worker_->impl().udp.messages(), 0u) << "the message was given back";
}

TEST_P(DatagramTest, BorrowedMessagesOutliveTheirSocketUntilReleased) {
  const Handle h = open({any(), 7});
  receive(4000, 7, pattern(64));
  Message m;
  ASSERT_TRUE(ask(req::ReceiveBatch{h, {&m, 1}}));
  must(req::Close{h});
  EXPECT_EQ(copy(m.data), pattern(64));
  EXPECT_EQ(ask(req::ReceiveBatch{h, {&m, 1}}).error(), Error::kBadHandle);
  must(req::ReleaseBatch{{&m, 1}});
  EXPECT_FALSE(ask(req::Release{m.token}));
  EXPECT_EQ(worker_->impl().udp.messages(), 0u);
}

TEST_P(DatagramTest, PeekLeavesTheMessage) {
  const Handle h = open({any(), 7});
  receive(4000, 7, pattern(10));
  EXPECT_EQ(copy(take(h, true)->data), pattern(10));
  EXPECT_EQ(copy(take(h)->data), pattern(10));
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
}

TEST_P(DatagramTest, AShortBufferCutsTheMessageAndSaysSo) {
  const Handle h = open({any(), 7});
  receive(4000, 7, pattern(100));
  Message m;
  m.into = std::span(room_).first(30);
  ASSERT_TRUE(ask(req::ReceiveBatch{h, {&m, 1}}));
  EXPECT_EQ(m.data.size(), 30u);
  EXPECT_EQ(m.length, 100u);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
}

TEST_P(DatagramTest, StreamRequestsServeAConnectedSocket) {
  const Handle h = open({any(), 7});
  const Data data = pattern(40);
  EXPECT_EQ(ask(req::Send{h, data}).error(), Error::kNotConnected);
  must(req::ConnectDatagram{h, {peer(), 4000}});
  EXPECT_EQ(ask(req::Send{h, data})->bytes, 40u);
  EXPECT_EQ(sent_datagrams().at(0).destination, (Endpoint{peer(), 4000}));
  receive(4000, 7, pattern(50));
  EXPECT_EQ(ask(req::Receive{h, room_})->bytes, 50u);
  receive(4000, 7, pattern(60));
  const auto view = ask(req::Borrow{h});
  ASSERT_TRUE(view);
  EXPECT_EQ(copy(view->view), pattern(60));
  must(req::Release{view->token});
}

TEST_P(DatagramTest, AConnectedSocketHearsItsPeerOnlyAndGoesBeforeAnUnconnectedOne) {
  DatagramOptions reuse;
  reuse.reuse = true;
  const Handle all = open({any(), 7}, reuse);
  const Handle one = open({any(), 7}, reuse);
  must(req::ConnectDatagram{one, {peer(), 4000}});
  receive(4000, 7, pattern(1));
  receive(4001, 7, pattern(2));
  EXPECT_EQ(take(one)->data.size(), 1u);
  EXPECT_EQ(nothing(one), Error::kWouldBlock);
  EXPECT_EQ(take(all)->data.size(), 2u);
  Endpoint local;
  Endpoint remote;
  must(req::Names{one, &local, &remote});
  EXPECT_EQ(local, (Endpoint{ours(), 7}));
  EXPECT_EQ(remote, (Endpoint{peer(), 4000}));
  must(req::ConnectDatagram{one, {}});
  must(req::Names{one, &local, &remote});
  EXPECT_EQ(local, (Endpoint{any(), 7}));
  EXPECT_EQ(remote, Endpoint{});
}

TEST_P(DatagramTest, ASpecificAddressGoesBeforeAWildcardAndBothFamiliesLast) {
  must(req::AddAddress{
      interface_,
      {v6() ? *IpAddr::parse("fd00:6d72::3") : IpAddr::v4(198, 18, 0, 3), static_cast<uint8_t>(v6() ? 64 : 24)}});
  const IpAddr second = v6() ? *IpAddr::parse("fd00:6d72::3") : IpAddr::v4(198, 18, 0, 3);
  DatagramOptions reuse;
  reuse.reuse = true;
  const Handle wild = open({any(), 7}, reuse);
  const Handle exact = open({ours(), 7}, reuse);
  receive(4000, 7, pattern(1));
  receive({{peer(), 4000}, {second, 7}, pattern(2)});
  EXPECT_EQ(take(exact)->data.size(), 1u);
  EXPECT_EQ(take(wild)->data.size(), 2u);
}

TEST_P(DatagramTest, DualSocketTakesBothFamiliesUnlessTold) {
  const Handle both = open({IpAddr(), 7});
  receive(4000, 7, pattern(5));
  const auto m = take(both);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->remote.addr, peer());
  EXPECT_EQ(send(both, pattern(6), {peer(), 4000}), 1u);
  EXPECT_EQ(sent_datagrams().at(0).source.addr, ours());
  EXPECT_EQ(open_error({any(), 7}), Error::kAddressInUse);
  must(req::Close{both});
  DatagramOptions only;
  only.v6_only = true;
  const Handle six = open({IpAddr(), 7}, only);
  const Handle four = open({IpAddr::any_v4(), 7});
  receive(4000, 7, pattern(5));
  EXPECT_EQ(nothing(v6() ? four : six), Error::kWouldBlock);
  EXPECT_TRUE(take(v6() ? six : four));
  if (!v6()) {
    EXPECT_EQ(send(six, pattern(1), {peer(), 1}).error(), Error::kNetUnreachable);
  }
}

TEST_P(DatagramTest, ReusedPortGivesAFlowToOneSocketAlways) {
  DatagramOptions reuse;
  reuse.reuse = true;
  std::vector<Handle> handles;
  for (int i = 0; i < 4; ++i) handles.push_back(open({any(), 7}, reuse));
  EXPECT_EQ(open_error({any(), 7}), Error::kAddressInUse) << "one that does not ask for it";
  for (int round = 0; round < 2; ++round) {
    for (uint16_t port = 4000; port < 4100; ++port) receive(port, 7, pattern(1));
  }
  size_t used = 0;
  size_t total = 0;
  std::vector<int> owner(100, -1);
  for (size_t i = 0; i < handles.size(); ++i) {
    size_t n = 0;
    while (const auto m = take(handles[i])) {
      int& o = owner[m->remote.port - 4000u];
      EXPECT_TRUE(o == -1 || o == static_cast<int>(i));
      o = static_cast<int>(i);
      ++n;
    }
    used += n != 0;
    total += n;
  }
  EXPECT_EQ(total, 200u);
  EXPECT_GE(used, 3u);
}

TEST_P(DatagramTest, PortsAreChosenWithinTheRangeAndDiffer) {
  std::set<uint16_t> ports;
  for (int i = 0; i < 20; ++i) {
    Endpoint local;
    must(req::Names{open({any(), 0}), &local, nullptr});
    EXPECT_GE(local.port, 32'768);
    EXPECT_LE(local.port, 60'999);
    EXPECT_TRUE(ports.insert(local.port).second);
  }
}

TEST_P(DatagramTest, BindingChecksAddressesAndLimits) {
  EXPECT_EQ(open_error({v6() ? *IpAddr::parse("2001:db8::1") : IpAddr::v4(192, 0, 2, 1), 7}), Error::kAddressNotHere);
  const Handle h = open({ours(), 7});
  EXPECT_EQ(open_error({ours(), 7}), Error::kAddressInUse);
  EXPECT_EQ(open_error({any(), 7}), Error::kAddressInUse);
  must(req::Close{h});
  for (int i = 0; i < 64; ++i) open({any(), 0});
  EXPECT_EQ(open_error({any(), 0}), Error::kTooMany);
}

// RFC 1122 4.1.3.4, RFC 8200 8.1
TEST_P(DatagramTest, ChecksumsAreCheckedAndNoneIsForIpv4Only) {
  const Handle h = open({any(), 7});
  Dgram d{{peer(), 4000}, {ours(), 7}, pattern(31)};
  d.bad_checksum = true;
  receive(d);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
  EXPECT_EQ(count("udp.drop.bad_checksum"), 1u);
  d.bad_checksum = false;
  d.no_checksum = true;
  receive(d);
  if (v6()) {
    EXPECT_EQ(nothing(h), Error::kWouldBlock);
    EXPECT_EQ(count("udp.drop.no_checksum"), 1u);
    DatagramOptions o;
    o.zero_checksum_v6 = true;  // RFC 6935 5
    must(req::SetDatagramOptions{h, o});
    receive(d);
  }
  EXPECT_EQ(copy(take(h)->data), pattern(31));
}

TEST_P(DatagramTest, MaySendWithoutAChecksum) {
  DatagramOptions o;
  o.no_checksum = true;
  const Handle h = open({any(), 7}, o);
  EXPECT_TRUE(send(h, pattern(10), {peer(), 1}));
  const auto frames = sent();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(wire::load_be16(frames[0].data() + 14 + (v6() ? 40 : 20) + 6), 0);
}

// RFC 768: the length field counts, not the frame's.
TEST_P(DatagramTest, LengthFieldRules) {
  const Handle h = open({any(), 7});
  for (const uint16_t length : {uint16_t{7}, uint16_t{0}, uint16_t{39}, uint16_t{20}}) {
    pkt::Packet* p = frame({{peer(), 4000}, {ours(), 7}, pattern(30)});
    std::byte* udp = p->data() + 14 + (v6() ? 40 : 20);
    wire::store_be16(udp + 4, length);
    wire::store_be16(udp + 6, 0);
    const uint64_t pseudo = wire::pseudo_sum(peer(), ours(), 17, length);
    if (length == 20) wire::store_be16(udp + 6, wire::finish_nonzero(wire::add_sums(pseudo, wire::sum_bytes(udp, 20))));
    worker_->input(interface_, {&p, 1}, now_);
  }
  EXPECT_EQ(count("udp.drop.bad_header"), 3u);
  const auto m = take(h);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->data.size(), 12u) << "what follows the length is padding";
}

TEST_P(DatagramTest, ClosedPortIsReportedToTheSender) {
  receive(4000, 9, pattern(20));
  EXPECT_EQ(count("udp.drop.no_port"), 1u);
  const auto frames = sent();
  ASSERT_EQ(frames.size(), 1u);
  const std::byte* icmp = frames[0].data() + 14 + (v6() ? 40 : 20);
  EXPECT_EQ(wire::load_u8(icmp), v6() ? 1 : 3);
  EXPECT_EQ(wire::load_u8(icmp + 1), v6() ? 4 : 3);
  const std::byte* quoted = icmp + 8 + (v6() ? 40 : 20);
  EXPECT_EQ(wire::load_be16(quoted), 4000);
  EXPECT_EQ(wire::load_be16(quoted + 2), 9);
}

TEST_P(DatagramTest, ReceiveBufferCountsTrueSizeAndDropsByName) {
  DatagramOptions o;
  o.receive_buffer = 10'000;
  const Handle h = open({any(), 7}, o);
  for (int i = 0; i < 20; ++i) receive(4000, 7, pattern(1));
  size_t n = 0;
  while (take(h)) ++n;
  EXPECT_EQ(n, 5u) << "a byte in a 2 KiB buffer counts as the buffer";
  EXPECT_EQ(count("udp.drop.receive_buffer_full"), 15u);
  for (const auto& s : worker_->sockets()) {
    if (s.handle == h) {
      EXPECT_EQ(s.drops, 15u);
    }
  }
}

TEST_P(DatagramTest, UnreadSmallMessagesLeaveTheirFrames) {
  DatagramOptions o;
  o.receive_buffer = 100'000;
  const Handle h = open({any(), 7}, o);
  const size_t before = worker_->impl().packets.frames_available();
  for (int i = 0; i < 100; ++i) {
    receive(4000, 7, pattern(20, static_cast<uint8_t>(i)));
    (void)sent();  // the end of a turn
  }
  EXPECT_EQ(count("udp.drop.receive_buffer_full"), 0u);
  EXPECT_EQ(worker_->impl().packets.frames_available(), before);
  EXPECT_EQ(count("udp.in.compacted"), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(copy(take(h)->data), pattern(20, static_cast<uint8_t>(i)));
  EXPECT_EQ(worker_->blocks_in_use(), 0u);
}

TEST_P(FewMessages, TableOfMessagesHasALimit) {
  const Handle h = open({any(), 7});
  for (int i = 0; i < 110; ++i) receive(4000, 7, pattern(1));
  EXPECT_EQ(count("udp.drop.message_table_full"), 10u);
  size_t n = 0;
  while (take(h)) ++n;
  EXPECT_EQ(n, 100u);
}

TEST_P(DatagramTest, UnreadMessagesLeaveFramesForOthers) {
  DatagramOptions o;
  o.receive_buffer = 100'000'000;
  const Handle h = open({any(), 7}, o);
  // Large payloads, so that blocks save nothing, and references run out.
  for (int i = 0; i < 1'020; ++i) {
    receive(4000, 7, pattern(1'400));
    (void)sent();
  }
  EXPECT_GE(worker_->impl().packets.frames_available(), frames_.capacity() / 8 - 1);
  EXPECT_GT(count("udp.drop.no_buffers"), 0u);
  size_t n = 0;
  while (take(h)) ++n;
  EXPECT_EQ(n + count("udp.drop.no_buffers"), 1'020u);
  (void)sent();
  receive(4000, 7, pattern(1));
  EXPECT_TRUE(take(h)) << "it goes on once they are read";
}

TEST_P(DatagramTest, SegmentedSendCutsAndChecksItsLimits) {
  const Handle h = open({any(), 7});
  EXPECT_EQ(send(h, pattern(2'500), {peer(), 1}, 1'000), 1u);
  const auto d = sent_datagrams();
  ASSERT_EQ(d.size(), 3u);
  Data all;
  for (const auto& one : d) all.insert(all.end(), one.payload.begin(), one.payload.end());
  EXPECT_EQ(all, pattern(2'500));
  EXPECT_EQ(d[2].payload.size(), 500u);
  EXPECT_EQ(send(h, pattern(65), {peer(), 1}, 1).error(), Error::kTooBig) << "more than 64 datagrams";
  EXPECT_EQ(send(h, pattern(64), {peer(), 1}, 1), 1u);
  EXPECT_EQ(send(h, pattern(9'000), {peer(), 1}, 1'480).error(), Error::kInvalid) << "a segment larger than the MTU";
}

TEST_P(DatagramTest, MergedReceiveJoinsDatagramsOfOneFlowAndSize) {
  DatagramOptions o;
  o.merge = true;
  const Handle h = open({any(), 7}, o);
  Data all;
  for (uint8_t i = 0; i < 5; ++i) {
    const Data piece = pattern(i == 4 ? 10 : 700, i);
    all.insert(all.end(), piece.begin(), piece.end());
    receive(4000, 7, piece);
  }
  receive(4000, 7, pattern(700, 90));  // behind a short one: a new message
  receive(4001, 7, pattern(700, 91));  // another flow
  auto m = take(h);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->segment, 700);
  EXPECT_EQ(copy(m->data), all);
  EXPECT_EQ(copy(take(h)->data), pattern(700, 90));
  m = take(h);
  EXPECT_EQ(copy(m->data), pattern(700, 91));
  EXPECT_EQ(m->segment, 0);
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
}

TEST_P(DatagramTest, MergedMessageIsBorrowedInOnePiece) {
  DatagramOptions o;
  o.merge = true;
  const Handle h = open({any(), 7}, o);
  Data all;
  for (uint8_t i = 0; i < 40; ++i) {
    const Data piece = pattern(1'400, i);
    all.insert(all.end(), piece.begin(), piece.end());
    receive(4000, 7, piece);
  }
  Message m;
  ASSERT_EQ(ask(req::ReceiveBatch{h, {&m, 1}})->bytes, 1u);
  EXPECT_EQ(copy(m.data), all);
  must(req::ReleaseBatch{{&m, 1}});
  EXPECT_EQ(worker_->blocks_in_use(), 0u);
}

TEST_P(DatagramTest, FullDeviceQueueRefusesAndWakesTheWriter) {
  const Handle h = open({any(), 7});
  const Data data = pattern(10);
  size_t taken = 0;
  Result<size_t> r = size_t{0};
  while ((r = send(h, data, {peer(), 1})) && taken < 10'000) ++taken;
  EXPECT_EQ(r.error(), frames_.available() == 0 ? Error::kNoBuffers : Error::kWouldBlock);
  EXPECT_EQ(sent_datagrams().size(), taken) << "what was taken is sent";
}

TEST_P(DatagramTest, SendBufferBoundsWhatWaitsForTheDevice) {
  DatagramOptions o;
  o.send_buffer = 4'000;
  const Handle h = open({any(), 7}, o);
  EXPECT_TRUE(send(h, pattern(1'400), {peer(), 1}));
  EXPECT_TRUE(send(h, pattern(1'400), {peer(), 1}));
  EXPECT_EQ(send(h, pattern(1'400), {peer(), 1}).error(), Error::kWouldBlock);
  (void)events(h);
  EXPECT_EQ(sent_datagrams().size(), 2u);
  EXPECT_EQ(events(h), kWritable);
  EXPECT_TRUE(send(h, pattern(1'400), {peer(), 1}));
}

TEST_P(DatagramTest, TalksToItselfOverLoopback) {
  const Handle a = open({ours(), 7});
  const Handle b = open({any(), 8});
  EXPECT_TRUE(send(b, pattern(123), {ours(), 7}));
  (void)sent();
  const auto m = take(a);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->remote, (Endpoint{ours(), 8}));
  EXPECT_TRUE(send(a, m->data.empty() ? Data{} : copy(m->data), m->remote));
  (void)sent();
  EXPECT_EQ(copy(take(b)->data), pattern(123));
}

TEST_P(DatagramTest, UnresolvedNeighbourHoldsTheDatagram) {
  const Handle h = open({any(), 7});
  const IpAddr stranger = v6() ? *IpAddr::parse("fd00:6d72::9") : IpAddr::v4(198, 18, 0, 9);
  EXPECT_TRUE(send(h, pattern(30), {stranger, 1}));
  EXPECT_TRUE(sent_datagrams().empty());
  must(req::AddNeighbour{interface_, stranger, peer_mac});
  EXPECT_EQ(sent_datagrams().size(), 1u);
}

TEST_P(DatagramTest, WrongDestinationsAreRefused) {
  const Handle h = open({any(), 7});
  EXPECT_EQ(send(h, pattern(1), {peer(), 0}).error(), Error::kInvalid);
  EXPECT_EQ(send(h, pattern(1), {}).error(), Error::kNotConnected);
  const IpAddr far = v6() ? *IpAddr::parse("2001:db8::1") : IpAddr::v4(192, 0, 2, 1);
  EXPECT_EQ(send(h, pattern(1), {far, 9}).error(), Error::kNetUnreachable);
  EXPECT_EQ(ask(req::ConnectDatagram{h, {far, 9}}).error(), Error::kNetUnreachable);
  EXPECT_EQ(ask(req::ConnectDatagram{h, {peer(), 0}}).error(), Error::kInvalid);
}

TEST_P(DatagramTest, ImpossibleSourcesDoNotReachASocket) {
  const Handle h = open({any(), 7});
  const std::vector<IpAddr> sources =
      v6() ? std::vector<IpAddr>{*IpAddr::parse("ff02::1"), *IpAddr::parse("::1"), ours()}
           : std::vector<IpAddr>{IpAddr::v4(224, 0, 0, 1), IpAddr::v4(127, 0, 0, 1),    ours(),
                                 IpAddr::v4(0, 1, 2, 3),   IpAddr::v4(198, 18, 0, 255), IpAddr::v4(255, 255, 255, 255)};
  for (const IpAddr& source : sources) receive({{source, 4000}, {ours(), 7}, pattern(1)});
  EXPECT_EQ(nothing(h), Error::kWouldBlock);
  EXPECT_EQ(count("ip.drop.martian_source"), sources.size());
}

}  // namespace
}  // namespace millrace::stack
