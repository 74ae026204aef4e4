// millrace arp and millrace ndp: the neighbours of either family; set, delete, flush.
#include <fmt/format.h>

#include <memory>

#include "commands.h"

namespace millrace::tool {
namespace {

struct Arguments {
  std::vector<std::string> set;
  std::string forget;
  bool flush = false;
  bool routers = false;
  bool all = false;  // accepted for habit's sake: all are shown
};

int show(const Target& target, bool v6) {
  auto rows = ask(target, "neighbours");
  if (!rows) return complain(rows.error());
  Json chosen = Json::array();
  for (Json& row : *rows) {
    const bool is_v6 = row["address"].get<std::string>().find(':') != std::string::npos;
    if (is_v6 == v6) chosen.push_back(std::move(row));
  }
  if (target.json) {
    print_json(chosen);
  } else {
    print_rows(chosen, {"address", "mac", "interface", "state"}, {"Address", "MAC", "Interface", "State"});
  }
  return 0;
}

int flush(const Target& target, bool v6) {
  const auto rows = ask(target, "neighbours");
  if (!rows) return complain(rows.error());
  size_t gone = 0;
  for (const Json& row : *rows) {
    const auto address = row["address"].get<std::string>();
    if ((address.find(':') != std::string::npos) != v6 || row["state"] == "STATIC") continue;
    const auto interface = row["interface"].get<std::string>();
    if (ask(target, fmt::format("neighbour delete {} dev {}", address, interface))) ++gone;
  }
  fmt::print("forgot {} neighbours\n", gone);
  return 0;
}

int run(const Target& target, const Arguments& a, bool v6) {
  if (a.set.size() == 3) return change(target, fmt::format("neighbour add {} {} {}", a.set[2], a.set[0], a.set[1]));
  if (!a.forget.empty()) return change(target, fmt::format("neighbour delete {}", a.forget));
  if (a.routers) {  // what routers advertised and DHCP servers said
    return show(target, "learned", {"interface", "what", "value", "seconds"},
                {"Interface", "What", "Value", "Seconds left"});
  }
  return a.flush ? flush(target, v6) : show(target, v6);
}

}  // namespace

Command neighbours(CLI::App& cli, Target& target, bool v6) {
  const auto a = std::make_shared<Arguments>();
  CLI::App* app = cli.add_subcommand(v6 ? "ndp" : "arp", v6 ? "IPv6 neighbours" : "IPv4 neighbours");
  app->add_flag("-a", a->all, "all neighbours (the default)");
  app->add_option("-s", a->set, "ADDRESS MAC INTERFACE: a static neighbour")->expected(3);
  app->add_option("-d", a->forget, "ADDRESS: forget it");
  if (v6) app->add_flag("-r", a->routers, "what routers and DHCP servers told: routers, prefixes, name servers, times");
  app->add_flag("-c", a->flush, "forget all that were learned");
  add_flags(*app, target);
  return {app, [&target, a, v6] { return run(target, *a, v6); }};
}

}  // namespace millrace::tool
