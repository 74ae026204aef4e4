// One worker of a simulated host with its program and its loop, like the real one: take what other workers handed over,
// receive a burst, input, events to the program, advance, events, output, transmit, hand over. Frames and news between
// workers wait in rings of little room for a random time.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "millrace/program.h"
#include "sim/event_heap.h"
#include "sim/nic.h"
#include "sim/record.h"

namespace millrace::sim {

class Lane;

/// What the lanes of one host share.
struct LaneShared {
  EventHeap& heap;
  base::Rng rng;
  std::vector<std::unique_ptr<Lane>> lanes{};
  std::unique_ptr<Nic> nic{};
  IfIndex interface{};
  uint64_t digest = 0;
  Duration timer_delay{};
  Duration ring_delay{};
  uint32_t ring_room = 256;
  std::function<void(std::string)> fail{};
  std::function<Instant(Duration)> pass_time{};
  /// A turn of a lane ended with nothing to do in any of them.
  std::function<void()> quiet{};
};

class Lane final : public Door {
 public:
  Lane(LaneShared& shared, uint32_t index, const stack::WorkerConfig& config, bool record, bool pumps);
  ~Lane() override;
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void start(Program& program);
  void schedule(Instant when);

  // Door.
  Result<Reply> request(const Request& request) override { return worker_->request(request, shared_.heap.now()); }
  [[nodiscard]] Instant now() const override { return shared_.heap.now(); }
  void wake_at(Instant when) override;
  void stop(int) override {}

  [[nodiscard]] Net& net() { return net_; }
  [[nodiscard]] stack::Worker& worker() { return worker_->worker(); }
  [[nodiscard]] RecordingWorker& recorder() { return *worker_; }
  [[nodiscard]] uint64_t turns() const { return turns_; }
  [[nodiscard]] uint64_t pumps() const { return pumps_; }
  /// Frames in = taken + consumed + handed over + sum of drops, in every layer; the text of the first difference, or
  /// empty.
  [[nodiscard]] std::string check_ledger();
  /// Nothing waits to be done.
  [[nodiscard]] bool idle() const;
  /// What is wrong when everything has been closed; empty if nothing is.
  [[nodiscard]] std::string check_idle();
  /// Carries news to and from the other lanes at once, as a process does before its workers start.
  bool exchange_news();
  /// Frees what waits in the rings to this lane.
  void clear_rings(pkt::PacketPool& frames, pkt::PacketPool& references);

 private:
  static constexpr size_t kBurst = 32;
  static constexpr Duration kStarvedPoll = microseconds(10);
  template <class T>
  struct Ring {
    struct Item {
      Instant ready;
      T what;
    };
    std::deque<Item> items;
    Instant last{};
  };
  struct Inbound {
    Ring<stack::Handed> frames;
    Ring<ip::TableMessage> news;
  };

  void turn();
  void take_in();
  void take_frames(uint32_t from);
  void take_news(uint32_t from);
  void receive_burst();
  void deliver_events();
  void transmit();
  void hand_out();
  void schedule_next();
  Instant pump();
  template <class T>
  void push(Ring<T>& ring, const T& what, Lane& to);
  [[nodiscard]] bool has_received() const;
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(shared_.lanes.size()); }
  [[nodiscard]] Duration random(Duration below) {
    return Duration(below.ns() == 0 ? 0 : static_cast<int64_t>(shared_.rng.below(static_cast<uint64_t>(below.ns()))));
  }

  LaneShared& shared_;
  uint32_t index_;
  std::unique_ptr<RecordingWorker> worker_;
  std::vector<Inbound> inbound_;  // by the lane they come from
  Program* program_ = nullptr;
  Net net_{*this};
  Instant wake_ = kNever;
  Instant scheduled_ = kNever;
  uint64_t schedule_id_ = 0;
  bool busy_ = false;  ///< in a turn or a request
  bool pumping_ = false;
  uint64_t frames_in_ = 0;  ///< from the NIC
  uint64_t turns_ = 0;
  uint64_t pumps_ = 0;
  bool starved_ = false;  ///< the last look found nothing to send
};

}  // namespace millrace::sim
