// Programs and the service over shared memory, in one thread.
#include <gtest/gtest.h>

#include "house.h"
#include "service/codec.h"

namespace millrace::service {
namespace {

std::string pattern(size_t bytes, unsigned seed) {
  std::string text(bytes, 0);
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((i * 131 + seed) >> 3);
  return text;
}

struct Pair {
  explicit Pair(House& house) : one(house), other(house) {
    const int l = other.listener(7'000);
    a = one.connected(7'000);
    b = other.accept(l);
    EXPECT_EQ(other.close(l), 0);
  }
  Tenant one;
  Tenant other;
  int a = -1;
  int b = -1;
};

TEST(Service, CarriesBytesBetweenTwoPrograms) {
  House house;
  Pair p(house);
  EXPECT_EQ(p.one.write(p.a, "question"), 8);
  EXPECT_EQ(p.other.read(p.b), "question");
  EXPECT_EQ(p.other.write(p.b, "answer"), 6);
  EXPECT_EQ(p.one.read(p.a), "answer");
}

TEST(Service, CarriesMoreThanAFlowHoldsInItsOrder) {
  House house;
  Pair p(house);
  const std::string sent = pattern(3'000'000, 5);
  std::string got;
  size_t done = 0;
  while (got.size() < sent.size()) {
    if (done < sent.size()) {
      const long n = p.one.write(p.a, sent.substr(done, 50'000), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) done += static_cast<size_t>(n);
    }
    const std::string part = p.other.read(p.b, 70'001, MSG_DONTWAIT);
    if (part[0] != '-' || part.size() > 12) got += part;
  }
  EXPECT_TRUE(got == sent);
}

TEST(Service, AFullFlowPushesBackAndRoomIsTold) {
  House house;
  Pair p(house);
  size_t taken = 0;
  for (;;) {
    const long n = p.one.write(p.a, pattern(100'000, 1), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      EXPECT_EQ(n, -EAGAIN);
      break;
    }
    taken += static_cast<size_t>(n);
    ASSERT_LT(taken, 100U << 20);
  }
  pollfd wait{p.a, POLLOUT, 0};
  const timespec none{};
  EXPECT_EQ(p.one.stack().poll({&wait, 1}, &none, nullptr), 0);
  size_t got = 0;
  while (got < taken) got += p.other.read(p.b, 1 << 20).size();
  house.turns(20);
  EXPECT_EQ(p.one.stack().poll({&wait, 1}, &none, nullptr), 1);
}

struct Masks final : posix::Sink {
  void event(const Event& e) override { mask |= e.mask; }
  uint32_t mask = 0;
};

TEST(Service, AWriteThatFillsTheFlowExactlyIsFollowedByWordOfRoom) {
  House house;
  Tenant other(house);
  const int l = other.listener(7'000);
  auto channel = house.attach();
  req::Connect connect;
  connect.remote = {IpAddr::v4(127, 0, 0, 1), 7'000};
  const auto opened = channel->request(connect);
  ASSERT_TRUE(opened);
  const int b = other.accept(l);
  Masks told;
  channel->turn(told);
  const std::string all = pattern(kFlowBytes, 1);
  const auto sent = channel->request(req::Send{opened->handle, std::as_bytes(std::span(all))});
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->bytes, size_t{kFlowBytes});
  SocketStatus status;
  ASSERT_TRUE(channel->glance(opened->handle, status));
  EXPECT_EQ(status.room, 0U);
  told.mask = 0;
  EXPECT_EQ(other.read(b, 10), all.substr(0, 10));
  channel->turn(told);
  EXPECT_NE(told.mask & kWritable, 0U);
}

TEST(Service, WhatWasWrittenBeforeACloseArrives) {
  House house;
  Pair p(house);
  size_t taken = 0;
  for (long n = 1; n > 0; taken += n > 0 ? static_cast<size_t>(n) : 0) {
    n = p.one.write(p.a, pattern(100'000, 2), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  EXPECT_EQ(p.one.close(p.a), 0);  // with a full flow
  size_t got = 0;
  for (size_t n = 1; n != 0; got += n) n = p.other.read(p.b, 1 << 20).size();
  EXPECT_EQ(got, taken);
}

TEST(Service, ADeadProgramsBytesArriveAndItsUnreadOnesReset) {
  House house;
  Tenant other(house);
  const int l = other.listener(7'000);
  auto victim = house.attach();
  Handle handles[2];
  for (Handle& h : handles) {
    req::Connect connect;
    connect.remote = {IpAddr::v4(127, 0, 0, 1), 7'000};
    connect.user = 1;
    const auto reply = victim->request(connect);
    ASSERT_TRUE(reply);
    h = reply->handle;
  }
  house.turns(10);
  const int read_all = other.accept(l);
  const int unread = other.accept(l);
  struct Nobody final : posix::Sink {
    void event(const Event&) override {}
  } nobody;
  victim->turn(nobody);
  ASSERT_TRUE(victim->request(req::Send{handles[0], std::as_bytes(std::span("last words", 10))}));
  EXPECT_EQ(other.write(unread, "never read"), 10);
  house.turns(10);
  Guest& guest = *house.guests.back();
  guest.leave();
  house.turns(10);
  EXPECT_EQ(other.read(read_all), "last words");
  EXPECT_EQ(other.read(read_all), "");
  EXPECT_EQ(other.read(unread), "-ECONNRESET");
  EXPECT_TRUE(guest.finished());
}

TEST(Service, PortsAreSharedByPrograms) {
  House house;
  Tenant one(house);
  Tenant other(house);
  const int l = one.listener(7'000);
  EXPECT_EQ(other.bind(other.socket(), 7'000), -EADDRINUSE);
  EXPECT_EQ(one.close(l), 0);
  EXPECT_EQ(other.bind(other.socket(), 7'000), 0);
}

// Carries out one request of a program that speaks for itself; the answer is in the segment.
const Answer& ask(House& house, const Attachment& end, Op op, Handle handle, uint32_t bytes = 0) {
  Header& header = end.segment.header();
  const uint32_t next = header.requests.tail;
  Descriptor& d = end.segment.request(next);
  d = {};
  d.op = static_cast<uint32_t>(op);
  d.index = handle.index;
  d.gen = handle.gen;
  end.segment.call() = {};
  end.segment.call().bytes = bytes;
  header.requests.tail = next + 1;
  house.turns(4);
  return end.segment.answer();
}

TEST(Service, AChildHoldsItsParentsSocketsUntilBothHaveClosedThem) {
  House house;
  Tenant client(house);
  auto parent = house.attach();
  const auto claim = parent->reserve({{IpAddr::any_v4(), 7'100}, false, false, false});
  ASSERT_TRUE(claim);
  const auto listener = parent->request(req::Listen{{IpAddr::any_v4(), 7'100}, 8, 1, {}});
  ASSERT_TRUE(listener);
  const int c = client.connected(7'100);
  const auto accepted = parent->request(req::Accept{listener->handle, 2});
  ASSERT_TRUE(accepted);
  const Handle h = accepted->handle;
  EXPECT_EQ(client.write(c, "unread"), 6);
  house.turns(10);
  parent->before_fork();
  (void)parent->after_fork(false);
  const Attachment child = house.child();
  const auto text = [&](const Attachment& end, const Answer& answer) {
    return std::string(reinterpret_cast<const char*>(end.segment.bulk().data()), answer.number);
  };
  EXPECT_EQ(text(child, ask(house, child, Op::kReceive, h, 3)), "unr") << "bytes that were under way to the parent";
  std::array<std::byte, 100> room{};
  const auto rest = parent->request(req::Receive{h, room});
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->bytes, 3U);
  EXPECT_EQ(std::memcmp(room.data(), "ead", 3), 0);
  EXPECT_TRUE(parent->request(req::Close{h}));
  house.turns(4);
  EXPECT_EQ(client.read(c, 10, MSG_DONTWAIT), "-EAGAIN") << "the child has it still";
  EXPECT_EQ(client.write(c, "to the child"), 12);
  house.turns(10);
  EXPECT_TRUE(ask(house, child, Op::kReceive, h, 100).in_flow) << "one holder is left, so bytes flow again";
  EXPECT_EQ(std::memcmp(child.segment.data(h.index, Direction::kToProgram), "to the child", 12), 0);
  child.segment.flow(h.index, Direction::kToProgram).consumed = 12;
  (void)ask(house, child, Op::kClose, h);
  EXPECT_EQ(client.read(c), "");
}

TEST(Service, AChildThatNeverComesLetsGo) {
  House house;
  Tenant client(house);
  auto parent = house.attach();
  ASSERT_TRUE(parent->reserve({{IpAddr::any_v4(), 7'100}, false, false, false}));
  const auto listener = parent->request(req::Listen{{IpAddr::any_v4(), 7'100}, 8, 1, {}});
  ASSERT_TRUE(listener);
  const int c = client.connected(7'100);
  const auto accepted = parent->request(req::Accept{listener->handle, 2});
  ASSERT_TRUE(accepted);
  parent->before_fork();
  house.forget_child();
  EXPECT_TRUE(parent->request(req::Close{accepted->handle}));
  EXPECT_EQ(client.read(c), "");
}

TEST(Service, TakesNoAddressThatIsNotTheStacks) {
  House house;
  auto channel = house.attach();
  req::Connect connect;
  connect.remote = {IpAddr::v4(127, 0, 0, 1), 9};
  connect.local = {IpAddr::v4(192, 0, 2, 1), 0};
  EXPECT_EQ(channel->request(connect).error(), Error::kAddressNotHere);
  ASSERT_TRUE(channel->reserve({{IpAddr::v4(127, 0, 0, 1), 7'776}, false, false, false}));
  connect.local = {IpAddr::v4(127, 0, 0, 1), 7'777};  // nobody has claimed it
  EXPECT_EQ(channel->request(connect).error(), Error::kAddressNotHere);
  EXPECT_EQ(channel->request(req::Listen{{IpAddr::any_v4(), 7'777}, 8, 1, {}}).error(), Error::kAddressNotHere);
  EXPECT_EQ(channel->reserve({{IpAddr::v4(192, 0, 2, 1), 80}, false, false, false}).error(), Error::kAddressNotHere);
  const auto udp = channel->request(req::OpenDatagram{{IpAddr::any_v4(), 0}, DatagramKind::kUdp, 1, {}});
  ASSERT_TRUE(udp);
  Message m;
  m.remote = {IpAddr::v4(127, 0, 0, 1), 9};
  m.local = IpAddr::v4(192, 0, 2, 1);
  EXPECT_EQ(channel->request(req::SendBatch{udp->handle, {&m, 1}}).error(), Error::kAddressNotHere);
}

TEST(Service, RefusesMoreSocketsThanATableHolds) {
  House house;
  auto channel = house.attach();
  Result<Reply> reply = Reply{};
  uint32_t opened = 0;
  while ((reply = channel->request(req::OpenDatagram{{IpAddr::any_v4(), 0}, DatagramKind::kUdp, 1, {}}))) ++opened;
  EXPECT_EQ(reply.error(), Error::kTooMany);
  EXPECT_LT(opened, kSockets);
  EXPECT_GT(opened, 16U);
}

TEST(Service, SocketsOfOthersAreOutOfReach) {
  House house;
  Pair p(house);
  auto stranger = house.attach();
  EXPECT_EQ(p.one.write(p.a, "secret"), 6);
  house.turns(10);
  Attachment end = house.raw();
  for (uint32_t index = 0; index < 8; ++index) {
    for (uint32_t gen = 0; gen < 4; ++gen) {
      Descriptor& d = end.segment.request(index * 4 + gen);
      d.op = static_cast<uint32_t>(Op::kReceive);
      d.index = index;
      d.gen = gen;
    }
  }
  end.segment.header().requests.tail = 32;
  house.turns(4);
  EXPECT_EQ(end.segment.answer().error, static_cast<uint32_t>(Error::kBadHandle) + 1);
  EXPECT_EQ(p.other.read(p.b), "secret");
}

TEST(Service, NonsenseInTheRingsEndsOnlyWhoWroteIt) {
  for (const bool events : {false, true}) {
    House house;
    Pair p(house);
    Attachment end = house.raw();
    Header& header = end.segment.header();
    (events ? header.events.head : header.requests.tail) = 1U << 30;
    if (events) {
      end.segment.request(0).op = static_cast<uint32_t>(Op::kSync);
      header.requests.tail = 1;
    }
    house.turns(4);
    EXPECT_TRUE(house.guests.back()->doomed());
    EXPECT_EQ(p.one.write(p.a, "goes on"), 7);
    EXPECT_EQ(p.other.read(p.b), "goes on");
  }
}

TEST(Service, CountersOfAFlowAreBelievedOnlyWithinBounds) {
  for (const Direction direction : {Direction::kToService, Direction::kToProgram}) {
    House house;
    Tenant other(house);
    const int l = other.listener(7'000);
    Attachment end = house.raw();
    Guest& guest = *house.guests.back();
    end.segment.call().remote = words_of(Endpoint{IpAddr::v4(127, 0, 0, 1), 7'000});
    end.segment.request(0).op = static_cast<uint32_t>(Op::kConnect);
    end.segment.header().requests.tail = 1;
    house.turns(10);
    const Handle h = end.segment.answer().handle;
    ASSERT_TRUE(h.valid());
    const int b = other.accept(l);
    (direction == Direction::kToService ? end.segment.flow(h.index, direction).produced
                                        : end.segment.flow(h.index, direction).consumed) = kFlowBytes + 1;
    for (uint32_t i = 1; i < 3; ++i) {
      Descriptor& d = end.segment.request(i);
      d.op = static_cast<uint32_t>(i == 1 ? Op::kSent : Op::kTaken);
      d.index = h.index;
      d.gen = h.gen;
    }
    end.segment.header().requests.tail = 3;
    house.turns(4);
    EXPECT_TRUE(guest.doomed());
    guest.leave();
    house.turns(10);
    EXPECT_LE(other.read(b, 1 << 20).size(), size_t{kFlowBytes});
  }
}

TEST(Codec, OptionsComeBackAsTheyWere) {
  SocketOptions o;
  o.no_delay = false;
  o.keepalive = o.cork = o.v6_only = o.reuse_port = true;
  o.quick_ack = false;
  o.send_buffer = 4'096;
  o.mss = 700;
  o.keepalive_idle = seconds(7);
  o.congestion_control = "newreno";
  o.max_pacing_rate = 12'345;
  const SocketOptions back = options_of(words_of(o));
  EXPECT_FALSE(back.no_delay);
  EXPECT_TRUE(back.keepalive && back.cork && back.v6_only && back.reuse_port);
  EXPECT_EQ(back.quick_ack, std::optional<bool>(false));
  EXPECT_EQ(back.send_buffer, 4'096U);
  EXPECT_EQ(back.mss, 700);
  EXPECT_EQ(back.keepalive_idle, seconds(7));
  EXPECT_EQ(back.congestion_control.view(), "newreno");
  EXPECT_EQ(back.max_pacing_rate, 12'345U);
  DatagramOptions d;
  d.broadcast = d.error_queue = true;
  d.multicast_loop = false;
  d.path_mtu = PathMtu::kProbe;
  const DatagramOptions same = options_of(words_of(d));
  EXPECT_TRUE(same.broadcast && same.error_queue);
  EXPECT_FALSE(same.multicast_loop);
  EXPECT_EQ(same.path_mtu, PathMtu::kProbe);
}

TEST(Codec, AnyBytesMakeOptionsInRange) {
  StreamWords w;
  std::memset(static_cast<void*>(&w), 0xff, sizeof w);
  const SocketOptions o = options_of(w);
  EXPECT_EQ(o.keepalive_idle, Duration());
  EXPECT_LE(o.send_buffer, 64U << 20);
  EXPECT_EQ(o.congestion_control.view(), "?");
  DatagramWords d;
  std::memset(static_cast<void*>(&d), 0xff, sizeof d);
  EXPECT_EQ(options_of(d).path_mtu, PathMtu::kProbe);
}

}  // namespace
}  // namespace millrace::service
