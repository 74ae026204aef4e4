// millrace route: the routing tables; add, delete and get.
#include <fmt/format.h>

#include <memory>

#include "commands.h"

namespace millrace::tool {
namespace {

int run(const Target& target, const std::vector<std::string>& words) {
  if (words.empty() || words.front() == "show") return show_routes(target, "routes");
  if (words.front() == "get" && words.size() >= 2) {
    return show_routes(target, fmt::format("route-to {}", fmt::join(words.begin() + 1, words.end(), " ")));
  }
  if (words.front() == "add" || words.front() == "delete") {
    return change(target, fmt::format("route {}", fmt::join(words, " ")));
  }
  return complain({"expected: route [show], get ADDRESS [TABLE], or add|delete PREFIX|default [via GATEWAY] "
                   "[dev INTERFACE] [metric N] [table N]",
                   {}},
                  kBadUsage);
}

}  // namespace

Command route(CLI::App& cli, Target& target) {
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* app = cli.add_subcommand("route", "routes: show, get ADDRESS, add and delete");
  app->add_option("words", *words, "show; get ADDRESS; add|delete PREFIX [via GATEWAY] [dev INTERFACE] ...");
  add_flags(*app, target);
  return {app, [&target, words] { return run(target, *words); }};
}

}  // namespace millrace::tool
