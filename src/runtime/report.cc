#include "runtime/report.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <vector>

#include "runtime/table.h"
#include "stack/impl.h"

namespace millrace::runtime {
namespace {

constexpr uint32_t kTraceRecords = 256;

std::string interface_name(const Observed& observed, IfIndex index) {
  for (const ObservedPort& port : observed.ports) {
    if (port.interface == index) return port.device != nullptr ? port.device->name() : "lo";
  }
  return fmt::format("if{}", static_cast<unsigned>(index));
}

Table neighbours(const Observed& observed) {
  Table table({"address", "mac", "interface", "state"});
  for (const auto& n : observed.worker.impl().ip.neighbours()) {
    table.add({n.addr.to_string(), n.mac == MacAddr{} ? "-" : n.mac.to_string(), interface_name(observed, n.interface),
               n.state});
  }
  return table;
}

Table routes(const Observed& observed) {
  Table table({"prefix", "gateway", "interface", "table", "metric"});
  for (const auto& r : observed.worker.impl().ip.routes()) {
    table.add({r.prefix.to_string(), r.gateway.is_unspecified() ? "on link" : r.gateway.to_string(),
               interface_name(observed, r.interface), r.table, r.metric});
  }
  return table;
}

Table addresses(const Observed& observed) {
  Table table({"address", "interface"});
  for (const auto& a : observed.worker.impl().ip.addresses()) {
    table.add({a.prefix.to_string(), interface_name(observed, a.interface)});
  }
  return table;
}

Table sockets(const Observed& observed) {
  Table table({"state", "local", "remote", "recv-q", "send-q", "cwnd", "srtt_us", "retransmits", "id"});
  for (const stack::SocketInfo& s : observed.worker.sockets()) {
    const std::string remote = s.state == "LISTEN" ? "*" : s.remote.to_string();
    table.add({s.state, s.local.to_string(), remote, s.receive_queue, s.send_queue, s.tcp.cwnd, s.tcp.srtt_us, s.tcp.retransmits,
               s.handle.index});
  }
  return table;
}

Table counters(const Observed& observed, bool all) {
  Table table({"counter", "value", "meaning"});
  for (const stack::CounterValue& c : observed.worker.counters()) {
    if (c.value != 0 || all) table.add({c.name, c.value, c.text});
  }
  for (const ObservedPort& port : observed.ports) {
    if (port.device == nullptr) continue;
    const DeviceCounters d = port.device->counters();
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
  const Stages& s = observed.stages;
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
  const Stages& s = observed.stages;
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

std::string trace(const Observed& observed, std::string_view which) {
  if (which.empty()) return base::TraceRing::format(observed.worker.trace().newest(kTraceRecords));
  uint32_t conn = 0;
  if (which != "kept") {
    const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), conn);
    if (error != std::errc{} || end != which.data() + which.size()) {
      return fmt::format("'{}' is no connection; expected a number from the id column of 'sockets', or 'kept'\n",
                         which);
    }
  }
  const auto records = observed.worker.trace().kept(conn);
  return records.empty() ? "nothing odd was kept\n" : base::TraceRing::format(records);
}

Table interfaces(const Observed& observed) {
  Table table({"interface", "driver", "mac", "mtu", "state", "checksum", "tso", "addresses"});
  for (const ObservedPort& port : observed.ports) {
    if (port.device == nullptr) continue;
    const link::DeviceLimits& limits = port.device->limits();
    std::string addresses;
    for (const Prefix& prefix : port.config->addresses) {
      addresses += (addresses.empty() ? "" : " ") + prefix.to_string();
    }
    table.add({port.device->name(), port.config->driver, port.device->mac().to_string(), limits.mtu,
               port.device->link_up() ? "up" : "down", limits.tx_checksum_v4, limits.tso_v4, addresses});
  }
  return table;
}

// The words of a question: subject, argument, "json".
struct Question {
  std::string_view subject;
  std::string_view argument;
  bool json = false;
};

Question parse(std::string_view text) {
  Question question;
  while (!text.empty()) {
    const size_t start = text.find_first_not_of(" \t\r");
    if (start == std::string_view::npos) break;
    text.remove_prefix(start);
    const std::string_view word = text.substr(0, text.find_first_of(" \t\r"));
    text.remove_prefix(word.size());
    if (word == "json") {
      question.json = true;
    } else if (question.subject.empty()) {
      question.subject = word;
    } else {
      question.argument = word;
    }
  }
  return question;
}

constexpr const char* kHelp =
    "questions: sockets, counters [all], stages, trace [CONNECTION | kept], neighbours, routes, addresses, interfaces; "
    "append json for JSON\n";

}  // namespace

std::string answer(std::string_view text, const Observed& observed) {
  const Question question = parse(text);
  const auto show = [&](const Table& table) { return question.json ? table.json() : table.text(); };
  if (question.subject == "sockets") return show(sockets(observed));
  if (question.subject == "counters") return show(counters(observed, question.argument == "all"));
  if (question.subject == "stages") {
    if (question.json) {
      return "{\"stages\": " + stages(observed).json() + ", \"loop\": " + loop_counts(observed).json() + "}\n";
    }
    return stages(observed).text() + "\n" + loop_counts(observed).text();
  }
  if (question.subject == "trace") {
    std::string lines = trace(observed, question.argument);
    return question.json ? nlohmann::json(lines).dump() + "\n" : lines;
  }
  if (question.subject == "neighbours") return show(neighbours(observed));
  if (question.subject == "routes") return show(routes(observed));
  if (question.subject == "addresses") return show(addresses(observed));
  if (question.subject == "interfaces") return show(interfaces(observed));
  if (question.subject == "help") return kHelp;
  return fmt::format("unknown question '{}'\n{}", question.subject, kHelp);
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
