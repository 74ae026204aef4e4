#include "conf/keys.h"

#include <charconv>

namespace millrace::conf {
namespace {

Expected want(std::string text) { return text; }

Expected read_switch(const Value& value, bool& into) {
  if (value.kind == Value::Kind::kSwitch) {
    into = value.on;
    return {};
  }
  if (value.from_flag && (value.text == "true" || value.text == "on")) {
    into = true;
    return {};
  }
  if (value.from_flag && (value.text == "false" || value.text == "off")) {
    into = false;
    return {};
  }
  return want("true or false");
}

Expected read_text(const Value& value, std::string& into) {
  if (value.kind != Value::Kind::kText || value.text.empty()) return want("a text that is not empty");
  into = value.text;
  return {};
}

// Applies `one` to the value, or to each item of a list. From a flag, items add to what earlier flags gave.
template <class T, class One>
Expected read_list(const Value& value, std::vector<T>& into, const char* expected, One&& one) {
  std::vector<T> items;
  if (value.from_flag) items = into;
  const std::span<const Value> values =
      value.kind == Value::Kind::kList ? std::span<const Value>(value.items) : std::span<const Value>(&value, 1);
  for (const Value& item : values) {
    if (item.kind != Value::Kind::kText) return want(expected);
    auto parsed = one(item.text);
    if (!parsed) return want(expected);
    items.push_back(*parsed);
  }
  into = std::move(items);
  return {};
}

std::optional<Prefix> interface_address(const std::string& text) {
  auto prefix = Prefix::parse(text);
  if (!prefix || text.find('/') == std::string::npos) return {};
  const IpAddr& addr = prefix->addr;
  if (addr.is_unspecified() || addr.is_multicast() || addr.is_limited_broadcast()) return {};
  return prefix;
}

std::optional<IpAddr> gateway_address(const std::string& text) {
  auto addr = IpAddr::parse(text);
  if (!addr || addr->is_unspecified() || addr->is_multicast() || addr->is_limited_broadcast()) return {};
  return addr;
}

// "80", "tcp/80", "udp/5000-5100".
std::optional<PortRange> port_range(const std::string& text) {
  PortRange range;
  std::string_view rest = text;
  if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view protocol = rest.substr(0, slash);
    if (protocol != "tcp" && protocol != "udp") return {};
    range.tcp = protocol == "tcp";
    range.udp = protocol == "udp";
    rest.remove_prefix(slash + 1);
  }
  const auto read = [&](uint16_t& port) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    return error == std::errc{} && port != 0;
  };
  if (!read(range.low)) return {};
  range.high = range.low;
  if (!rest.empty() && rest[0] == '-') {
    rest.remove_prefix(1);
    if (!read(range.high)) return {};
  }
  if (!rest.empty() || range.high < range.low) return {};
  return range;
}

constexpr const char* kAddressForm = "an address with a prefix length, such as \"198.18.0.2/24\", or a list of them";

constexpr std::string_view kDrivers[] = {"tap", "xdp", "dpdk"};
constexpr std::string_view kXdpModes[] = {"auto", "zero-copy", "copy", "generic"};

// One of a few words.
Expected read_choice(const Value& value, std::string& into, std::span<const std::string_view> words) {
  std::string expected;
  for (size_t i = 0; i < words.size(); ++i) {
    if (value.kind == Value::Kind::kText && value.text == words[i]) {
      into = value.text;
      return {};
    }
    expected += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + ('"' + std::string(words[i]) + '"');
  }
  return expected;
}

template <class Number, class T, Number T::*field, int64_t least, int64_t greatest>
Expected number_into(const Value& value, T& into) {
  int64_t number = 0;
  if (auto problem = read_number(value, least, greatest, number)) return problem;
  into.*field = static_cast<Number>(number);
  return {};
}

constexpr KeyRow<Config> kTop[] = {
    {"workers", "number", "1", "worker threads, 1 to 64; each has its own queue of every device",
     number_into<uint32_t, Config, &Config::workers, 1, 64>},
    {"cpu", "number", "not pinned", "CPU that the first worker is pinned to; further workers take the next ones",
     [](const Value& v, Config& c) -> Expected {
       int64_t cpu = 0;
       if (auto problem = read_number(v, 0, 4'095, cpu)) return problem;
       c.cpu = static_cast<uint32_t>(cpu);
       return {};
     }},
    {"capture", "text", "none", "pcapng file that every frame in and out is written to",
     [](const Value& v, Config& c) { return read_text(v, c.capture); }},
    {"control", "text", "/run/millrace/INTERFACE.sock", "UNIX socket that the `millrace` command asks; \"none\" = off",
     [](const Value& v, Config& c) { return read_text(v, c.control); }},
    {"user", "text", "unchanged", "user to become once devices are open",
     [](const Value& v, Config& c) { return read_text(v, c.user); }},
    {"force", "switch", "false", "take over an interface even if it carries the default route",
     [](const Value& v, Config& c) { return read_switch(v, c.force); }},
};

constexpr KeyRow<Interface> kInterface[] = {
    {"driver", "text", "\"tap\" for mr0, mr1 ..., otherwise \"xdp\"",
     "what opens the device: \"tap\", \"xdp\" (an interface of the kernel, shared with it) or \"dpdk\"",
     [](const Value& v, Interface& i) { return read_choice(v, i.driver, kDrivers); }},
    {"address", "address/length or list", "198.18.0.2/24 and fd00:6d72::2/64 on a TAP", "the stack's addresses",
     [](const Value& v, Interface& i) { return read_list(v, i.addresses, kAddressForm, interface_address); }},
    {"kernel_address", "address/length or list", "198.18.0.1/24 and fd00:6d72::1/64 on a TAP",
     "TAP: addresses that the kernel's side gets; \"none\" = leave them alone",
     [](const Value& v, Interface& i) -> Expected {
       if (v.kind == Value::Kind::kText && v.text == "none") {
         i.kernel_addresses.clear();
         i.configure_kernel = false;
         return {};
       }
       return read_list(v, i.kernel_addresses, kAddressForm, interface_address);
     }},
    {"gateway", "address or list", "none", "next hop of everything else; at most one of each family",
     [](const Value& v, Interface& i) {
       return read_list(v, i.gateways, "a unicast address, such as \"198.18.0.1\", or a list of them", gateway_address);
     }},
    {"mtu", "number", "the device's", "largest IP packet, 1280 to 9216",
     number_into<uint16_t, Interface, &Interface::mtu, 1'280, 9'216>},
    {"mac", "text", "the device's", "Ethernet address of the stack",
     [](const Value& v, Interface& i) -> Expected {
       auto mac = v.kind == Value::Kind::kText ? MacAddr::parse(v.text) : std::nullopt;
       if (!mac || mac->is_group() || *mac == MacAddr{}) {
         return want("the Ethernet address of one host, such as \"02:00:00:00:00:02\"");
       }
       i.mac = mac;
       return {};
     }},
    {"queues", "number", "1; xdp: all", "queue pairs of the device",
     number_into<uint16_t, Interface, &Interface::queues, 1, 64>},
    {"tso", "switch", "true", "let the device cut large segments if it can",
     [](const Value& v, Interface& i) { return read_switch(v, i.tso); }},
    {"checksum", "switch", "true", "let the device compute checksums if it can",
     [](const Value& v, Interface& i) { return read_switch(v, i.checksum); }},
    {"ports", "text or list", "all",
     "xdp: only these ports of the addresses are the stack's, all else is the kernel's, which has the addresses too: "
     "\"tcp/80\", \"udp/5000-5100\", \"53\"",
     [](const Value& v, Interface& i) {
       return read_list(v, i.ports, "ports, such as \"tcp/80\", \"udp/5000-5100\" or \"53\", or a list of them",
                        port_range);
     }},
    {"xdp_mode", "text", "\"auto\"",
     "xdp: \"zero-copy\", \"copy\" or \"generic\" (any driver, slower) and nothing else; \"auto\" = the best there is",
     [](const Value& v, Interface& i) { return read_choice(v, i.xdp_mode, kXdpModes); }},
    {"dad", "switch", "true", "ask the link whether somebody else has an address of ours; it is used meanwhile",
     [](const Value& v, Interface& i) { return read_switch(v, i.dad); }},
    {"keep_address", "switch", "false", "defend an IPv4 address that another station claims too, for ever",
     [](const Value& v, Interface& i) { return read_switch(v, i.keep_address); }},
    {"busy_poll", "switch", "false", "xdp: drive the NIC's queues from the worker's thread, not from interrupts",
     [](const Value& v, Interface& i) { return read_switch(v, i.busy_poll); }},
    {"dhcp4", "switch", "false", "lease an IPv4 address from a DHCP server",
     [](const Value& v, Interface& i) { return read_switch(v, i.dhcp4); }},
    {"accept_ra", "switch", "true", "take routers, routes, MTU and resolvers from IPv6 router advertisements",
     [](const Value& v, Interface& i) { return read_switch(v, i.accept_ra); }},
    {"autoconf", "switch", "true", "form IPv6 addresses from advertised prefixes (needs accept_ra)",
     [](const Value& v, Interface& i) { return read_switch(v, i.autoconf); }},
    {"redirects4", "switch", "false", "believe ICMP redirects of the router in use",
     [](const Value& v, Interface& i) { return read_switch(v, i.redirects4); }},
    {"redirects6", "switch", "true", "believe ICMPv6 redirects of the router in use",
     [](const Value& v, Interface& i) { return read_switch(v, i.redirects6); }},
    {"address_secret", "text", "from /etc/machine-id",
     "what formed addresses depend on beside prefix and MAC (RFC 7217)",
     [](const Value& v, Interface& i) { return read_text(v, i.address_secret); }},
    {"device", "text", "the interface's name",
     "tap: name of the kernel's TAP; xdp: of its interface; dpdk: PCI address or vdev arguments (the last key of a "
     "flag)",
     [](const Value& v, Interface& i) { return read_text(v, i.device); }},
};

constexpr KeyRow<Route> kRoute[] = {
    {"prefix", "address/length", "required", "destinations",
     [](const Value& v, Route& r) -> Expected {
       auto prefix = v.kind == Value::Kind::kText ? Prefix::parse(v.text) : std::nullopt;
       if (!prefix) return want("a prefix, such as \"10.0.0.0/8\"");
       r.prefix = *prefix;
       return {};
     }},
    {"interface", "text", "required", "interface to send through",
     [](const Value& v, Route& r) { return read_text(v, r.interface); }},
    {"gateway", "address", "on link", "next hop",
     [](const Value& v, Route& r) -> Expected {
       auto addr = v.kind == Value::Kind::kText ? gateway_address(v.text) : std::nullopt;
       if (!addr) return want("a unicast address, such as \"198.18.0.1\"");
       r.gateway = *addr;
       return {};
     }},
    {"table", "number", "0", "routing table", number_into<uint32_t, Route, &Route::table, 0, UINT32_MAX>},
    {"metric", "number", "0", "the lowest wins among equal prefixes",
     number_into<uint32_t, Route, &Route::metric, 0, UINT32_MAX>},
};

constexpr KeyRow<Dpdk> kDpdk[] = {
    {"eal", "text or list", "none", "extra arguments of the DPDK environment, such as [\"--no-huge\", \"-m\", \"512\"]",
     [](const Value& v, Dpdk& d) {
       return read_list(v, d.eal, "a text or a list of texts",
                        [](const std::string& text) { return std::optional<std::string>(text); });
     }},
};

}  // namespace

std::span<const KeyRow<Config>> top_rows() { return kTop; }
std::span<const KeyRow<Interface>> interface_rows() { return kInterface; }
std::span<const KeyRow<Route>> route_rows() { return kRoute; }
std::span<const KeyRow<Dpdk>> dpdk_rows() { return kDpdk; }

Expected read_number(const Value& value, int64_t least, int64_t greatest, int64_t& into) {
  const std::string range =
      least == greatest ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(greatest);
  int64_t number = value.number;
  bool is_number = value.kind == Value::Kind::kNumber;
  if (value.from_flag && value.kind == Value::Kind::kText) {
    const char* end = value.text.data() + value.text.size();
    auto [stop, error] = std::from_chars(value.text.data(), end, number);
    is_number = error == std::errc{} && stop == end;
  }
  if (!is_number || number < least || number > greatest) return "a whole number from " + range;
  into = number;
  return {};
}

Expected read_setting(const Value& value, const Setting& setting, int64_t& into) {
  if (setting.words == nullptr) return read_number(value, setting.least, setting.greatest, into);
  std::string words;
  for (int64_t i = setting.least; i <= setting.greatest; ++i) {
    const std::string word = setting.shown(i);
    if (value.kind == Value::Kind::kText && value.text == word) {
      into = i;
      return {};
    }
    words += (words.empty() ? "" : ", ") + word;
  }
  auto expected = read_number(value, setting.least, setting.greatest, into);
  if (expected) *expected += " or one of: " + words;
  return expected;
}

}  // namespace millrace::conf
