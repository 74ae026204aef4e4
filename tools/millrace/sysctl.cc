// millrace sysctl: settings in force; NAME=VALUE changes one.
#include <fmt/format.h>

#include <memory>

#include "commands.h"

namespace millrace::tool {
namespace {

struct Arguments {
  std::vector<std::string> names;
  bool describe = false;
  bool all = false;
};

int show(const Target& target, const std::string& prefix, bool describe) {
  const auto rows = ask(target, prefix.empty() ? "settings" : "settings " + prefix);
  if (!rows) return complain(rows.error());
  if (rows->empty()) return complain({fmt::format("there is no setting '{}'", prefix), "millrace sysctl -a lists all"});
  if (target.json) {
    print_json(*rows);
    return 0;
  }
  for (const Json& row : *rows) {
    const auto name = row["name"].get<std::string>();
    if (!describe) {
      fmt::print("{} = {}\n", name, row["value"].dump());
      continue;
    }
    fmt::print("{} = {}  ({} to {}, default {}, changed {}): {}\n", name, row["value"].dump(), row["least"].dump(),
               row["greatest"].dump(), row["default"].dump(), row["change"].get<std::string>(),
               row["meaning"].get<std::string>());
  }
  return 0;
}

int run(const Target& target, const Arguments& a) {
  if (a.names.empty()) return show(target, {}, a.describe);
  for (const std::string& name : a.names) {
    const size_t equals = name.find('=');
    const int status = equals == std::string::npos
                           ? show(target, name, a.describe)
                           : change(target, fmt::format("set {} {}", name.substr(0, equals), name.substr(equals + 1)));
    if (status != 0) return status;
  }
  return 0;
}

}  // namespace

Command sysctl(CLI::App& cli, Target& target) {
  const auto a = std::make_shared<Arguments>();
  CLI::App* app = cli.add_subcommand("sysctl", "settings: show NAME, set NAME=VALUE");
  app->add_option("name", a->names, "a setting, the beginning of several, or NAME=VALUE");
  app->add_flag("-a", a->all, "all settings (the default)");
  app->add_flag("-d", a->describe, "with range, default and meaning");
  add_flags(*app, target);
  return {app, [&target, a] { return run(target, *a); }};
}

}  // namespace millrace::tool
