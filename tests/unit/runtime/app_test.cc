// Programs from flags to exit status, over a driver made for the test.
#include "runtime/app.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/host.h"

namespace millrace::runtime {
namespace {

struct Seen {
  int prepared = 0;
  int opened = 0;
  int closed = 0;
  bool fail = false;
  Resources own{};
  Resources given{};
  conf::Config config;
};

class SilentDevice final : public Device {
 public:
  SilentDevice(std::string name, Seen& seen) : name_(std::move(name)), seen_(seen) {
    limits_.max_segments = 4;
    limits_.tso_v4 = limits_.tx_checksum_v4 = true;
    limits_.max_tso_bytes = 65'535;
  }
  ~SilentDevice() override { ++seen_.closed; }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] MacAddr mac() const override { return MacAddr{{2, 0, 0, 0, 0, 9}}; }
  [[nodiscard]] const link::DeviceLimits& limits() const override { return limits_; }
  size_t receive(std::span<pkt::Packet*>) override { return 0; }
  size_t transmit(std::span<pkt::Packet* const>) override { return 0; }  // never any room

 private:
  std::string name_;
  link::DeviceLimits limits_;
  Seen& seen_;
};

class TestDriver final : public Driver {
 public:
  explicit TestDriver(Seen& seen) : seen_(seen) {}
  [[nodiscard]] std::string_view name() const override { return "tap"; }
  Outcome<void> prepare(const conf::Config& config, std::span<const conf::Interface>) override {
    ++seen_.prepared;
    seen_.config = config;
    return {};
  }
  [[nodiscard]] Resources resources(uint32_t) override { return seen_.own; }
  Outcome<std::unique_ptr<Device>> open(const conf::Config&, const conf::Interface& interface,
                                        const Resources& resources) override {
    if (seen_.fail && seen_.opened == 1) return failure("the second device is missing", "plug it in");
    ++seen_.opened;
    seen_.given = resources;
    return std::make_unique<SilentDevice>(interface.name, seen_);
  }

 private:
  Seen& seen_;
};

class Ends final : public Program {
 public:
  explicit Ends(int status) : status_(status) {}
  void start(Net& net) override { net.stop(status_); }
  void event(Net&, const Event&) override {}

 private:
  int status_;
};

class RuntimeApp : public testing::Test {
 protected:
  // The status, with what was printed on standard error in said_.
  int run(std::vector<std::string> words) {
    App app("prog", "a program", "prog --tap mr0");
    app.drivers().add(std::make_unique<TestDriver>(seen_));
    app.cli().add_option("--level", level_, "an option of its own");
    words.insert(words.begin(), "prog");
    if (std::find(words.begin(), words.end(), "--control") == words.end()) {
      words.insert(words.end(), {"--control", "none"});
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const int status = app.run(static_cast<int>(argv.size()), argv.data(), [&]() -> Outcome<std::unique_ptr<Program>> {
      if (level_ > 9) return failure("--level is above 9");
      return std::make_unique<Ends>(level_);
    });
    out_ = testing::internal::GetCapturedStdout();
    said_ = testing::internal::GetCapturedStderr();
    return status;
  }
  std::string file(const std::string& text) {
    const auto path = std::filesystem::temp_directory_path() / ("millrace-app-" + std::to_string(getpid()) + ".toml");
    std::ofstream(path) << text;
    return path;
  }

  Seen seen_;
  int level_ = 0;
  std::string said_;
  std::string out_;
};

TEST_F(RuntimeApp, TheProgramsStatusIsTheProcesses) {
  EXPECT_EQ(run({}), 0) << said_;
  EXPECT_EQ(run({"--level", "7"}), 7) << said_;
  EXPECT_EQ(seen_.opened, 2);
  EXPECT_EQ(seen_.closed, 2);
}

TEST_F(RuntimeApp, WithoutInterfacesItIsTheDefaultTap) {
  EXPECT_EQ(run({}), 0);
  ASSERT_EQ(seen_.config.interfaces.size(), 1u);
  EXPECT_EQ(seen_.config.interfaces[0].name, "mr0");
  EXPECT_EQ(seen_.config.interfaces[0].addresses.at(0).to_string(), "198.18.0.2/24");
  EXPECT_NE(said_.find("mr0: tap, 02:00:00:00:00:09, MTU 1500, 198.18.0.2/24, fd00:6d72::2/64"), std::string::npos)
      << said_;
}

TEST_F(RuntimeApp, APlainNameIsAnInterfaceOfTheKernel) {
  EXPECT_EQ(run({"--interface", "mr7"}), 0) << said_;
  for (const char* name : {"eth1", "mr", "mr1x", "mrs0"}) {
    EXPECT_EQ(run({"--interface", name, "--address", "10.0.0.3/24"}), 1);
    EXPECT_NE(said_.find("wants the driver 'xdp'"), std::string::npos) << said_;
  }
}

TEST_F(RuntimeApp, FlagsWinOverTheFile) {
  const std::string path =
      file("[interface.a0]\ndriver = \"tap\"\naddress = \"10.0.0.2/24\"\nmtu = 1400\n[tcp]\nsack = 0\nmss = 1000\n");
  EXPECT_EQ(run({"--config", path, "--address", "10.0.0.3/24", "--gateway", "10.0.0.1", "--set", "tcp.sack=1",
                 "--spin-us", "7"}),
            0)
      << said_;
  const conf::Interface& interface = seen_.config.interfaces.at(0);
  ASSERT_EQ(interface.addresses.size(), 1u);
  EXPECT_EQ(interface.addresses[0].to_string(), "10.0.0.3/24");
  EXPECT_EQ(interface.gateways.at(0).to_string(), "10.0.0.1");
  EXPECT_EQ(interface.mtu, 1400);
  EXPECT_EQ(seen_.config.tcp.sack, 1);
  EXPECT_EQ(seen_.config.tcp.mss, 1000);
  EXPECT_EQ(seen_.config.loop.spin_us, 7);
  std::filesystem::remove(path);
}

TEST_F(RuntimeApp, MistakesEndWithTwoAndOpenNothing) {
  EXPECT_EQ(run({"--nonsense"}), 2);
  EXPECT_NE(said_.find("--nonsense"), std::string::npos);
  EXPECT_EQ(run({"--set", "tcp.sakc=1"}), 2);
  EXPECT_NE(said_.find("did you mean 'tcp.sack'?"), std::string::npos) << said_;
  EXPECT_EQ(run({"--level", "10"}), 2);
  EXPECT_EQ(said_, "prog: --level is above 9\n");
  EXPECT_EQ(run({"--config", "/none.toml"}), 2);
  EXPECT_NE(said_.find("/none.toml: No such file"), std::string::npos) << said_;
  EXPECT_EQ(run({"--tap", "a", "--tap", "b", "--address", "10.0.0.2/24"}), 2);
  EXPECT_NE(said_.find("do not say which of the interfaces"), std::string::npos) << said_;
  EXPECT_EQ(seen_.prepared, 0);
}

TEST_F(RuntimeApp, ADeviceThatFailsClosesTheOthers) {
  seen_.fail = true;
  EXPECT_EQ(run({"--tap", "a", "--tap", "b"}), 1);
  EXPECT_EQ(said_, "prog: the second device is missing\n  hint: plug it in\n");
  EXPECT_EQ(seen_.opened, 1);
  EXPECT_EQ(seen_.closed, 1);
}

TEST_F(RuntimeApp, ADriverThatIsNotHereIsNamed) {
  EXPECT_EQ(run({"--vdev", "net_null0"}), 1);
  EXPECT_EQ(said_, "prog: interface dpdk0 wants the driver 'dpdk', which this program does not have\n"
                   "  hint: it has: tap\n");
}

TEST_F(RuntimeApp, HelpShowsTheExample) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_NE(out_.find("Example:\n  prog --tap mr0"), std::string::npos) << out_;
  EXPECT_EQ(seen_.prepared, 0);
}

TEST_F(RuntimeApp, PoolsOfADriverServeEveryDevice) {
  HugeMemory memory;
  RegionPacketPool frames(memory, 2048);
  RegionPacketPool references(memory, 2048, 0);
  seen_.own = {&frames, &references, &memory};
  EXPECT_EQ(run({}), 0) << said_;
  EXPECT_EQ(seen_.given.frames, &frames);
  EXPECT_EQ(frames.available(), frames.capacity());
  seen_.own = {};
  EXPECT_EQ(run({"--set", "worker.frames=1000"}), 0) << said_;
  EXPECT_NE(seen_.given.frames, &frames);
}

TEST_F(RuntimeApp, TheCaptureHoldsWhatTheWorkerSends) {
  const std::string path = file("");
  EXPECT_EQ(run({"--capture", path}), 0) << said_;
  EXPECT_GT(std::filesystem::file_size(path), 200u);  // the announcement of the address is in it
  std::filesystem::remove(path);
}

TEST_F(RuntimeApp, AControlSocketThatCannotBeMadeIsNamed) {
  EXPECT_EQ(run({"--control", "/none/c.sock"}), 1);
  EXPECT_NE(said_.find("cannot listen at the control socket /none/c.sock: No such file or directory"),
            std::string::npos)
      << said_;
  EXPECT_EQ(seen_.closed, seen_.opened);
}

}  // namespace
}  // namespace millrace::runtime
