#include "runtime/report.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <vector>

#include "runtime/command.h"
#include "runtime/loop.h"
#include "runtime/table.h"
#include "runtime/words.h"
#include "wire/nd.h"

namespace millrace::runtime {
namespace {

constexpr uint32_t kTraceRecords = 256;

std::string interface_name(const Observed& observed, IfIndex index) {
  for (const ObservedPort& port : observed.ports) {
    if (port.interface == index) return port.device != nullptr ? port.device->name() : "lo";
  }
  return fmt::format("if{}", static_cast<unsigned>(index));
}

// Of all workers together.
std::vector<stack::CounterValue> all_counters(const Observed& observed) {
  auto sum = observed.worker.counters();
  for (const WorkerView* other : observed.others) {
    for (size_t i = 0; i < sum.size() && i < other->counters.size(); ++i) sum[i].value += other->counters[i].value;
  }
  return sum;
}

DeviceCounters all_queues(const Observed& observed, size_t port) {
  DeviceCounters sum = observed.ports[port].device->counters();
  for (const WorkerView* other : observed.others) {
    if (port >= other->devices.size()) continue;
    const DeviceCounters& d = other->devices[port];
    sum.rx_frames += d.rx_frames;
    sum.rx_bytes += d.rx_bytes;
    sum.tx_frames += d.tx_frames;
    sum.tx_bytes += d.tx_bytes;
    sum.rx_dropped += d.rx_dropped;
    sum.rx_errors += d.rx_errors;
    sum.tx_errors += d.tx_errors;
  }
  return sum;
}

Stages all_stages(const Observed& observed) {
  Stages sum = observed.loop.stages();
  for (const WorkerView* other : observed.others) sum.add(other->stages);
  return sum;
}

Table neighbours(const Observed& observed) {
  Table table({"address", "mac", "interface", "state"});
  for (const auto& n : observed.worker.neighbours()) {
    table.add({n.addr.to_string(), n.mac == MacAddr{} ? "-" : n.mac.to_string(), interface_name(observed, n.interface),
               n.state});
  }
  return table;
}

// What sockets have joined, and the solicited-node group of each IPv6 address (RFC 4291 2.7.1).
Table groups(const Observed& observed) {
  Table table({"interface", "members", "group"});
  for (const auto& g : observed.worker.groups()) {
    table.add({interface_name(observed, g.interface), g.count, g.group.to_string()});
  }
  for (const auto& a : observed.worker.addresses()) {
    if (a.prefix.addr.is_v4() || a.prefix.addr.is_loopback()) continue;
    table.add({interface_name(observed, a.interface), 1, wire::solicited_node(a.prefix.addr).to_string()});
  }
  return table;
}

Table route_table() { return Table({"prefix", "gateway", "interface", "table", "metric"}); }

void add_route(Table& table, const ip::Ip::RouteInfo& r, const Observed& observed) {
  table.add({r.prefix.to_string(), r.gateway.is_unspecified() ? "on link" : r.gateway.to_string(),
             interface_name(observed, r.interface), r.table, r.metric});
}

Table routes(const Observed& observed) {
  Table table = route_table();
  for (const auto& r : observed.worker.routes()) add_route(table, r, observed);
  return table;
}

Table addresses(const Observed& observed) {
  Table table({"address", "interface", "origin", "state"});
  for (const auto& a : observed.worker.addresses()) {
    table.add({a.prefix.to_string(), interface_name(observed, a.interface), a.origin, a.state});
  }
  return table;
}

// What routers and DHCP servers told; `seconds` is how long it stands, -1 for ever.
Table learned(const Observed& observed) {
  Table table({"interface", "what", "value", "seconds"});
  for (const auto& l : observed.worker.learned()) {
    const int64_t left = l.until == kNever ? -1 : (l.until - observed.now).ns() / 1'000'000'000;
    table.add({interface_name(observed, l.interface), l.what, l.value, left});
  }
  return table;
}

Table sockets(const Observed& observed, bool internals) {
  std::vector<std::string> columns{"proto", "recv-q", "send-q", "local", "remote", "state", "id"};
  if (internals) {
    for (const char* name :
         {"cwnd",    "ssthresh",   "srtt_us",      "rttvar_us",   "rto_us",    "mss",        "flight",
          "sacked",  "lost",       "snd_wnd",      "rcv_wnd",     "snd_scale", "rcv_scale",  "snd_buf",
          "rcv_buf", "rcv_charge", "out_of_order", "retransmits", "timeouts",  "controller", "rate",
          "pacing",  "min_rtt_us", "recovery",     "timer",       "timer_ms",  "options"}) {
      columns.emplace_back(name);
    }
  }
  const bool several = !observed.others.empty();
  if (several) columns.insert(columns.begin() + 7, "worker");
  Table table(columns);
  const auto add = [&](const stack::SocketInfo& s, size_t worker) {
    const std::string remote = s.state == "LISTEN" ? "*" : s.remote.to_string();
    std::vector<Table::Cell> row{s.protocol, s.receive_queue, s.send_queue, s.local.to_string(),
                                 remote,     s.state,         s.handle.index};
    if (several) row.emplace_back(worker);
    const tcp::Info& t = s.tcp;
    if (internals && t.full) {
      const Table::Cell ssthresh = t.ssthresh == UINT32_MAX ? Table::Cell("-") : Table::Cell(t.ssthresh);
      const bool armed = t.timer_ns != INT64_MAX;
      const int64_t due_ms = armed ? (t.timer_ns - observed.now.ns()) / 1'000'000 : 0;
      const std::string options = fmt::format("{}{}{}", t.timestamps ? "ts " : "", t.sack ? "sack " : "",
                                              t.no_delay ? "nodelay" : "nagle");
      for (const Table::Cell& cell : std::initializer_list<Table::Cell>{
               t.cwnd,          ssthresh,     t.srtt_us,       t.rttvar_us,      t.rto_us,         t.mss,
               t.flight,        t.sacked,     t.lost,          t.send_window,    t.receive_window, t.send_scale,
               t.receive_scale, t.send_limit, t.receive_limit, t.receive_charge, t.out_of_order,   t.retransmits,
               t.timeouts,      t.controller, t.delivery_rate, t.pacing_rate,    t.min_rtt_us,     t.recovery,
               t.timer,         due_ms,       options}) {
        row.push_back(cell);
      }
    }
    table.add(std::move(row));
  };
  for (const stack::SocketInfo& s : observed.worker.sockets()) add(s, 0);
  for (size_t i = 0; i < observed.others.size(); ++i) {
    for (const stack::SocketInfo& s : observed.others[i]->sockets) add(s, i + 1);
  }
  return table;
}

Table counters(const Observed& observed, bool all) {
  Table table({"counter", "value", "meaning"});
  for (const stack::CounterValue& c : all_counters(observed)) {
    if (c.value != 0 || all) table.add({c.name, c.value, c.text});
  }
  for (size_t i = 0; i < observed.ports.size(); ++i) {
    const ObservedPort& port = observed.ports[i];
    if (port.device == nullptr) continue;
    const DeviceCounters d = all_queues(observed, i);
    const struct {
      const char* name;
      uint64_t value;
      const char* text;
    } rows[] = {
        {"rx_frames", d.rx_frames, "frames received"},   {"rx_bytes", d.rx_bytes, "bytes received"},
        {"tx_frames", d.tx_frames, "frames sent"},       {"tx_bytes", d.tx_bytes, "bytes sent"},
        {"rx_dropped", d.rx_dropped, "frames lost for want of a buffer or a slot"},
        {"rx_errors", d.rx_errors, "receive errors"},    {"tx_errors", d.tx_errors, "frames that the device refused"},
    };
    for (const auto& row : rows) {
      if (row.value == 0 && !all) continue;
      table.add({fmt::format("device.{}.{}", port.device->name(), row.name), row.value, row.text});
    }
  }
  return table;
}

Table stages(const Observed& observed) {
  const Stages s = all_stages(observed);
  Table table({"stage", "cycles", "per busy turn", "share %"});
  uint64_t total = 0;
  for (const uint64_t cycles : s.cycles) total += cycles;
  const auto per_turn = [&](uint64_t cycles) { return s.busy_turns == 0 ? 0 : cycles / s.busy_turns; };
  for (size_t i = 0; i < s.cycles.size(); ++i) {
    const double share = total == 0 ? 0 : 100.0 * static_cast<double>(s.cycles[i]) / static_cast<double>(total);
    table.add({kStageNames[i], s.cycles[i], per_turn(s.cycles[i]), share});
  }
  return table;
}

Table loop_counts(const Observed& observed) {
  const Stages s = all_stages(observed);
  const uint64_t empty = s.turns - s.busy_turns;
  Table table({"loop", "value"});
  table.add({"turns", s.turns});
  table.add({"busy turns", s.busy_turns});
  table.add({"cycles of an empty turn", empty == 0 ? 0 : s.empty_cycles / empty});
  table.add({"frames received", s.rx_frames});
  table.add({"frames sent", s.tx_frames});
  table.add({"events", s.events});
  table.add({"ticks", s.ticks});
  table.add({"pumps", s.pumps});
  table.add({"held back by a device", s.held_back});
  table.add({"sleeps", s.sleeps});
  table.add({"milliseconds asleep", s.slept_ns / 1'000'000});
  table.add({"cycles per microsecond", static_cast<uint64_t>(observed.cycles_per_ns * 1'000)});
  return table;
}

Outcome<std::string> trace(const Observed& observed, std::string_view which) {
  if (which.empty()) return base::TraceRing::format(observed.worker.trace().newest(kTraceRecords));
  uint32_t conn = 0;
  if (which != "kept") {
    const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), conn);
    if (error != std::errc{} || end != which.data() + which.size()) {
      return failure(fmt::format(
          "'{}' is no connection; expected a number from the id column of 'sockets', or 'kept'", which));
    }
  }
  const auto records = observed.worker.trace().kept(conn);
  return records.empty() ? "nothing odd was kept\n" : base::TraceRing::format(records);
}

// One row an interface; the addresses are those in force, whatever brought them.
Table interfaces(const Observed& observed) {
  Table table({"interface", "driver", "mac", "mtu", "state", "link", "checksum", "tso", "addresses", "rx_frames",
               "rx_bytes", "rx_dropped", "rx_errors", "tx_frames", "tx_bytes", "tx_errors"});
  for (size_t i = 0; i < observed.ports.size(); ++i) {
    const ObservedPort& port = observed.ports[i];
    Table::Cell addresses = Table::Cell::array();
    for (const auto& a : observed.worker.addresses()) {
      if (a.interface == port.interface) addresses.push_back(a.prefix.to_string());
    }
    const char* state = observed.worker.is_up(port.interface) ? "up" : "down";
    const link::DeviceLimits& limits = observed.worker.limits(port.interface);
    if (port.device == nullptr) {
      table.add({"lo", "loopback", "-", limits.mtu, state, "up", true, false, addresses, 0, 0, 0, 0, 0, 0, 0});
      continue;
    }
    const DeviceCounters d = all_queues(observed, i);
    table.add({port.device->name(), port.config->driver, port.device->mac().to_string(), limits.mtu, state,
               port.device->link_up() ? "up" : "down", limits.tx_checksum_v4, limits.tso_v4, addresses, d.rx_frames,
               d.rx_bytes, d.rx_dropped, d.rx_errors, d.tx_frames, d.tx_bytes, d.tx_errors});
  }
  return table;
}

Table settings(const Observed& observed, std::string_view prefix) {
  Table table({"name", "value", "default", "least", "greatest", "change", "meaning"});
  conf::Config now = observed.config;
  now.tcp = observed.worker.tcp_settings();
  now.ip = observed.worker.ip_settings();
  for (const conf::Setting& s : conf::settings()) {
    const std::string name = fmt::format("{}.{}", s.section, s.name);
    if (!name.starts_with(prefix)) continue;
    const auto cell = [&](int64_t value) {
      return s.words != nullptr ? Table::Cell(s.shown(value)) : Table::Cell(value);
    };
    table.add({name, cell(s.field(now, s)), cell(s.value), cell(s.least), cell(s.greatest),
               may_change(s) ? "now" : "at start", s.text});
  }
  return table;
}

constexpr const char* kHelp =
    "questions: sockets [internals], counters [all], stages, trace [CONNECTION | kept], neighbours, groups, routes, "
    "route-to ADDRESS [TABLE], addresses, learned, interfaces, settings [PREFIX]; commands: link, mtu, address, route, "
    "neighbour, "
    "set; append json for JSON";

Outcome<Table> route_to(const Observed& observed, std::string_view address, std::string_view table_id) {
  const auto destination = IpAddr::parse(address);
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(table_id.data(), table_id.data() + table_id.size(), id);
  if (!destination || error != std::errc{} || end != table_id.data() + table_id.size()) {
    return failure("expected: route-to ADDRESS [TABLE]");
  }
  const auto found = observed.worker.find_route(*destination, id);
  if (!found) return failure(fmt::format("there is no route to {}", address));
  Table table = route_table();
  add_route(table, *found, observed);
  return table;
}

std::string error_text(const Failure& why, bool json) {
  if (json) return nlohmann::ordered_json{{"error", why.to_string()}}.dump() + "\n";
  return fmt::format("error: {}\n", why.to_string());
}

}  // namespace

std::string answer(std::string_view text, const Observed& observed) {
  std::vector<std::string_view> words = words_of(text);
  const bool json = !words.empty() && words.back() == "json";
  if (json) words.pop_back();
  if (is_command(words)) {
    const auto done = command(words, observed);
    if (!done) return error_text(done.error(), json);
    return json ? nlohmann::ordered_json{{"done", *done}}.dump() + "\n" : *done + "\n";
  }
  const std::string_view subject = words.empty() ? std::string_view() : words[0];
  const std::string_view argument = words.size() < 2 ? std::string_view() : words[1];
  const auto show = [&](const Table& table) { return json ? table.json() : table.text(); };
  if (subject == "sockets") return show(sockets(observed, argument == "internals"));
  if (subject == "counters") return show(counters(observed, argument == "all"));
  if (subject == "stages") {
    if (json) return "{\"stages\": " + stages(observed).json() + ", \"loop\": " + loop_counts(observed).json() + "}\n";
    return stages(observed).text() + "\n" + loop_counts(observed).text();
  }
  if (subject == "trace") {
    const auto lines = trace(observed, argument);
    if (!lines) return error_text(lines.error(), json);
    return json ? nlohmann::json(*lines).dump() + "\n" : *lines;
  }
  if (subject == "neighbours") return show(neighbours(observed));
  if (subject == "groups") return show(groups(observed));
  if (subject == "routes") return show(routes(observed));
  if (subject == "route-to") {
    const auto table = route_to(observed, argument, words.size() < 3 ? "0" : words[2]);
    return table ? show(*table) : error_text(table.error(), json);
  }
  if (subject == "addresses") return show(addresses(observed));
  if (subject == "learned") return show(learned(observed));
  if (subject == "interfaces") return show(interfaces(observed));
  if (subject == "settings") return show(settings(observed, argument));
  if (subject == "help") return fmt::format("{}\n", kHelp);
  return error_text({fmt::format("unknown question '{}'", subject), kHelp}, json);
}

std::string stats_line(const Stages& before, const Stages& now, Duration elapsed, size_t sockets,
                       double cycles_per_ns) {
  const double seconds = static_cast<double>(elapsed.ns()) / 1e9;
  const auto rate = [&](uint64_t from, uint64_t to) {
    return seconds <= 0 ? 0.0 : static_cast<double>(to - from) / seconds;
  };
  uint64_t cycles = 0;
  for (size_t i = 0; i < now.cycles.size(); ++i) cycles += now.cycles[i] - before.cycles[i];
  const double busy = seconds <= 0 ? 0.0 : static_cast<double>(cycles) / cycles_per_ns / 1e9 / seconds * 100;
  return fmt::format("rx {:.0f}/s  tx {:.0f}/s  events {:.0f}/s  sockets {}  busy {:.0f} %",
                     rate(before.rx_frames, now.rx_frames), rate(before.tx_frames, now.tx_frames),
                     rate(before.events, now.events), sockets, busy);
}

}  // namespace millrace::runtime
