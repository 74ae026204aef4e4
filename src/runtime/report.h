// What the control socket, SIGUSR1 and --stats show: tables of the worker's state, as text or JSON.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "conf/config.h"
#include "runtime/device.h"
#include "runtime/stages.h"
#include "stack/worker.h"

namespace millrace::runtime {

struct ObservedPort {
  const Device* device = nullptr;
  IfIndex interface = IfIndex::kNone;
  const conf::Interface* config = nullptr;
};

class Loop;

/// Everything that a question or a command may be about; borrowed.
struct Observed {
  stack::Worker& worker;
  Loop& loop;
  conf::Config& config;  ///< what is in force; commands change it
  Instant now{};
  double cycles_per_ns = 1;
  std::span<const ObservedPort> ports{};
};

/// Answers "sockets [internals]", "counters [all]", "stages", "trace [CONNECTION | kept]", "neighbours", "routes",
/// "route-to ADDRESS [TABLE]", "addresses", "interfaces", "settings [PREFIX]" or "help", and carries out the commands of
/// command.h; each optionally followed by "json". What cannot be done or is not understood begins with "error: ", in
/// JSON an object with the key "error".
[[nodiscard]] std::string answer(std::string_view question, const Observed& observed);

/// One line for --stats: rates since `before`, over `elapsed`.
[[nodiscard]] std::string stats_line(const Stages& before, const Stages& now, Duration elapsed, size_t sockets,
                                     double cycles_per_ns);

}  // namespace millrace::runtime
