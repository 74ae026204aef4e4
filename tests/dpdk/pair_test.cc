// Offloads, zero-copy and sleep between net_vhost and net_virtio_user: each end sends what a NIC with checksum and
// segmentation offload would be given, the other must see what a NIC would deliver.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>

#include "drivers/dpdk/dpdk.h"
#include "frames.h"
#include "sides.h"

namespace millrace::test {
namespace {

const Link kVirtio = {"net_vhost0,iface=@,queues=1,tso=1", "net_virtio_user0,path=@,queues=1"};
const Link kPlain = {"net_vhost0,iface=@,queues=1,tso=0", "net_virtio_user0,path=@,queues=1,lro=0"};

constexpr uint32_t kPieces = 4;
constexpr uint32_t kPieceBytes = 15'000;
constexpr uint16_t kMss = 1448;

bool offers_everything(Side& side) {
  const link::DeviceLimits& l = side.device().limits();
  return CHECK_THAT(l.tx_checksum_v4 && l.tx_checksum_v6) && CHECK_THAT(l.tso_v4 && l.tso_v6) &&
         CHECK_THAT(l.max_tso_bytes >= 65'535) && CHECK_THAT(l.max_segments >= 16) && CHECK_THAT(l.mtu == 1500);
}

/// A frame whose TCP checksum is the device's to fill.
pkt::Packet* unfinished_frame(Side& side, bool v6, uint32_t seq, uint32_t payload) {
  pkt::Packet* p = linear_frame(side.cache(), {v6, seq, payload});
  if (p == nullptr) return nullptr;
  put_pseudo_sum(p->bytes(), v6, true);
  p->flags = pkt::kTxTcpChecksum | (v6 ? pkt::kTxIpv6 : pkt::kTxIpv4);
  p->set_tx_lengths(14, v6 ? 40 : 20, kTcpBytes, 0);
  return p;
}

bool send_unfinished(Side& side) {
  if (!offers_everything(side)) return false;
  for (uint32_t seq = 0; seq < 200; ++seq) {
    pkt::Packet* p = unfinished_frame(side, seq % 2 == 0, seq, 1 + seq * 5);
    if (!CHECK_THAT(p != nullptr && side.send({&p, 1}))) return false;
  }
  return side.hear('d');
}

bool receive_unfinished(Side& side) {
  uint32_t expected = 0;
  bool good = true;
  const bool done = side.receive([&](const pkt::Packet& p) {
    const std::vector<std::byte> got = flatten(p);
    const bool v6 = expected % 2 == 0;
    const uint64_t verdict = p.flags & pkt::kRxL4ChecksumMask;
    good =
        good && CHECK_THAT(is_v6(got) == v6 && seq_of(got, v6) == expected) &&
        CHECK_THAT(verdict == pkt::kRxL4ChecksumNone || verdict == pkt::kRxL4ChecksumGood || checksum_right(got, v6));
    return !good || ++expected == 200;
  });
  side.tell('d');
  return CHECK_THAT(done) && good;
}

TEST(VirtioPair, VhostLeavesTheTcpChecksumToTheOtherEnd) {
  EXPECT_EQ(run_pair(kVirtio, send_unfinished, receive_unfinished), "");
}
TEST(VirtioPair, VirtioLeavesTheTcpChecksumToTheOtherEnd) {
  EXPECT_EQ(run_pair(kVirtio, receive_unfinished, send_unfinished), "");
}

/// Payload lent to the device piece by piece, so that its return can be watched.
struct Lent {
  std::byte* bytes = nullptr;
  uint64_t iova = 0;
  pkt::ExtInfo info{};
  int released = 0;

  explicit Lent(Side& side) {
    const base::Region region = side.memory().allocate(kPieces * kPieceBytes);
    bytes = region.base;
    iova = region.io_base;
    info.release = [](void*, void* opaque) { ++static_cast<Lent*>(opaque)->released; };
    info.opaque = this;
    info.refs = 1;
  }
};

/// A header with references to payload behind it, for the device to cut.
pkt::Packet* large_frame(Side& side, Lent& lent, bool v6, uint32_t seq) {
  pkt::Packet* p = side.cache().frame();
  if (p == nullptr) return nullptr;
  const std::vector<std::byte> head = headers({v6, seq, kPieces * kPieceBytes});
  std::memcpy(p->append(static_cast<uint16_t>(head.size())), head.data(), head.size());
  put_pseudo_sum(p->bytes(), v6, false);
  p->flags = pkt::kTxTcpSeg | pkt::kTxTcpChecksum | (v6 ? pkt::kTxIpv6 : pkt::kTxIpv4);
  p->set_tx_lengths(14, v6 ? 40 : 20, kTcpBytes, kMss);
  for (uint32_t i = 0; i < kPieces; ++i) {
    pkt::Packet* piece =
        side.cache().reference(lent.bytes + i * kPieceBytes, lent.iova + i * kPieceBytes, kPieceBytes, lent.info);
    if (piece == nullptr) return nullptr;
    pkt::chain(*p, piece);
  }
  return p;
}

constexpr uint32_t kLarge = 50;

bool send_large(Side& side) {
  if (!offers_everything(side)) return false;
  Lent lent(side);
  if (!CHECK_THAT(lent.bytes != nullptr)) return false;
  fill_pattern({lent.bytes, kPieces * kPieceBytes}, 0);
  for (uint32_t seq = 0; seq < kLarge; ++seq) {
    pkt::Packet* p = large_frame(side, lent, seq % 2 == 0, seq);
    if (!CHECK_THAT(p != nullptr && side.send({&p, 1}))) return false;
  }
  if (!CHECK_THAT(side.hear('d'))) return false;
  // The other end has it all: without sending anything more, housekeeping must bring every reference back.
  for (int i = 0; i < 100 && lent.info.refs != 1; ++i) {
    side.device().housekeeping({});
    usleep(1'000);
  }
  return CHECK_THAT(lent.info.refs == 1) && CHECK_THAT(lent.released == 0);
}

bool right_large(const pkt::Packet& p, uint32_t seq) {
  const bool v6 = seq % 2 == 0;
  const std::vector<std::byte> got = flatten(p);
  if (!CHECK_THAT(got.size() == header_bytes(v6) + kPieces * kPieceBytes)) return false;
  if (!CHECK_THAT((p.flags & pkt::kRxMerged) != 0 && p.seg_size() == kMss)) return false;
  if (!CHECK_THAT((p.flags & pkt::kRxL4ChecksumMask) == pkt::kRxL4ChecksumNone)) return false;
  if (!CHECK_THAT(is_v6(got) == v6 && seq_of(got, v6) == seq)) return false;
  std::vector<std::byte> expected(kPieces * kPieceBytes);
  fill_pattern(expected, 0);
  return CHECK_THAT(std::memcmp(got.data() + header_bytes(v6), expected.data(), expected.size()) == 0);
}

bool receive_large(Side& side) {
  uint32_t expected = 0;
  bool good = true;
  const bool done = side.receive([&](const pkt::Packet& p) {
    good = good && right_large(p, expected);
    return !good || ++expected == kLarge;
  });
  side.tell('d');
  return CHECK_THAT(done) && good;
}

TEST(VirtioPair, VhostSendsFramesToBeCutAndGetsItsBuffersBack) {
  EXPECT_EQ(run_pair(kVirtio, send_large, receive_large), "");
}
TEST(VirtioPair, VirtioSendsFramesToBeCutAndGetsItsBuffersBack) {
  EXPECT_EQ(run_pair(kVirtio, receive_large, send_large), "");
}

TEST(VirtioPair, PackedRingsGiveBuffersBackToo) {
  Link link = kVirtio;
  link.second += ",packed_vq=1";
  EXPECT_EQ(run_pair(link, receive_large, send_large), "");
}

TEST(VirtioPair, NeitherEndSegmentsWhenThePairDidNotAgreeOnIt) {
  const Part no_tso = [](Side& side) {
    side.tell('r');
    return CHECK_THAT(!side.device().limits().tso_v4 && !side.device().limits().tso_v6) &&
           CHECK_THAT(side.device().limits().max_tso_bytes == 0) && side.hear('r');
  };
  EXPECT_EQ(run_pair(kPlain, no_tso, no_tso), "");
}

TEST(VirtioPair, UserCanSwitchOffloadsOff) {
  Link link = kVirtio;
  link.base.checksum = false;
  const Part none = [](Side& side) {
    side.tell('r');
    return CHECK_THAT(!side.device().limits().tso_v4 && !side.device().limits().tx_checksum_v4) && side.hear('r');
  };
  EXPECT_EQ(run_pair(link, none, none), "");
}

/// Sleeps on the device's descriptor until a frame comes, three times over; nothing else may wake it.
bool sleep_and_wake(Side& side) {
  runtime::Device& device = side.device();
  if (!CHECK_THAT(device.wait_fd() >= 0)) return false;
  usleep(300'000);  // the other end kicks its rings once as it starts
  for (int round = 0; round < 3; ++round) {
    pollfd ready{device.wait_fd(), POLLIN, 0};
    if (!CHECK_THAT(device.arm_wait())) return false;
    if (!CHECK_THAT(poll(&ready, 1, 50) == 0)) return false;
    side.tell('g');
    if (!CHECK_THAT(poll(&ready, 1, 60'000) == 1)) return false;
    device.disarm_wait();
    if (!CHECK_THAT(side.receive([](const pkt::Packet&) { return true; }, kPatience))) return false;
  }
  return true;
}

bool wake_the_other(Side& side) {
  for (int round = 0; round < 3; ++round) {
    if (!CHECK_THAT(side.hear('g'))) return false;
    usleep(20'000);
    pkt::Packet* p = linear_frame(side.cache(), {false, 1, 10});
    if (!CHECK_THAT(p != nullptr && side.send({&p, 1}))) return false;
  }
  usleep(200'000);
  return true;
}

TEST(VirtioPair, VirtioSleepsUntilAFrameComes) { EXPECT_EQ(run_pair(kVirtio, wake_the_other, sleep_and_wake), ""); }
TEST(VirtioPair, VhostSleepsUntilAFrameComes) { EXPECT_EQ(run_pair(kVirtio, sleep_and_wake, wake_the_other), ""); }

bool refuse_sleep(Side& side) {
  if (!CHECK_THAT(side.hear('s'))) return false;
  usleep(50'000);
  const bool armed = side.device().arm_wait();
  const bool got = side.receive([](const pkt::Packet&) { return true; }, kPatience);
  side.tell('d');
  return CHECK_THAT(!armed) && CHECK_THAT(got);
}

bool send_before_sleep(Side& side) {
  pkt::Packet* p = linear_frame(side.cache(), {false, 1, 10});
  if (!CHECK_THAT(p != nullptr && side.send({&p, 1}))) return false;
  side.tell('s');
  return side.hear('d');
}

TEST(VirtioPair, VirtioDoesNotSleepOnAFrameThatWaits) {
  EXPECT_EQ(run_pair(kVirtio, send_before_sleep, refuse_sleep), "");
}
TEST(VirtioPair, VhostDoesNotSleepOnAFrameThatWaits) {
  EXPECT_EQ(run_pair(kVirtio, refuse_sleep, send_before_sleep), "");
}

TEST(VirtioPair, KilledVhostDoesNotStopItsSuccessor) {
  const std::string path = fresh_path();
  std::fflush(nullptr);
  const pid_t killed = fork();
  if (killed == 0) {
    Side side("net_vhost0,wait_s=0,iface=" + path);
    for (;;) pause();
  }
  for (int i = 0; i < 2'000 && !std::filesystem::exists(path); ++i) usleep(10'000);
  usleep(200'000);
  kill(killed, SIGKILL);
  waitpid(killed, nullptr, 0);
  ASSERT_TRUE(std::filesystem::exists(path)) << "the socket's file should have outlived its server";
  std::fflush(nullptr);
  const pid_t next = fork();
  if (next == 0) {
    bool whole = false;
    {
      Side side("net_vhost0,wait_s=0,iface=" + path);
      whole = side.device().wait_fd() >= 0;  // lost where DPDK itself had to get over the stale file
    }
    _exit(whole ? 0 : 1);
  }
  int status = 0;
  waitpid(next, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

/// What the driver says about a device, from a process of its own.
std::string complaint(const std::string& device) {
  int out[2];
  if (pipe(out) != 0) return {};
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    conf::Interface interface;
    interface.name = "t0";
    interface.device = device;
    const conf::Config config = config_for_tests(interface);
    runtime::DriverRegistry registry;
    drivers::dpdk::register_driver(registry);
    runtime::Driver* driver = registry.find("dpdk");
    auto ready = driver->prepare(config, config.interfaces);
    std::string text = ready ? "" : ready.error().to_string();
    if (ready) {
      auto opened = driver->open(config, interface, driver->resources(0));
      text = opened ? "opened" : opened.error().to_string();
    }
    if (write(out[1], text.data(), text.size()) < 0) _exit(1);
    _exit(0);
  }
  close(out[1]);
  std::string text(1024, '\0');
  const ssize_t n = read(out[0], text.data(), text.size());
  text.resize(n < 0 ? 0 : static_cast<size_t>(n));
  close(out[0]);
  waitpid(pid, nullptr, 0);
  return text;
}

TEST(DpdkFailures, AreOneSentenceWithAHint) {
  for (const auto& [device, expected] : std::initializer_list<std::pair<const char*, const char*>>{
           {"net_virtio_user0,path=/nonexistent/s", "no vhost-user socket /nonexistent/s"},
           {"net_vhost0,iface=/nonexistent/s", "no directory /nonexistent"},
           {"net_af_packet0,iface=nosuch0", "no network interface nosuch0"},
           {"net_nosuch0", "cannot open the device net_nosuch0"},
           {"ffff:ff:1f.7", "no PCI device ffff:ff:1f.7"},
           {"eth0", "DPDK knows no device"}}) {
    const std::string text = complaint(device);
    EXPECT_NE(text.find(expected), std::string::npos) << device << ": " << text;
    EXPECT_EQ(text.find("interface t0: "), 0U) << text;
  }
}

TEST(DpdkFailures, GuestThatNeverComesIsNamed) {
  const std::string path = fresh_path();
  const std::string text = complaint("net_vhost0,wait_s=1,iface=" + path);
  EXPECT_NE(text.find("nobody connected to " + path), std::string::npos) << text;
}

}  // namespace
}  // namespace millrace::test
