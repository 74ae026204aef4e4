// millrace-proxy: carries TCP connections to another server.
#include <charconv>
#include <memory>
#include <string>

#include "drivers/all.h"
#include "proxy/proxy.h"
#include "runtime/app.h"

namespace {

/// ADDRESS:PORT, an IPv6 address in brackets. Port 0 if it is neither.
millrace::Endpoint endpoint_of(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view address = text.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  const std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const auto parsed = millrace::IpAddr::parse(address);
  if (!parsed || error != std::errc() || end != digits.data() + digits.size()) return {};
  return {*parsed, port};
}

}  // namespace

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-proxy",
                             "TCP proxy on the Millrace stack, an example of coroutines and microthreads",
                             "python3 -m http.server 8000 & millrace-proxy --tap mr0 --to 198.18.0.1:8000 & sleep 2; "
                             "curl http://198.18.0.2:8080/; kill %1 %2");
  millrace::drivers::register_all(app.drivers());
  millrace::proxy::Options options;
  std::string to;
  double patience_s = 60;
  bool micro = false;
  app.cli().add_option("--port", options.port, "TCP port to listen on")->capture_default_str();
  app.cli().add_option("--to", to, "ADDRESS:PORT of the server")->required();
  app.cli()
      .add_option("--patience", patience_s, "seconds of silence in a direction that end a connection")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.cli().add_flag("--microthreads", micro, "run as microthreads instead of coroutines");
  return app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    options.server = endpoint_of(to);
    if (options.server.port == 0) return millrace::runtime::failure("--to " + to + " is no ADDRESS:PORT");
    options.patience = millrace::Duration(static_cast<int64_t>(patience_s * 1e9));
    return std::make_unique<millrace::Reactor>([&options, micro](millrace::Reactor& reactor) {
      micro ? serve_with_microthreads(reactor, options) : serve_with_coroutines(reactor, options);
    });
  });
}
