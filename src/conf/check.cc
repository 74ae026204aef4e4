#include "conf/check.h"

#include "conf/parse.h"

namespace millrace::conf {
namespace {

struct Order {
  const char* section;
  const char* low;
  const char* high;
};
// Pairs of settings of which the first may not be above the second.
constexpr Order kOrders[] = {
    {"ip", "reassembly_source_bytes", "reassembly_bytes"},
    {"tcp", "port_low", "port_high"},
    {"udp", "port_low", "port_high"},
    {"tcp", "rto_min_us", "rto_max_us"},
    {"tcp", "rto_initial_us", "rto_max_us"},
};

std::optional<Flaw> check_orders(const Config& config) {
  Config copy = config;  // field() gives a reference that may be written
  for (const Order& order : kOrders) {
    const Setting& low = *find_setting(order.section, order.low);
    const Setting& high = *find_setting(order.section, order.high);
    const int64_t a = low.field(copy, low);
    const int64_t b = high.field(copy, high);
    if (a <= b) continue;
    return Flaw{{order.section, a != low.value ? order.low : order.high},
                std::string(order.section) + "." + order.low + " (" + std::to_string(a) + ") is above " +
                    order.section + "." + order.high + " (" + std::to_string(b) + ")"};
  }
  return {};
}

std::optional<Flaw> check_interface(const Config& config, const Interface& interface) {
  std::vector<std::string> path{"interface", interface.name};
  if (!interface.ports.empty() && (interface.driver.empty() ? default_driver(interface) : interface.driver) != "xdp") {
    path.emplace_back("ports");
    return Flaw{path, "ports of interface " + interface.name +
                          ": only the driver xdp shares an address with the kernel"};
  }
  for (const IpAddr& gateway : interface.gateways) {
    size_t of_family = 0;
    for (const IpAddr& other : interface.gateways) of_family += gateway.is_v4() == other.is_v4() ? 1 : 0;
    if (of_family > 1) {
      path.emplace_back("gateway");
      return Flaw{path, "interface " + interface.name + " has " + std::to_string(of_family) + " gateways for " +
                            (gateway.is_v4() ? "IPv4" : "IPv6") + "; expected at most one of each family"};
    }
    bool on_link = gateway.is_link_local();
    for (const Prefix& own : interface.addresses) on_link = on_link || own.contains(gateway);
    if (!on_link && !interface.addresses.empty()) {
      path.emplace_back("gateway");
      return Flaw{path, "gateway " + gateway.to_string() + " is in none of the prefixes of interface " +
                            interface.name + "; expected a neighbour on that link"};
    }
  }
  for (const Interface& other : config.interfaces) {
    if (&other != &interface && other.name == interface.name) {
      return Flaw{path, "interface " + interface.name + " is named twice"};
    }
    for (const Prefix& theirs : other.addresses) {
      for (const Prefix& mine : interface.addresses) {
        if (&mine != &theirs && mine.addr == theirs.addr) {
          path.emplace_back("address");
          return Flaw{path, "address " + mine.addr.to_string() + " is given twice"};
        }
      }
    }
  }
  return {};
}

std::optional<Flaw> check_routes(const Config& config) {
  for (size_t i = 0; i < config.routes.size(); ++i) {
    const Route& route = config.routes[i];
    std::vector<std::string_view> names;
    bool found = false;
    for (const Interface& interface : config.interfaces) {
      names.push_back(interface.name);
      found = found || interface.name == route.interface;
    }
    if (!found) {
      return Flaw{{"route", std::to_string(i), "interface"},
                  unknown_message("interface", route.interface, "[[route]]", names)};
    }
    if (!route.gateway.is_unspecified() && route.gateway.is_v4() != route.prefix.addr.is_v4()) {
      return Flaw{{"route", std::to_string(i), "gateway"},
                  "gateway " + route.gateway.to_string() + " is not of the family of " + route.prefix.to_string()};
    }
  }
  return {};
}

}  // namespace

std::optional<Flaw> find_flaw(const Config& config) {
  for (const Interface& interface : config.interfaces) {
    if (auto flaw = check_interface(config, interface)) return flaw;
  }
  if (auto flaw = check_routes(config)) return flaw;
  return check_orders(config);
}

std::string unknown_message(std::string_view what, std::string_view word, std::string_view where,
                            std::span<const std::string_view> known) {
  std::string message = "unknown " + std::string(what) + " '" + std::string(word) + "' in " + std::string(where) + "; ";
  const std::string_view near = nearest(word, known);
  if (!near.empty()) return message + "did you mean '" + std::string(near) + "'?";
  message += known.empty() ? "there is none" : "expected one of ";
  for (size_t i = 0; i < known.size(); ++i) message += (i == 0 ? "" : ", ") + std::string(known[i]);
  return message;
}

tl::expected<void, Problem> check(const Config& config, std::string_view source) {
  if (auto flaw = find_flaw(config)) return tl::unexpected(Problem{std::string(source), 0, 0, flaw->message});
  return {};
}

std::string Problem::to_string() const {
  std::string out = file;
  if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  return out + ": " + message;
}

Interface default_interface() {
  Interface interface;
  interface.name = "mr0";
  return interface;
}

std::string default_driver(const Interface& interface) {
  std::string_view name = interface.device.empty() ? interface.name : interface.device;
  if (!name.starts_with("mr") || name.size() == 2) return "xdp";
  name.remove_prefix(2);
  return name.find_first_not_of("0123456789") == std::string_view::npos ? "tap" : "xdp";
}

void fill_defaults(Config& config) {
  if (config.interfaces.empty()) config.interfaces.push_back(default_interface());
  for (size_t i = 0; i < config.interfaces.size(); ++i) {
    Interface& interface = config.interfaces[i];
    if (interface.driver.empty()) interface.driver = default_driver(interface);
    if (interface.driver != "tap" || i != 0 || !interface.addresses.empty() ||
        interface.dhcp4) {
      continue;
    }
    interface.addresses = {*Prefix::parse("198.18.0.2/24"), *Prefix::parse("fd00:6d72::2/64")};
    if (interface.configure_kernel && interface.kernel_addresses.empty()) {
      interface.kernel_addresses = {*Prefix::parse("198.18.0.1/24"), *Prefix::parse("fd00:6d72::1/64")};
    }
  }
}

}  // namespace millrace::conf
