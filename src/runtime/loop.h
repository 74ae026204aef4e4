// The poll loop of one worker. A turn: take a burst from each device, feed it to the worker, run the program's events
// within a budget, run due timers, take what is to be sent and give it to the devices. Without work it spins for a
// while, then sleeps on the devices' descriptors until a frame, a deadline or a wake-up. On devices that are polled in
// user space a busy turn makes no system call.
#pragma once

#include <poll.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "conf/config.h"
#include "millrace/program.h"
#include "runtime/carrier.h"
#include "runtime/clock.h"
#include "runtime/device.h"
#include "runtime/frame_client.h"
#include "runtime/poll_client.h"
#include "runtime/stages.h"
#include "runtime/wake.h"
#include "stack/worker.h"

namespace millrace::runtime {

class Loop final : public Door {
 public:
  /// Everything is borrowed and outlives the loop.
  Loop(stack::Worker& worker, Clock& clock, const conf::LoopSettings& settings, const Waker& waker);
  ~Loop() override;

  void attach(Device& device, IfIndex interface);
  /// Frames that leave through `interface` come back in at it.
  void attach_loopback(IfIndex interface);
  /// Gives the first attached device's frames to `client` before the worker, and takes frames from both. Borrowed.
  void set_frame_client(FrameClient* client) { frame_client_ = client; }
  /// Looks at `client` every turn. Borrowed.
  void set_poll_client(PollClient* client) { poll_client_ = client; }
  /// This loop's worker is number `self` of several; borrowed. No frame is taken from a device while the worker's
  /// outboxes have no room.
  void set_exchange(Carrier* exchange, uint32_t self) {
    exchange_ = exchange;
    self_ = self;
  }
  /// Called about once a millisecond when busy and before each sleep, with the loop's own idea of time.
  void set_chores(std::function<void(Instant)> chores) { chores_ = std::move(chores); }
  /// Whether to end, asked every turn.
  void set_interrupt(std::function<bool()> interrupt) { interrupt_ = std::move(interrupt); }

  /// Runs until the program or an interrupt stops it, then lets queued data leave (half a second at most) and resets
  /// what is still open. Returns the status of Net::stop(), or 0.
  int run(Program& program);
  /// One turn; returns whether there was anything to do.
  bool turn(Program& program);

  // For whoever runs turns of its own instead of run(), one thread at a time.
  /// Once, before the first turn.
  void begin();
  /// The two halves of a turn, for a program that works between them: from the devices to its events; what is due, and
  /// to the devices. give_out() says whether there was anything to do in either.
  bool take_in(Program& program);
  bool give_out();
  /// Sends what requests have queued, without taking anything in.
  void flush();
  /// Before a sleep: appends the waker and the devices to `waits` and lowers `until` to the next deadline. False: there
  /// is something to do, turn again. Afterwards, slept or not, end_wait() with what was appended.
  bool begin_wait(std::vector<pollfd>& waits, Instant& until);
  void end_wait(std::span<const pollfd> waits);
  /// A fresh instant.
  [[nodiscard]] Instant clock() { return clock_.now(); }
  /// Requests between turns happen now, not at the instant of the last turn.
  void refresh() { now_ = clock_.now(); }

  Result<Reply> request(const Request& request) override { return worker_.request(request, now_); }
  [[nodiscard]] Instant now() const override { return now_; }
  void wake_at(Instant when) override { wake_at_ = when; }
  void stop(int status) override;

  /// Whether a socket holds what has not left yet, or is not acknowledged.
  [[nodiscard]] bool has_unsent(bool datagrams_too) const;
  [[nodiscard]] const Stages& stages() const { return stages_; }
  /// What a turn looks at from now on; the size of a burst stays what it was.
  void set_settings(const conf::LoopSettings& settings) { settings_ = settings; }

 private:
  static constexpr size_t kTransmitBurst = 64;
  struct Port {
    Device* device = nullptr;  // nullptr: loopback
    IfIndex interface = IfIndex::kNone;
    size_t waiting_from = 0;   // frames that the device had no room for
    size_t waiting = 0;
    std::array<pkt::Packet*, kTransmitBurst> frames{};
  };
  class StageTimer;

  size_t first_half(Program& program, StageTimer& timer);
  size_t second_half(StageTimer& timer);
  size_t receive_and_input(StageTimer& timer);
  size_t receive(Port& port, StageTimer& timer);
  size_t run_program(Program& program);
  void run_timers();
  size_t send(StageTimer& timer);
  size_t send_port(Port& port, StageTimer& timer);
  size_t gather(Port& port);
  size_t send_loopback(Port& port);
  Instant pump();
  void do_chores();
  void idle();
  [[nodiscard]] Duration nap() const;
  bool arm(std::vector<pollfd>& waits);
  void disarm();
  void sleep(Duration longest);
  void linger();
  void abort_rest();

  stack::Worker& worker_;
  Clock& clock_;
  conf::LoopSettings settings_;
  const Waker& waker_;
  Carrier* exchange_ = nullptr;
  uint32_t self_ = 0;
  Net net_{*this};
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<pkt::Packet*> burst_;
  FrameClient* frame_client_ = nullptr;
  PollClient* poll_client_ = nullptr;
  std::function<void(Instant)> chores_;
  std::function<bool()> interrupt_;
  std::vector<pollfd> waits_;  // what a sleep waits for
  bool can_sleep_ = true;  // every device has a descriptor to wait on

  Instant now_;
  Instant wake_at_ = kNever;
  Instant timers_at_{};    // when to look at the worker's timers again
  Instant chores_at_{};
  Instant idle_since_ = kNever;
  size_t next_event_ = 0;
  size_t taken_in_ = 0;  // work of a first half whose second half is to come
  bool stopping_ = false;
  bool pumping_ = false;
  int status_ = 0;
  Stages stages_;
};

}  // namespace millrace::runtime
