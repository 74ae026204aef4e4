// F-Stack's config.ini to Config. Every key of F-Stack 1.26 is known; what has no meaning here is named in `unused`,
// what nobody knows in `unknown`. Two keys of our own in [portN], `driver` and `device`, choose a device as in
// [interface.NAME]; without them the ports are the devices of `allow` and [vdevN] in that order, or, if there is none,
// a TAP with the kernel on its other side.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "conf/config.h"
#include "conf/parse.h"

namespace millrace::conf {

/// One `key=value` line.
struct IniEntry {
  std::string section;
  std::string key;
  std::string value;
  uint32_t line = 0;  ///< from 1
};

/// `[section]` and `key=value` lines; `#` and `;` begin comments, `;` also behind a value and a space. A byte order
/// mark is skipped.
[[nodiscard]] tl::expected<std::vector<IniEntry>, Problem> parse_ini(std::string_view text, std::string_view file);

struct Fstack {
  std::vector<IniEntry> entries{};
  Config config{};
  std::vector<uint32_t> cpus{};  ///< of lcore_mask, by process; at least one
  uint32_t process = 0;          ///< --proc-id
  int64_t idle_sleep_us = 0;     ///< longest sleep of a loop without work; 0: it polls
  int64_t first_number = 0;      ///< of descriptors (fd_reserve)
  int64_t log_level = 0;         ///< 0: no log file
  std::string log_prefix = "./f-stack-";
  std::vector<std::string> unused{};  ///< "dpdk.numa_on"
  std::vector<std::string> unknown{};
};

/// Reads a whole file for process number `process`. Nothing is applied; `file` only serves messages.
[[nodiscard]] tl::expected<Fstack, Problem> parse_fstack(std::string_view text, std::string_view file,
                                                         uint32_t process);

/// Sets what a sysctl of FreeBSD stands for here, cut to the range of the setting; false: nothing does.
[[nodiscard]] bool apply_sysctl(std::string_view name, std::string_view value, Config& config);
/// The value that a sysctl would show; nothing if it stands for nothing here.
[[nodiscard]] std::optional<int64_t> read_sysctl(std::string_view name, const Config& config);
/// The setting behind a sysctl, and what one unit of the sysctl is in units of the setting; null if there is none.
struct Sysctl {
  std::string_view name;
  const Setting* setting = nullptr;
  int64_t scale = 1;
};
[[nodiscard]] std::span<const Sysctl> sysctls();

}  // namespace millrace::conf
