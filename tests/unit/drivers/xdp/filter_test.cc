// What the XDP program takes and what it passes: the real program, run by the kernel over frames made here.
#include "drivers/xdp/filter.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "frames.h"
#include "runtime/descriptor.h"

namespace millrace::drivers::xdp {
namespace {

constexpr const char* kOurs4 = "192.0.2.2";
constexpr const char* kKernels4 = "192.0.2.1";
constexpr const char* kPeer4 = "192.0.2.9";
constexpr const char* kOurs6 = "2001:db8::2:3456";
constexpr const char* kKernels6 = "2001:db8::1";
constexpr const char* kPeer6 = "2001:db8::9";
constexpr const char* kOurNode = "ff02::1:ff02:3456";

// A socket that the map takes: it has memory and rings, but no interface.
runtime::Descriptor half_a_socket(void* memory, size_t bytes) {
  runtime::Descriptor fd(socket(AF_XDP, SOCK_RAW, 0));
  xdp_umem_reg umem{};
  umem.addr = reinterpret_cast<uint64_t>(memory);
  umem.len = bytes;
  umem.chunk_size = 4096;
  const int slots = 4;
  if (setsockopt(fd.get(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem) != 0 ||
      setsockopt(fd.get(), SOL_XDP, XDP_UMEM_FILL_RING, &slots, sizeof slots) != 0 ||
      setsockopt(fd.get(), SOL_XDP, XDP_RX_RING, &slots, sizeof slots) != 0) {
    fd.reset();
  }
  return fd;
}

class XdpFilter : public testing::Test {
 protected:
  void load(bool by_port) {
    Filter::Options options;
    options.mac = kOwnMac;
    options.by_port = by_port;
    auto filter = Filter::load("test0", options);
    if (!filter) GTEST_SKIP() << filter.error().to_string();
    filter_ = std::move(*filter);
    constexpr size_t kBytes = 16 * 4096;
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    socket_ = half_a_socket(memory, kBytes);
    if (!socket_) GTEST_SKIP() << "no AF_XDP here";
    ASSERT_TRUE(filter_->set_socket(0, socket_.get()));
    const IpAddr ours[] = {addr(kOurs4), addr(kOurs6)};
    ASSERT_TRUE(filter_->set_addresses(ours));
  }
  /// Whether the program takes the frame.
  [[nodiscard]] bool takes(Frame frame) const {
    frame.resize(std::max<size_t>(frame.size(), 14));
    bpf_test_run_opts run{};
    run.sz = sizeof run;
    run.data_in = frame.data();
    run.data_size_in = static_cast<uint32_t>(frame.size());
    EXPECT_EQ(bpf_prog_test_run_opts(filter_->program(), &run), 0);
    EXPECT_TRUE(run.retval == XDP_PASS || run.retval == XDP_REDIRECT) << run.retval;
    return run.retval == XDP_REDIRECT;
  }
  [[nodiscard]] bool takes4(const Frame& packet, const MacAddr& to = kOwnMac) const {
    return takes(ethernet(0x0800, packet, to));
  }
  [[nodiscard]] bool takes6(const Frame& packet, const MacAddr& to = kOwnMac) const {
    return takes(ethernet(0x86dd, packet, to));
  }

  std::unique_ptr<Filter> filter_;
  runtime::Descriptor socket_;
};

TEST_F(XdpFilter, TakesWhatIsSentToOurAddresses) {
  load(false);
  if (IsSkipped()) return;
  for (const uint8_t protocol : {kTcp, kUdp, kIcmp, uint8_t{89}}) {
    EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, protocol, Frame(8))));
    EXPECT_FALSE(takes4(ip4(kPeer4, kKernels4, protocol, Frame(8))));
    EXPECT_FALSE(takes4(ip4(kOurs4, kPeer4, protocol, Frame(8))));
  }
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kUdp, Frame(8), 0x2000))) << "a first fragment";
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kUdp, Frame(8), 100))) << "a last fragment";
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kTcp, Frame(20), 0, Frame(12))));
  for (const uint8_t next : {kTcp, kUdp, kIcmp6, uint8_t{44}, uint8_t{0}}) {
    EXPECT_TRUE(takes6(ip6(kPeer6, kOurs6, next, Frame(8))));
    EXPECT_FALSE(takes6(ip6(kPeer6, kKernels6, next, Frame(8))));
  }
}

TEST_F(XdpFilter, TakesArpThatAsksForOrComesFromOurAddresses) {
  load(false);
  if (IsSkipped()) return;
  EXPECT_TRUE(takes(arp(1, kPeer4, kOurs4)));
  EXPECT_TRUE(takes(arp(2, kPeer4, kOurs4)));
  EXPECT_TRUE(takes(arp(1, kOurs4, kPeer4))) << "somebody else has our address";
  EXPECT_FALSE(takes(arp(1, kPeer4, kKernels4)));
  EXPECT_FALSE(takes(arp(2, kPeer4, kKernels4)));
  EXPECT_FALSE(takes(arp(1, kPeer4, kPeer4)));
  Frame odd = arp(1, kPeer4, kOurs4);
  odd[14 + 4] = 8;
  EXPECT_FALSE(takes(odd)) << "hardware addresses of eight bytes";
}

TEST_F(XdpFilter, TakesSolicitationsForOurAddresses) {
  load(false);
  if (IsSkipped()) return;
  const auto solicit = [](uint8_t type, const char* target) {
    Frame f{type, 0, 0, 0, 0, 0, 0, 0};
    put(f, addr(target));
    return f;
  };
  const MacAddr group{{0x33, 0x33, 0xff, 2, 0x34, 0x56}};
  EXPECT_TRUE(takes6(ip6(kPeer6, kOurNode, kIcmp6, solicit(135, kOurs6)), group));
  EXPECT_FALSE(takes6(ip6(kPeer6, kOurNode, kIcmp6, solicit(135, kKernels6)), group));
  EXPECT_FALSE(takes6(ip6(kPeer6, "ff02::1", kIcmp6, solicit(134, kOurs6)), group));
  EXPECT_FALSE(takes6(ip6(kPeer6, "ff02::1", kIcmp6, solicit(136, kOurs6)), group));
  EXPECT_TRUE(takes6(ip6(kPeer6, kOurs6, kIcmp6, solicit(136, kPeer6))));
}

TEST_F(XdpFilter, PassesWhatIsForOthersOrUnknown) {
  load(false);
  if (IsSkipped()) return;
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kTcp, Frame(20)), kOtherMac)) << "another station's frame";
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kTcp, Frame(20)), kBroadcastMac));
  EXPECT_FALSE(takes4(ip4(kPeer4, "224.0.0.1", kUdp, Frame(8)), {{1, 0, 0x5e, 0, 0, 1}}));
  EXPECT_FALSE(takes4(ip4(kPeer4, "255.255.255.255", kUdp, Frame(8)), kBroadcastMac));
  Frame tagged = ethernet(0x8100, Frame{0, 5, 8, 0});
  put(tagged, ip4(kPeer4, kOurs4, kTcp, Frame(20)));
  EXPECT_FALSE(takes(tagged)) << "a VLAN of the kernel's";
  EXPECT_FALSE(takes(ethernet(0x88cc, Frame(46))));
  EXPECT_FALSE(takes4(ip6(kPeer6, kOurs6, kTcp, Frame(20)))) << "IPv6 under the type of IPv4";
}

TEST_F(XdpFilter, PassesWhatIsCutShort) {
  load(false);
  if (IsSkipped()) return;
  for (const Frame& whole : {ethernet(0x0800, ip4(kPeer4, kOurs4, kTcp, Frame())), arp(1, kPeer4, kOurs4),
                             ethernet(0x86dd, ip6(kPeer6, kOurs6, kTcp, Frame()))}) {
    EXPECT_TRUE(takes(whole));
    for (size_t n = 14; n < whole.size(); ++n) EXPECT_FALSE(takes(Frame(whole.begin(), whole.begin() + n))) << n;
  }
}

TEST_F(XdpFilter, FollowsChangesOfTheAddresses) {
  load(false);
  if (IsSkipped()) return;
  const IpAddr other[] = {addr("192.0.2.77"), addr(kOurs6)};
  ASSERT_TRUE(filter_->set_addresses(other));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kTcp, Frame(20))));
  EXPECT_TRUE(takes4(ip4(kPeer4, "192.0.2.77", kTcp, Frame(20))));
  EXPECT_TRUE(takes6(ip6(kPeer6, kOurs6, kTcp, Frame(20))));
  ASSERT_TRUE(filter_->set_addresses({}));
  EXPECT_FALSE(takes6(ip6(kPeer6, kOurs6, kTcp, Frame(20))));
}

TEST_F(XdpFilter, RefusesMoreAddressesThanItHolds) {
  load(false);
  if (IsSkipped()) return;
  std::vector<IpAddr> many;
  for (uint32_t i = 0; i < 1025; ++i) many.push_back(IpAddr::v4(0x0a000000 + i));
  const auto done = filter_->set_addresses(many);
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().what.find("more than 1024 addresses"), std::string::npos) << done.error().what;
  EXPECT_TRUE(takes4(ip4(kPeer4, "10.0.3.255", kTcp, Frame(20))));
}

class XdpPortFilter : public XdpFilter {
 protected:
  void SetUp() override {
    load(true);
    if (IsSkipped()) return;
    auto tcp = std::make_unique<Filter::PortBits>();
    auto udp = std::make_unique<Filter::PortBits>();
    (*tcp)[80 / 64] |= uint64_t{1} << (80 % 64);
    (*tcp)[65535 / 64] |= uint64_t{1} << (65535 % 64);
    (*udp)[53 / 64] |= uint64_t{1} << (53 % 64);
    ASSERT_TRUE(filter_->set_ports(*tcp, *udp));
  }
  // An ICMP error with this packet in it.
  static Frame error(uint8_t type, const Frame& quoted) {
    Frame f{type, 4, 0, 0, 0, 0, 0, 0};
    put(f, quoted);
    return f;
  }
};

TEST_F(XdpPortFilter, TakesOnlyOurPorts) {
  if (IsSkipped()) return;
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kTcp, ports(999, 80))));
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kTcp, ports(999, 65535))));
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kUdp, ports(999, 53, 8))));
  EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kTcp, ports(999, 80), 0, Frame(8)))) << "behind options";
  EXPECT_TRUE(takes6(ip6(kPeer6, kOurs6, kTcp, ports(999, 80))));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kTcp, ports(80, 22))));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kTcp, ports(999, 53))));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kUdp, ports(999, 80, 8))));
  EXPECT_FALSE(takes6(ip6(kPeer6, kOurs6, kUdp, ports(999, 80, 8))));
  EXPECT_FALSE(takes4(ip4(kPeer4, kKernels4, kTcp, ports(999, 80))));
}

TEST_F(XdpPortFilter, LeavesTheAddressItselfToTheKernel) {
  if (IsSkipped()) return;
  EXPECT_FALSE(takes(arp(1, kPeer4, kOurs4)));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kIcmp, {8, 0, 0, 0, 0, 0, 0, 0})));
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kUdp, ports(999, 53, 8), 0x2000))) << "a fragment";
  Frame solicitation{135, 0, 0, 0, 0, 0, 0, 0};
  put(solicitation, addr(kOurs6));
  EXPECT_FALSE(takes6(ip6(kPeer6, kOurNode, kIcmp6, solicitation)));
  EXPECT_FALSE(takes6(ip6(kPeer6, kOurs6, kIcmp6, solicitation)));
}

TEST_F(XdpPortFilter, TakesIcmpErrorsAboutOurPorts) {
  if (IsSkipped()) return;
  for (const uint8_t type : {3, 11, 12}) {
    EXPECT_TRUE(takes4(ip4(kPeer4, kOurs4, kIcmp, error(type, ip4(kOurs4, kPeer4, kTcp, ports(80, 999, 8))))));
    EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kIcmp, error(type, ip4(kOurs4, kPeer4, kTcp, ports(22, 80, 8))))));
    EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kIcmp, error(type, ip4(kKernels4, kPeer4, kTcp, ports(80, 9, 8))))));
  }
  EXPECT_FALSE(takes4(ip4(kPeer4, kOurs4, kIcmp, error(5, ip4(kOurs4, kPeer4, kTcp, ports(80, 999, 8))))));
  for (const uint8_t type : {1, 2, 3, 4}) {
    EXPECT_TRUE(takes6(ip6(kPeer6, kOurs6, kIcmp6, error(type, ip6(kOurs6, kPeer6, kUdp, ports(53, 999, 8))))));
    EXPECT_FALSE(takes6(ip6(kPeer6, kOurs6, kIcmp6, error(type, ip6(kOurs6, kPeer6, kUdp, ports(80, 53, 8))))));
  }
}

}  // namespace
}  // namespace millrace::drivers::xdp
