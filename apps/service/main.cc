// millraced: owns interfaces and workers; unmodified programs attach to it through shared memory (millrace run).
#include <fmt/format.h>
#include <sys/random.h>

#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include "drivers/all.h"
#include "runtime/app.h"
#include "service/server.h"

namespace {

using millrace::runtime::Outcome;
using millrace::service::Server;
using millrace::service::ServerOptions;

struct Flags {
  ServerOptions server;
  std::string mode = "0660";
  uint32_t end_when_idle_s = 0;
};

void add_flags(CLI::App& cli, Flags& flags) {
  cli.add_option("--socket", flags.server.path, "UNIX socket that programs attach at")->capture_default_str();
  cli.add_option("--mode", flags.mode, "permissions of that socket, in octal")->capture_default_str();
  cli.add_option("--group", flags.server.group, "group of that socket");
  cli.add_option("--allow", flags.server.allowed, "users that may attach, by name or number; repeatable (default: all "
                                                  "that the permissions let connect)");
  cli.add_option("--programs", flags.server.programs, "programs attached at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 4'096));
  cli.add_option("--end-when-idle", flags.end_when_idle_s, "end when no program was attached for so many seconds; 0: "
                                                           "never")
      ->capture_default_str();
}

Outcome<void> settle(Flags& flags, const millrace::conf::Config& config) {
  unsigned mode = 0;
  const char* end = flags.mode.data() + flags.mode.size();
  const auto parsed = std::from_chars(flags.mode.data(), end, mode, 8);
  if (parsed.ec != std::errc() || parsed.ptr != end || mode > 0777) {
    return millrace::runtime::failure(fmt::format("--mode {}: expected permissions in octal, as 0660", flags.mode));
  }
  if (config.workers != 1) {
    return millrace::runtime::failure("millraced serves programs from one worker only", "leave out --workers");
  }
  flags.server.mode = mode;
  flags.server.end_when_idle = millrace::seconds(flags.end_when_idle_s);
  if (getrandom(&flags.server.seed, sizeof flags.server.seed, 0) != sizeof flags.server.seed) {
    return millrace::runtime::failure("the system gives no random numbers");
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  millrace::runtime::App app("millraced", "service that owns interfaces, for programs started with `millrace run`",
                             "millraced --tap mr0 & millrace run -- curl http://198.18.0.1/");
  millrace::drivers::register_all(app.drivers());
  Flags flags;
  add_flags(app.cli(), flags);
  return app.run(argc, argv, [&]() -> Outcome<std::unique_ptr<millrace::Program>> {
    if (auto done = settle(flags, app.config()); !done) {
      return tl::unexpected<millrace::runtime::Failure>(done.error());
    }
    auto server = Server::listen(flags.server);
    if (!server) return tl::unexpected<millrace::runtime::Failure>(server.error());
    app.set_poll_client(server->get());
    return std::move(*server);
  });
}
