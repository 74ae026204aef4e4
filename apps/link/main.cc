// millrace-link: a link emulator between two ports.
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "drivers/all.h"
#include "impair/text.h"
#include "link/forwarder.h"
#include "link/ports.h"
#include "link/report.h"
#include "runtime/clock.h"

namespace {

using millrace::Instant;
namespace linkapp = millrace::linkapp;
namespace impair = millrace::impair;

constexpr uint32_t kEthernet = 18;  // with a VLAN tag
constexpr int kFailed = 1;
constexpr int kBadUsage = 2;
constexpr const char* kExample =
    "ip netns add far; ip link add l0 type veth peer name near0; ip link add l1 type veth peer name far0 netns far\n"
    "  ip address add 198.19.7.1/24 dev near0; ip -n far address add 198.19.7.2/24 dev far0\n"
    "  for i in l0 l1 near0; do ip link set $i up; done; ip -n far link set far0 up\n"
    "  ethtool -K near0 tx off; ip netns exec far ethtool -K far0 tx off\n"
    "  millrace-link l0 l1 --both delay=10ms --forward rate=100M,queue=1bdp,loss=1% --seconds 4 &\n"
    "  sleep 2; ping -c 5 -i 0.2 198.19.7.2; wait; ip netns delete far; ip link delete l0";

volatile std::sig_atomic_t stop_wanted = 0;
volatile std::sig_atomic_t report_wanted = 0;

struct Options {
  linkapp::PortOptions ports;
  std::vector<std::string> both, forward, backward;
  uint64_t seed = 1;
  double seconds = 0;
  uint32_t nap_us = 0;
  std::array<impair::PathText, 2> paths;
};

void add_options(CLI::App& cli, Options& o) {
  cli.add_option("port-a", o.ports.ports[0], "interface of the kernel, DPDK device arguments or PCI address")
      ->required();
  cli.add_option("port-b", o.ports.ports[1], "the other end")->required();
  const auto add_path = [&](const char* name, std::vector<std::string>& into, const char* text) {
    cli.add_option(name, into, text)->expected(1)->take_all();
  };
  add_path("--both", o.both, "key=value,... of both directions (keys below)");
  add_path("--forward", o.forward, "from the first port to the second; wins over --both");
  add_path("--backward", o.backward, "from the second port to the first");
  cli.add_option("--seed", o.seed, "of all chance; the same frames meet the same fates")->capture_default_str();
  cli.add_option("--seconds", o.seconds, "end after so long; 0: when told to")->check(CLI::NonNegativeNumber);
  cli.add_option("--mtu", o.ports.mtu, "largest IP packet")->check(CLI::Range(68, 9'000))->capture_default_str();
  cli.add_option("--frames", o.ports.frames, "frames under way at most, those in the devices' rings included")
      ->check(CLI::Range(8'192, 4'194'304))
      ->capture_default_str();
  cli.add_option("--nap-us", o.nap_us,
                 "sleep when nothing is due for so long; costs precision. 0: never, one CPU is kept busy")
      ->capture_default_str();
  cli.add_option("--cpu", o.ports.cpu, "run on this CPU");
  cli.add_option("--eal", o.ports.eal, "one more argument for the DPDK environment; repeatable")
      ->expected(1)
      ->take_all();
  cli.add_flag("--force", o.ports.force, "take over an interface even if it carries the default route");
  cli.footer(
      fmt::format("Keys of a direction:\n{}\n\nSIGUSR1 prints the statistics that it prints at its end.\n\n"
                  "Example:\n  {}",
                  impair::kPathKeys, kExample));
}

/// An empty text, or what is wrong.
std::string read_paths(Options& o) {
  const auto read = [](const std::vector<std::string>& texts, const char* flag, impair::PathText& into) {
    for (const std::string& text : texts) {
      if (auto done = impair::parse_path(text, into); !done) return fmt::format("{}: {}", flag, done.error());
    }
    return std::string();
  };
  for (size_t i = 0; i < 2; ++i) {
    if (auto wrong = read(o.both, "--both", o.paths[i]); !wrong.empty()) return wrong;
    const auto& own = i == 0 ? o.forward : o.backward;
    if (auto wrong = read(own, i == 0 ? "--forward" : "--backward", o.paths[i]); !wrong.empty()) return wrong;
  }
  impair::resolve_queues(o.paths[0], o.paths[1]);
  return {};
}

void catch_signals() {
  std::signal(SIGINT, [](int) { stop_wanted = 1; });
  std::signal(SIGTERM, [](int) { stop_wanted = 1; });
  std::signal(SIGUSR1, [](int) { report_wanted = 1; });
}

/// Sleeps until a frame arrives or just before the next one is due, if that is far enough away.
void nap(const linkapp::Forwarder& forwarder, const std::array<millrace::runtime::Device*, 2>& devices, Instant now,
         uint32_t least_us) {
  constexpr millrace::Duration kWakeUp = millrace::microseconds(30);
  constexpr millrace::Duration kMost = millrace::milliseconds(1);  // housekeeping is due
  const auto idle = std::min(forwarder.next_due(), now + kMost) - now;
  if (idle.us() < least_us || idle <= kWakeUp) return;
  std::array<pollfd, 2> fds{};
  for (size_t i = 0; i < 2; ++i) {
    fds[i] = {devices[i]->wait_fd(), POLLIN, 0};
    if (fds[i].fd < 0 || !devices[i]->arm_wait()) return;
  }
  const timespec until{0, (idle - kWakeUp).ns()};
  ppoll(fds.data(), fds.size(), &until, nullptr);
  for (auto* device : devices) device->disarm_wait();
}

void forward(const Options& o, linkapp::Ports& ports) {
  const std::array<millrace::runtime::Device*, 2> devices = {ports.devices[0].get(), ports.devices[1].get()};
  linkapp::Forwarder forwarder(devices, *ports.cache, {o.paths[0].config, o.paths[1].config}, o.seed,
                               o.ports.mtu + kEthernet);
  millrace::runtime::Clock clock;
  const Instant start = clock.now();
  const auto print = [&] {
    const double seconds = static_cast<double>((clock.now() - start).ns()) / 1e9;
    fmt::print("{}",
               linkapp::report(forwarder, o.ports.ports, {devices[0]->counters(), devices[1]->counters()}, seconds));
    std::fflush(stdout);
  };
  const Instant end = o.seconds == 0 ? millrace::kNever : start + millrace::Duration(int64_t(o.seconds * 1e9));
  Instant housekeeping = start;
  for (Instant now = start; stop_wanted == 0 && now < end;) {
    forwarder.take();
    now = clock.now();
    if (!forwarder.turn(now) && o.nap_us != 0) nap(forwarder, devices, now, o.nap_us);
    if (now < housekeeping) continue;
    housekeeping = now + millrace::milliseconds(1);
    for (auto* device : devices) device->housekeeping(now);
    clock.refine();
    if (report_wanted == 0) continue;
    report_wanted = 0;
    print();
  }
  print();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("Emulate a link between two ports: rate, queue, delay, loss, reordering, duplication", "millrace-link");
  Options options;
  add_options(cli, options);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : kBadUsage;
  }
  const auto complain = [](const std::string& what, int status) {
    fmt::print(stderr, "millrace-link: {}\n", what);
    return status;
  };
  if (const std::string wrong = read_paths(options); !wrong.empty()) return complain(wrong, kBadUsage);
  millrace::runtime::DriverRegistry drivers;
  millrace::drivers::register_all(drivers);
  millrace::runtime::Driver* dpdk = drivers.find("dpdk");
  if (dpdk == nullptr) return complain("this build has no DPDK", kFailed);
  try {
    auto ports = linkapp::open_ports(*dpdk, options.ports);
    if (!ports) return complain(ports.error().to_string(), kFailed);
    catch_signals();
    prctl(PR_SET_TIMERSLACK, 1);
    fmt::print(stderr, "millrace-link: {} and {} are linked\n", options.ports.ports[0], options.ports.ports[1]);
    forward(options, *ports);
  } catch (const std::exception& error) {
    return complain(error.what(), kFailed);
  }
  return 0;
}
