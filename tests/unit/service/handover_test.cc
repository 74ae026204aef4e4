// Sockets that go from one program to another, over the service.
#include <gtest/gtest.h>

#include "house.h"

namespace millrace::service {
namespace {

// A message that carries one descriptor.
struct Letter {
  explicit Letter(int fd) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  msghdr message{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
};

// What the kernel does with the descriptor is a copy of it.
int hand_over(Tenant& from, int fd) {
  std::vector<posix::Token> given;
  EXPECT_EQ(from.stack().before_pass(Letter(fd).message, given), 0);
  EXPECT_EQ(given.size(), 1U);
  return ::dup(fd);
}

struct Trio {
  explicit Trio(House& house) : client(house), first(house), second(house) {
    listener = first.listener(7'000);
    c = client.connected(7'000);
    s = first.accept(listener);
  }
  Tenant client;
  Tenant first;
  Tenant second;
  int listener = -1;
  int c = -1;
  int s = -1;
};

TEST(Handover, AStreamGoesOnInTheOtherProgramWithItsUnreadBytes) {
  House house;
  Trio t(house);
  EXPECT_EQ(t.client.write(t.c, "before "), 7);
  EXPECT_EQ(t.first.read(t.s, 3), "bef");
  const int copy = hand_over(t.first, t.s);
  EXPECT_EQ(t.first.close(t.s), 0);
  EXPECT_EQ(t.client.write(t.c, "between"), 7);
  house.turns(10);
  EXPECT_EQ(t.client.read(t.c, 10, MSG_DONTWAIT), "-EAGAIN") << "it is on its way, and lives";
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(house.deposits->size(), 0U);
  std::string got;
  while (got.size() < 11) got += t.second.read(copy);
  EXPECT_EQ(got, "ore between");
  EXPECT_EQ(t.second.write(copy, "answer"), 6);
  EXPECT_EQ(t.client.read(t.c), "answer");
  EXPECT_EQ(t.client.write(t.c, "again"), 5);
  EXPECT_EQ(t.second.read(copy), "again");
  EXPECT_EQ(t.second.close(copy), 0);
  EXPECT_EQ(t.client.read(t.c), "");
}

TEST(Handover, BothMayUseItUntilOneIsLeft) {
  House house;
  Trio t(house);
  const int copy = hand_over(t.first, t.s);
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(t.first.write(t.s, "one "), 4);
  EXPECT_EQ(t.second.write(copy, "two"), 3);
  std::string got;
  while (got.size() < 7) got += t.client.read(t.c);
  EXPECT_EQ(got, "one two");
  EXPECT_EQ(t.second.close(copy), 0);
  EXPECT_EQ(t.client.write(t.c, "back"), 4);
  EXPECT_EQ(t.first.read(t.s), "back");
}

TEST(Handover, WhatTheSenderHadInItsFlowGoesFirst) {
  House house;
  Trio t(house);
  size_t sent = 0;
  for (long n = 1; n > 0; sent += n > 0 ? static_cast<size_t>(n) : 0) {
    n = t.first.write(t.s, std::string(100'000, 'a'), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  const int copy = hand_over(t.first, t.s);
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(t.first.close(t.s), 0);
  std::string got;
  long last = -EAGAIN;
  while (got.size() < sent + 1) {
    if (last == -EAGAIN) last = t.second.write(copy, "b", MSG_DONTWAIT | MSG_NOSIGNAL);
    const std::string part = t.client.read(t.c, 1 << 20, MSG_DONTWAIT);
    if (part != "-EAGAIN") got += part;
    ASSERT_NE(part, "");
  }
  EXPECT_EQ(got.find('b'), sent);
  EXPECT_EQ(t.second.close(copy), 0);
}

TEST(Handover, AHolderThatClosesDoesNotCutOffWhatAnotherHasShutBehind) {
  House house;
  Trio t(house);
  size_t sent = 0;
  for (long n = 1; n > 0; sent += n > 0 ? static_cast<size_t>(n) : 0) {
    n = t.first.write(t.s, std::string(100'000, 'a'), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  const int copy = hand_over(t.first, t.s);
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(t.first.stack().shutdown(t.s, SHUT_WR), 0);  // with bytes under way
  EXPECT_EQ(t.second.close(copy), 0);
  size_t got = 0;
  for (size_t n = 1; n != 0; got += n) n = t.client.read(t.c, 1 << 20).size();
  EXPECT_EQ(got, sent);
}

TEST(Handover, WhatNobodyCollectsIsLetGoInTime) {
  House house;
  Trio t(house);
  const int copy = hand_over(t.first, t.s);
  EXPECT_EQ(t.first.close(t.s), 0);
  house.pass(Deposits::kInMessage - seconds(1));
  EXPECT_EQ(t.client.read(t.c, 10, MSG_DONTWAIT), "-EAGAIN");
  house.pass(seconds(2));
  EXPECT_EQ(t.client.read(t.c), "");
  EXPECT_FALSE(t.second.stack().collect(copy)) << "the descriptor is the kernel's";
  ::close(copy);
}

TEST(Handover, UnreadBytesOfWhatNobodyCollectsMakeItAReset) {
  House house;
  Trio t(house);
  EXPECT_EQ(t.client.write(t.c, "never read"), 10);
  house.turns(10);
  ::close(hand_over(t.first, t.s));
  EXPECT_EQ(t.first.close(t.s), 0);
  house.pass(Deposits::kInMessage + seconds(1));
  EXPECT_EQ(t.client.read(t.c), "-ECONNRESET");
}

TEST(Handover, AMessageThatDoesNotGoLeavesTheSocketWhereItWas) {
  House house;
  Trio t(house);
  std::vector<posix::Token> given;
  EXPECT_EQ(t.first.stack().before_pass(Letter(t.s).message, given), 0);
  t.first.stack().withdraw(given);
  EXPECT_EQ(house.deposits->size(), 0U);
  EXPECT_EQ(t.client.write(t.c, "goes on"), 7);
  EXPECT_EQ(t.first.read(t.s), "goes on");
  EXPECT_EQ(t.first.close(t.s), 0);
  EXPECT_EQ(t.client.read(t.c), "");
}

TEST(Handover, AListenerAcceptsInTheOtherProgramAndKeepsItsPort) {
  House house;
  Trio t(house);
  const int copy = hand_over(t.first, t.listener);
  EXPECT_EQ(t.first.close(t.listener), 0);
  EXPECT_EQ(t.first.close(t.s), 0);
  ASSERT_TRUE(t.second.stack().collect(copy));
  const int c = t.client.connected(7'000);
  const int s = t.second.accept(copy);
  EXPECT_EQ(t.client.write(c, "hello"), 5);
  EXPECT_EQ(t.second.read(s), "hello");
  EXPECT_EQ(t.first.bind(t.first.socket(), 7'000), -EADDRINUSE);
  EXPECT_EQ(t.second.close(copy), 0);
  EXPECT_EQ(t.second.close(s), 0);
  EXPECT_EQ(t.client.close(c), 0);
  EXPECT_EQ(t.client.close(t.c), 0);
  EXPECT_EQ(t.first.bind(t.first.socket(), 7'000), 0);
}

// A socket of `tenant` that may share the port, bound to it: 0 or a negative errno number.
long bind_shared(Tenant& tenant, int fd, uint16_t port) {
  const int on = 1;
  EXPECT_EQ(tenant.stack().setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
  return tenant.bind(fd, port);
}

TEST(Handover, APortIsAListenersUntilItsLastHolderIsGone) {
  House house;
  Tenant client(house);
  Tenant first(house);
  Tenant second(house);
  const int l = first.socket();
  ASSERT_EQ(bind_shared(first, l, 7'003), 0);
  ASSERT_EQ(first.stack().listen(l, 8), 0);
  Guest& killed = *house.guests.back();
  const int c = client.connected(7'003);
  const int s = first.accept(l);
  const int copy = hand_over(first, l);
  ASSERT_TRUE(second.stack().collect(copy));
  EXPECT_EQ(second.close(copy), 0);
  EXPECT_EQ(bind_shared(second, second.socket(), 7'003), -EADDRINUSE) << "the first listens still";
  ::close(hand_over(first, s));
  killed.leave();  // its connection is on its way to another, its listener is not
  house.turns(4);
  EXPECT_EQ(bind_shared(second, second.socket(), 7'003), 0);
  EXPECT_EQ(client.close(c), 0);
}

TEST(Handover, ASocketThatIsNotOpenedYetGoesWithItsOptions) {
  House house;
  Trio t(house);
  const int fresh = t.first.socket();
  const timeval time{1, 0};
  EXPECT_EQ(t.first.stack().setsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), 0);
  EXPECT_EQ(t.first.bind(fresh, 7'001), 0);
  const int copy = hand_over(t.first, fresh);
  EXPECT_EQ(t.first.close(fresh), 0);
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(house.deposits->size(), 0U);
  EXPECT_EQ(t.second.stack().listen(copy, 8), 0);
  const int c = t.client.connected(7'001);
  EXPECT_GE(t.second.accept(copy), 0);
  EXPECT_EQ(t.second.stack().accept4(copy, nullptr, nullptr, 0), -EAGAIN) << "the time is over";
  EXPECT_EQ(t.client.close(c), 0);
  EXPECT_EQ(t.second.close(copy), 0);
}

TEST(Handover, ADatagramSocketGoesWithWhatWaits) {
  House house;
  Trio t(house);
  const int d = static_cast<int>(t.first.stack().socket(AF_INET, SOCK_DGRAM, 0));
  ASSERT_EQ(t.first.bind(d, 7'002), 0);
  const int from = static_cast<int>(t.client.stack().socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_storage to{};
  socklen_t length = sizeof to;
  posix::write_address({IpAddr::v4(127, 0, 0, 1), 7'002}, AF_INET, reinterpret_cast<sockaddr*>(&to), &length);
  const iovec word{const_cast<char*>("word"), 4};
  EXPECT_EQ(t.client.stack().send(from, {&word, 1}, 0, reinterpret_cast<sockaddr*>(&to), length), 4);
  const int copy = hand_over(t.first, d);
  EXPECT_EQ(t.first.close(d), 0);
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(t.second.read(copy), "word");
  EXPECT_EQ(t.second.close(copy), 0);
  EXPECT_EQ(t.client.close(from), 0);
}

TEST(Handover, ADescriptorThatComesBackNamesTheSameSocket) {
  House house;
  Trio t(house);
  const int copy = hand_over(t.first, t.s);
  ASSERT_TRUE(t.first.stack().collect(copy));
  EXPECT_EQ(house.deposits->size(), 0U);
  EXPECT_EQ(t.first.close(t.s), 0);
  EXPECT_EQ(t.client.write(t.c, "by the copy"), 11);
  EXPECT_EQ(t.first.read(copy), "by the copy");
  EXPECT_EQ(t.first.close(copy), 0);
  EXPECT_EQ(t.client.read(t.c), "");
}

TEST(Handover, WithoutTheTokenOrADepositNothingIsGiven) {
  House house;
  Trio t(house);
  EXPECT_FALSE(t.second.stack().collect(::dup(t.s))) << "it was never let out of hand";
  auto stranger = house.attach();
  EXPECT_EQ(stranger->collect({1, 2}, 1).error(), Error::kNotFound);
  const int copy = hand_over(t.first, t.s);
  posix::Token token;
  ASSERT_TRUE(posix::read_token(copy, token));
  ASSERT_TRUE(t.second.stack().collect(copy));
  EXPECT_EQ(t.second.close(copy), 0);
  EXPECT_EQ(stranger->collect(token, 1).error(), Error::kNotFound) << "its program may be reading from its flow";
  EXPECT_EQ(stranger->deposit(token, {}, posix::Transport::Way::kMessage).error(), Error::kInvalid)
      << "another's token";
  EXPECT_EQ(stranger->deposit({}, {}, posix::Transport::Way::kMessage).error(), Error::kInvalid);
  posix::Transport::Parcel foreign;
  foreign.claim = 1;
  EXPECT_EQ(stranger->deposit({3, 4}, foreign, posix::Transport::Way::kMessage).error(), Error::kInvalid)
      << "another's claim";
  EXPECT_EQ(house.deposits->size(), 0U);
}

TEST(Handover, OneProgramHasSoMuchUnderWayAndNoMore) {
  House house;
  auto one = house.attach();
  for (uint64_t i = 1; i <= Deposits::kMostOfOne; ++i) {
    ASSERT_TRUE(one->deposit({i, 1}, {}, posix::Transport::Way::kExec));
  }
  EXPECT_EQ(one->deposit({1, 2}, {}, posix::Transport::Way::kExec).error(), Error::kTooMany);
  auto other = house.attach();
  EXPECT_TRUE(other->deposit({1, 2}, {}, posix::Transport::Way::kExec));
  house.pass(Deposits::kOverExec + seconds(1));
  EXPECT_EQ(house.deposits->size(), 0U);
  EXPECT_EQ(house.sockets.size(), 0U);
  EXPECT_TRUE(one->deposit({1, 1}, {}, posix::Transport::Way::kExec));
}

TEST(Handover, AParcelOfNonsenseMakesNoSocketThatCannotBeClosed) {
  House house;
  Tenant receiver(house);
  auto sender = house.attach();
  for (unsigned fill : {0x00U, 0x01U, 0xffU}) {
    for (const size_t bytes : {size_t{0}, size_t{8}, size_t{300}, size_t{4'096}}) {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      const posix::Token token{fill + 1, bytes + 1};
      ASSERT_TRUE(posix::write_token(fd, token));
      posix::Transport::Parcel parcel;
      parcel.rest.assign(bytes, static_cast<std::byte>(fill));
      if (bytes >= 8) parcel.rest[0] = std::byte{1};
      for (size_t i = 1; i < 8 && bytes >= 8; ++i) parcel.rest[i] = std::byte{0};
      ASSERT_TRUE(sender->deposit(token, parcel, posix::Transport::Way::kMessage));
      const bool ours = receiver.stack().collect(fd);
      EXPECT_EQ(ours, bytes >= 8) << "of no known format, it stays the kernel's";
      if (ours) {
        EXPECT_EQ(receiver.close(fd), 0);
      } else {
        ::close(fd);
      }
    }
  }
}

}  // namespace
}  // namespace millrace::service
