// millrace ifconfig: interfaces with their addresses and counters; up, down, MTU, add and delete.
#include <fmt/format.h>

#include <memory>

#include "commands.h"

namespace millrace::tool {
namespace {

struct Arguments {
  std::string interface;
  std::vector<std::string> actions;
};

std::string human(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void print(const Json& i) {
  const auto text = [&](const char* key) { return i[key].get<std::string>(); };
  const auto count = [&](const char* key) { return i[key].get<uint64_t>(); };
  std::string flags = text("state") == "up" ? "UP" : "DOWN";
  if (text("link") == "up") flags += ",RUNNING";
  if (text("driver") == "loopback") flags += ",LOOPBACK";
  fmt::print("{}: <{}> mtu {}\n", text("interface"), flags, count("mtu"));
  for (const Json& address : i["addresses"]) {
    const auto shown = address.get<std::string>();
    fmt::print("        {} {}\n", shown.find(':') == std::string::npos ? "inet" : "inet6", shown);
  }
  if (text("mac") != "-") {
    fmt::print("        ether {}  driver {}{}{}\n", text("mac"), text("driver"),
               i["checksum"].get<bool>() ? ", checksums by the device" : "",
               i["tso"].get<bool>() ? ", segmentation by the device" : "");
  }
  fmt::print("        RX packets {}  bytes {} ({})  dropped {}  errors {}\n", count("rx_frames"), count("rx_bytes"),
             human(count("rx_bytes")), count("rx_dropped"), count("rx_errors"));
  fmt::print("        TX packets {}  bytes {} ({})  errors {}\n", count("tx_frames"), count("tx_bytes"),
             human(count("tx_bytes")), count("tx_errors"));
}

int show(const Target& target, const std::string& only) {
  auto rows = ask(target, "interfaces");
  if (!rows) return complain(rows.error());
  Json chosen = Json::array();
  for (Json& row : *rows) {
    if (only.empty() || row["interface"] == only) chosen.push_back(std::move(row));
  }
  if (chosen.empty()) return complain({fmt::format("there is no interface '{}'", only), {}});
  if (target.json) {
    print_json(chosen);
    return 0;
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (i != 0) fmt::print("\n");
    print(chosen[i]);
  }
  return 0;
}

int run(const Target& target, const Arguments& a) {
  if (a.actions.empty()) return show(target, a.interface);
  for (size_t i = 0; i < a.actions.size(); ++i) {
    const std::string& action = a.actions[i];
    int status = 0;
    if (action == "up" || action == "down") {
      status = change(target, fmt::format("link {} {}", a.interface, action));
    } else if (action == "mtu" && i + 1 < a.actions.size()) {
      status = change(target, fmt::format("mtu {} {}", a.interface, a.actions[++i]));
    } else if ((action == "add" || action == "delete") && i + 1 < a.actions.size()) {
      status = change(target, fmt::format("address {} {} {}", action, a.interface, a.actions[++i]));
    } else {
      return complain(
          {fmt::format("'{}' is not understood; expected up, down, mtu N, add ADDRESS/LENGTH or delete ADDRESS",
                       action),
           {}},
          kBadUsage);
    }
    if (status != 0) return status;
  }
  return 0;
}

}  // namespace

Command ifconfig(CLI::App& cli, Target& target) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* app = cli.add_subcommand("ifconfig", "interfaces: show, up, down, add and delete addresses");
  app->add_option("interface", arguments->interface, "only this interface");
  app->add_option("action", arguments->actions, "up, down, mtu N, add ADDRESS/LENGTH, delete ADDRESS");
  add_flags(*app, target);
  return {app, [&target, arguments] { return run(target, *arguments); }};
}

}  // namespace millrace::tool
