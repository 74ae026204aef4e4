// What is decided before DPDK starts: its command line, huge pages, stale sockets.
#include "drivers/dpdk/eal.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "drivers/dpdk/hugepages.h"
#include "drivers/dpdk/stale_socket.h"

namespace millrace::drivers::dpdk {
namespace {

namespace fs = std::filesystem;

bool has(const std::vector<std::string>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

/// A directory of its own for each test, removed afterwards.
class Scratch : public testing::Test {
 protected:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "millrace-XXXXXX").string();
    dir_ = mkdtemp(name.data());
  }
  ~Scratch() override { fs::remove_all(dir_); }
  void pages(const std::string& size, int free) {
    fs::create_directories(dir_ / ("hugepages-" + size));
    std::ofstream(dir_ / ("hugepages-" + size) / "free_hugepages") << free << '\n';
  }
  fs::path dir_;
};
using HugePagesTest = Scratch;
using StaleSocket = Scratch;

int listen_on(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(fd, 4), 0);
  return fd;
}

TEST(EalArguments, LeaveNothingOnDisk) {
  const auto args = eal_arguments({}, {}, 64);
  EXPECT_TRUE(has(args, "--in-memory"));
  EXPECT_TRUE(has(args, "--no-telemetry"));
}

TEST(EalArguments, ShareMemoryInFewFiles) { EXPECT_TRUE(has(eal_arguments({}, {}, 64), "--single-file-segments")); }

TEST(EalArguments, NeverCombineNoHugeWithInMemory) {
  conf::Config config;
  config.dpdk.eal = {"--no-huge"};
  const auto args = eal_arguments(config, {}, 64);
  EXPECT_FALSE(has(args, "--in-memory"));
  EXPECT_TRUE(has(args, "--no-shconf"));
}

TEST(EalArguments, LookAtPciOnlyForPciDevices) {
  const std::vector<DeviceSpec> vdev = {*parse_spec("net_null0")};
  EXPECT_TRUE(has(eal_arguments({}, vdev, 64), "--no-pci"));
  const std::vector<DeviceSpec> pci = {*parse_spec("0000:03:00.0")};
  const auto args = eal_arguments({}, pci, 64);
  EXPECT_FALSE(has(args, "--no-pci"));
  EXPECT_TRUE(has(args, "0000:03:00.0"));
}

TEST(EalArguments, PinTheOnlyLcoreToTheConfiguredCpu) {
  conf::Config config;
  config.cpu = 1;
  EXPECT_TRUE(has(eal_arguments(config, {}, 64), "0@1"));
}

TEST(EalArguments, EndWithTheUsersOwn) {
  conf::Config config;
  config.dpdk.eal = {"--log-level=8"};
  EXPECT_EQ(eal_arguments(config, {}, 64).back(), "--log-level=8");
}

TEST_F(HugePagesTest, AreReadFromTheSizeWithTheMostFreeMemory) {
  pages("2048kB", 100);
  pages("1048576kB", 1);
  EXPECT_EQ(free_huge_pages(dir_.string()).page_bytes, size_t{1} << 30);
  pages("1048576kB", 0);
  const HugePages found = free_huge_pages(dir_.string());
  EXPECT_EQ(found.page_bytes, size_t{2} << 20);
  EXPECT_EQ(found.free_pages, 100U);
}

TEST_F(HugePagesTest, ShortageSaysHowManyAndWhichCommand) {
  pages("2048kB", 3);
  const auto plan = plan_huge_pages(memory_need({}, 2, 1), free_huge_pages(dir_.string()));
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().what.find("for 2 workers and 1 port, and 3 are free"), std::string::npos) << plan.error().what;
  EXPECT_NE(plan.error().hint.find("nr_hugepages"), std::string::npos) << plan.error().hint;
}

TEST(MemoryNeed, CountsThePoolsAndQueuesOfEveryWorker) {
  conf::Config config;
  const MemoryNeed one = memory_need(config.worker, 1, 1);
  config.workers = 8;
  const MemoryNeed eight = memory_need(conf::share_of_worker(config).worker, 8, 1);
  EXPECT_GE(eight.least, one.least + (size_t{7} << 21)) << "pools of their own";
  EXPECT_GE(memory_need(conf::share_of_worker(config).worker, 8, 2).least, eight.least + (size_t{8} << 20));
  // A share is never less than a worker needs.
  config.workers = 64;
  const MemoryNeed many = memory_need(conf::share_of_worker(config).worker, 64, 1);
  EXPECT_GE(many.least, size_t{64} * (8 << 20));
  EXPECT_GE(many.full, many.least);
  EXPECT_LE(many.full, one.full + (size_t{64} << 24));
}

TEST_F(HugePagesTest, PlanIsTheNeedWhereThereIsPlentyAndAllOfThemWhereThereIsEnough) {
  const MemoryNeed need{100 << 20, 300 << 20};
  EXPECT_EQ(*plan_huge_pages(need, {2 << 20, 1000}), 300U);
  EXPECT_EQ(*plan_huge_pages(need, {2 << 20, 100}), 200U);
  EXPECT_FALSE(plan_huge_pages(need, {2 << 20, 49}));
  EXPECT_FALSE(plan_huge_pages(need, {}));
}

TEST_F(StaleSocket, OfADeadServerIsRemoved) {
  const std::string path = (dir_ / "s").string();
  close(listen_on(path));
  ASSERT_TRUE(fs::exists(path));
  EXPECT_TRUE(clear_stale_socket(path));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(StaleSocket, OfALiveServerIsKeptAndRefused) {
  const std::string path = (dir_ / "s").string();
  const int fd = listen_on(path);
  EXPECT_FALSE(clear_stale_socket(path));
  EXPECT_TRUE(fs::exists(path));
  close(fd);
}

TEST_F(StaleSocket, NeverRemovesAnythingElse) {
  const std::string path = (dir_ / "file").string();
  std::ofstream(path) << "precious";
  EXPECT_FALSE(clear_stale_socket(path));
  EXPECT_TRUE(fs::exists(path));
}

TEST_F(StaleSocket, NeedsADirectory) {
  EXPECT_FALSE(clear_stale_socket((dir_ / "no" / "s").string()));
  EXPECT_TRUE(clear_stale_socket((dir_ / "s").string()));
}

}  // namespace
}  // namespace millrace::drivers::dpdk
