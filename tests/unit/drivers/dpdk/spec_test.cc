// Device strings of the DPDK driver.
#include "drivers/dpdk/spec.h"

#include <gtest/gtest.h>

namespace millrace::drivers::dpdk {
namespace {

TEST(DeviceSpec, SplitsAVirtualDeviceIntoNameAndArguments) {
  const auto spec = parse_spec("net_vhost0,iface=/tmp/s,queues=1,tso=1");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->name, "net_vhost0");
  EXPECT_EQ(spec->kind, "net_vhost");
  EXPECT_TRUE(spec->is_vhost());
  EXPECT_FALSE(spec->pci);
  EXPECT_EQ(spec->arg("iface"), "/tmp/s");
  EXPECT_EQ(spec->dpdk_args(), "iface=/tmp/s,queues=1,tso=1");
}

TEST(DeviceSpec, AcceptsTheVdevPrefix) {
  for (const char* text : {"--vdev=net_null0", "--vdev net_null0", "vdev:net_null0"}) {
    const auto spec = parse_spec(text);
    ASSERT_TRUE(spec) << text;
    EXPECT_EQ(spec->name, "net_null0");
  }
}

TEST(DeviceSpec, KeepsItsOwnKeysFromDpdk) {
  const auto spec = parse_spec("net_memif0,rx_ring=4096,tx_ring=512,wait_s=5,lro=0,promiscuous=1,role=client");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->rx_ring, 4096);
  EXPECT_EQ(spec->tx_ring, 512);
  EXPECT_EQ(spec->wait_s, 5);
  EXPECT_FALSE(spec->lro);
  EXPECT_TRUE(spec->promiscuous);
  EXPECT_EQ(spec->dpdk_args(), "role=client");
}

TEST(DeviceSpec, GivesVirtioUserARingOfTheGreaterSize) {
  EXPECT_EQ(parse_spec("net_virtio_user0,path=/s")->arg("queue_size"), "1024");
  EXPECT_EQ(parse_spec("net_virtio_user0,path=/s,rx_ring=4096")->arg("queue_size"), "4096");
  EXPECT_EQ(parse_spec("net_virtio_user0,path=/s,queue_size=256")->arg("queue_size"), "256");
}

TEST(DeviceSpec, KnowsPciAddressesWithAndWithoutDomain) {
  for (const char* text : {"0000:03:00.1", "03:00.1", "03:00.1,representor=0"}) {
    const auto spec = parse_spec(text);
    ASSERT_TRUE(spec) << text;
    EXPECT_TRUE(spec->pci);
    EXPECT_EQ(spec->name, "0000:03:00.1");
    EXPECT_EQ(spec->kind, "pci");
  }
}

TEST(DeviceSpec, NamesTheKernelInterfaceThatItTakes) {
  EXPECT_EQ(parse_spec("net_af_packet0,iface=eth1")->kernel_interface(), "eth1");
  EXPECT_EQ(parse_spec("net_af_xdp0,iface=eth1")->kernel_interface(), "eth1");
  EXPECT_EQ(parse_spec("net_vhost0,iface=/tmp/s")->kernel_interface(), "");
}

TEST(DeviceSpec, RefusesWhatIsNoDeviceWithAHint) {
  for (const char* text : {"", "eth0", "0000:03:00", "zz:00.0", "net_null0,,x=1"}) {
    const auto spec = parse_spec(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_FALSE(spec.error().hint.empty()) << text;
  }
}

TEST(DeviceSpec, RefusesRingsThatAreNoPowerOfTwoOrOutOfRange) {
  for (const char* text : {"net_null0,rx_ring=1000", "net_null0,rx_ring=32", "net_null0,tx_ring=65536",
                           "net_null0,lro=2", "net_null0,tx_ring=", "net_null0,wait_s=-1"}) {
    EXPECT_FALSE(parse_spec(text)) << text;
  }
}

}  // namespace
}  // namespace millrace::drivers::dpdk
