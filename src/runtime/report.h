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

/// Everything that a question may be about; borrowed.
struct Observed {
  stack::Worker& worker;
  const Stages& stages;
  double cycles_per_ns = 1;
  std::span<const ObservedPort> ports{};
};

/// Answers "sockets", "counters [all]", "stages", "trace [CONNECTION | kept]", "neighbours", "routes", "addresses",
/// "interfaces" or "help", each optionally followed by "json". Anything else gets a sentence and the list.
[[nodiscard]] std::string answer(std::string_view question, const Observed& observed);

/// One line for --stats: rates since `before`, over `elapsed`.
[[nodiscard]] std::string stats_line(const Stages& before, const Stages& now, Duration elapsed, size_t sockets,
                                     double cycles_per_ns);

}  // namespace millrace::runtime
