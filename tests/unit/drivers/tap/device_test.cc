// A TapDevice over a datagram socket pair, which keeps the boundaries of reads and writes as a TAP does.
#include "drivers/tap/device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/memory.h"

namespace millrace::drivers::tap {
namespace {

class TapDeviceTest : public testing::Test {
 protected:
  void open(size_t frames, size_t large_bytes, bool merged = true, uint16_t mtu = 1500) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    const int room = 1 << 20;
    for (int fd : pair) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    peer_ = runtime::Descriptor(pair[1]);
    frames_ = std::make_unique<pkt::HeapPacketPool>(frames);
    large_ = std::make_unique<LargePool>(memory_, large_bytes);
    cache_ = std::make_unique<pkt::PacketCache>(*frames_, references_);
    link::DeviceLimits limits;
    limits.mtu = mtu;
    limits.max_tso_bytes = merged ? 65'549 : 0;
    device_ = std::make_unique<TapDevice>("t0", runtime::Descriptor(pair[0]), MacAddr{}, limits,
                                          runtime::Resources{frames_.get(), &references_, &memory_}, *large_);
  }
  void TearDown() override {
    device_.reset();
    cache_.reset();
    if (frames_ == nullptr) return;
    EXPECT_EQ(frames_->available(), frames_->capacity());
    EXPECT_EQ(references_.available(), references_.capacity());
    EXPECT_EQ(large_->used(), 0u);
  }
  static std::vector<std::byte> pattern(size_t bytes) {
    std::vector<std::byte> out(bytes);
    for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(i * 7 + (i >> 8));
    return out;
  }
  void arrives(size_t bytes) {
    const Header header{};
    const auto data = pattern(bytes);
    iovec pieces[] = {{const_cast<Header*>(&header), sizeof header}, {const_cast<std::byte*>(data.data()), bytes}};
    ASSERT_EQ(writev(peer_.get(), pieces, 2), static_cast<ssize_t>(bytes + sizeof header));
  }
  // Receives until nothing is left or `out` is full.
  size_t receive_all(std::span<pkt::Packet*> out) {
    size_t count = 0;
    for (size_t n = 1; n != 0 && count < out.size(); count += n) n = device_->receive(out.subspan(count));
    return count;
  }
  void expect_pattern(const pkt::Packet& frame, size_t bytes) {
    ASSERT_EQ(frame.total, bytes);
    std::vector<std::byte> got(bytes);
    EXPECT_EQ(pkt::copy_out(frame, 0, got), bytes);
    EXPECT_EQ(got, pattern(bytes));
  }

  base::HeapMemory memory_;
  pkt::HeapPacketPool references_{512, 0};
  std::unique_ptr<pkt::HeapPacketPool> frames_;
  std::unique_ptr<LargePool> large_;
  std::unique_ptr<pkt::PacketCache> cache_;
  std::unique_ptr<TapDevice> device_;
  runtime::Descriptor peer_;
};

TEST_F(TapDeviceTest, FramesOfEverySizeArriveWhole) {
  open(512, 4 << 20);
  pkt::Packet* got[4];
  EXPECT_EQ(receive_all(got), 0u);
  for (size_t bytes : {60u, 1514u, 2048u, 2049u, 5000u, 8192u, 8193u, 30000u, 65549u}) {
    arrives(bytes);
    ASSERT_EQ(receive_all(got), 1u) << bytes;
    EXPECT_EQ(got[0]->headroom(), pkt::kHeadroom);
    expect_pattern(*got[0], bytes);
    cache_->free(got[0]);
  }
}

TEST_F(TapDeviceTest, SmallFramesHoldNoLargeBuffer) {
  open(512, 4 << 20);
  pkt::Packet* got[4];
  for (size_t bytes : {60u, 2048u, 2049u, 8192u}) arrives(bytes);
  ASSERT_EQ(receive_all(got), 4u);
  EXPECT_LE(large_->used(), 1u);  // the posted one
  for (pkt::Packet* p : got) cache_->free(p);
}

TEST_F(TapDeviceTest, WithoutLargeBuffersFramesServe) {
  open(512, 0);
  pkt::Packet* got[2];
  arrives(65549);
  arrives(60);
  ASSERT_EQ(receive_all(got), 2u);
  expect_pattern(*got[0], 65549);
  expect_pattern(*got[1], 60);
  for (pkt::Packet* p : got) cache_->free(p);
}

TEST_F(TapDeviceTest, WithoutOffloadsTheMtuFits) {
  open(512, 0, false, 9000);
  pkt::Packet* got[2];
  arrives(9014);
  ASSERT_EQ(receive_all(got), 1u);
  expect_pattern(*got[0], 9014);
  cache_->free(got[0]);
}

TEST_F(TapDeviceTest, AnEmptyPoolLeavesFramesWithTheKernel) {
  open(64, 4 << 20);
  pkt::Packet* got[100];
  for (int i = 0; i < 70; ++i) arrives(60);
  const size_t first = receive_all(got);
  EXPECT_EQ(first, 64u);
  for (size_t i = 0; i < first; ++i) cache_->free(got[i]);
  cache_->drain();
  const size_t rest = receive_all(got);
  EXPECT_EQ(first + rest, 70u);
  for (size_t i = 0; i < rest; ++i) cache_->free(got[i]);
}

TEST_F(TapDeviceTest, BurstsGrowWithWhatComes) {
  open(512, 4 << 20);
  pkt::Packet* got[32];
  for (int i = 0; i < 20; ++i) arrives(60);
  for (size_t expected : {1u, 2u, 4u, 8u, 5u, 0u, 0u}) {
    ASSERT_EQ(device_->receive(got), expected);
    for (size_t i = 0; i < expected; ++i) cache_->free(got[i]);
  }
}

TEST_F(TapDeviceTest, ARuntIsCountedNotDelivered) {
  open(512, 4 << 20);
  arrives(5);
  arrives(60);
  pkt::Packet* got[4];
  ASSERT_EQ(receive_all(got), 1u);
  expect_pattern(*got[0], 60);
  EXPECT_EQ(device_->counters().rx_errors, 1u);
  cache_->free(got[0]);
}

TEST_F(TapDeviceTest, ChainsLeaveInOnePiece) {
  open(512, 4 << 20);
  pkt::Packet* head = cache_->frame();
  const auto data = pattern(3000);
  std::memcpy(head->append(1000), data.data(), 1000);
  pkt::Packet* tail = cache_->frame();
  std::memcpy(tail->append(2000), data.data() + 1000, 2000);
  pkt::chain(*head, tail);
  ASSERT_EQ(device_->transmit(std::span<pkt::Packet* const>(&head, 1)), 1u);
  std::vector<std::byte> got(4000);
  ASSERT_EQ(read(peer_.get(), got.data(), got.size()), static_cast<ssize_t>(3000 + sizeof(Header)));
  EXPECT_EQ(std::memcmp(got.data() + sizeof(Header), data.data(), 3000), 0);
}

TEST_F(TapDeviceTest, AFullDeviceLeavesTheFrameWithTheCallerUnchanged) {
  open(512, 4 << 20);
  const int little = 4608;
  setsockopt(device_->wait_fd(), SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
  std::vector<pkt::Packet*> frames;
  for (int i = 0; i < 40; ++i) {
    frames.push_back(cache_->frame());
    std::memset(frames.back()->append(1500), 0, 1500);
    frames.back()->flags = pkt::kTxTcpSeg | pkt::kTxTcpChecksum | pkt::kTxIpv4;
    frames.back()->set_tx_lengths(14, 20, 32, 500);
  }
  const size_t sent = device_->transmit(frames);
  ASSERT_LT(sent, frames.size());
  uint16_t checksum;
  std::memcpy(&checksum, frames[sent]->data() + 34 + 16, 2);
  EXPECT_EQ(checksum, 0);
  for (size_t i = sent; i < frames.size(); ++i) cache_->free(frames[i]);
  EXPECT_EQ(device_->counters().tx_frames, sent);
}

TEST_F(TapDeviceTest, AFrameOfTooManySegmentsIsTakenAndCounted) {
  open(512, 4 << 20);
  pkt::Packet* head = cache_->frame();
  head->append(60);
  for (int i = 0; i < TapDevice::kMaxSegments; ++i) {
    pkt::Packet* tail = cache_->frame();
    tail->append(1);
    pkt::chain(*head, tail);
  }
  EXPECT_EQ(device_->transmit(std::span<pkt::Packet* const>(&head, 1)), 1u);
  EXPECT_EQ(device_->counters().tx_errors, 1u);
}

}  // namespace
}  // namespace millrace::drivers::tap
