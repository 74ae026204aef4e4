// Handlers of signals, and jumps out of them. A handler that interrupts the stack while it holds its lock is put off to
// the lock's end (posix/thread.h): what libc gives the kernel is a function of ours that knows the program's. Handlers
// that are installed past these functions run at once, and may then neither make socket calls nor jump.
#include <dlfcn.h>

#include <array>

#include "shim/next.h"

namespace millrace::shim {
namespace {

struct Handler {
  std::atomic<void (*)(int, siginfo_t*, void*)> run{nullptr};
  std::atomic<bool> informed{false};  // SA_SIGINFO
};
std::array<Handler, 65> handlers;  // by number

void begin_handler(int number, siginfo_t* info, void* context) {
  const Handler& handler = handlers[static_cast<size_t>(number)];
  if (posix::defer_signal(number, handler.informed ? info : nullptr, context)) return;
  handler.run.load()(number, info, context);
}

// A fault cannot be put off, and a handler that is used once is gone before it could be asked for again.
bool can_wait(int number, int flags) {
  if (number < 1 || number > 64 || (flags & static_cast<int>(SA_RESETHAND)) != 0) return false;
  return number != SIGSEGV && number != SIGBUS && number != SIGFPE && number != SIGILL && number != SIGTRAP &&
         number != SIGSYS;
}

bool is_function(const void* handler) {
  return handler != reinterpret_cast<void*>(SIG_DFL) && handler != reinterpret_cast<void*>(SIG_IGN) &&
         handler != reinterpret_cast<void*>(SIG_ERR);
}

template <class T>
void* pointer_of(T* function) {
  return reinterpret_cast<void*>(function);
}

// The handler that goes to the kernel in place of `wanted`.
void* stand_in(int number, void* wanted, int flags) {
  const bool active = the_stack.load(std::memory_order_relaxed) != nullptr;
  if (!active || !is_function(wanted) || !can_wait(number, flags) || wanted == pointer_of(begin_handler)) return wanted;
  Handler& handler = handlers[static_cast<size_t>(number)];
  handler.informed = (flags & SA_SIGINFO) != 0;
  handler.run = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(wanted);
  return pointer_of(begin_handler);
}

void find_if_need_be() {
  if (next.sigaction == nullptr) {
    next.sigaction = reinterpret_cast<decltype(next.sigaction)>(dlsym(RTLD_NEXT, "sigaction"));
  }
  if (next.signal == nullptr) next.signal = reinterpret_cast<decltype(next.signal)>(dlsym(RTLD_NEXT, "signal"));
}

// As libc keeps the stack pointer in a jmp_buf of x86-64.
const void* frame_of(const __jmp_buf_tag* where) {
  constexpr int kStackPointer = 6;
  auto frame = static_cast<uint64_t>(where->__jmpbuf[kStackPointer]);
  asm("ror $17, %0\n\txor %%fs:0x30, %0" : "+r"(frame));
  return reinterpret_cast<const void*>(frame);
}

[[noreturn]] void jump(void (*by)(__jmp_buf_tag*, int), const char* name, __jmp_buf_tag* where, int value) {
  if (by == nullptr) by = reinterpret_cast<void (*)(__jmp_buf_tag*, int)>(dlsym(RTLD_NEXT, name));
  if (auto* stack = the_stack.load(std::memory_order_relaxed)) stack->abandon(frame_of(where));
  by(where, value);
  __builtin_unreachable();
}

}  // namespace

MILLRACE_EXPORT(int, sigaction, (int number, const struct sigaction* action, struct sigaction* old)) {
  find_if_need_be();
  void* before = number > 0 && number <= 64 ? pointer_of(handlers[static_cast<size_t>(number)].run.load()) : nullptr;
  struct sigaction given {};
  if (action != nullptr) {
    given = *action;
    given.sa_handler = reinterpret_cast<sighandler_t>(stand_in(number, pointer_of(given.sa_handler), given.sa_flags));
  }
  const int result = next.sigaction(number, action != nullptr ? &given : nullptr, old);
  if (result == 0 && old != nullptr && pointer_of(old->sa_handler) == pointer_of(begin_handler)) {
    old->sa_handler = reinterpret_cast<sighandler_t>(before);
  }
  return result;
}

MILLRACE_EXPORT(int, __sigaction, (int number, const struct sigaction* action, struct sigaction* old)) {
  return shim_sigaction(number, action, old);
}

MILLRACE_EXPORT(sighandler_t, signal, (int number, sighandler_t handler)) {
  find_if_need_be();
  void* before = number > 0 && number <= 64 ? pointer_of(handlers[static_cast<size_t>(number)].run.load()) : nullptr;
  const sighandler_t old =
      next.signal(number, reinterpret_cast<sighandler_t>(stand_in(number, pointer_of(handler), 0)));
  return pointer_of(old) == pointer_of(begin_handler) ? reinterpret_cast<sighandler_t>(before) : old;
}

MILLRACE_EXPORT(sighandler_t, bsd_signal, (int number, sighandler_t handler)) { return shim_signal(number, handler); }
MILLRACE_EXPORT(sighandler_t, ssignal, (int number, sighandler_t handler)) { return shim_signal(number, handler); }

MILLRACE_EXPORT(void, longjmp, (__jmp_buf_tag * where, int value)) { jump(next.longjmp, "longjmp", where, value); }
MILLRACE_EXPORT(void, _longjmp, (__jmp_buf_tag * where, int value)) { jump(next.longjmp, "longjmp", where, value); }
MILLRACE_EXPORT(void, siglongjmp, (__jmp_buf_tag * where, int value)) { jump(next.longjmp, "longjmp", where, value); }
MILLRACE_EXPORT(void, __longjmp_chk, (__jmp_buf_tag * where, int value)) {
  jump(next.longjmp_chk, "__longjmp_chk", where, value);
}

}  // namespace millrace::shim
