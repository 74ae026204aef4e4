// Always-on assertions: a failed one is our own bug. The hook prints the trace ring before the process aborts.
#pragma once

namespace millrace::base {

/// Called once with the failed expression before the process is stopped; set by runtime and simulator.
using PanicHook = void (*)(const char* expression, const char* file, int line);

void set_panic_hook(PanicHook hook) noexcept;

/// Runs the hook and traps. Never returns.
[[noreturn]] void panic(const char* expression, const char* file, int line) noexcept;

}  // namespace millrace::base

#define MR_ASSERT(expression)                     \
  (__builtin_expect(!!(expression), 1)            \
       ? static_cast<void>(0)                     \
       : ::millrace::base::panic(#expression, __FILE__, __LINE__))

#define MR_UNREACHABLE() ::millrace::base::panic("unreachable", __FILE__, __LINE__)
