// Settings rows. A module lists its knobs as MODULE_SETTINGS(X), one X(name, default, least, greatest, text) a row. A
// row generates the struct's member and, in conf/, the sysctl, the parser with its range, the documentation and the
// boundary tests.
#pragma once

#include <cstdint>
#include <optional>

namespace millrace::base {

/// One knob of the struct `Settings`, whose members are all int64_t.
template <class Settings>
struct SettingRow {
  const char* name;
  int64_t Settings::*field;
  int64_t least;
  int64_t greatest;
  int64_t value;  ///< default
  const char* text;
};

/// `settings` with one row changed; nothing if `value` lies outside of the row's range.
template <class Settings>
[[nodiscard]] std::optional<Settings> with_row(Settings settings, const SettingRow<Settings>& row, int64_t value) {
  if (value < row.least || value > row.greatest) return std::nullopt;
  settings.*row.field = value;
  return settings;
}

}  // namespace millrace::base

#define MILLRACE_SETTING_MEMBER(name, value, least, greatest, text) int64_t name = value;
#define MILLRACE_SETTING_ROW(name, value, least, greatest, text) {#name, &Settings::name, least, greatest, value, text},
/// In the module's namespace: `struct Settings` and its table `kSettingRows`.
#define MILLRACE_SETTINGS(ROWS)          \
  struct Settings {                      \
    ROWS(MILLRACE_SETTING_MEMBER)        \
  };                                     \
  using SettingRow = ::millrace::base::SettingRow<Settings>; \
  inline constexpr SettingRow kSettingRows[] = {ROWS(MILLRACE_SETTING_ROW)};
