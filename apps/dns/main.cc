// millrace-dns: a small authoritative DNS server on the Millrace stack.
#include <memory>
#include <string>

#include "dns/server.h"
#include "drivers/all.h"
#include "runtime/app.h"

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-dns", "Authoritative DNS server on the Millrace stack",
                             "millrace-dns --tap mr0 --zone example.zone & sleep 1; dig @198.18.0.2 www.example.org");
  millrace::drivers::register_all(app.drivers());
  std::string file;
  std::string origin;
  uint16_t port = 53;
  app.cli().add_option("--zone", file, "master file of the zone (RFC 1035 5)")->required();
  app.cli().add_option("--origin", origin, "name of the zone, if the file does not say $ORIGIN");
  app.cli().add_option("--port", port, "UDP and TCP port")->capture_default_str();
  return app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    millrace::dns::Zone zone;
    if (const std::string problem = zone.load(file, origin); !problem.empty()) {
      return millrace::runtime::failure(problem);
    }
    return std::make_unique<millrace::dns::Server>(std::move(zone), port);
  });
}
