// millrace netstat: sockets, with TCP's internals if asked; statistics by protocol; interfaces; routes; groups.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "commands.h"

namespace millrace::tool {
namespace {

struct Arguments {
  bool internals = false;
  bool statistics = false;
  bool interfaces = false;
  bool routes = false;
  bool groups = false;
  bool listening = false;
  bool all = false;
  bool tcp = false;
  bool udp = false;
  bool numbers = false;
};

Outcome<Json> sockets_of(const Target& target, const Arguments& a) {
  auto rows = ask(target, a.internals ? "sockets internals" : "sockets");
  if (!rows) return rows;
  Json chosen = Json::array();
  for (Json& row : *rows) {
    const auto protocol = row["proto"].get<std::string>();
    if ((a.tcp && !protocol.starts_with("tcp")) || (a.udp && !protocol.starts_with("udp"))) continue;
    if (a.listening && row["state"] != "LISTEN") continue;
    chosen.push_back(std::move(row));
  }
  return chosen;
}

// The internals of one connection, a line or two below it.
void print_internals(const Json& s) {
  const auto value = [&](const char* key) { return s[key].is_string() ? s[key].get<std::string>() : s[key].dump(); };
  fmt::print("    {} cwnd {} ssthresh {} flight {} sacked {} lost {} mss {} recovery {}\n", value("controller"),
             value("cwnd"), value("ssthresh"), value("flight"), value("sacked"), value("lost"), value("mss"),
             value("recovery"));
  fmt::print("    srtt {} us rttvar {} us rto {} us timer {} in {} ms timeouts {} retransmits {}\n", value("srtt_us"),
             value("rttvar_us"), value("rto_us"), value("timer"), value("timer_ms"), value("timeouts"),
             value("retransmits"));
  fmt::print("    snd_wnd {} scale {} buffer {}; rcv_wnd {} scale {} buffer {} charged {} out-of-order {}; {}\n",
             value("snd_wnd"), value("snd_scale"), value("snd_buf"), value("rcv_wnd"), value("rcv_scale"),
             value("rcv_buf"), value("rcv_charge"), value("out_of_order"), value("options"));
}

int sockets(const Target& target, const Arguments& a) {
  const auto rows = sockets_of(target, a);
  if (!rows) return complain(rows.error());
  if (target.json) {
    print_json(*rows);
    return 0;
  }
  const std::vector<std::string> keys{"proto", "recv-q", "send-q", "local", "remote", "state", "id"};
  const std::vector<std::string> titles{"Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State", "Id"};
  if (!a.internals) {
    print_rows(*rows, keys, titles);
    return 0;
  }
  for (const Json& row : *rows) {
    fmt::print("{} {} -> {} {} recv-q {} send-q {} id {}\n", row["proto"].get<std::string>(),
               row["local"].get<std::string>(), row["remote"].get<std::string>(), row["state"].get<std::string>(),
               row["recv-q"].dump(), row["send-q"].dump(), row["id"].dump());
    if (row.contains("cwnd")) print_internals(row);
  }
  return 0;
}

void print_counter(const Json& row) {
  fmt::print("    {:>12} {}  ({})\n", row["value"].dump(), row["meaning"].get<std::string>(),
             row["counter"].get<std::string>());
}

// "tcp.drop.bad_checksum" stands under "tcp:".
int statistics(const Target& target, bool all) {
  auto rows = ask(target, all ? "counters all" : "counters");
  if (!rows) return complain(rows.error());
  const auto group_of = [](const Json& row) {
    const auto name = row["counter"].get<std::string>();
    return name.substr(0, name.find('.'));
  };
  if (target.json) {
    print_json(*rows);
    return 0;
  }
  std::vector<std::string> groups;  // in the order in which they come
  for (const Json& row : *rows) {
    if (std::find(groups.begin(), groups.end(), group_of(row)) == groups.end()) groups.push_back(group_of(row));
  }
  for (const std::string& group : groups) {
    fmt::print("{}:\n", group);
    for (const Json& row : *rows) {
      if (group_of(row) == group) print_counter(row);
    }
  }
  return 0;
}

int run(const Target& target, const Arguments& a) {
  if (a.statistics) return statistics(target, a.all);
  if (a.interfaces) {
    return show(target, "interfaces",
                {"interface", "mtu", "state", "rx_frames", "rx_bytes", "rx_dropped", "rx_errors", "tx_frames",
                 "tx_bytes", "tx_errors"},
                {"Interface", "MTU", "State", "RX-Packets", "RX-Bytes", "RX-Drop", "RX-Err", "TX-Packets", "TX-Bytes",
                 "TX-Err"});
  }
  if (a.routes) {
    return show_routes(target, "routes");
  }
  if (a.groups) return show(target, "groups", {"interface", "members", "group"}, {"Interface", "RefCnt", "Group"});
  return sockets(target, a);
}

}  // namespace

Command netstat(CLI::App& cli, Target& target) {
  const auto a = std::make_shared<Arguments>();
  CLI::App* app = cli.add_subcommand("netstat", "sockets; -s statistics, -i interfaces, -r routes, -g groups");
  app->add_flag("-e,--internals", a->internals, "with TCP's internals");
  app->add_flag("-s", a->statistics, "counters by protocol instead of sockets; with -a also those that are zero");
  app->add_flag("-i", a->interfaces, "interfaces and their counters");
  app->add_flag("-r", a->routes, "routes");
  app->add_flag("-g", a->groups, "multicast groups");
  app->add_flag("-l", a->listening, "only listeners");
  app->add_flag("-a", a->all, "everything");
  app->add_flag("-t", a->tcp, "only TCP");
  app->add_flag("-u", a->udp, "only UDP");
  app->add_flag("-n", a->numbers, "numbers, not names (always so)");
  add_flags(*app, target);
  return {app, [&target, a] { return run(target, *a); }};
}

}  // namespace millrace::tool
