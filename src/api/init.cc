// ff_init, ff_run, ff_stop_run.
#include <fmt/format.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdlib.h>

#include <atomic>

#include "api/state.h"
#include "drivers/all.h"
#include "ff/ff_config.h"
#include "ff/ff_log.h"
#include "posix/kernel.h"

namespace millrace::api {
namespace {

constexpr int kFailed = 1;
constexpr int kSpins = 256;  // turns without work before the loop sleeps, where it may

std::atomic<bool> stop_asked{false};

[[noreturn]] void give_up(const std::string& why) {
  say(why);
  exit(kFailed);
}

runtime::Outcome<std::unique_ptr<posix::Inline>> open_stack() {
  // Never destroyed: drivers must outlive the last turn of the stack, which is taken behind all of exit().
  static auto& drivers = *new runtime::DriverRegistry;
  drivers::register_all(drivers);
  return posix::Inline::open(state().config->config, drivers);
}

std::unique_ptr<posix::Transport> bring_up() {
  try {
    auto transport = open_stack();
    if (!transport) give_up(transport.error().to_string());
    state().transport = transport->get();
    return std::move(*transport);
  } catch (const std::exception& error) {
    give_up(error.what());
  }
}

void end() { state().stack->end(); }

}  // namespace

State& state() {
  static State one;
  return one;
}

posix::Stack& the_stack() {
  if (state().stack == nullptr) {
    char name[] = "ff";
    char* arguments[] = {name, nullptr};
    (void)ff_init(1, arguments);
  }
  return *state().stack;
}

void say(const std::string& sentence) {
  const std::string line = "ff: " + sentence + "\n";
  posix::kernel::write(2, line.data(), line.size());
}

}  // namespace millrace::api

using namespace millrace;

int ff_init(int argc, char* const argv[]) {
  api::State& state = api::state();
  if (state.stack != nullptr) return 0;
  if (ff_load_config(argc, argv) != 0) exit(api::kFailed);
  if (ff_log_open_set() != 0) exit(api::kFailed);
  posix::StackOptions options;
  options.loopback = true;
  options.own_numbers = true;
  options.first_number = state.config->first_number > 3 ? static_cast<int>(state.config->first_number) : 3;
  state.stack = new posix::Stack(api::bring_up, options);
  if (!state.stack->start()) exit(api::kFailed);
  pthread_atfork([] { api::the_stack().before_fork(); }, [] { api::the_stack().after_fork(false); },
                 [] { api::the_stack().after_fork(true); });
  atexit(api::end);
  return 0;
}

void ff_run(loop_func_t loop, void* arg) {
  posix::Stack& stack = api::the_stack();
  const Duration longest = microseconds(api::state().config->idle_sleep_us);
  api::stop_asked = false;
  int idle = 0;
  while (!api::stop_asked.load(std::memory_order_relaxed)) {
    if (stack.drive(loop, arg)) {
      idle = 0;
    } else if (longest.ns() == 0 || ++idle < api::kSpins) {
      _mm_pause();
    } else {
      stack.rest(longest);
    }
  }
}

void ff_stop_run(void) { api::stop_asked = true; }
