// millrace-httpd: an HTTP/1.1 server on the Millrace stack.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "drivers/all.h"
#include "httpd/program.h"
#include "runtime/app.h"

namespace {

using millrace::httpd::HttpdOptions;
using millrace::httpd::HttpdProgram;
using millrace::httpd::Site;

struct Flags {
  HttpdOptions program;
  uint16_t echo_port = 0;
  std::string root;
  uint64_t root_limit_mib = 1024;
  uint32_t idle_s = 75;
  uint32_t request_s = 15;
};

void add_flags(CLI::App& cli, Flags& flags) {
  cli.add_option("--port", flags.program.port, "TCP port of the HTTP server")->capture_default_str();
  cli.add_option("--root", flags.root, "serve the files below this directory; they are read at the start");
  cli.add_option("--root-limit", flags.root_limit_mib, "most MiB of files to hold")->capture_default_str();
  cli.add_option("--echo", flags.echo_port, "also echo raw bytes on this TCP port");
  cli.add_option("--idle-timeout", flags.idle_s, "close connections that are idle for so many seconds; 0: never")
      ->capture_default_str();
  cli.add_option("--request-timeout", flags.request_s, "refuse requests that take longer to arrive; 0: never")
      ->capture_default_str();
}

std::string served_by(const millrace::conf::Config& config) {
  std::string text;
  for (const auto& interface : config.interfaces) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", interface.name, interface.driver);
  }
  return text.empty() ? "Millrace" : text;
}

}  // namespace

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-httpd", "HTTP/1.1 server on the Millrace TCP/IP stack",
                             "millrace-httpd --tap mr0 & sleep 1; curl http://198.18.0.2/; kill %1");
  millrace::drivers::register_all(app.drivers());
  Flags flags;
  add_flags(app.cli(), flags);
  return app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    Site site(served_by(app.config()));
    if (!flags.root.empty()) {
      const std::string problem = site.load(flags.root, flags.root_limit_mib << 20);
      if (!problem.empty()) return millrace::runtime::failure(problem);
    }
    if (flags.echo_port != 0) flags.program.echo_port = flags.echo_port;
    flags.program.idle_timeout = millrace::seconds(flags.idle_s);
    flags.program.request_timeout = millrace::seconds(flags.request_s);
    return std::make_unique<HttpdProgram>(flags.program, std::move(site));
  });
}
