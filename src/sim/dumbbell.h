// Flows from one host to another through one bottleneck: what the WAN table measures. Each flow has its own controller,
// round trip, start and amount; the bottleneck's rate, queue and faults are those of impair::Path, as in millrace-link.
// Acknowledgments only take time. All of it follows from the seed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "impair/path.h"
#include "sim/event_heap.h"
#include "sim/station.h"

namespace millrace::sim {

struct FlowPlan {
  std::string controller;  ///< a row of tcp::cc::kNames
  Duration round_trip{};   ///< beside the bottleneck
  Duration start{};        ///< after the beginning, or after the end of flow `after`
  uint64_t bytes = 0;      ///< 0: without end
  int after = -1;
};

struct FlowResult {
  Instant began = kNever;  ///< when the connection was asked for
  Instant ended = kNever;  ///< when the last byte reached the receiver's program
  uint64_t bytes = 0;      ///< that did
  uint64_t foreign = 0;    ///< of those, not the sender's, which are all 0; looked at once a frame was injected
  bool failed = false;     ///< the sender's connection ended in an error
};

struct DumbbellConfig {
  impair::PathConfig bottleneck{};  ///< its delay comes on top of the flows' own
  tcp::Settings tcp{};
  uint64_t seed = 1;
};

class Dumbbell {
 public:
  /// At most 40,000 flows.
  Dumbbell(const DumbbellConfig& config, std::vector<FlowPlan> flows);
  ~Dumbbell();
  Dumbbell(const Dumbbell&) = delete;
  Dumbbell& operator=(const Dumbbell&) = delete;

  void run_until(Instant when) { heap_.run_until(when); }
  /// Until every flow with an end has ended, or until `when`. Whether they have.
  bool run_to_end(Instant when);
  [[nodiscard]] const FlowResult& flow(size_t index) const { return results_[index]; }
  [[nodiscard]] const impair::PathStats& bottleneck() const { return path_.stats(); }
  /// Of the sender's worker.
  [[nodiscard]] uint64_t counter(std::string_view name) const { return stations_[0]->counter(name); }
  /// A forged frame reaches a host (0 the sender), now.
  void inject(int host, Bytes frame);
  /// Every frame that leaves a host (0 the sender) is shown to this; for captures.
  std::function<void(int host, const Frame& frame, Instant now)> tap;

 private:
  class Source;
  class Sink;
  void to_receiver(Frame* frame);
  void to_sender(Frame* frame);
  void ended(size_t flow);
  [[nodiscard]] Duration one_way(const Frame& frame, size_t port_at) const;

  EventHeap heap_;
  FrameStore frames_;
  impair::Path path_;
  std::vector<FlowPlan> flows_;
  std::vector<FlowResult> results_;
  size_t unended_ = 0;
  bool attacked_ = false;
  std::unique_ptr<Source> source_;
  std::unique_ptr<Sink> sink_;
  std::array<std::unique_ptr<Station>, 2> stations_;
};

}  // namespace millrace::sim
