// The subcommands of `millrace` that have a form of their own. Each adds itself to `cli` and says, once the command
// line is parsed, whether it was meant.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "client.h"

namespace millrace::tool {

/// What to run for a subcommand; its result is the exit status.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

[[nodiscard]] Command ifconfig(CLI::App& cli, Target& target);
[[nodiscard]] Command route(CLI::App& cli, Target& target);
/// `arp` (IPv4) and `ndp` (IPv6).
[[nodiscard]] Command neighbours(CLI::App& cli, Target& target, bool v6);
[[nodiscard]] Command netstat(CLI::App& cli, Target& target);
[[nodiscard]] Command sysctl(CLI::App& cli, Target& target);
/// Only for the help: the words behind `millrace run` are other programs' too and go to run_program() as they are.
CLI::App* add_run(CLI::App& cli);
/// Becomes the program, or says why not and returns an exit status.
[[nodiscard]] int run_program(std::vector<std::string> words);

}  // namespace millrace::tool
