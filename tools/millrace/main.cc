// The `millrace` command: looks at running programs through their control sockets, and checks configurations. It never
// touches the data path.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "conf/check.h"
#include "conf/parse.h"
#include "runtime/control.h"

namespace {

using millrace::runtime::failure;
using millrace::runtime::Failure;
using millrace::runtime::Outcome;
namespace conf = millrace::conf;
namespace fs = std::filesystem;

constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

struct Target {
  std::string control;
  std::string interface;
  bool json = false;
};

struct Query {
  const char* command;
  const char* question;
  const char* text;
};
constexpr Query kQueries[] = {
    {"netstat", "sockets", "the live socket list; -s shows counters"},
    {"counters", "counters", "counters that are not zero; -a shows all"},
    {"stages", "stages", "where the loop's time goes"},
    {"trace", "trace", "the newest records of the trace ring, or what was kept about a connection"},
    {"neighbours", "neighbours", "ARP and neighbour discovery"},
    {"routes", "routes", "the routing tables"},
    {"addresses", "addresses", "the stack's addresses"},
    {"interfaces", "interfaces", "devices and what they can do"},
};

std::vector<std::string> running() {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(millrace::runtime::kControlDirectory, error)) {
    if (entry.path().extension() == ".sock") found.push_back(entry.path());
  }
  return found;
}

Outcome<std::string> socket_of(const Target& target) {
  if (!target.control.empty()) return target.control;
  if (!target.interface.empty()) {
    return fmt::format("{}/{}.sock", millrace::runtime::kControlDirectory, target.interface);
  }
  const std::vector<std::string> found = running();
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return failure(fmt::format("no program listens in {}", millrace::runtime::kControlDirectory),
                   "start one, or name its socket with --control PATH");
  }
  return failure(fmt::format("{} programs are running: {}", found.size(), fmt::join(found, ", ")),
                 "name one with --interface NAME or --control PATH");
}

int complain(const Failure& what, int status) {
  fmt::print(stderr, "millrace: {}\n", what.to_string());
  return status;
}

int ask(const Target& target, std::string question) {
  const auto path = socket_of(target);
  if (!path) return complain(path.error(), kFailed);
  if (target.json) question += " json";
  const auto answer = millrace::runtime::ask(*path, question);
  if (!answer) return complain(answer.error(), kFailed);
  fmt::print("{}", *answer);
  return 0;
}

int check_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file) return complain({fmt::format("cannot read {}: {}", path, std::strerror(errno)), {}}, kFailed);
  auto config = conf::parse_toml(text.str(), path);
  if (!config) {
    fmt::print(stderr, "{}\n", config.error().to_string());
    return kBadUsage;
  }
  conf::fill_defaults(*config);
  for (const conf::Interface& interface : config->interfaces) {
    std::string addresses;
    for (const millrace::Prefix& prefix : interface.addresses) addresses += " " + prefix.to_string();
    fmt::print("interface {}: {}{}\n", interface.name, interface.driver, addresses);
  }
  fmt::print("{}: right\n", path);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("Looks at running Millrace programs and checks configurations.", "millrace");
  cli.footer("Example:\n  millrace netstat");
  cli.require_subcommand(1);
  cli.set_version_flag("--version", MILLRACE_VERSION);
  Target target;
  std::string trace_of;
  bool all = false;
  bool statistics = false;
  std::string file;
  for (const Query& query : kQueries) {
    CLI::App* sub = cli.add_subcommand(query.command, query.text);
    sub->add_option("--control", target.control, "socket of the program to ask");
    sub->add_option("--interface", target.interface, "ask the program that has this interface");
    sub->add_flag("--json", target.json, "answer as JSON");
    const std::string_view command = query.command;
    if (command == "netstat") sub->add_flag("-s", statistics, "counters instead of sockets");
    if (command == "counters") sub->add_flag("-a", all, "also those that are zero");
    if (command == "trace") sub->add_option("connection", trace_of, "id of a connection (see netstat), or 'kept'");
  }
  CLI::App* config = cli.add_subcommand("config", "configuration files");
  config->require_subcommand(1);
  CLI::App* check = config->add_subcommand("check", "say whether a file is right, and what it sets up");
  check->add_option("file", file, "TOML file")->required();
  CLI::App* describe = config->add_subcommand("describe", "every key with its range, in Markdown");
  std::vector<std::string_view> known{"config"};
  for (const Query& query : kQueries) known.emplace_back(query.command);
  if (argc > 1 && argv[1][0] != '-' && std::find(known.begin(), known.end(), argv[1]) == known.end()) {
    return complain({conf::unknown_message("command", argv[1], "millrace", known), {}}, kBadUsage);
  }
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : kBadUsage;
  }
  if (check->parsed()) return check_config(file);
  if (describe->parsed()) {
    fmt::print("{}", conf::describe_settings());
    return 0;
  }
  for (const Query& query : kQueries) {
    if (!cli.got_subcommand(query.command)) continue;
    std::string question = statistics ? "counters" : query.question;
    if (all) question += " all";
    if (!trace_of.empty()) question += " " + trace_of;
    return ask(target, std::move(question));
  }
  return kBadUsage;
}
