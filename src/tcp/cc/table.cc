// The controllers by number.
#include "base/assert.h"
#include "tcp/cc/controller.h"

namespace millrace::tcp::cc {

const Operations& controller(uint8_t index) {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a name */
#define MILLRACE_CONTROLLER_ADDRESS(name) &name,
  static constexpr const Operations* kTable[] = {MILLRACE_CONGESTION_CONTROLLERS(MILLRACE_CONTROLLER_ADDRESS)};
#undef MILLRACE_CONTROLLER_ADDRESS
  MR_ASSERT(index < kControllers);
  return *kTable[index];
}

}  // namespace millrace::tcp::cc
