// A simulated machine: one worker or several (lane.h) behind one NIC, with their pools and programs. The NIC spreads
// over its queues as it likes, by a table that need not be the workers' and may change while they run.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "millrace/program.h"
#include "sim/lane.h"
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

class Host {
 public:
  Host(EventHeap& heap, FrameStore& frames, Observer& observer, const HostPlan& plan, int index, uint64_t seed,
       bool record, HostHooks hooks);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Adds addresses and starts the programs, one for each worker.
  void start(std::span<Program* const> programs, const std::array<IpAddr, 2>& addresses);
  /// A static neighbour for every address.
  void add_neighbour(const std::array<IpAddr, 2>& addresses, MacAddr mac);

  /// A frame from the wire; takes it.
  void receive(Frame* frame) { shared_.nic->receive(frame); }
  void run_soon();

  [[nodiscard]] uint32_t workers() const { return plan_.workers; }
  [[nodiscard]] const steer::ShardMap& shards() const { return shards_; }
  [[nodiscard]] Net& net(uint32_t worker) { return shared_.lanes[worker]->net(); }
  [[nodiscard]] stack::Worker& worker(uint32_t which) { return shared_.lanes[which]->worker(); }
  /// A counter of all workers together; the name must exist.
  [[nodiscard]] uint64_t counter(std::string_view name) const;
  [[nodiscard]] const Recording& recording(uint32_t worker) const;
  [[nodiscard]] NicStats nic_stats() const { return shared_.nic != nullptr ? shared_.nic->stats() : nic_stats_; }
  /// The newest records of the workers' trace rings, as text.
  [[nodiscard]] std::string trace(uint32_t records);
  [[nodiscard]] uint64_t turns() const;
  [[nodiscard]] uint64_t pumps() const;
  /// Frames that one worker handed to another.
  [[nodiscard]] uint64_t handed_over() const { return handed_over_ + (lanes_live() ? counter("steer.handed_in") : 0); }
  /// What is wrong when everything has been closed; empty if nothing is.
  [[nodiscard]] std::string check_idle();
  /// Destroys the workers and counts what they did not give back.
  [[nodiscard]] std::string check_pools();
  /// Bytes out and in, as a digest, for comparing runs.
  [[nodiscard]] uint64_t digest() const { return shared_.digest; }

 private:
  Nic::Hooks nic_hooks();
  void make_lanes(uint64_t seed, bool record);
  void change_table();
  void take_counts();
  [[nodiscard]] bool lanes_live() const { return shared_.lanes.size() > 1; }

  EventHeap& heap_;
  Observer& observer_;
  HostPlan plan_;
  int index_;
  HostHooks hooks_;
  LazyMemory memory_;
  pkt::HeapPacketPool frames_;
  pkt::HeapPacketPool references_;
  steer::ShardMap shards_;
  LaneShared shared_;
  // What stays to be looked at when workers and NIC are gone.
  std::vector<Recording> recordings_;
  NicStats nic_stats_;
  uint64_t turns_ = 0;
  uint64_t pumps_ = 0;
  uint64_t handed_over_ = 0;
};

}  // namespace millrace::sim
