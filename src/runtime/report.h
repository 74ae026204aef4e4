// What the control socket, SIGUSR1 and --stats show: tables of the worker's state, as text or JSON.
#pragma once

#include <functional>
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

/// What another worker of the process says of itself.
struct WorkerView {
  std::vector<stack::SocketInfo> sockets{};
  std::vector<stack::CounterValue> counters{};
  Stages stages{};
  std::vector<DeviceCounters> devices{};  ///< in the order of Observed::ports
};

/// Everything that a question or a command may be about; borrowed.
struct Observed {
  stack::Worker& worker;
  Loop& loop;
  conf::Config& config;  ///< what is in force; commands change it
  Instant now{};
  double cycles_per_ns = 1;
  std::span<const ObservedPort> ports{};
  std::span<const WorkerView* const> others{};     ///< the other workers' views
  std::function<void(const Request&)> broadcast{};  ///< lets the other workers carry a request out too
};

/// Answers "sockets [internals]", "counters [all]", "stages", "trace [CONNECTION | kept]", "neighbours", "groups",
/// "routes", "route-to ADDRESS [TABLE]", "addresses", "learned", "interfaces", "settings [PREFIX]" or "help", and
/// carries out the commands of command.h; each optionally followed by "json". What cannot be done or is not understood
/// begins with "error: ", in JSON an object with the key "error".
[[nodiscard]] std::string answer(std::string_view question, const Observed& observed);

/// One line for --stats: rates since `before`, over `elapsed`.
[[nodiscard]] std::string stats_line(const Stages& before, const Stages& now, Duration elapsed, size_t sockets,
                                     double cycles_per_ns);

}  // namespace millrace::runtime
