// Settings rows: one row a knob. A row generates the struct's member, the TOML key, the --set name, the range check,
// the documentation and the boundary tests. The rows of TCP, IP and UDP come from their own settings.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::conf {

struct Config;

/// name, default, least, greatest, text
#define MILLRACE_WORKER_SETTINGS(X)                                                                  \
  X(max_connections, 65'536, 1, 16'777'215, "connections at a time")                                 \
  X(max_half_open, 16'384, 1, 16'777'215, "half-open connections at a time")                         \
  X(max_time_wait, 65'536, 1, 16'777'215, "connections in TIME-WAIT at a time")                      \
  X(max_datagram_sockets, 16'384, 1, 1'048'576, "datagram sockets at a time")                        \
  X(max_messages, 262'144, 64, 16'777'215, "datagrams unread or borrowed at a time, of all sockets") \
  X(block_mib, 256, 8, 1'048'576, "limit of payload queued for sending, MiB; at least 8 a worker")     \
  X(frames, 16'384, 512, 16'777'216, "packets with a 2 KiB buffer")                                  \
  X(references, 32'768, 512, 16'777'216, "packets that only refer to payload")                       \
  X(seed, 0, 0, INT64_MAX, "seed of all randomness; 0 = from the machine. Fix it only to reproduce a run")

#define MILLRACE_LOOP_SETTINGS(X)                                                                            \
  X(spin_us, 50, 0, 1'000'000'000, "time without work before the loop sleeps, microseconds")                 \
  X(nap_us, 1'000, 0, 1'000'000,                                                                             \
    "longest sleep where a device cannot wake the loop; at most an eighth of the time without work; 0 = none") \
  X(burst, 32, 1, 256, "packets taken from a device at a time")                                              \
  X(event_budget, 256, 1, 1'000'000, "program events handled in one turn of the loop")                       \
  X(snap_bytes, 65'600, 64, 262'144, "bytes of each frame that a capture keeps")                             \
  X(stats_s, 0, 0, 86'400, "seconds between lines of statistics on standard error; 0 = none")

struct WorkerSettings {
#define X(name, value, least, greatest, text) int64_t name = value;
  MILLRACE_WORKER_SETTINGS(X)
#undef X
};

struct LoopSettings {
#define X(name, value, least, greatest, text) int64_t name = value;
  MILLRACE_LOOP_SETTINGS(X)
#undef X
};

/// One knob, whichever module owns it.
struct Setting {
  std::string_view section;  ///< "tcp", "ip", "udp", "worker" or "loop": the TOML table
  std::string_view name;
  int64_t least;
  int64_t greatest;
  int64_t value;  ///< default
  std::string_view text;
  int64_t& (*field)(Config&, const Setting&);
  uint32_t index;  ///< within its section
  const char* const* words = nullptr;  ///< names of the values, from the least on; null where numbers are meant

  /// `of` as people write it.
  [[nodiscard]] std::string shown(int64_t of) const {
    return words != nullptr && of >= least && of <= greatest ? words[of - least] : std::to_string(of);
  }
};

/// Every knob, grouped by section.
[[nodiscard]] std::span<const Setting> settings();
/// The knob called `section`.`name`, or nullptr.
[[nodiscard]] const Setting* find_setting(std::string_view section, std::string_view name);
/// The table of docs/CONFIGURATION.md, in Markdown: every key of the file, its default, range and meaning.
[[nodiscard]] std::string describe_settings();

}  // namespace millrace::conf
