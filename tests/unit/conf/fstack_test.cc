// F-Stack's config.ini.
#include "conf/fstack.h"

#include <gtest/gtest.h>

namespace millrace::conf {
namespace {

constexpr std::string_view kPlain = R"(
[dpdk]
lcore_mask=6
port_list=0
[port0]
addr=192.168.1.2
netmask=255.255.255.0
broadcast=192.168.1.255
gateway=192.168.1.1
)";

Fstack good(std::string_view text, uint32_t process = 0) {
  auto read = parse_fstack(text, "config.ini", process);
  EXPECT_TRUE(read) << (read ? "" : read.error().to_string());
  return read ? std::move(*read) : Fstack();
}

std::string bad(std::string_view text, uint32_t process = 0) {
  const auto read = parse_fstack(text, "config.ini", process);
  EXPECT_FALSE(read);
  return read ? "" : read.error().to_string();
}

bool has(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string words(const std::vector<Prefix>& prefixes) {
  std::string out;
  for (const Prefix& p : prefixes) out += p.to_string() + " ";
  return out;
}

TEST(Ini, KnowsSectionsCommentsAndSpaces) {
  const auto read = parse_ini("\xef\xbb\xbf; a\n# b\n [one] \r\n a = 1 ; why\n\tb:x;y\n[two]\nc=\n", "f");
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0].section + "." + (*read)[0].key + "=" + (*read)[0].value, "one.a=1");
  EXPECT_EQ((*read)[1].value, "x;y") << "a semicolon without a space is text";
  EXPECT_EQ((*read)[1].line, 5u);
  EXPECT_EQ((*read)[2].section + "." + (*read)[2].key + "=" + (*read)[2].value, "two.c=");
}

TEST(Ini, NamesTheLineThatIsNone) {
  EXPECT_EQ(parse_ini("a=1\nb\n", "f").error().to_string(), "f:2:1: no key; expected key=value or [section]");
  EXPECT_EQ(parse_ini("[a\n", "f").error().line, 1u);
}

TEST(FstackConfig, APortWithoutADeviceIsATapWithTheGatewayBehindIt) {
  const Fstack f = good(kPlain);
  ASSERT_EQ(f.config.interfaces.size(), 1u);
  const Interface& i = f.config.interfaces[0];
  EXPECT_EQ(i.name, "f-stack-0");
  EXPECT_EQ(i.driver, "tap");
  EXPECT_EQ(i.device, "mr0");
  EXPECT_EQ(words(i.addresses), "192.168.1.2/24 ");
  EXPECT_EQ(words(i.kernel_addresses), "192.168.1.1/24 ");
  ASSERT_EQ(i.gateways.size(), 1u);
  EXPECT_FALSE(i.accept_ra);
  EXPECT_TRUE(has(f.unused, "port0.broadcast"));
  EXPECT_TRUE(f.unknown.empty());
}

TEST(FstackConfig, AnEmptyFileIsTheDefaultInterface) {
  const Fstack f = good("");
  ASSERT_EQ(f.config.interfaces.size(), 1u);
  EXPECT_EQ(f.config.interfaces[0].name, "mr0");
  EXPECT_FALSE(f.config.cpu);
}

TEST(FstackConfig, EachProcessHasACoreOfTheMask) {
  EXPECT_EQ(good(kPlain).config.cpu, 1u);
  EXPECT_EQ(good(kPlain, 1).config.cpu, 2u);
  EXPECT_EQ(good(kPlain).cpus.size(), 2u);
  EXPECT_EQ(good(kPlain, 1).config.processes, 2u) << "they share the TAP";
  EXPECT_EQ(good(kPlain, 1).config.process, 1u);
  EXPECT_EQ(good(std::string(kPlain) + "driver=dpdk\n").config.processes, 1u) << "a DPDK port is one process's";
  EXPECT_EQ(bad(kPlain, 2), "config.ini:3:1: 'lcore_mask' is \"6\"; expected a core for process 2 too");
  EXPECT_EQ(good("[dpdk]\nlcore_mask=0x1000000000\n").config.cpu, 36u);
  EXPECT_EQ(bad("[dpdk]\nlcore_mask=x\n").substr(0, 17), "config.ini:2:1: '");
  EXPECT_NE(bad("[dpdk]\nlcore_mask=0\n"), "");
}

TEST(FstackConfig, AddressesOfBothFamiliesAndVirtualOnes) {
  const Fstack f = good(
      "[dpdk]\nport_list=0\n[port0]\naddr=10.0.0.2\nnetmask=255.255.0.0\naddr6=fd00::9\nprefix_len=56\n"
      "gateway6=fd00::1\nvip_addr=10.0.9.1;10.0.9.2\nvip_addr6=fd00::a;fd00::b\nvip_prefix_len=128\n");
  const Interface& i = f.config.interfaces[0];
  EXPECT_EQ(words(i.addresses), "10.0.0.2/16 fd00::9/56 10.0.9.1/32 10.0.9.2/32 fd00::a/128 fd00::b/128 ");
  EXPECT_EQ(words(i.kernel_addresses), "10.0.0.1/16 fd00::1/56 ");
}

TEST(FstackConfig, PortsAreDevicesInTheOrderOfDpdk) {
  const Fstack f = good(
      "[dpdk]\nport_list=0-2\nallow=03:00.0,02:00.0\nnb_vdev=1\nno_huge=1\ntso=1\ntx_csum_offoad_skip=1\n"
      "[port0]\naddr=10.0.0.2\n[port1]\naddr=10.0.1.2\n[port2]\naddr=10.0.2.2\n"
      "[vdev0]\npath=/run/v0\nqueues=1\nmac=00:00:00:00:00:01\n");
  ASSERT_EQ(f.config.interfaces.size(), 3u);
  EXPECT_EQ(f.config.interfaces[0].device, "02:00.0");
  EXPECT_EQ(f.config.interfaces[1].device, "03:00.0");
  EXPECT_EQ(f.config.interfaces[2].device, "virtio_user0,mac=00:00:00:00:00:01,path=/run/v0,queues=1");
  EXPECT_EQ(f.config.interfaces[2].driver, "dpdk");
  EXPECT_TRUE(f.config.interfaces[0].tso);
  EXPECT_FALSE(f.config.interfaces[0].checksum);
  EXPECT_EQ(f.config.dpdk.eal, std::vector<std::string>{"--no-huge"});
  EXPECT_NE(bad("[dpdk]\nport_list=1\nallow=03:00.0\n[port1]\naddr=10.0.0.2\n").find("port 1 has no device"),
            std::string::npos);
}

TEST(FstackConfig, AChosenDriverCounts) {
  const Fstack f = good("[dpdk]\nport_list=0\n[port0]\naddr=10.0.0.2\ndriver=xdp\ndevice=eth1\nif_name=left\n");
  EXPECT_EQ(f.config.interfaces[0].driver, "xdp");
  EXPECT_EQ(f.config.interfaces[0].device, "eth1");
  EXPECT_EQ(f.config.interfaces[0].name, "left");
  EXPECT_NE(bad("[dpdk]\nport_list=0\n[port0]\ndriver=x\n").find("expected tap, xdp or dpdk"), std::string::npos);
}

TEST(FstackConfig, SysctlsBecomeSettingsWithinTheirRange) {
  const Fstack f = good(
      "[freebsd.boot]\nfd_reserve=1024\nkern.ipc.maxsockets=5000\nhz=100\n[freebsd.sysctl]\n"
      "net.inet.tcp.sendspace=16384\nnet.inet.tcp.recvspace=1\nnet.inet.tcp.msl=2000\n"
      "net.inet.tcp.cc.algorithm=newreno\nnet.inet.tcp.rfc1323=0\nnet.inet.tcp.delayed_ack=0\n"
      "net.inet.tcp.cc.algorithm=vegas\nnet.inet6.ip6.accept_rtadv=2\nnet.inet.tcp.blackhole=1\n");
  EXPECT_EQ(f.first_number, 1'024);
  EXPECT_EQ(f.config.worker.max_connections, 5'000);
  EXPECT_EQ(f.config.tcp.send_buffer, 16'384);
  EXPECT_EQ(f.config.tcp.receive_buffer, 2'048) << "the least";
  EXPECT_EQ(f.config.tcp.time_wait_us, 4'000'000) << "twice the lifetime of a segment";
  EXPECT_EQ(f.config.tcp.congestion_control, 1);
  EXPECT_EQ(f.config.tcp.window_scaling, 0);
  EXPECT_EQ(f.config.tcp.timestamps, 0);
  EXPECT_EQ(f.config.tcp.delayed_ack_us, 0);
  EXPECT_TRUE(has(f.unused, "net.inet.tcp.blackhole"));
  EXPECT_TRUE(has(f.unused, "net.inet.tcp.cc.algorithm")) << "there is no vegas";
  EXPECT_TRUE(has(f.unused, "freebsd.boot.hz"));
  EXPECT_EQ(read_sysctl("net.inet.tcp.msl", f.config), 2'000);
  EXPECT_EQ(read_sysctl("net.inet.tcp.nothing", f.config), std::nullopt);
}

TEST(FstackConfig, EverySysctlNamesASetting) {
  for (const Sysctl& s : sysctls()) EXPECT_NE(s.setting, nullptr) << s.name;
}

TEST(FstackConfig, TheRestIsRead) {
  const Fstack f = good(
      "[dpdk]\nidle_sleep=20\nfstack_log_level=7\nfstack_log_file_prefix=/tmp/x-\npromiscuous=1\ntypo=3\nchannel=4\n"
      "[pcap]\nenable=1\nsnaplen=96\nsavepath=/tmp\n[kni]\nenable=1\n[other]\na=1\n[bond0]\nmode=4\n",
      0);
  EXPECT_EQ(f.idle_sleep_us, 20);
  EXPECT_EQ(f.log_level, 7);
  EXPECT_EQ(f.log_prefix, "/tmp/x-");
  EXPECT_EQ(f.config.capture, "/tmp/f-stack-0.pcapng");
  EXPECT_EQ(f.config.loop.snap_bytes, 96);
  EXPECT_EQ(f.config.dpdk.eal, (std::vector<std::string>{"-n", "4"}));
  EXPECT_TRUE(has(f.unused, "dpdk.promiscuous") && has(f.unused, "kni.enable") && has(f.unused, "bond0.mode"));
  EXPECT_TRUE(has(f.unknown, "dpdk.typo") && has(f.unknown, "other.a"));
}

TEST(FstackConfig, WrongValuesAreNamedWithTheirLine) {
  EXPECT_EQ(bad("[dpdk]\nidle_sleep=x\n"),
            "config.ini:2:1: 'idle_sleep' is \"x\"; expected a number from 0 to 1000000");
  EXPECT_EQ(bad("[dpdk]\nport_list=0\n"), "config.ini:2:1: port_list names 0, but there is no [port0]");
  EXPECT_NE(bad("[dpdk]\nport_list=0\n[port0]\naddr=10.0.0.300\n").find("expected an IPv4 address"), std::string::npos);
  EXPECT_NE(bad("[dpdk]\nport_list=0\n[port0]\naddr=10.0.0.3\nnetmask=255.0.255.0\n").find("a mask such as"),
            std::string::npos);
  EXPECT_NE(bad("[vlan1]\naddr=1.2.3.4\n").find("VLAN interfaces are not supported"), std::string::npos);
  EXPECT_NE(bad("[dpdk]\nport_list=2-1\n"), "");
  EXPECT_NE(bad("[dpdk]\nport_list=99\n"), "");
}

}  // namespace
}  // namespace millrace::conf
