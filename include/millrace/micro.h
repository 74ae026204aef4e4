// Microthreads: synchronous code, asynchronous execution. Each has a stack of its own and runs on its worker's thread
// until it waits; there is no preemption. What coroutines co_await, a microthread waits for:
//
//   millrace::micro::spawn(reactor, [&reactor] {
//     auto peer = micro::wait(reactor.connect(server).within(seconds(3)));
//     if (peer && micro::wait(peer->write("GET / HTTP/1.0\r\n\r\n"))) ...
//   });
//
// A microthread that is cancelled is unwound where it waits: its destructors run.
#pragma once

#include <cstddef>
#include <functional>

#include "millrace/async.h"

namespace millrace::micro {

/// Bytes of a stack where nothing else is said. Pages are taken when they are touched.
inline constexpr size_t kStack = 64 * 1024;

/// Runs `body` from now on until it first waits. The first 16,384 stacks of a process have a guard page; beyond (the
/// kernel allows only so many mappings) an overrun is found out when the microthread waits, and ends the process.
/// std::bad_alloc where there is no memory.
Job spawn(Reactor& reactor, std::function<void()> body, size_t stack_bytes = kStack);

/// Whether a microthread is running.
[[nodiscard]] bool inside();

namespace detail {
void suspend(Operation& op);
}  // namespace detail

/// Waits for an operation; in a microthread only.
template <class Op>
auto wait(Op&& op) -> decltype(op.take()) {
  if (!op.begin()) detail::suspend(op);
  return op.take();
}

}  // namespace millrace::micro
