#include "runtime/app.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "conf/parse.h"
#include "runtime/host.h"

namespace millrace::runtime {
namespace {

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;
constexpr const char* kDpdkInterface = "dpdk0";

struct Flags {
  std::string config_file;
  std::vector<std::string> interfaces;
  std::vector<std::string> taps;
  std::vector<std::string> vdevs;
  std::vector<std::string> addresses;
  std::vector<std::string> gateways;
  std::string mtu;
  std::string mac;
  std::vector<std::string> eal;
  std::vector<std::string> set;
  std::string stats;
  std::string spin;
  std::string capture;
  std::string control;
  std::string user;
  uint32_t workers = 1;
  uint32_t cpu = 0;
  bool force = false;
  bool dump_on_signal = false;
};

Outcome<void> from(const tl::expected<void, conf::Problem>& result) {
  if (result) return {};
  return failure(result.error().to_string());
}

Outcome<conf::Config> read_file(const std::string& path, const conf::Config& base) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file) return failure(fmt::format("cannot read the configuration {}: {}", path, std::strerror(errno)));
  auto config = conf::parse_toml(text.str(), path, base);
  if (!config) return failure(config.error().to_string());
  return *config;
}

// --address, --gateway and the like belong to the one interface there is.
Outcome<void> apply_to_only_interface(const Flags& flags, conf::Config& config) {
  std::string keys;
  for (const std::string& address : flags.addresses) keys += ",address=" + address;
  for (const std::string& gateway : flags.gateways) keys += ",gateway=" + gateway;
  if (!flags.mtu.empty()) keys += ",mtu=" + flags.mtu;
  if (!flags.mac.empty()) keys += ",mac=" + flags.mac;
  if (keys.empty()) return {};
  if (config.interfaces.empty()) config.interfaces.push_back(conf::default_interface());
  if (config.interfaces.size() > 1) {
    return failure("--address, --gateway, --mtu and --mac do not say which of the interfaces they mean",
                   "write them as --interface NAME,address=...");
  }
  // Flags win over the file.
  if (!flags.addresses.empty()) config.interfaces[0].addresses.clear();
  if (!flags.gateways.empty()) config.interfaces[0].gateways.clear();
  return from(conf::parse_interface_flag(config.interfaces[0].name + keys, config));
}

Outcome<void> apply_interfaces(const Flags& flags, conf::Config& config) {
  std::vector<std::string> wanted = flags.interfaces;
  for (const std::string& tap : flags.taps) wanted.push_back(tap + ",driver=tap");
  for (size_t i = 0; i < flags.vdevs.size(); ++i) {
    const std::string name = i == 0 ? kDpdkInterface : fmt::format("dpdk{}", i);
    wanted.push_back(name + ",driver=dpdk,device=" + flags.vdevs[i]);
  }
  for (const std::string& interface : wanted) {
    if (auto done = from(conf::parse_interface_flag(interface, config)); !done) return done;
  }
  return apply_to_only_interface(flags, config);
}

Outcome<void> apply(const Flags& flags, const CLI::App& cli, conf::Config& config) {
  if (auto done = apply_interfaces(flags, config); !done) return done;
  for (const std::string& setting : flags.set) {
    if (auto done = from(conf::parse_set_flag(setting, config)); !done) return done;
  }
  if (!flags.stats.empty()) {
    if (auto done = from(conf::parse_set_flag("loop.stats_s=" + flags.stats, config)); !done) return done;
  }
  if (!flags.spin.empty()) {
    if (auto done = from(conf::parse_set_flag("loop.spin_us=" + flags.spin, config)); !done) return done;
  }
  if (cli.count("--workers") != 0) config.workers = flags.workers;
  if (cli.count("--cpu") != 0) config.cpu = flags.cpu;
  if (!flags.capture.empty()) config.capture = flags.capture;
  if (!flags.control.empty()) config.control = flags.control;
  if (!flags.user.empty()) config.user = flags.user;
  config.force = config.force || flags.force;
  for (const std::string& arguments : flags.eal) {
    std::istringstream words(arguments);
    for (std::string word; words >> word;) config.dpdk.eal.push_back(word);
  }
  return {};
}

void add_flags(CLI::App& cli, Flags& flags) {
  const auto add = [&](const char* name, auto& into, const char* text) {
    CLI::Option* option = cli.add_option(name, into, text)->group("Interface and stack");
    using Into = std::remove_reference_t<decltype(into)>;
    if constexpr (std::is_same_v<Into, std::vector<std::string>>) option->expected(1)->take_all();
  };
  add("--config", flags.config_file, "TOML file (docs/CONFIGURATION.md)");
  add("--interface", flags.interfaces, "NAME[,key=value...]: add or change an interface; repeatable");
  add("--tap", flags.taps, "add the TAP interface NAME (default mr0)");
  add("--vdev", flags.vdevs, "add a DPDK device: virtual device arguments or a PCI address");
  add("--address", flags.addresses, "address of the stack, with prefix length; repeatable");
  add("--gateway", flags.gateways, "next hop of everything else; repeatable");
  add("--mtu", flags.mtu, "largest IP packet");
  add("--mac", flags.mac, "Ethernet address of the stack");
  add("--workers", flags.workers, "worker threads, each with its own queue of every device (default 1)");
  add("--cpu", flags.cpu, "run on this CPU; further workers on the next ones");
  add("--capture", flags.capture, "write every frame to this pcapng file");
  add("--stats", flags.stats, "print a line of statistics every so many seconds");
  add("--spin-us", flags.spin, "microseconds without work before sleeping");
  add("--set", flags.set, "tcp.KEY=VALUE, worker.KEY=VALUE or loop.KEY=VALUE; repeatable");
  add("--eal", flags.eal, "more arguments for the DPDK environment");
  add("--control", flags.control, "socket for the millrace command; none = off");
  add("--user", flags.user, "become this user once devices are open");
  const char* group = "Interface and stack";
  cli.add_flag("--force", flags.force, "take over an interface even if it carries the default route")->group(group);
  cli.add_flag("--dump-on-signal", flags.dump_on_signal, "SIGUSR1 prints sockets and counters")->group(group);
}

}  // namespace

struct App::State {
  std::string name;
  CLI::App cli;
  DriverRegistry drivers;
  conf::Config config;
  Flags flags;
  const Stages* stages = nullptr;
  FrameClient* frame_client = nullptr;
  PollClient* poll_client = nullptr;

  State(std::string program, const std::string& description) : name(program), cli(description, std::move(program)) {}

  Outcome<conf::Config> configuration() {
    conf::Config result = config;
    if (!flags.config_file.empty()) {
      auto read = read_file(flags.config_file, result);
      if (!read) return tl::unexpected<Failure>(read.error());
      result = std::move(*read);
    }
    if (auto done = apply(flags, cli, result); !done) return tl::unexpected<Failure>(done.error());
    conf::fill_defaults(result);
    if (auto done = from(conf::check(result, name)); !done) return tl::unexpected<Failure>(done.error());
    return result;
  }

  int complain(const Failure& failure, int status) const {
    fmt::print(stderr, "{}: {}\n", name, failure.to_string());
    return status;
  }
};

App::App(std::string name, const std::string& description, const std::string& example)
    : state_(std::make_unique<State>(std::move(name), description)) {
  state_->cli.footer("Example:\n  " + example);
  add_flags(state_->cli, state_->flags);
}

App::~App() = default;

CLI::App& App::cli() { return state_->cli; }
DriverRegistry& App::drivers() { return state_->drivers; }
conf::Config& App::config() { return state_->config; }
const Stages* App::stages() const { return state_->stages; }
void App::set_frame_client(FrameClient* client) { state_->frame_client = client; }
void App::set_poll_client(PollClient* client) { state_->poll_client = client; }

Outcome<conf::Config> App::configure(const std::vector<std::string>& words) {
  try {
    state_->cli.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them from the end
  } catch (const CLI::ParseError& error) {
    return failure(error.what());
  }
  return state_->configuration();
}

int App::run(int argc, char** argv, const Factory& make) {
  try {
    state_->cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return state_->cli.exit(error) == 0 ? 0 : kBadUsage;
  }
  const auto config = state_->configuration();
  if (!config) return state_->complain(config.error(), kBadUsage);
  state_->config = *config;
  std::vector<std::unique_ptr<Program>> programs;
  for (uint32_t worker = 0; worker < config->workers; ++worker) {
    auto program = make();
    if (!program) return state_->complain(program.error(), kBadUsage);
    programs.push_back(std::move(*program));
  }
  HostOptions options;
  options.dump_on_signal = state_->flags.dump_on_signal;
  options.frame_client = state_->frame_client;
  options.poll_client = state_->poll_client;
  try {
    auto host = Host::open(*config, state_->drivers, options);
    if (!host) return state_->complain(host.error(), kFailed);
    state_->stages = &(*host)->stages();
    const int status = (*host)->run(programs);
    state_->stages = nullptr;
    return status;
  } catch (const std::exception& error) {
    return state_->complain(Failure{error.what(), {}}, kFailed);
  }
}

}  // namespace millrace::runtime
