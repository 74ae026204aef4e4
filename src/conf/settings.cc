#include "conf/settings.h"

#include <array>

#include "conf/config.h"

namespace millrace::conf {
namespace {

int64_t& tcp_field(Config& config, const Setting& setting) {
  return config.tcp.*tcp::kSettingRows[setting.index].field;
}

int64_t& ip_field(Config& config, const Setting& setting) { return config.ip.*ip::kSettingRows[setting.index].field; }

int64_t& udp_field(Config& config, const Setting& setting) {
  return config.udp.*udp::kSettingRows[setting.index].field;
}

constexpr int64_t WorkerSettings::*kWorkerFields[] = {
#define X(name, value, least, greatest, text) &WorkerSettings::name,
    MILLRACE_WORKER_SETTINGS(X)
#undef X
};
int64_t& worker_field(Config& config, const Setting& setting) { return config.worker.*kWorkerFields[setting.index]; }

constexpr int64_t LoopSettings::*kLoopFields[] = {
#define X(name, value, least, greatest, text) &LoopSettings::name,
    MILLRACE_LOOP_SETTINGS(X)
#undef X
};
int64_t& loop_field(Config& config, const Setting& setting) { return config.loop.*kLoopFields[setting.index]; }

template <class Rows>
void append(std::vector<Setting>& all, std::string_view section, const Rows& rows,
            int64_t& (*field)(Config&, const Setting&)) {
  uint32_t index = 0;
  for (const auto& row : rows) {
    all.push_back({section, row.name, row.least, row.greatest, row.value, row.text, field, index++, nullptr});
  }
}

std::vector<Setting> assemble() {
  std::vector<Setting> all;
  append(all, "tcp", tcp::kSettingRows, tcp_field);
  for (Setting& s : all) s.words = tcp::words_of(tcp::kSettingRows[s.index]);
  append(all, "ip", ip::kSettingRows, ip_field);
  append(all, "udp", udp::kSettingRows, udp_field);
  uint32_t index = 0;
#define X(name, value, least, greatest, text) \
  all.push_back({"worker", #name, least, greatest, value, text, worker_field, index++, nullptr});
  MILLRACE_WORKER_SETTINGS(X)
#undef X
  index = 0;
#define X(name, value, least, greatest, text) \
  all.push_back({"loop", #name, least, greatest, value, text, loop_field, index++, nullptr});
  MILLRACE_LOOP_SETTINGS(X)
#undef X
  return all;
}

}  // namespace

std::span<const Setting> settings() {
  static const std::vector<Setting> kAll = assemble();
  return kAll;
}

const Setting* find_setting(std::string_view section, std::string_view name) {
  for (const Setting& setting : settings()) {
    if (setting.section == section && setting.name == name) return &setting;
  }
  return nullptr;
}

}  // namespace millrace::conf
