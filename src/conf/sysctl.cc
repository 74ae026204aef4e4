// FreeBSD's names for what the settings call otherwise.
#include <algorithm>
#include <charconv>

#include "conf/fstack.h"

namespace millrace::conf {
namespace {

struct Row {
  std::string_view name;
  std::string_view section;
  std::string_view setting;
  int64_t scale = 1;
};

constexpr int64_t kMilliseconds = 1'000;

constexpr Row kRows[] = {
    {"kern.ipc.maxsockets", "worker", "max_connections"},
    {"net.inet.ip.portrange.first", "tcp", "port_low"},
    {"net.inet.ip.portrange.last", "tcp", "port_high"},
    {"net.inet.tcp.cc.algorithm", "tcp", "congestion_control"},
    {"net.inet.tcp.ecn.enable", "tcp", "ecn"},
    {"net.inet.tcp.finwait2_timeout", "tcp", "fin_wait_2_us", kMilliseconds},
    {"net.inet.tcp.initcwnd_segments", "tcp", "initial_window"},
    {"net.inet.tcp.keepcnt", "tcp", "keepalive_probes"},
    {"net.inet.tcp.keepidle", "tcp", "keepalive_idle_us", kMilliseconds},
    {"net.inet.tcp.keepintvl", "tcp", "keepalive_interval_us", kMilliseconds},
    {"net.inet.tcp.maxtcptw", "worker", "max_time_wait"},
    {"net.inet.tcp.msl", "tcp", "time_wait_us", 2 * kMilliseconds},
    {"net.inet.tcp.recvbuf_max", "tcp", "receive_buffer_max"},
    {"net.inet.tcp.recvspace", "tcp", "receive_buffer"},
    {"net.inet.tcp.rexmit_min", "tcp", "rto_min_us", kMilliseconds},
    {"net.inet.tcp.rexmit_initial", "tcp", "rto_initial_us", kMilliseconds},
    {"net.inet.tcp.rfc1323", "tcp", "window_scaling"},
    {"net.inet.tcp.sack.enable", "tcp", "sack"},
    {"net.inet.tcp.sendbuf_max", "tcp", "send_buffer_max"},
    {"net.inet.tcp.sendspace", "tcp", "send_buffer"},
    {"net.inet.tcp.syncookies", "tcp", "syncookies"},
};

int64_t field_of(const Sysctl& sysctl, const Config& config) {
  Config copy = config;  // field() gives a reference that may be written
  return sysctl.setting->field(copy, *sysctl.setting);
}

}  // namespace

std::span<const Sysctl> sysctls() {
  static const std::vector<Sysctl> kAll = [] {
    std::vector<Sysctl> all;
    for (const Row& row : kRows) all.push_back({row.name, find_setting(row.section, row.setting), row.scale});
    return all;
  }();
  return kAll;
}

bool apply_sysctl(std::string_view name, std::string_view text, Config& config) {
  const auto all = sysctls();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Sysctl& s) { return s.name == name; });
  if (found == all.end()) return false;
  const Setting& setting = *found->setting;
  int64_t& field = setting.field(config, setting);
  if (setting.words != nullptr) {
    for (int64_t v = setting.least; v <= setting.greatest; ++v) {
      if (text == setting.words[v - setting.least]) {
        field = v;
        return true;
      }
    }
    return false;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  value = std::clamp<int64_t>(value, 0, setting.greatest / found->scale + 1) * found->scale;
  field = std::clamp(value, setting.least, setting.greatest);
  if (name == "net.inet.tcp.rfc1323") config.tcp.timestamps = field;
  return true;
}

std::optional<int64_t> read_sysctl(std::string_view name, const Config& config) {
  for (const Sysctl& sysctl : sysctls()) {
    if (sysctl.name == name && sysctl.setting->words == nullptr) return field_of(sysctl, config) / sysctl.scale;
  }
  return std::nullopt;
}

}  // namespace millrace::conf
