#include "runtime/command.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "conf/check.h"
#include "conf/keys.h"
#include "runtime/loop.h"

namespace millrace::runtime {
namespace {

using Words = std::span<const std::string_view>;
using Said = Outcome<std::string>;

/// The words of a command that are left, and what it is about.
class Command {
 public:
  Command(Words words, const Observed& observed) : words_(words), observed_(observed) {}

  Said run();

 private:
  Said link();
  Said mtu();
  Said address();
  Said route();
  Said neighbour();
  Said set();
  Said flush_neighbours();

  std::string_view next() {
    if (words_.empty()) return {};
    const std::string_view word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }
  Outcome<IfIndex> interface(std::string_view name) const;
  Said ask(const Request& request, std::string done, std::string_view what) const;
  /// "via A dev B ..." behind a prefix; anything else is an error.
  struct Options {
    std::optional<IpAddr> via;
    std::string_view dev;
    int64_t metric = 0;
    int64_t table = 0;
  };
  Outcome<Options> options();

  Words words_;
  const Observed& observed_;
};

tl::unexpected<Failure> wrong(std::string text, std::string hint = {}) {
  return failure(std::move(text), std::move(hint));
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Outcome<IfIndex> Command::interface(std::string_view name) const {
  std::vector<std::string_view> known;
  for (const ObservedPort& port : observed_.ports) {
    const std::string_view its = port.device != nullptr ? std::string_view(port.device->name()) : "lo";
    if (its == name) return port.interface;
    known.push_back(its);
  }
  return failure(fmt::format("there is no interface '{}'; this program has {}", name, fmt::join(known, ", ")));
}

Said Command::ask(const Request& request, std::string done, std::string_view what) const {
  if (const auto reply = observed_.worker.request(request, observed_.now); !reply) {
    return wrong(fmt::format("{}: {}", what, describe(reply.error())));
  }
  return done;
}

Said Command::link() {
  const std::string_view name = next();
  const std::string_view state = next();
  if (state != "up" && state != "down") return wrong("expected: link INTERFACE up|down");
  const auto index = interface(name);
  if (!index) return tl::unexpected<Failure>(index.error());
  return ask(req::SetLink{*index, state == "up"}, fmt::format("{} is {}", name, state),
             fmt::format("cannot set {} {}", name, state));
}

Said Command::mtu() {
  const std::string_view name = next();
  const auto bytes = number(next());
  const auto index = interface(name);
  if (!index) return tl::unexpected<Failure>(index.error());
  if (!bytes || *bytes < 1'280 || *bytes > 65'535) return wrong("an MTU is a number from 1280 to 65535");
  for (const ObservedPort& port : observed_.ports) {
    if (port.interface != *index || port.device == nullptr) continue;
    const int64_t most = port.device->limits().mtu;
    if (bytes && *bytes >= 1'280 && *bytes <= most) break;
    return wrong(fmt::format("the MTU of {} may be 1280 to {}", name, most),
                 "the device was opened for that; more needs another mtu in the configuration and a new start");
  }
  return ask(req::SetMtu{*index, static_cast<uint16_t>(bytes.value_or(0))},
             fmt::format("{} has an MTU of {}", name, bytes.value_or(0)),
             fmt::format("cannot set the MTU of {}", name));
}

Said Command::address() {
  const std::string_view verb = next();
  const std::string_view name = next();
  const std::string_view text = next();
  if ((verb != "add" && verb != "delete") || text.empty()) {
    return wrong("expected: address add INTERFACE ADDRESS/LENGTH, or address delete INTERFACE ADDRESS");
  }
  const auto index = interface(name);
  if (!index) return tl::unexpected<Failure>(index.error());
  const auto prefix = Prefix::parse(text);
  if (!prefix) return wrong(fmt::format("'{}' is no address; expected one such as 198.18.0.2/24 or fd00::2/64", text));
  if (verb == "add") {
    if (text.find('/') == std::string_view::npos) {
      return wrong(fmt::format("'{}' has no prefix length; expected one such as {}/{}", text, text,
                               prefix->addr.is_v4() ? 24 : 64));
    }
    return ask(req::AddAddress{*index, *prefix}, fmt::format("{} has {}", name, prefix->to_string()),
               fmt::format("cannot add {} to {}", text, name));
  }
  return ask(req::RemoveAddress{*index, prefix->addr}, fmt::format("{} lost {}", name, prefix->addr.to_string()),
             fmt::format("cannot remove {} from {}", text, name));
}

Outcome<Command::Options> Command::options() {
  Options o;
  while (!words_.empty()) {
    const std::string_view key = next();
    const std::string_view value = next();
    const auto as_number = number(value);
    if (key == "via" && IpAddr::parse(value)) {
      o.via = IpAddr::parse(value);
    } else if (key == "dev" && !value.empty()) {
      o.dev = value;
    } else if (key == "metric" && as_number && *as_number >= 0 && *as_number <= UINT32_MAX) {
      o.metric = *as_number;
    } else if (key == "table" && as_number && *as_number >= 0 && *as_number <= UINT32_MAX) {
      o.table = *as_number;
    } else {
      return failure(fmt::format("'{} {}' is not understood; expected via ADDRESS, dev INTERFACE, metric N or table N",
                                 key, value));
    }
  }
  return o;
}

Said Command::route() {
  const std::string_view verb = next();
  const std::string_view text = next();
  if ((verb != "add" && verb != "delete") || text.empty()) {
    return wrong("expected: route add|delete PREFIX|default [via GATEWAY] [dev INTERFACE] [metric N] [table N]");
  }
  const auto options = this->options();
  if (!options) return tl::unexpected<Failure>(options.error());
  std::optional<Prefix> prefix = Prefix::parse(text);
  if (text == "default") {
    const bool v6 = options->via && options->via->is_v6();
    prefix = Prefix{v6 ? IpAddr() : IpAddr::any_v4(), 0};
  }
  if (!prefix) return wrong(fmt::format("'{}' is no prefix; expected one such as 192.0.2.0/24, or default", text));
  if (options->via && options->via->is_v4() != prefix->addr.is_v4()) {
    return wrong(fmt::format("{} and {} are of different families", text, options->via->to_string()));
  }
  IfIndex index = IfIndex::kNone;
  const auto table = static_cast<uint32_t>(options->table);
  if (!options->dev.empty()) {
    const auto named = interface(options->dev);
    if (!named) return tl::unexpected<Failure>(named.error());
    index = *named;
  } else if (verb == "add") {
    if (!options->via) return wrong("a route needs via GATEWAY or dev INTERFACE");
    const auto toward = observed_.worker.find_route(*options->via, 0);
    if (!toward || !toward->gateway.is_unspecified()) {
      return wrong(fmt::format("the gateway {} is on no link", options->via->to_string()),
                   "name one with dev INTERFACE");
    }
    index = toward->interface;
  } else {
    for (const auto& r : observed_.worker.routes()) {
      if (r.prefix == *prefix && r.table == table && (!options->via || r.gateway == *options->via)) index = r.interface;
    }
    if (index == IfIndex::kNone) return wrong(fmt::format("there is no route to {} in table {}", text, table));
  }
  if (verb == "delete") {
    return ask(req::RemoveRoute{*prefix, index, table}, fmt::format("no route to {}", prefix->to_string()),
               fmt::format("cannot remove the route to {}", text));
  }
  const req::AddRoute add{*prefix, index, options->via.value_or(IpAddr()), table,
                          static_cast<uint32_t>(options->metric)};
  return ask(add, fmt::format("route to {}", prefix->to_string()), fmt::format("cannot add the route to {}", text));
}

Said Command::flush_neighbours() {
  const std::string_view name = next();
  IfIndex only = IfIndex::kNone;
  if (!name.empty()) {
    const auto index = interface(name);
    if (!index) return tl::unexpected<Failure>(index.error());
    only = *index;
  }
  size_t gone = 0;
  for (const auto& n : observed_.worker.neighbours()) {
    if (n.state == "STATIC" || (only != IfIndex::kNone && n.interface != only)) continue;
    if (observed_.worker.request(req::RemoveNeighbour{n.interface, n.addr}, observed_.now)) ++gone;
  }
  return fmt::format("forgot {} neighbours", gone);
}

Said Command::neighbour() {
  const std::string_view verb = next();
  if (verb == "flush") return flush_neighbours();
  if (verb == "add") {
    const std::string_view name = next();
    const std::string_view address = next();
    const std::string_view station = next();
    const auto index = interface(name);
    if (!index) return tl::unexpected<Failure>(index.error());
    const auto addr = IpAddr::parse(address);
    const auto mac = MacAddr::parse(station);
    if (!addr || !mac)
      return wrong("expected: neighbour add INTERFACE ADDRESS MAC, such as mr0 198.18.0.9 02:00:00:00:00:09");
    return ask(req::AddNeighbour{*index, *addr, *mac}, fmt::format("{} is at {}", address, mac->to_string()),
               fmt::format("cannot add {}", address));
  }
  const std::string_view address = next();
  const auto addr = IpAddr::parse(address);
  if (verb != "delete" || !addr) return wrong("expected: neighbour add, delete ADDRESS [dev INTERFACE], or flush");
  const auto options = this->options();
  if (!options) return tl::unexpected<Failure>(options.error());
  for (const auto& n : observed_.worker.neighbours()) {
    if (n.addr != *addr) continue;
    if (!options->dev.empty()) {
      const auto index = interface(options->dev);
      if (!index) return tl::unexpected<Failure>(index.error());
      if (*index != n.interface) continue;
    }
    return ask(req::RemoveNeighbour{n.interface, *addr}, fmt::format("forgot {}", address),
               fmt::format("cannot forget {}", address));
  }
  return wrong(fmt::format("{} is no neighbour", address));
}

Said Command::set() {
  const std::string_view name = next();
  const std::string_view text = next();
  const size_t dot = name.find('.');
  const conf::Setting* setting =
      dot == std::string_view::npos ? nullptr : conf::find_setting(name.substr(0, dot), name.substr(dot + 1));
  if (setting == nullptr) {
    std::vector<std::string> names;
    for (const conf::Setting& s : conf::settings()) names.push_back(fmt::format("{}.{}", s.section, s.name));
    const std::vector<std::string_view> known(names.begin(), names.end());
    return wrong(conf::unknown_message("setting", name, "millrace sysctl", known));
  }
  if (!may_change(*setting)) {
    return wrong(fmt::format("{} holds from the start of the program", name), "set it in the configuration file");
  }
  conf::Value given;
  given.kind = conf::Value::Kind::kText;
  given.text = text;
  given.from_flag = true;
  int64_t value = 0;
  if (const auto expected = conf::read_setting(given, *setting, value)) {
    return wrong(fmt::format("{} is '{}'; expected {}", name, text, *expected));
  }
  std::string done = fmt::format("{} = {}", name, setting->shown(value));
  if (setting->section == "tcp" || setting->section == "ip") {
    const auto section = setting->section == "ip" ? req::Set::Section::kIp : req::Set::Section::kTcp;
    const req::Set change{section, static_cast<uint16_t>(setting->index), value};
    Said said =
        ask(change, std::move(done), fmt::format("{} = {} contradicts another setting", name, setting->shown(value)));
    if (said && observed_.broadcast) observed_.broadcast(change);  // what one worker takes, all take
    return said;
  }
  setting->field(observed_.config, *setting) = value;
  observed_.loop.set_settings(observed_.config.loop);
  return done;
}

Said Command::run() {
  const std::string_view what = next();
  if (what == "link") return link();
  if (what == "mtu") return mtu();
  if (what == "address") return address();
  if (what == "route") return route();
  if (what == "neighbour") return neighbour();
  return set();
}

}  // namespace

bool may_change(const conf::Setting& setting) {
  if (setting.section == "tcp") return true;
  if (setting.section == "ip") return setting.name != "reassembly_datagrams" && setting.name != "pmtu_entries";
  return setting.section == "loop" && setting.name != "burst" && setting.name != "snap_bytes";
}

bool is_command(Words words) {
  if (words.empty()) return false;
  for (const std::string_view verb : {"link", "mtu", "address", "route", "neighbour", "set"}) {
    if (words.front() == verb) return true;
  }
  return false;
}

Said command(Words words, const Observed& observed) {
  Said said = Command(words, observed).run();
  return said;
}

}  // namespace millrace::runtime
