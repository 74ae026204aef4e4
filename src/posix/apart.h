// Descriptors that the stack keeps for itself in somebody else's program: high numbers, which the program does not meet
// by chance, and which it cannot close when it closes all that it did not open (daemons do, and what starts programs).
#pragma once

#include <cstddef>

namespace millrace::posix {

/// Moves a fresh descriptor; returns its number from now on.
[[nodiscard]] int set_apart(int fd);
/// Free of locks.
[[nodiscard]] bool is_apart(int fd);
/// It is about to be closed by the stack itself.
void forget_apart(int fd);

/// The lowest at or above `from`; UINT_MAX: none.
[[nodiscard]] unsigned next_apart(unsigned from);

/// Calls `visit(first, last)` for each run of numbers in [first, last] that are not set apart.
template <class Visit>
void each_run_between(unsigned first, unsigned last, Visit&& visit) {
  while (first <= last) {
    const unsigned next = next_apart(first);
    if (next > last) {
      visit(first, last);
      return;
    }
    if (next != first) visit(first, next - 1);
    first = next + 1;
  }
}

}  // namespace millrace::posix
