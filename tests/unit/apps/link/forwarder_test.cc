// The emulator between two devices in memory.
#include "link/forwarder.h"

#include <gtest/gtest.h>

#include <deque>

#include "link/ports.h"
#include "link/report.h"
#include "wire/bytes.h"

namespace millrace::linkapp {
namespace {

class MemoryDevice final : public runtime::Device {
 public:
  explicit MemoryDevice(pkt::PacketCache& cache) : cache_(cache) {}
  ~MemoryDevice() override {
    for (pkt::Packet* p : arriving) cache_.free(p);
    for (pkt::Packet* p : sent) cache_.free(p);
  }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return {}; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*> out) override {
    size_t n = 0;
    for (; n < out.size() && !arriving.empty(); ++n) {
      out[n] = arriving.front();
      arriving.pop_front();
    }
    return n;
  }
  size_t transmit(std::span<pkt::Packet* const> frames) override {
    const size_t n = std::min(frames.size(), room - std::min(room, sent.size()));
    sent.insert(sent.end(), frames.begin(), frames.begin() + static_cast<ptrdiff_t>(n));
    return n;
  }

  std::deque<pkt::Packet*> arriving;
  std::vector<pkt::Packet*> sent;
  size_t room = SIZE_MAX;

 private:
  pkt::PacketCache& cache_;
  std::string name_ = "memory";
  link::DeviceLimits limits_{};
};

class ForwarderTest : public ::testing::Test {
 protected:
  /// An IPv4 frame that ends with `tag`, and whose header tells its length and `more`.
  void arrive(size_t port, uint8_t tag, uint16_t bytes = 100, uint16_t more = 0) {
    pkt::Packet* p = cache_.frame();
    ASSERT_NE(p, nullptr);
    p->len = bytes;
    p->total = bytes;
    std::byte* data = p->buf + p->off;
    std::fill_n(data, bytes, std::byte{});
    wire::store_be16(data + 12, 0x0800);
    wire::store_be16(data + 16, static_cast<uint16_t>(bytes - 14 + more));
    data[bytes - 1] = static_cast<std::byte>(tag);
    devices_[port].arriving.push_back(p);
  }
  bool turn(Instant now) {
    forwarder_->take();
    return forwarder_->turn(now);
  }
  [[nodiscard]] std::string tags(size_t port) {
    std::string text;
    for (const pkt::Packet* p : devices_[port].sent) {
      text += static_cast<char>(p->buf[p->off + p->total - 1]);
    }
    return text;
  }
  void make(const impair::PathConfig& forward, const impair::PathConfig& backward = {}) {
    forwarder_.emplace(std::array<runtime::Device*, 2>{&devices_[0], &devices_[1]}, cache_,
                       std::array{forward, backward}, 1, 1'518);
  }

  pkt::HeapPacketPool frames_{512};
  pkt::HeapPacketPool references_{64, 0};
  pkt::PacketCache cache_{frames_, references_};
  std::array<MemoryDevice, 2> devices_{MemoryDevice(cache_), MemoryDevice(cache_)};
  std::optional<Forwarder> forwarder_;
};

TEST_F(ForwarderTest, CarriesFramesBothWaysEachWithItsOwnDelay) {
  make({.delay = milliseconds(10)}, {.delay = milliseconds(20)});
  arrive(0, 'a');
  arrive(0, 'b');
  arrive(1, 'x');
  const Instant start(1'000);
  EXPECT_TRUE(turn(start));
  EXPECT_EQ(forwarder_->next_due(), start + milliseconds(10));
  EXPECT_FALSE(turn(start + milliseconds(10) - nanoseconds(1)));
  EXPECT_EQ(tags(1), "");
  EXPECT_TRUE(turn(start + milliseconds(10)));
  EXPECT_EQ(tags(1), "ab");
  EXPECT_EQ(tags(0), "");
  EXPECT_TRUE(turn(start + milliseconds(20) + microseconds(7)));
  EXPECT_EQ(tags(0), "x");
  EXPECT_EQ(forwarder_->stats(1).late_ns.max(), 7'000u);
  EXPECT_EQ(forwarder_->next_due(), kNever);
}

TEST_F(ForwarderTest, KeepsTheOrderWhenADeviceTakesOnlySome) {
  make({});
  for (const char tag : {'a', 'b', 'c', 'd'}) arrive(0, static_cast<uint8_t>(tag));
  devices_[1].room = 2;
  turn(Instant(0));
  EXPECT_EQ(tags(1), "ab");
  EXPECT_EQ(forwarder_->held(0), 2u);
  devices_[1].room = SIZE_MAX;
  turn(Instant(1));
  EXPECT_EQ(tags(1), "abcd");
  EXPECT_EQ(forwarder_->stats(0).sent, 4u);
}

TEST_F(ForwarderTest, RefusesWhatNoWireCarries) {
  make({});
  arrive(0, 'a', 1'519);     // longer than the MTU
  arrive(0, 'b', 1'000, 1);  // cut on its way to us
  arrive(0, 'c', 1'000, 60'000);
  arrive(0, 'd', 1'518);
  turn(Instant(0));
  EXPECT_EQ(tags(1), "d");
  EXPECT_EQ(forwarder_->stats(0).too_long, 3u);
  EXPECT_EQ(forwarder_->path(0).frames, 1u);
}

TEST_F(ForwarderTest, ADuplicateIsACopyOfItsOwn) {
  make({.duplicate = impair::kBillion});
  arrive(0, 'a');
  turn(Instant(0));
  ASSERT_EQ(tags(1), "aa");
  EXPECT_NE(devices_[1].sent[0]->buf, devices_[1].sent[1]->buf);
}

TEST_F(ForwarderTest, EveryFrameGoesBackToItsPool) {
  make({.bits_per_second = 1'000'000, .queue_bytes = 1'000, .delay = milliseconds(5), .loss = impair::kBillion / 4});
  for (int i = 0; i < 20; ++i) arrive(0, 'a');
  turn(Instant(0));
  forwarder_.reset();
  for (auto& device : devices_) {
    for (pkt::Packet* p : device.sent) cache_.free(p);
    device.sent.clear();
  }
  EXPECT_EQ(cache_.frames_available(), 512u);
}

TEST_F(ForwarderTest, ReportsWhatItDid) {
  make({.loss = impair::kBillion});
  arrive(0, 'a');
  turn(Instant(0));
  const std::string text = report(*forwarder_, {"l0", "l1"}, {}, 1.5);
  EXPECT_NE(text.find("\"lost\": 1"), std::string::npos) << text;
  EXPECT_NE(text.find("\"from\": \"l1\""), std::string::npos) << text;
}

TEST(LinkPorts, AnInterfacesNameBecomesAnAfPacketDevice) {
  EXPECT_EQ(device_text("l0", 1, 1'500), "net_af_packet1,iface=l0,blocksz=8192,framesz=2048,framecnt=4096");
  EXPECT_EQ(device_text("net_memif0,role=server", 0, 1'500), "net_memif0,role=server,promiscuous=1");
  EXPECT_EQ(device_text("0000:03:00.0", 0, 1'500), "0000:03:00.0,promiscuous=1");
  EXPECT_TRUE(works_without_huge_pages(device_text("l0", 0, 1'500)));
  EXPECT_FALSE(works_without_huge_pages("net_memif0"));
}

}  // namespace
}  // namespace millrace::linkapp
