// Records everything that goes into a Worker, so that the run can be repeated bit for bit against a fresh one: frames
// with contents and flags, requests with data, every `now`, the pump's nested calls, what the pools and the memory
// granted, and when the device gave a transmitted packet back (that, too, can release a lent buffer). Digests of all
// that came out are recorded beside it.
//
// RecordingWorker has the doors of stack::Worker and can stand before it in any loop. A loop whose device frees packets
// later than the next call of a door must say so with returned(); one that frees them at once need not.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "sim/codec.h"
#include "sim/request_codec.h"
#include "stack/worker.h"

namespace millrace::sim {

/// What replay needs; serialise() makes one piece of it.
struct Recording {
  Bytes setup;       ///< the worker's configuration
  Bytes operations;
  std::vector<uint32_t> frame_grants;      ///< answers of PacketPool::allocate and available, in order
  std::vector<uint32_t> reference_grants;
  std::vector<uint8_t> memory_grants;      ///< whether MemorySource::allocate had memory
  bool pumped = false;                     ///< a pump was set
  bool device_returns = false;             ///< returned() was used; otherwise packets are freed as they come out

  [[nodiscard]] Bytes serialise() const;
  [[nodiscard]] static bool parse(std::span<const uint8_t> bytes, Recording& out);
};

enum class RecordOp : uint8_t {
  kInterface = 1,
  kInput,
  kRequest,
  kRequestEnd,
  kAdvance,
  kOutput,
  kClearEvents,
  kDeadline,
  kReturned,
  kPump,
  kPumpEnd,
  kInputSteered,
  kHandOver,
  kTell,
  kHear,
};

class RecordingWorker {
 public:
  /// With `record` false it only passes calls on.
  RecordingWorker(const stack::WorkerConfig& config, bool record);
  ~RecordingWorker();
  RecordingWorker(const RecordingWorker&) = delete;
  RecordingWorker& operator=(const RecordingWorker&) = delete;

  Result<IfIndex> add_interface(const link::NetifConfig& config);
  void input(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  Result<Reply> request(const Request& request, Instant now);
  void input_steered(IfIndex interface, std::span<pkt::Packet*> burst, Instant now);
  size_t hand_over(uint32_t worker, std::span<stack::Handed> out);
  size_t tell(uint32_t worker, std::span<ip::TableMessage> out);
  void hear(uint32_t worker, std::span<const ip::TableMessage> news, Instant now);
  void advance(Instant now);
  size_t output(IfIndex interface, std::span<pkt::Packet*> out, Instant now);
  [[nodiscard]] std::span<const Event> events() const { return worker_->events(); }
  void clear_events();
  [[nodiscard]] std::optional<Instant> next_deadline();
  [[nodiscard]] bool wants_output() const { return worker_->wants_output(); }
  void set_pump(stack::Worker::Pump pump);
  /// The device is done with a packet that output() gave; call before it is freed.
  void returned(const pkt::Packet* packet);

  [[nodiscard]] stack::Worker& worker() { return *worker_; }
  [[nodiscard]] const Recording& recording() const;

 private:
  void record_burst(RecordOp op, IfIndex interface, std::span<pkt::Packet* const> burst, Instant now);

  struct State;
  std::unique_ptr<State> state_;
  std::unique_ptr<stack::Worker> worker_;
};

/// Runs a recording against a fresh worker. Empty if everything that came out was the same, else the first difference.
[[nodiscard]] std::string replay(const Recording& recording);

/// Digests that record and replay share.
[[nodiscard]] uint64_t digest_packet(const pkt::Packet& packet);
[[nodiscard]] uint64_t digest_news(std::span<const ip::TableMessage> news);
[[nodiscard]] uint64_t digest_events(std::span<const Event> events);

}  // namespace millrace::sim
