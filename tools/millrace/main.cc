// The `millrace` command: looks at running programs and changes them through their control sockets, and checks
// configurations. It never touches the data path.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "commands.h"
#include "conf/check.h"
#include "conf/parse.h"

namespace {

using namespace millrace::tool;
namespace conf = millrace::conf;

/// Questions whose answers are printed as they come.
struct Query {
  const char* command;
  const char* text;
};
constexpr Query kQueries[] = {
    {"counters", "counters that are not zero; -a shows all"},
    {"stages", "where the loop's time goes"},
    {"trace", "the newest records of the trace ring, or what was kept about a connection"},
};

int query(const Target& target, const std::string& question) {
  const auto answer = ask_text(target, question);
  if (!answer) return complain(answer.error());
  fmt::print("{}", *answer);
  return 0;
}

int check_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file) return complain({fmt::format("cannot read {}: {}", path, std::strerror(errno)), {}});
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

constexpr std::pair<const char*, const char*> kExamples[] = {
    {"ifconfig", "ifconfig mr0 add 198.18.0.7/24"},
    {"route", "route add default via 198.18.0.1"},
    {"arp", "arp"},
    {"ndp", "ndp"},
    {"netstat", "netstat -e"},
    {"sysctl", "sysctl tcp.delayed_ack_us=10000"},
    {"counters", "counters -a"},
    {"stages", "stages"},
    {"trace", "trace kept"},
    {"config", "config check site.toml"},
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli("Looks at running Millrace programs, changes them, and checks configurations.", "millrace");
  cli.footer("Example:\n  millrace netstat");
  cli.require_subcommand(1);
  cli.set_version_flag("--version", MILLRACE_VERSION);
  Target target;
  std::vector<Command> commands{ifconfig(cli, target), route(cli, target),   neighbours(cli, target, false),
                                neighbours(cli, target, true), netstat(cli, target), sysctl(cli, target)};
  std::string trace_of;
  bool all = false;
  for (const Query& q : kQueries) {
    CLI::App* sub = cli.add_subcommand(q.command, q.text);
    add_flags(*sub, target);
    const std::string name = q.command;
    if (name == "counters") sub->add_flag("-a", all, "also those that are zero");
    if (name == "trace") sub->add_option("connection", trace_of, "id of a connection (see netstat), or 'kept'");
    commands.push_back({sub, [&, name] {
                          return query(target, name + (all ? " all" : "") + (trace_of.empty() ? "" : " " + trace_of));
                        }});
  }
  CLI::App* config = cli.add_subcommand("config", "configuration files");
  config->require_subcommand(1);
  std::string file;
  CLI::App* check = config->add_subcommand("check", "say whether a file is right, and what it sets up");
  check->add_option("file", file, "TOML file")->required();
  CLI::App* describe = config->add_subcommand("describe", "every key with its range, in Markdown");
  commands.push_back({check, [&] { return check_config(file); }});
  commands.push_back({describe, [] {
                        fmt::print("{}", conf::describe_settings());
                        return 0;
                      }});
  for (const auto& [command, example] : kExamples) {
    cli.get_subcommand(command)->footer(std::string("Example:\n  millrace ") + example);
  }
  add_run(cli);
  std::vector<std::string> names{"config", "run"};
  for (const Command& c : commands) names.push_back(c.app->get_name());
  const auto is_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (argc > 1 && std::string_view(argv[1]) == "run" && (argc == 2 || !is_help(argv[2]))) {
    return run_program({argv + 2, argv + argc});
  }
  const std::vector<std::string_view> known(names.begin(), names.end());
  if (argc > 1 && argv[1][0] != '-' && std::find(known.begin(), known.end(), argv[1]) == known.end()) {
    return complain({conf::unknown_message("command", argv[1], "millrace", known), {}}, kBadUsage);
  }
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : kBadUsage;
  }
  for (const Command& c : commands) {
    if (c.app->parsed()) return c.run();
  }
  return kBadUsage;
}
