// World: two hosts, a wire with faults, programs, checkers. One event heap, one virtual clock, everything from one
// seed. Chaos first, then the wire heals, then every transfer must complete, every socket go away and every pool be
// full.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "sim/host.h"
#include "sim/pcapng.h"
#include "sim/traffic.h"

namespace millrace::sim {

struct WorldOptions {
  bool record = false;
  uint32_t snap_length = 192;
};

struct Outcome {
  std::string failure;  ///< empty: all is well
  uint64_t digest = 0;  ///< of every frame, both ways, and every event
  uint64_t payload_bytes = 0;
  uint64_t segments = 0;
  uint64_t retransmissions = 0;
  Instant ended{};
  uint64_t heap_events = 0;
  uint32_t fault_kinds = 0;  ///< kinds of fault that struck
  uint64_t bytes_under_faults = 0;
  uint64_t datagrams_answered = 0;
  uint64_t reassembled = 0;        ///< datagrams put together from fragments
  uint64_t handed_over_whole = 0;  ///< of these, by another worker than that of their flow
  /// What every seed owes: a megabyte moved through at least three kinds of fault that really struck.
  [[nodiscard]] bool weak() const { return fault_kinds < 3 || bytes_under_faults < 1'000'000; }
};

class World {
 public:
  World(const Plan& plan, const WorldOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Outcome run();
  [[nodiscard]] const Pcapng& capture() const { return capture_; }
  [[nodiscard]] Host& host(int i) { return *hosts_[static_cast<size_t>(i)]; }
  [[nodiscard]] const Recording& recording(int i, uint32_t worker) const {
    return hosts_[static_cast<size_t>(i)]->recording(worker);
  }
  /// Trace rings of both workers, as text.
  [[nodiscard]] std::string traces(uint32_t records);
  [[nodiscard]] std::string statistics();

 private:
  void fail(const std::string& what);
  void heal();
  void cut(const Partition& p);
  void mend(Duration after, uint64_t lost_before, uint32_t turn);
  void attack();
  void progress();
  bool run_until_done();
  [[nodiscard]] bool done() const;
  void settle();
  std::string check_sessions() const;
  bool allowed_error(const Session& s) const;
  [[nodiscard]] bool never_answered(const ConnPlan& c) const;
  bool never_accepted(const ConnPlan& c) const;
  bool released_early(const Session& s, uint64_t end) const;
  Instant pass_time(Duration by);
  [[nodiscard]] uint32_t fault_kinds() const;

  Plan plan_;
  EventHeap heap_;
  FrameStore frames_;
  Observer observer_;
  Pcapng capture_;
  base::Rng rng_;
  std::array<std::unique_ptr<Link>, 2> links_;
  std::array<std::unique_ptr<Host>, 2> hosts_;
  SessionHooks session_hooks_;
  std::array<std::vector<std::unique_ptr<Traffic>>, 2> traffic_;  // by host and worker
  std::array<Accepted, 2> accepted_;
  std::string failure_;
  bool healed_ = false;
  size_t next_partition_ = 0;
  uint64_t forged_ = 0;
  uint32_t spoofed_syns_ = 0;
  uint64_t steps_ = 0;
  uint64_t bytes_at_heal_ = 0;
};

/// Runs one seed.
[[nodiscard]] Outcome run_seed(uint64_t seed, uint32_t workers = 1);

}  // namespace millrace::sim
