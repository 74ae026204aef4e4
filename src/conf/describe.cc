// The reference part of docs/CONFIGURATION.md, generated from the rows.
#include "conf/keys.h"
#include "conf/parse.h"

namespace millrace::conf {
namespace {

void heading(std::string& out, std::string_view table, std::string_view text) {
  out += "### ";
  out += table;
  out += "\n\n";
  out += text;
  out += "\n\n";
}

void row(std::string& out, std::string_view name, std::string_view type, std::string_view fallback,
         std::string_view text) {
  out += "| `";
  out += name;
  out += '`';
  for (std::string_view cell : {type, fallback, text}) {
    out += " | ";
    out += cell;
  }
  out += " |\n";
}

void table_head(std::string& out) { out += "| key | value | default | meaning |\n|---|---|---|---|\n"; }

template <class T>
void keys(std::string& out, std::span<const KeyRow<T>> rows) {
  table_head(out);
  for (const KeyRow<T>& key : rows) row(out, key.name, key.type, key.fallback, key.text);
  out += "\n";
}

void numbers(std::string& out, std::string_view section) {
  table_head(out);
  for (const Setting& s : settings()) {
    if (s.section != section) continue;
    std::string range = std::to_string(s.least) + " to " + std::to_string(s.greatest);
    if (s.words != nullptr) {
      range.clear();
      for (int64_t i = s.least; i <= s.greatest; ++i) range += (range.empty() ? "" : ", ") + s.shown(i);
    }
    row(out, s.name, range, s.shown(s.value), s.text);
  }
  out += "\n";
}

}  // namespace

std::string describe_settings() {
  std::string out;
  heading(out, "Top of the file", "Keys before the first table.");
  keys(out, top_rows());
  heading(out, "[interface.NAME]", "One table an interface. NAME is the name that tools show.");
  keys(out, interface_rows());
  heading(out, "[[route]]", "One entry a route, beside those that addresses and gateways bring.");
  keys(out, route_rows());
  heading(out, "[worker]", "Limits of the worker. Memory is taken as it is needed, up to these.");
  numbers(out, "worker");
  heading(out, "[loop]", "The poll loop.");
  numbers(out, "loop");
  heading(out, "[tcp]", "TCP. Also as `--set tcp.KEY=VALUE`.");
  numbers(out, "tcp");
  heading(out, "[ip]", "IPv4 and IPv6. Also as `--set ip.KEY=VALUE`.");
  numbers(out, "ip");
  heading(out, "[udp]", "Datagram sockets. Also as `--set udp.KEY=VALUE`.");
  numbers(out, "udp");
  heading(out, "[dpdk]", "Only where an interface has `driver = \"dpdk\"`.");
  keys(out, dpdk_rows());
  return out;
}

}  // namespace millrace::conf
