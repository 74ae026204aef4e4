// A simulated machine: a worker, its NIC, its pools and a program, run by a loop like the real one: receive a burst,
// input, events to the program, advance, output, transmit. Frames and timers wait for the loop as long as the plan
// says.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "millrace/program.h"
#include "sim/memory.h"
#include "sim/nic.h"
#include "sim/observer.h"
#include "sim/plan.h"
#include "sim/record.h"

namespace millrace::sim {

struct HostHooks {
  std::function<void(Frame*)> wire;
  std::function<void(const Bytes& frame, bool outbound)> capture;
  std::function<void(std::string)> fail;
  /// Lets the world go on for a while in the middle of a request; returns the new now.
  std::function<Instant(Duration)> pass_time;
};

class Host final : public Door {
 public:
  Host(EventHeap& heap, FrameStore& frames, Observer& observer, const HostPlan& plan, int index, uint64_t seed,
       bool record, HostHooks hooks);
  ~Host() override;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Adds addresses and starts the program.
  void start(Program& program, const std::array<IpAddr, 2>& addresses);
  /// A static neighbour for every address.
  void add_neighbour(const std::array<IpAddr, 2>& addresses, MacAddr mac);

  // Door.
  Result<Reply> request(const Request& request) override;
  [[nodiscard]] Instant now() const override { return heap_.now(); }
  void wake_at(Instant when) override;
  void stop(int) override {}

  /// A frame from the wire; takes it.
  void receive(Frame* frame) { nic_->receive(frame); }
  void run_soon() { schedule(heap_.now()); }

  [[nodiscard]] Net& net() { return net_; }
  /// A counter of the worker; the name must exist.
  [[nodiscard]] uint64_t counter(std::string_view name) const;
  [[nodiscard]] stack::Worker& worker() { return worker_->worker(); }
  [[nodiscard]] const Recording& recording() const { return worker_ != nullptr ? worker_->recording() : recording_; }
  [[nodiscard]] NicStats nic_stats() const { return nic_ != nullptr ? nic_->stats() : nic_stats_; }
  /// The newest records of the worker's trace ring, as text.
  [[nodiscard]] std::string trace(uint32_t records);
  [[nodiscard]] const NicConfig& nic_config() const { return nic_->config(); }
  [[nodiscard]] uint64_t turns() const { return turns_; }
  [[nodiscard]] uint64_t pumps() const { return pumps_; }
  /// What is wrong when everything has been closed; empty if nothing is.
  [[nodiscard]] std::string check_idle();
  /// Destroys the worker and counts what it did not give back.
  [[nodiscard]] std::string check_pools();
  /// Bytes out and in, as a digest, for comparing runs.
  [[nodiscard]] uint64_t digest() const { return digest_; }

 private:
  static constexpr size_t kBurst = 32;
  void turn();
  void receive_burst();
  void deliver_events();
  void transmit();
  void schedule(Instant when);
  void schedule_next();
  Instant pump();

  EventHeap& heap_;
  Observer& observer_;
  HostPlan plan_;
  int index_;
  HostHooks hooks_;
  base::Rng rng_;
  LazyMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  std::unique_ptr<RecordingWorker> worker_;
  std::unique_ptr<Nic> nic_;
  IfIndex interface_{};
  Program* program_ = nullptr;
  Net net_{*this};
  Instant wake_ = kNever;
  Instant scheduled_ = kNever;
  uint64_t schedule_id_ = 0;
  bool busy_ = false;  ///< in a turn or a request
  bool pumping_ = false;
  uint64_t turns_ = 0;
  uint64_t pumps_ = 0;
  uint64_t digest_ = 0;
  // What stays to be looked at when worker and NIC are gone.
  Recording recording_;
  NicStats nic_stats_;
};

}  // namespace millrace::sim
