// The library's beginning and end: finds libc's functions, makes the stack object, brings the stack up when the first
// socket is made, and closes what is open when the process ends.
#include <dirent.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <pthread.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "drivers/tap/tap.h"
#if defined(MILLRACE_WITH_XDP)
#include "drivers/xdp/xdp.h"
#endif
#include "posix/blocking.h"
#include "posix/inline.h"
#include "runtime/app.h"
#include "service/channel.h"
#include "shim/next.h"
#include "shim/run.h"
#include "shim/streams.h"

namespace millrace::shim {

Next next;
std::atomic<posix::Stack*> the_stack{nullptr};

namespace {

constexpr int kCannotRun = 125;

std::vector<std::string> words_of(const char* text) {
  std::vector<std::string> words;
  std::string word;
  for (const char* c = text; c != nullptr && *c != 0; ++c) {
    if (*c != kWordEnd) {
      word += *c;
      continue;
    }
    words.push_back(word);
    word.clear();
  }
  return words;
}

void say(const std::string& text) {
  const std::string line = "millrace run: " + text + "\n";
  posix::kernel::write(2, line.data(), line.size());
}

runtime::Outcome<std::unique_ptr<posix::Inline>> open_inline() {
  // Never destroyed: the drivers in it must outlive the last turn of the stack, which is taken behind all of exit().
  static auto& app = *new runtime::App("millrace run", "", "");
  drivers::tap::register_driver(app.drivers());
#if defined(MILLRACE_WITH_XDP)
  drivers::xdp::register_driver(app.drivers());
#endif
  const auto config = app.configure(words_of(getenv(kFlagsVariable)));
  if (!config) return tl::unexpected<runtime::Failure>(config.error());
  return posix::Inline::open(*config, app.drivers());
}

// The thread is not cancelled while it lives.
class NotCancelled {
 public:
  NotCancelled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~NotCancelled() { pthread_setcancelstate(before_, nullptr); }
  NotCancelled(const NotCancelled&) = delete;
  NotCancelled& operator=(const NotCancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

// With the lock held, in the thread that made the first socket.
std::unique_ptr<posix::Transport> bring_up() {
  std::string why;
  const NotCancelled whole;
  try {
    if (const char* service = getenv(kServiceVariable)) {
      auto end = service::attach(service);
      if (end) return std::make_unique<service::Channel>(std::move(*end), service);
      why = end.error().what.empty() ? fmt::format("there is no service at {}", service) : end.error().to_string();
    } else {
      auto transport = open_inline();
      if (transport) {
        posix::start_helper(*the_stack.load());
        return std::move(*transport);
      }
      why = transport.error().to_string();
    }
  } catch (const std::exception& error) {
    why = error.what();
  }
  say(why);
  const char* program = getenv(kProgramVariable);
  if (program != nullptr && atol(program) == posix::kernel::pid()) {
    call(SYS_exit_group, kCannotRun);
  }
  return nullptr;  // a program that the one on the stack has started
}

void find_next() {
  const auto find = [](auto& pointer, const char* name) {
    if (void* found = dlsym(RTLD_NEXT, name)) pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(found);
  };
  Next found;
#define MILLRACE_FIND(result, name, parameters, arguments) find(found.name, #name);
  MILLRACE_REPLACED(MILLRACE_FIND)
#undef MILLRACE_FIND
  find(found.pselect, "pselect");
  find(found.exit_now, "_exit");
  find(found.sigaction, "sigaction");
  find(found.signal, "signal");
  find(found.longjmp, "longjmp");
  find(found.longjmp_chk, "__longjmp_chk");
  next = found;
  posix::blocking::libc = {next.ppoll, next.connect, next.sendmsg};
}

// Descriptors that the program before this one, or the one that started it, left open. Without /proc, the first ones.
void collect_inherited(posix::Stack& stack) {
  std::vector<int> numbers;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (const dirent* entry = readdir(folder)) {
      if (entry->d_name[0] != '.') numbers.push_back(atoi(entry->d_name));
    }
    closedir(folder);
  } else {
    constexpr int kFew = 256;
    for (int fd = 0; fd < kFew; ++fd) numbers.push_back(fd);
  }
  for (const int fd : numbers) {
    if (stack.collect(fd)) adopt_standard_stream(fd);
  }
}

[[gnu::constructor]] void begin() {
  find_next();
  if (getenv(kFlagsVariable) == nullptr) return;
  posix::StackOptions options;
  options.loopback = getenv(kLoopbackVariable) != nullptr;
  static posix::Stack* stack = new posix::Stack(bring_up, options);  // never destroyed: threads may be in it at the end
  the_stack.store(stack);
  pthread_atfork([] { stack->before_fork(); }, [] { stack->after_fork(false); }, [] { stack->after_fork(true); });
  at_quick_exit([] { stack->end(); });
  if (getenv(kServiceVariable) != nullptr) collect_inherited(*stack);
}

void end() {
  if (auto* stack = the_stack.load()) stack->end();
}

[[gnu::destructor]] void finish() {
  flush_standard_streams();
  end();
}

}  // namespace

MILLRACE_EXPORT(void, _exit, (int status)) {
  end();
  if (next.exit_now != nullptr) next.exit_now(status);
  call(SYS_exit_group, status);
  __builtin_unreachable();
}

MILLRACE_EXPORT(void, _Exit, (int status)) { shim__exit(status); }

}  // namespace millrace::shim
