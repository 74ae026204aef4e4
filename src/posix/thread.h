// What one thread remembers of being in the stack: whether it is, the signals that it holds back, what a handler asked
// for meanwhile. A handler never runs with the lock held: handlers that were installed through the preloaded library
// begin with defer_signal(), which postpones those that interrupt the stack to the lock's end; a call that sleeps takes
// signals only asleep, from its first sleep to its end, so that none passes unseen between two sleeps.
#pragma once

#include <signal.h>

#include <array>
#include <cstdint>

namespace millrace::posix {

/// More than 0 while this thread holds the lock of a Stack or belongs to the stack itself: calls go to the kernel.
extern constinit thread_local int inside __attribute__((tls_model("initial-exec")));

struct ThreadState {
  bool holds_signals = false;  ///< all are blocked; `mask` is the program's own
  uint8_t closes = 0;
  std::array<int, 8> to_close{};  ///< by a handler that interrupted the stack
  sigset_t mask{};
};
extern constinit thread_local ThreadState thread_state __attribute__((tls_model("initial-exec")));

/// Blocks all signals of this thread until release_signals().
void hold_signals();
void release_signals();

/// First of all in a handler: true if this thread is in the stack. Then the signal is put off until it is not, and the
/// handler must return at once. `info` may be null, `context` is the handler's third argument.
bool defer_signal(int number, const siginfo_t* info, void* context);

}  // namespace millrace::posix
