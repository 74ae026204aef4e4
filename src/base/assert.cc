#include "base/assert.h"

namespace millrace::base {
namespace {
PanicHook g_hook = nullptr;
}

void set_panic_hook(PanicHook hook) noexcept { g_hook = hook; }

void panic(const char* expression, const char* file, int line) noexcept {
  PanicHook hook = g_hook;
  g_hook = nullptr;  // a panic inside the hook must not recurse
  if (hook != nullptr) hook(expression, file, line);
  __builtin_trap();
}

}  // namespace millrace::base
