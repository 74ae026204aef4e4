// What a generator needs to know of the machine it runs on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/cycles.h"

namespace millrace::load {

struct Machine {
  uint64_t (*cycles)() = apps::cycles_now;
  double hz = 1e9;                       ///< cycles a second
  std::function<uint64_t()> busy_cycles; ///< of loop turns that did something, so far; may be empty
  /// The same by stage of the loop; may be empty.
  std::function<std::vector<std::pair<std::string, uint64_t>>()> stage_cycles{};
};

}  // namespace millrace::load
