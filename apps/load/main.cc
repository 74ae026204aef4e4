// millrace-load: a load generator for HTTP and echo servers on the Millrace stack.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "drivers/all.h"
#include "load/datagram_generator.h"
#include "load/generator.h"
#include "load/syn_forger.h"
#include "load/template_generator.h"
#include "load/templated_datagrams.h"
#include "runtime/app.h"

namespace {

using millrace::Endpoint;
using millrace::IpAddr;
using millrace::load::DatagramGenerator;
using millrace::load::Generator;
using millrace::load::Mode;
using millrace::load::Options;
using millrace::load::SynForger;
using millrace::load::TemplatedDatagrams;
using millrace::load::TemplateGenerator;
using millrace::runtime::failure;

// Both ends of a link in user space, or, in a build without DPDK, an HTTP server of the kernel's side.
#if defined(MILLRACE_WITH_DPDK)
constexpr const char* kExample =
    "millrace-load --vdev net_vhost0,iface=/tmp/mr.sock --eal=--no-huge --address 198.18.0.3/24 \\\n"
    "      --target 198.18.0.2:80 --connections 100 &\n"
    "  sleep 2; timeout 15 millrace-httpd --vdev net_virtio_user0,path=/tmp/mr.sock --eal=--no-huge \\\n"
    "      --address 198.18.0.2/24";
#else
constexpr const char* kExample =
    "millrace-load --tap mr0 --target 198.18.0.1:80 --path / --connections 32   # a server is on port 80 here";
#endif

struct Flags {
  Options run;
  std::string target;
  std::string mode = "http";
  std::vector<std::string> sources;
  double duration_s = 5;
  double warmup_s = 1;
};

void add_flags(CLI::App& cli, Flags& f) {
  cli.add_option("--target", f.target, "ADDRESS:PORT of the server, [ADDRESS]:PORT for IPv6")->required();
  cli.add_option("--mode", f.mode, "http, echo or udp (echo of datagrams)")
      ->check(CLI::IsMember({"http", "echo", "udp"}))
      ->capture_default_str();
  cli.add_option("--connections", f.run.connections, "connections")->check(CLI::Range(1u, 16'000'000u))
      ->capture_default_str();
  cli.add_option("--pipeline", f.run.pipeline, "requests in flight on each connection")
      ->check(CLI::Range(1u, 2000u))
      ->capture_default_str();
  cli.add_option("--outstanding", f.run.outstanding, "most requests in flight, on random connections; 0: no limit")
      ->capture_default_str();
  cli.add_option("--rate", f.run.rate, "requests a second, on schedule; 0: each response starts the next request")
      ->check(CLI::NonNegativeNumber)->capture_default_str();
  cli.add_option("--requests-per-connection", f.run.requests_per_connection, "then close and connect again; 0: never")
      ->capture_default_str();
  cli.add_option("--path", f.run.path, "what to GET")->capture_default_str();
  cli.add_option("--bytes", f.run.bytes, "GET /bytes/N instead, and check the pattern")->capture_default_str();
  cli.add_flag("--check-all", f.run.check_all, "compare every byte of long bodies");
  cli.add_option("--size", f.run.size, "bytes of an echo request")->check(CLI::Range(1u, 1u << 20))
      ->capture_default_str();
  cli.add_option("--duration", f.duration_s, "seconds to measure")->check(CLI::PositiveNumber)->capture_default_str();
  cli.add_option("--warmup", f.warmup_s, "seconds before that")->check(CLI::NonNegativeNumber)->capture_default_str();
  cli.add_option("--connect-rate", f.run.connect_rate, "connections to open a second; 0: as fast as they are answered")
      ->check(CLI::NonNegativeNumber)->capture_default_str();
  cli.add_option("--source", f.sources, "local address to connect from (repeat for several); default: as configured");
  cli.add_flag("--template", f.run.templated,
               "send small requests from templates beside the stack, at a fraction of its cost");
  cli.add_flag("!--no-timestamps", f.run.timestamps, "with --template: do not offer TCP timestamps");
  cli.add_option(
         "--forge-syns", f.run.forge_rate,
         "with --template: so many SYNs a second besides, from addresses that do not exist; over net_vhost only")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  cli.add_flag("--json", f.run.json, "print the result as JSON");
}

millrace::Duration seconds_of(double s) { return millrace::nanoseconds(static_cast<int64_t>(s * 1e9)); }

/// More connections than ephemeral ports need several local addresses and every port of each.
millrace::runtime::Outcome<void> choose_sources(Flags& flags, const millrace::conf::Config& config) {
  constexpr uint32_t kEasy = 20'000;
  constexpr uint32_t kPortsEach = 64'000;
  for (const std::string& text : flags.sources) {
    const auto addr = IpAddr::parse(text);
    if (!addr) return failure(fmt::format("--source {} is not an address", text));
    flags.run.sources.push_back(*addr);
  }
  if (flags.run.sources.empty() && flags.run.connections > kEasy) {
    for (const auto& interface : config.interfaces) {
      for (const auto& prefix : interface.addresses) {
        const bool same_family = prefix.addr.is_v4() == flags.run.target.addr.is_v4();
        if (same_family && !prefix.addr.is_link_local()) flags.run.sources.push_back(prefix.addr);
      }
    }
  }
  const size_t each = flags.run.connections / std::max<size_t>(1, flags.run.sources.size());
  flags.run.fixed_ports = each > kEasy;
  if (each <= kPortsEach) return {};
  return failure(fmt::format("{} connections to one server need {} local addresses", flags.run.connections,
                             flags.run.connections / kPortsEach + 1),
                 "give the interface more addresses; each carries 64,000 connections");
}

/// Templates are for one short request at a time.
millrace::runtime::Outcome<void> check_templated(const Options& run) {
  constexpr uint32_t kMostEcho = 1400;
  if (!run.templated) return {};
  if (run.rate > 0 || run.requests_per_connection != 0) {
    return failure("--template goes with neither --rate nor --requests-per-connection");
  }
  if (run.mode == Mode::kUdp) {
    constexpr uint32_t kMostFlows = 60'000;
    if (run.connections <= kMostFlows) return {};
    return failure(fmt::format("--template sends datagrams of at most {} flows: --connections", kMostFlows));
  }
  if (run.pipeline != 1)
    return failure("--template sends one request at a time over TCP: it does not go with --pipeline");
  if (run.mode == Mode::kEcho && run.size > kMostEcho) {
    return failure(fmt::format("--template sends requests of one segment: --size of at most {}", kMostEcho));
  }
  if (run.path.size() > kMostEcho - 100) return failure("--template sends requests of one segment: --path is too long");
  return {};
}

/// Forged addresses stay on a link between two processes.
millrace::runtime::Outcome<void> check_forged(const Options& run, const millrace::conf::Config& config) {
  if (run.forge_rate == 0) return {};
  if (!run.templated || run.mode == Mode::kUdp || !run.target.addr.is_v4()) {
    return failure("--forge-syns goes with --template, TCP and IPv4 only");
  }
  const bool private_link = std::all_of(config.interfaces.begin(), config.interfaces.end(), [](const auto& interface) {
    return interface.device.starts_with("net_vhost");
  });
  if (private_link) return {};
  return failure("--forge-syns sends over net_vhost only", "it measures a server on the same machine");
}

/// A window of one flow and a payload that can be told from others.
millrace::runtime::Outcome<void> check_datagrams(const Options& run) {
  if (run.mode != Mode::kUdp) return {};
  if (run.rate > 0) return failure("--mode udp does not go with --rate");
  if (run.size < 16 || run.size > 1'400) return failure("--mode udp sends datagrams of 16 to 1400 bytes: --size");
  return {};
}

millrace::runtime::Outcome<void> check(Flags& flags, const millrace::conf::Config& config) {
  const auto target = Endpoint::parse(flags.target);
  if (!target || target->port == 0) {
    return failure(fmt::format("--target {} is not ADDRESS:PORT", flags.target), "for example --target 198.18.0.1:80");
  }
  flags.run.target = *target;
  flags.run.mode = flags.mode == "echo" ? Mode::kEcho : flags.mode == "udp" ? Mode::kUdp : Mode::kHttp;
  flags.run.duration = seconds_of(flags.duration_s);
  flags.run.warmup = seconds_of(flags.warmup_s);
  if (auto good = check_templated(flags.run); !good) return good;
  if (auto good = check_datagrams(flags.run); !good) return good;
  if (auto good = check_forged(flags.run, config); !good) return good;
  return choose_sources(flags, config);
}

std::vector<std::pair<std::string, uint64_t>> stage_cycles(const millrace::runtime::App& app) {
  std::vector<std::pair<std::string, uint64_t>> out;
  const auto* stages = app.stages();
  constexpr auto kStages = static_cast<size_t>(millrace::runtime::Stage::kCount);
  for (size_t s = 0; stages != nullptr && s < kStages; ++s) {
    out.emplace_back(millrace::runtime::kStageNames[s], stages->cycles[s]);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-load", "Load generator on the Millrace TCP/IP stack",
                             kExample);
  millrace::drivers::register_all(app.drivers());
  Flags flags;
  add_flags(app.cli(), flags);
  millrace::load::Report report;
  std::optional<SynForger> forger;
  const int status = app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    if (app.config().workers != 1) return millrace::runtime::failure("the load generator has one worker; run it twice");
    if (auto good = check(flags, app.config()); !good) return tl::unexpected(good.error());
    millrace::load::Machine machine{.hz = millrace::apps::cycles_per_second()};
    const uint64_t seed = machine.cycles();
    machine.busy_cycles = [&app] {
      const auto* stages = app.stages();
      return stages == nullptr ? 0 : std::accumulate(stages->cycles.begin(), stages->cycles.end(), uint64_t{0});
    };
    machine.stage_cycles = [&app] { return stage_cycles(app); };
    if (flags.run.mode == Mode::kUdp && flags.run.templated) {
      auto generator = std::make_unique<TemplatedDatagrams>(flags.run, std::move(machine), report);
      app.set_frame_client(generator.get());
      return generator;
    }
    if (flags.run.mode == Mode::kUdp) {
      return std::make_unique<DatagramGenerator>(flags.run, std::move(machine), report);
    }
    if (!flags.run.templated) return std::make_unique<Generator>(flags.run, std::move(machine), report);
    auto generator = std::make_unique<TemplateGenerator>(flags.run, std::move(machine), report);
    app.set_frame_client(generator.get());
    if (flags.run.forge_rate > 0) {
      forger.emplace(*generator, flags.run.target, flags.run.forge_rate, seed, report);
      app.set_frame_client(&*forger);
    }
    return generator;
  });
  if (report.measured || !report.failure.empty()) {
    fmt::print("{}", flags.run.json ? report.json(flags.run) : report.text(flags.run));
  }
  return status;
}
