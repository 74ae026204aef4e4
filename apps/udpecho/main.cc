// millrace-udp-echo: the echo service of RFC 862 over UDP on the Millrace stack.
#include <memory>
#include <string>
#include <vector>

#include "drivers/all.h"
#include "runtime/app.h"
#include "udpecho/echo.h"

int main(int argc, char** argv) {
  millrace::runtime::App app("millrace-udp-echo", "UDP echo server on the Millrace stack",
                             "millrace-udp-echo --tap mr0 & sleep 1; echo hello | nc -u -w1 198.18.0.2 7; kill %1");
  millrace::drivers::register_all(app.drivers());
  millrace::udpecho::Options options;
  app.cli().add_option("--port", options.port, "UDP port")->capture_default_str();
  app.cli()
      .add_option("--sockets", options.sockets, "sockets that share the port")
      ->check(CLI::Range(1u, 1'024u))
      ->capture_default_str();
  app.cli().add_flag("--copy", options.copy, "copy payloads instead of sending the received buffers");
  app.cli().add_flag("--merge", options.merge, "take and send runs of datagrams as one message");
  std::vector<std::string> groups;
  app.cli().add_option("--group", groups, "multicast group to listen to as well; repeatable");
  return app.run(argc, argv, [&]() -> millrace::runtime::Outcome<std::unique_ptr<millrace::Program>> {
    options.groups.clear();  // asked for once a worker
    for (const std::string& text : groups) {
      const auto group = millrace::IpAddr::parse(text);
      if (!group || !group->is_multicast()) return millrace::runtime::failure("--group " + text + " is no group");
      options.groups.push_back(*group);
    }
    return std::make_unique<millrace::udpecho::Echo>(options);
  });
}
