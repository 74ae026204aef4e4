// PollClient: work that is asked for by other processes through shared memory. The loop looks at it every turn, as it
// looks at devices, and sleeps on its descriptors too.
#pragma once

#include <poll.h>

#include <vector>

#include "millrace/program.h"
#include "stack/worker.h"

namespace millrace::runtime {

class PollClient {
 public:
  virtual ~PollClient() = default;
  /// Once, before the first turn.
  virtual void attach(stack::Worker& worker, Door& door) = 0;
  /// Does some of what waits; returns how much.
  virtual size_t poll(Instant now) = 0;
  /// Before a sleep: appends what to wait for. False: something waits already. disarm() follows in either case.
  virtual bool arm(std::vector<pollfd>& waits) = 0;
  virtual void disarm() = 0;
};

}  // namespace millrace::runtime
