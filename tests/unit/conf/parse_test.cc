// Configuration text: what is taken, and how a wrong one is named.
#include "conf/parse.h"

#include <gtest/gtest.h>

#include <string>

#include "conf/check.h"

namespace millrace::conf {
namespace {

std::string problem_of(std::string_view text) {
  auto config = parse_toml(text, "site.toml");
  return config ? "accepted" : config.error().to_string();
}

TEST(ConfParse, TakesAWholeFile) {
  auto config = parse_toml(R"(
cpu = 3
capture = "all.pcapng"
force = true
[interface.mr0]
driver = "tap"
address = ["198.18.0.2/24", "fd00:6d72::2/64"]
kernel_address = "198.18.0.1/24"
gateway = "198.18.0.1"
mtu = 9000
mac = "02:00:00:00:00:02"
tso = false
[interface.wan]
driver = "dpdk"
device = "net_af_packet0,iface=eth1"
address = "192.0.2.10/24"
[[route]]
prefix = "10.0.0.0/8"
interface = "wan"
gateway = "192.0.2.1"
metric = 5
[tcp]
sack = 0
[worker]
max_connections = 1000
[loop]
spin_us = 0
[dpdk]
eal = ["--no-huge", "-m", "512"]
)",
                           "site.toml");
  ASSERT_TRUE(config) << config.error().to_string();
  EXPECT_EQ(config->cpu, 3u);
  EXPECT_TRUE(config->force);
  ASSERT_EQ(config->interfaces.size(), 2u);
  const Interface& mr0 = config->interfaces[0];
  EXPECT_EQ(mr0.name, "mr0");
  ASSERT_EQ(mr0.addresses.size(), 2u);
  EXPECT_EQ(mr0.addresses[0].to_string(), "198.18.0.2/24");
  EXPECT_EQ(mr0.kernel_addresses.at(0).to_string(), "198.18.0.1/24");
  EXPECT_EQ(mr0.gateways.at(0).to_string(), "198.18.0.1");
  EXPECT_EQ(mr0.mtu, 9000);
  EXPECT_EQ(mr0.mac->to_string(), "02:00:00:00:00:02");
  EXPECT_FALSE(mr0.tso);
  EXPECT_TRUE(mr0.checksum);
  EXPECT_EQ(config->interfaces[1].device, "net_af_packet0,iface=eth1");
  ASSERT_EQ(config->routes.size(), 1u);
  EXPECT_EQ(config->routes[0].metric, 5u);
  EXPECT_EQ(config->tcp.sack, 0);
  EXPECT_EQ(config->worker.max_connections, 1000);
  EXPECT_EQ(config->loop.spin_us, 0);
  EXPECT_EQ(config->dpdk.eal.size(), 3u);
}

TEST(ConfParse, NamesPlaceAndNearestKey) {
  EXPECT_EQ(problem_of("cpu = 1\n\n[interface.mr0]\n  adress = \"198.18.0.2/24\"\n"),
            "site.toml:4:3: unknown key 'adress' in [interface.mr0]; did you mean 'address'?");
  EXPECT_EQ(problem_of("[tcp]\nsakc = 1\n"), "site.toml:2:1: unknown key 'sakc' in [tcp]; did you mean 'sack'?");
  EXPECT_EQ(problem_of("[tpc]\nsack = 1\n"),
            "site.toml:1:2: unknown key 'tpc' in the top of the file; did you mean 'tcp'?");
}

TEST(ConfParse, ListsTheKeysWhereNoneIsNear) {
  EXPECT_EQ(problem_of("[dpdk]\nmemory_channels = 4\n"),
            "site.toml:2:1: unknown key 'memory_channels' in [dpdk]; expected one of eal");
}

TEST(ConfParse, NamesWrongTypesAndValues) {
  EXPECT_EQ(problem_of("[interface.mr0]\nmtu = 100\n"),
            "site.toml:2:7: 'mtu' in [interface.mr0] is 100; expected a whole number from 1280 to 9216");
  EXPECT_EQ(problem_of("[interface.mr0]\nmtu = \"big\"\n"),
            "site.toml:2:7: 'mtu' in [interface.mr0] is \"big\"; expected a whole number from 1280 to 9216");
  EXPECT_EQ(problem_of("[interface.mr0]\naddress = \"198.18.0.2\"\n"),
            "site.toml:2:11: 'address' in [interface.mr0] is \"198.18.0.2\"; expected an address with a prefix length, "
            "such as \"198.18.0.2/24\", or a list of them");
  EXPECT_EQ(problem_of("[interface.mr0]\nmac = \"01:00:5e:00:00:01\"\n"),
            "site.toml:2:7: 'mac' in [interface.mr0] is \"01:00:5e:00:00:01\"; expected the Ethernet address of one "
            "host, such as \"02:00:00:00:00:02\"");
  EXPECT_EQ(problem_of("[interface.mr0]\ndriver = \"tapp\"\n"),
            "site.toml:2:10: 'driver' in [interface.mr0] is \"tapp\"; expected \"tap\", \"xdp\" or \"dpdk\"");
  EXPECT_EQ(problem_of("force = 1\n"), "site.toml:1:9: 'force' in the top of the file is 1; expected true or false");
  EXPECT_EQ(problem_of("interface = 3\n"), "site.toml:1:13: 'interface' is a whole number; expected a table");
  EXPECT_EQ(problem_of("[interface.a_name_of_17_byt]\n"),
            "site.toml:1:12: interface name 'a_name_of_17_byt' has 16 characters; expected 1 to 15");
}

TEST(ConfParse, ReadsPortsAndModesOfAnInterfaceSharedWithTheKernel) {
  const auto config = parse_toml(
      "[interface.eth1]\nports = [\"tcp/80\", \"udp/5000-5100\", \"53\"]\nxdp_mode = \"copy\"\nqueues = 4\n", "f");
  ASSERT_TRUE(config) << config.error().to_string();
  const Interface& interface = config->interfaces.at(0);
  ASSERT_EQ(interface.ports.size(), 3u);
  EXPECT_TRUE(interface.ports[0].tcp && !interface.ports[0].udp);
  EXPECT_EQ(interface.ports[0].low, 80);
  EXPECT_EQ(interface.ports[0].high, 80);
  EXPECT_TRUE(!interface.ports[1].tcp && interface.ports[1].udp);
  EXPECT_EQ(interface.ports[1].low, 5000);
  EXPECT_EQ(interface.ports[1].high, 5100);
  EXPECT_TRUE(interface.ports[2].tcp && interface.ports[2].udp);
  EXPECT_EQ(interface.xdp_mode, "copy");
  EXPECT_EQ(interface.queues, 4);
  for (const char* bad : {"0", "65536", "80-", "90-80", "sctp/80", "tcp/", "tcp/80,81", "80-65536", "tcp/80 "}) {
    EXPECT_EQ(problem_of("[interface.eth1]\nports = \"" + std::string(bad) + "\"\n"),
              "site.toml:2:9: 'ports' in [interface.eth1] is \"" + std::string(bad) +
                  "\"; expected ports, such as \"tcp/80\", \"udp/5000-5100\" or \"53\", or a list of them");
  }
  EXPECT_EQ(problem_of("[interface.mr0]\nports = \"80\"\n"),
            "site.toml:2:9: ports of interface mr0: only the driver xdp shares an address with the kernel");
}

TEST(ConfParse, NamesTheLineThatIsNotToml) {
  const std::string problem = problem_of("cpu = 1\n[interface.mr0\n");
  EXPECT_TRUE(problem.starts_with("site.toml:2:")) << problem;
  EXPECT_NE(problem.find("not TOML"), std::string::npos) << problem;
}

TEST(ConfParse, NamesContradictions) {
  EXPECT_EQ(problem_of("[tcp]\nport_high = 2000\nport_low = 3000\n"),
            "site.toml:3:12: tcp.port_low (3000) is above tcp.port_high (2000)");
  EXPECT_EQ(problem_of("[tcp]\nport_high = 2000\n"),
            "site.toml:2:13: tcp.port_low (32768) is above tcp.port_high (2000)");
  EXPECT_EQ(problem_of("[interface.mr0]\naddress = \"10.0.0.2/24\"\ngateway = \"10.0.1.1\"\n"),
            "site.toml:3:11: gateway 10.0.1.1 is in none of the prefixes of interface mr0; expected a neighbour on "
            "that link");
  EXPECT_EQ(problem_of("[interface.a]\naddress = \"10.0.0.2/24\"\n[interface.b]\naddress = \"10.0.0.2/16\"\n"),
            "site.toml:2:11: address 10.0.0.2 is given twice");
  EXPECT_EQ(problem_of("[interface.mr0]\n[[route]]\nprefix = \"10.0.0.0/8\"\ninterface = \"mr1\"\n"),
            "site.toml:4:13: unknown interface 'mr1' in [[route]]; did you mean 'mr0'?");
  EXPECT_EQ(problem_of("[interface.mr0]\n[[route]]\nprefix = \"10.0.0.0/8\"\n"),
            "site.toml:2:1: [[route]] has no 'interface'");
}

TEST(ConfParse, LeavesNothingHalfConfigured) {
  Config base;
  base.tcp.sack = 0;
  auto config = parse_toml("[tcp]\nsack = 1\nmss = -1\n", "site.toml", base);
  ASSERT_FALSE(config);
  EXPECT_EQ(base.tcp.sack, 0);
}

TEST(ConfFlags, InterfaceFlagAddsAndChanges) {
  Config config;
  ASSERT_TRUE(parse_interface_flag("mr0,address=10.0.0.2/24,address=fd00::2/64,mtu=1400", config));
  ASSERT_TRUE(parse_interface_flag("mr0,driver=dpdk,device=net_af_packet0,iface=eth1", config));
  ASSERT_EQ(config.interfaces.size(), 1u);
  EXPECT_EQ(config.interfaces[0].addresses.size(), 2u);
  EXPECT_EQ(config.interfaces[0].mtu, 1400);
  EXPECT_EQ(config.interfaces[0].device, "net_af_packet0,iface=eth1");
}

TEST(ConfFlags, NameTheFlagAndTheNearestKey) {
  Config config;
  EXPECT_EQ(parse_interface_flag("mr0,adress=10.0.0.2/24", config).error().to_string(),
            "--interface: unknown key 'adress' in mr0; did you mean 'address'?");
  EXPECT_EQ(parse_interface_flag("mr0,mtu", config).error().to_string(),
            "--interface: \"mtu\" has no value; expected key=value");
  EXPECT_TRUE(config.interfaces.empty());
  EXPECT_EQ(parse_set_flag("tcp.sakc=1", config).error().to_string(),
            "--set: unknown key 'tcp.sakc' in settings; did you mean 'tcp.sack'?");
  EXPECT_EQ(parse_set_flag("tcp.sack=2", config).error().to_string(),
            "--set: tcp.sack is \"2\"; expected a whole number from 0 to 1");
  EXPECT_EQ(parse_set_flag("tcp.sack", config).error().to_string(),
            "--set: \"tcp.sack\" has no value; expected tcp.KEY=VALUE");
  EXPECT_TRUE(parse_set_flag("tcp.sack=0", config));
  EXPECT_EQ(config.tcp.sack, 0);
}

TEST(ConfDefaults, TapBetweenTheWellKnownAddresses) {
  Config config;
  fill_defaults(config);
  ASSERT_EQ(config.interfaces.size(), 1u);
  EXPECT_EQ(config.interfaces[0].name, "mr0");
  EXPECT_EQ(config.interfaces[0].addresses.at(0).to_string(), "198.18.0.2/24");
  EXPECT_EQ(config.interfaces[0].addresses.at(1).to_string(), "fd00:6d72::2/64");
  EXPECT_EQ(config.interfaces[0].kernel_addresses.at(0).to_string(), "198.18.0.1/24");
  EXPECT_EQ(config.interfaces[0].kernel_addresses.at(1).to_string(), "fd00:6d72::1/64");
  EXPECT_TRUE(check(config, "defaults"));
}

TEST(ConfNearest, MeasuresByEdits) {
  const std::string_view words[] = {"address", "gateway", "mtu"};
  EXPECT_EQ(nearest("adress", words), "address");
  EXPECT_EQ(nearest("gatewya", words), "gateway");
  EXPECT_EQ(nearest("mut", words), "mtu");
  EXPECT_EQ(nearest("completely", words), "");
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), words), "");
}

}  // namespace
}  // namespace millrace::conf
