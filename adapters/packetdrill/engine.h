// One worker under a virtual clock, and who may wait for what. Time moves only in usleep, in netdev_receive, in calls
// that block on packetdrill's first thread, which called init, and by 1 us a gettimeofday. A call of another thread
// that blocks sleeps in the kernel until somebody has brought about what it waits for; while that thread comes back and
// looks at the clock, time stands still.
//
// Invariants: the lock is held around everything but a sleep; the first thread never sleeps in wait().
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/memory.h"
#include "flags.h"
#include "link.h"
#include "stack/worker.h"

namespace millrace::packetdrill {

class Engine {
 public:
  explicit Engine(const Flags& flags);

  using Lock = std::unique_lock<std::mutex>;
  [[nodiscard]] Lock lock() { return Lock(mutex_); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] stack::Worker& worker() { return *worker_; }
  [[nodiscard]] Instant now() const { return now_; }
  /// Whether this is the thread that drives time.
  [[nodiscard]] bool on_first_thread() const { return std::this_thread::get_id() == first_; }

  /// Asks the worker, takes what it has to send and wakes whom that helps.
  Result<Reply> request(const Request& request);
  /// Called for every event of the worker, as it comes.
  void on_event(std::function<void(const Event&)> handler) { handler_ = std::move(handler); }

  /// A datagram arrives.
  bool deliver(std::span<const std::byte> datagram);
  /// The next datagram that leaves until `limit`, moving time as far as needed.
  std::optional<Sent> next_sent(Instant limit);
  /// Moves time to `until`, with everything due meanwhile.
  void pass_time(Instant until);
  /// What gettimeofday tells.
  Instant read_clock();

  /// Tries until `attempt` succeeds or `limit` has passed; false if it never did.
  bool wait(Lock& lock, const std::function<bool()>& attempt, Instant limit);

 private:
  struct Waiter {
    const std::function<bool()>* attempt;
    Instant limit;
    std::thread::id thread;
    bool done = false;
    bool succeeded = false;
    std::condition_variable wake{};
  };

  void settle();
  void take_events();
  void serve_waiters();
  [[nodiscard]] Instant next_due() const;
  void step_to(Instant when);

  std::mutex mutex_;
  std::thread::id first_ = std::this_thread::get_id();
  Instant now_;
  base::HeapMemory memory_;
  Link link_;
  std::unique_ptr<stack::Worker> worker_;
  std::function<void(const Event&)> handler_;
  std::list<Waiter*> waiters_;
  // The thread whose call has just ended, when it ended, and whether it has looked at the clock since.
  std::thread::id returning_;
  Instant returned_at_;
  std::condition_variable looked_;
  bool ready_ = false;
};

}  // namespace millrace::packetdrill
