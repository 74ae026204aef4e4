// A service that does not answer: calls end as if there were nothing, and what they were about is not lost. Here every
// wait for an answer ends as a signal would end it.
#include <gtest/gtest.h>

#include "house.h"

namespace millrace::service {
namespace {

// A connection whose server end two programs hold, so that its bytes go by calls.
struct Shared {
  explicit Shared(House& house) : client(house), server(house), other(house) {
    const int l = server.listener(7'000);
    c = client.connected(7'000);
    s = server.accept(l);
    listener = l;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof s);
    std::memcpy(CMSG_DATA(head), &s, sizeof s);
    std::vector<posix::Token> given;
    EXPECT_EQ(server.stack().before_pass(message, given), 0);
    copy = ::dup(s);
    EXPECT_TRUE(other.stack().collect(copy));
  }
  ~Shared() { (void)other.stack().close(copy); }
  Tenant client;
  Tenant server;
  Tenant other;
  int listener = -1;
  int c = -1;
  int s = -1;
  int copy = -1;
};

TEST(Stopped, AReceiveIsInterruptedAndItsBytesAreKept) {
  House house;
  Shared p(house);
  EXPECT_EQ(p.client.write(p.c, "question"), 8);
  house.turns(10);
  house.stopped = true;
  EXPECT_EQ(p.server.read(p.s, 5, MSG_DONTWAIT), "-EAGAIN");
  EXPECT_EQ(p.server.read(p.s, 5, MSG_DONTWAIT), "-EAGAIN");
  house.stopped = false;
  EXPECT_EQ(p.server.read(p.s, 2), "qu") << "the answer of the first call, by pieces";
  EXPECT_EQ(p.server.read(p.s, 100), "est");
  EXPECT_EQ(p.server.read(p.s, 100), "ion");
}

TEST(Stopped, WhatWasReceivedWaitsWhileOtherThingsAreAsked) {
  House house;
  Shared p(house);
  EXPECT_EQ(p.client.write(p.c, "question"), 8);
  house.turns(10);
  house.stopped = true;
  EXPECT_EQ(p.server.read(p.s, 5, MSG_DONTWAIT), "-EAGAIN");
  house.stopped = false;
  EXPECT_EQ(p.server.write(p.s, "answer"), 6);
  EXPECT_EQ(p.client.read(p.c), "answer");
  pollfd wait{p.s, POLLIN, 0};
  const timespec none{};
  EXPECT_EQ(p.server.stack().poll({&wait, 1}, &none, nullptr), 1);
  EXPECT_EQ(p.server.read(p.s, 5), "quest");
  EXPECT_EQ(p.server.read(p.s, 5), "ion");
}

TEST(Stopped, ASendThatIsMadeAgainSendsOnce) {
  House house;
  Shared p(house);
  house.stopped = true;
  EXPECT_EQ(p.server.write(p.s, "once", MSG_DONTWAIT | MSG_NOSIGNAL), -EAGAIN);
  house.stopped = false;
  EXPECT_EQ(p.server.write(p.s, "once"), 4);
  EXPECT_EQ(p.server.write(p.s, " more"), 5);
  house.turns(10);
  EXPECT_EQ(p.client.read(p.c), "once more");
}

TEST(Stopped, AnAcceptThatIsMadeAgainGivesTheConnection) {
  House house;
  Shared p(house);
  const int c = p.client.connected(7'000);
  house.turns(10);
  house.stopped = true;
  EXPECT_EQ(p.server.stack().fcntl(p.listener, F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(p.server.accept(p.listener), -EAGAIN);
  house.stopped = false;
  const int s = p.server.accept(p.listener);
  ASSERT_GE(s, 0);
  EXPECT_EQ(p.client.write(c, "hello"), 5);
  EXPECT_EQ(p.server.read(s), "hello");
}

TEST(Stopped, WhatAnInterruptedCallOpenedIsClosed) {
  House house;
  Tenant program(house);
  Tenant server(house);
  const int l = server.listener(7'000);
  const int fd = program.socket();
  const size_t before = house.sockets.size();
  house.stopped = true;
  sockaddr_storage to{};
  socklen_t length = sizeof to;
  posix::write_address({IpAddr::v4(127, 0, 0, 1), 7'000}, AF_INET, reinterpret_cast<sockaddr*>(&to), &length);
  EXPECT_EQ(program.stack().connect(fd, reinterpret_cast<sockaddr*>(&to), length), -EINTR);
  house.stopped = false;
  EXPECT_EQ(program.bind(fd, 7'001), 0);
  house.turns(10);
  EXPECT_EQ(house.sockets.size(), before);
  EXPECT_EQ(program.close(fd), 0);
  EXPECT_EQ(house.ports.size(), 1U) << "the listener's";
  EXPECT_EQ(server.close(l), 0);
}

}  // namespace
}  // namespace millrace::service
