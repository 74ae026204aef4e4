// Carrier: what a loop's worker gives to others and gets from them, between the threads of a process (Exchange) or
// between processes (Siblings). All calls come from the thread of worker `self`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "millrace/time.h"

namespace millrace::runtime {

class Carrier {
 public:
  virtual ~Carrier() = default;
  /// Gives the worker what others handed over; returns how much.
  virtual size_t take_in(uint32_t self, Instant now) = 0;
  /// Hands out what the worker has for others; returns how much.
  virtual size_t hand_out(uint32_t self) = 0;
  /// Says that the worker is about to sleep and wants to be woken; false: something came meanwhile.
  virtual bool prepare_sleep(uint32_t self) = 0;
  virtual void end_sleep(uint32_t self) = 0;
  /// Becomes readable when another wakes the worker; -1: others use the loop's Waker.
  [[nodiscard]] virtual int wait_fd() const { return -1; }
  /// When a sleep must end, so that others are looked at.
  [[nodiscard]] virtual Instant look_at() const { return kNever; }
};

}  // namespace millrace::runtime
