// millrace-ping: ICMP and ICMPv6 echo from the Millrace stack.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

#include "drivers/all.h"
#include "ping/ping.h"
#include "ping/trace.h"
#include "runtime/app.h"

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-ping", "Send ICMP echo requests from the Millrace stack",
                             "millrace-ping --tap mr0 -c 3 198.18.0.1");
  millrace::drivers::register_all(app.drivers());
  millrace::ping::Options options;
  std::string target;
  double interval_s = 1;
  double wait_s = 2;
  unsigned hop_limit = 0;
  app.cli().add_option("target", target, "address to ask")->required();
  app.cli().add_option("-c", options.count, "requests to send; 0: until stopped")->capture_default_str();
  app.cli()
      .add_option("-s", options.size, "bytes of data behind the ICMP header")
      ->check(CLI::Range(0u, 65'507u))
      ->capture_default_str();
  app.cli()
      .add_option("-i", interval_s, "seconds between requests")
      ->check(CLI::Range(0.0001, 3600.0))
      ->capture_default_str();
  app.cli()
      .add_option("-W", wait_s, "seconds to wait for the last answers")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  bool trace = false;
  app.cli()
      .add_option("-t,--ttl", hop_limit, "TTL or hop limit; with --trace the most hops")
      ->check(CLI::Range(1u, 255u));
  app.cli().add_flag("--trace", trace, "show the routers on the way instead, as traceroute does");
  app.cli().add_flag("-q", options.quiet, "print the summary only");
  return app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    const auto addr = millrace::IpAddr::parse(target);
    if (!addr) return millrace::runtime::failure(fmt::format("{} is not an address", target));
    options.target = *addr;
    options.interval = millrace::nanoseconds(static_cast<int64_t>(interval_s * 1e9));
    options.wait = millrace::nanoseconds(static_cast<int64_t>(wait_s * 1e9));
    options.hop_limit = static_cast<uint8_t>(hop_limit);
    const auto print = [](const std::string& line) {
      fmt::print("{}\n", line);
      std::fflush(stdout);
    };
    if (trace) return std::make_unique<millrace::ping::Trace>(options, print);
    return std::make_unique<millrace::ping::Ping>(options, print);
  });
}
