// libmillrace_packetdrill.so as packetdrill meets it: loaded with dlopen, driven through its table by two threads.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "adapters/packetdrill/interface.h"
#include "wire/checksum.h"

namespace {

using millrace::packetdrill::Table;

const char* library_path = nullptr;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MR_NO_DEEPBIND 1  // the sanitizer's runtime refuses it
#endif
#endif

void put16(std::byte* at, uint32_t value) {
  at[0] = static_cast<std::byte>(value >> 8);
  at[1] = static_cast<std::byte>(value);
}
void put32(std::byte* at, uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value & 0xffff);
}
uint32_t get32(const std::byte* at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(at[i]);
  return value;
}

constexpr uint8_t kSyn = 2, kAck = 16, kPsh = 8;

/// A TCP segment over IPv4 from 192.0.2.1 port 5000 to 192.168.0.1 port 8080, made by hand.
std::vector<std::byte> segment(uint32_t seq, uint32_t ack, uint8_t flags, std::string_view payload = {}) {
  std::vector<std::byte> out(40 + payload.size());
  out[0] = std::byte{0x45};
  put16(&out[2], static_cast<uint32_t>(out.size()));
  out[8] = std::byte{64};
  out[9] = std::byte{6};
  put32(&out[12], 0xc0000201);
  put32(&out[16], 0xc0a80001);
  millrace::wire::Checksum ip;
  ip.add(std::span(out).first(20));
  put16(&out[10], ip.finish());
  put16(&out[20], 5'000);
  put16(&out[22], 8'080);
  put32(&out[24], seq);
  put32(&out[28], ack);
  put16(&out[32], 0x5000u | flags);
  put16(&out[34], 32'000);
  if (!payload.empty()) std::memcpy(out.data() + 40, payload.data(), payload.size());
  millrace::wire::Checksum tcp;
  std::array<std::byte, 4> rest{std::byte{0}, std::byte{6}};
  put16(&rest[2], static_cast<uint32_t>(out.size() - 20));
  tcp.add(std::span(out).subspan(12, 8));
  tcp.add(rest);
  tcp.add(std::span(out).subspan(20));
  put16(&out[36], tcp.finish());
  return out;
}

class Packetdrill : public testing::Test {
 protected:
  void SetUp() override {
    int flags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
#ifndef MR_NO_DEEPBIND
    flags |= RTLD_DEEPBIND;
#endif
    handle_ = dlopen(library_path, flags);
    ASSERT_NE(handle_, nullptr) << dlerror();
    auto init = reinterpret_cast<void (*)(const char*, void*)>(dlsym(handle_, "packetdrill_interface_init"));
    ASSERT_NE(init, nullptr);
    init("local=192.168.0.1,plen=16,unknown=1", &t);
    p = t.context;
  }
  void TearDown() override { t.free(p); }

  int64_t now_us() {
    timeval tv{};
    EXPECT_EQ(t.gettimeofday(p, &tv, nullptr), 0);
    return int64_t{tv.tv_sec} * 1'000'000 + tv.tv_usec;
  }
  /// The next datagram from the stack and when it left; empty if there is none until `limit_us`.
  std::vector<std::byte> sniff(long long& us, long long limit_us = 0) {
    std::vector<std::byte> out(4'096);
    size_t bytes = out.size();
    us = limit_us;
    EXPECT_EQ(t.netdev_receive(p, out.data(), &bytes, &us), 0);
    out.resize(bytes);
    return out;
  }
  void inject(const std::vector<std::byte>& datagram) {
    EXPECT_EQ(t.netdev_send(p, datagram.data(), datagram.size()), 0);
  }
  int open_listener() {
    const int fd = t.socket(p, AF_INET, SOCK_STREAM, IPPROTO_TCP);
    EXPECT_GE(fd, 0);
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_port = htons(8'080);
    EXPECT_EQ(t.bind(p, fd, reinterpret_cast<sockaddr*>(&local), sizeof local), 0);
    EXPECT_EQ(t.listen(p, fd, 1), 0);
    return fd;
  }
  /// The handshake's first two segments; returns our side's initial sequence number.
  uint32_t answer_syn() {
    inject(segment(1'000, 0, kSyn));
    long long us = 0;
    const auto syn_ack = sniff(us);
    EXPECT_GE(syn_ack.size(), 40u);
    if (syn_ack.size() < 40) return 0;
    EXPECT_EQ(std::to_integer<int>(syn_ack[33]), kSyn | kAck);
    EXPECT_EQ(get32(&syn_ack[28]), 1'001u);
    return get32(&syn_ack[24]);
  }

  void* handle_ = nullptr;
  Table t{};
  void* p = nullptr;
};

TEST_F(Packetdrill, FillsEverySlotAndShowsOneSymbol) {
  std::array<void*, 33> slots;
  static_assert(sizeof slots == sizeof t);
  std::memcpy(slots.data(), &t, sizeof t);
  for (size_t i = 0; i < slots.size(); ++i) EXPECT_NE(slots[i], nullptr) << "slot " << i;
  EXPECT_EQ(dlsym(handle_, "_ZN8millrace5stack6WorkerC1ERKNS0_12WorkerConfigE"), nullptr);
}

TEST_F(Packetdrill, AnswersASynWithinAMicrosecondOfTheClock) {
  open_listener();
  inject(segment(1'000, 0, kSyn));
  const int64_t before = now_us();
  long long us = 0;
  ASSERT_GE(sniff(us).size(), 40u);
  EXPECT_LE(std::abs(us - before), 1);
}

TEST_F(Packetdrill, RepeatsAnUnansweredSynAfterExactlyOneSecond) {
  const int fd = t.socket(p, AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(t.fcntl(p, fd, F_SETFL, long{O_RDWR | O_NONBLOCK}), 0);
  sockaddr_in remote{};
  remote.sin_family = AF_INET;
  remote.sin_port = htons(8'080);
  remote.sin_addr.s_addr = htonl(0xc0000201);
  errno = 0;
  EXPECT_EQ(t.connect(p, fd, reinterpret_cast<sockaddr*>(&remote), sizeof remote), -1);
  EXPECT_EQ(errno, EINPROGRESS);
  long long first = 0;
  long long second = 0;
  long long third = 0;
  ASSERT_GE(sniff(first).size(), 40u);
  ASSERT_GE(sniff(second).size(), 40u);
  ASSERT_GE(sniff(third).size(), 40u);
  EXPECT_EQ(second - first, 1'000'000);
  EXPECT_EQ(third - second, 2'000'000);
}

TEST_F(Packetdrill, GivesUpAtTheDeadlineOfReceive) {
  open_listener();
  const int64_t start = now_us();
  long long us = 0;
  EXPECT_TRUE(sniff(us, start + 250'000).empty());
  const int64_t end = now_us();
  EXPECT_GE(end, start + 250'000);
  EXPECT_LE(end, start + 250'002);
}

TEST_F(Packetdrill, PassesTimeInSleepOnly) {
  const int64_t start = now_us();
  EXPECT_EQ(t.usleep(p, 123'456), 0);
  EXPECT_EQ(now_us() - start, 123'457);
}

char state_of(pid_t thread) {
  std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const size_t end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '?' : text[end + 2];
}

TEST_F(Packetdrill, BlocksASecondThreadInTheKernelAndEndsItsCallWhereTimeStands) {
  const int listener = open_listener();
  std::atomic<pid_t> thread = 0;
  std::atomic<int> accepted = -2;
  int64_t ended = 0;
  std::thread second([&] {
    thread = gettid();
    const int fd = t.accept(p, listener, nullptr, nullptr);
    ended = now_us();
    accepted = fd;
  });
  while (thread == 0 || state_of(thread) != 'S') std::this_thread::yield();
  const uint32_t iss = answer_syn();
  EXPECT_EQ(t.usleep(p, 50'000), 0);
  EXPECT_EQ(accepted, -2);
  const int64_t before = now_us();
  inject(segment(1'001, iss + 1, kAck));
  EXPECT_EQ(t.usleep(p, 70'000), 0);
  second.join();
  EXPECT_GE(accepted, 0);
  EXPECT_LE(ended - before, 1);
}

TEST_F(Packetdrill, MovesBytesAndTellsWhatIsReady) {
  const int listener = open_listener();
  const uint32_t iss = answer_syn();
  inject(segment(1'001, iss + 1, kAck));
  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  const int fd = t.accept(p, listener, reinterpret_cast<sockaddr*>(&peer), &length);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ntohs(peer.sin_port), 5'000);
  pollfd ready{fd, POLLIN | POLLOUT, 0};
  EXPECT_EQ(t.poll(p, &ready, 1, 0), 1);
  EXPECT_EQ(ready.revents, POLLOUT);
  inject(segment(1'001, iss + 1, kAck | kPsh, "hello"));
  EXPECT_EQ(t.poll(p, &ready, 1, 0), 1);
  EXPECT_EQ(ready.revents, POLLIN | POLLOUT);
  errno = 0;
  EXPECT_EQ(t.read(p, fd, nullptr, 5), -1);
  EXPECT_EQ(errno, EFAULT);
  std::array<char, 16> text{};
  EXPECT_EQ(t.read(p, fd, text.data(), text.size()), 5);
  EXPECT_STREQ(text.data(), "hello");
  errno = 0;
  EXPECT_EQ(t.recv(p, fd, text.data(), text.size(), MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(t.write(p, fd, "answer", 6), 6);
  long long us = 0;
  auto out = sniff(us);
  while (!out.empty() && out.size() < 46) out = sniff(us, us + 100'000);  // past the acknowledgment
  ASSERT_GE(out.size(), 46u);
  EXPECT_EQ(std::memcmp(out.data() + out.size() - 6, "answer", 6), 0);
  EXPECT_EQ(t.close(p, fd), 0);
  errno = 0;
  EXPECT_EQ(t.close(p, fd), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(Packetdrill, ListensOnAPortOfItsOwnChoice) {
  for (int i = 0; i < 2; ++i) {
    const int fd = t.socket(p, AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(t.listen(p, fd, 1), 0);
    int listening = 0;
    socklen_t length = sizeof listening;
    EXPECT_EQ(t.getsockopt(p, fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length), 0);
    EXPECT_EQ(listening, 1);
  }
}

TEST_F(Packetdrill, SurvivesThatTheKernelClosesItsDescriptors) {
  const int first = open_listener();
  EXPECT_EQ(::close(first), 0);
  const int again = t.socket(p, AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(again, first);
  EXPECT_EQ(t.close(p, again), 0);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) return 2;
  library_path = argv[1];
  return RUN_ALL_TESTS();
}
