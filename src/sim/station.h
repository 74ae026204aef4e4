// A host for measuring: one worker with a device that has no queue and no faults, and a loop that runs whenever a frame
// comes or a timer is due. Unlike Host it checks nothing, so that minutes of traffic take seconds.
#pragma once

#include <functional>

#include "millrace/program.h"
#include "pkt/pool.h"
#include "sim/event_heap.h"
#include "sim/frame.h"
#include "sim/memory.h"
#include "stack/worker.h"

namespace millrace::sim {

struct StationConfig {
  MacAddr mac{};
  IpAddr address{};  ///< IPv4
  MacAddr peer_mac{};
  IpAddr peer{};
  tcp::Settings tcp{};
  uint64_t seed = 0;
  uint32_t packets = 16'384;
};

class Station final : public Door {
 public:
  /// `wire` takes every frame that leaves; checksums are not filled in.
  Station(EventHeap& heap, FrameStore& frames, const StationConfig& config, std::function<void(Frame*)> wire);
  ~Station() override = default;
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  /// The program is borrowed.
  void start(Program& program);
  /// From the wire; takes the frame.
  void receive(Frame* frame);
  /// A turn of the loop now, with a tick for the program if it has asked for none later.
  void run() {
    wake_ = heap_.now();
    turn();
  }
  [[nodiscard]] uint64_t counter(std::string_view name) const;

  // Door.
  Result<Reply> request(const Request& request) override { return worker_.request(request, heap_.now()); }
  [[nodiscard]] Instant now() const override { return heap_.now(); }
  void wake_at(Instant when) override { wake_ = when; }
  void stop(int) override {}

 private:
  static constexpr size_t kBurst = 32;
  [[nodiscard]] stack::WorkerConfig worker_config(const StationConfig& config);
  void turn();
  bool deliver_events();
  bool transmit();
  void schedule(Instant when);

  EventHeap& heap_;
  FrameStore& frame_store_;
  std::function<void(Frame*)> wire_;
  LazyMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  stack::Worker worker_;
  IfIndex interface_{};
  Program* program_ = nullptr;
  Net net_{*this};
  Instant wake_ = kNever;
  Instant scheduled_ = kNever;
  uint64_t schedule_id_ = 0;
  uint64_t no_packet_ = 0;  ///< frames dropped because the pool was empty
};

}  // namespace millrace::sim
