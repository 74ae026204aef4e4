// Where the calling thread runs.
#pragma once

#include <sched.h>

#include <cstdint>

namespace millrace::runtime {

/// Pins the calling thread; false (errno says why) if that CPU is not to be had.
inline bool run_on_cpu(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace millrace::runtime
