#include "posix/thread.h"

#include <ucontext.h>

#include <atomic>
#include <cstring>

#include "posix/kernel.h"

namespace millrace::posix {

constinit thread_local int inside __attribute__((tls_model("initial-exec"))) = 0;
constinit thread_local ThreadState thread_state __attribute__((tls_model("initial-exec"))) = {};

void hold_signals() {
  if (thread_state.holds_signals) return;
  sigset_t before{};
  kernel::block_signals(before);
  if (thread_state.holds_signals) return;  // a signal that was put off has just blocked them
  thread_state.mask = before;
  thread_state.holds_signals = true;
}

void release_signals() {
  if (!thread_state.holds_signals) return;
  const sigset_t mask = thread_state.mask;
  thread_state.holds_signals = false;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  kernel::restore_signals(mask);
}

// The thread goes on with every signal blocked, this one pending again: whoever releases the lock lets it in.
bool defer_signal(int number, const siginfo_t* info, void* context) {
  if (inside == 0) return false;
  auto* mask = &static_cast<ucontext_t*>(context)->uc_sigmask;
  if (!thread_state.holds_signals) {
    std::memcpy(&thread_state.mask, mask, kernel::kSigsetBytes);
    thread_state.holds_signals = true;
  }
  std::memset(mask, 0xff, kernel::kSigsetBytes);
  const bool queued = info != nullptr && kernel::call(SYS_rt_tgsigqueueinfo, kernel::pid(), kernel::thread_id(), number,
                                                      kernel::arg(info)) == 0;
  if (!queued) kernel::signal_this_thread(number);
  return true;
}

}  // namespace millrace::posix
