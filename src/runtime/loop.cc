#include "runtime/loop.h"

#include <time.h>

#include <algorithm>

#include "stack/impl.h"

namespace millrace::runtime {
namespace {

// Timers may fire this much late while the loop is busy; asking the wheel costs more than an empty turn.
constexpr Duration kTimerGrain = microseconds(50);
constexpr Duration kChoresEvery = milliseconds(1);
constexpr Duration kLongestSleep = seconds(1);
constexpr Duration kLinger = milliseconds(500);
constexpr Duration kLingerLook = milliseconds(10);
constexpr int kLoopbackRounds = 16;

}  // namespace

// Charges the cycles between calls to a stage.
class Loop::StageTimer {
 public:
  StageTimer(Stages& stages, uint64_t start) : stages_(stages), start_(start), last_(start) {}
  void done(Stage stage) {
    const uint64_t now = Clock::cycles();
    stages_.of(stage) += now - last_;
    last_ = now;
  }
  [[nodiscard]] uint64_t since_start() { return Clock::cycles() - start_; }

 private:
  Stages& stages_;
  uint64_t start_;
  uint64_t last_;
};

Loop::Loop(stack::Worker& worker, Clock& clock, const conf::LoopSettings& settings, const Waker& waker)
    : worker_(worker),
      clock_(clock),
      settings_(settings),
      waker_(waker),
      burst_(static_cast<size_t>(settings.burst)),
      now_(clock.now()) {
  worker_.set_pump([this] { return pump(); });
}

Loop::~Loop() {
  worker_.set_pump({});
  for (const auto& port : ports_) {
    for (size_t i = 0; i < port->waiting; ++i) worker_.impl().packets.free(port->frames[port->waiting_from + i]);
  }
}

void Loop::attach(Device& device, IfIndex interface) {
  auto port = std::make_unique<Port>();
  port->device = &device;
  port->interface = interface;
  can_sleep_ = can_sleep_ && device.wait_fd() >= 0;
  ports_.push_back(std::move(port));
}

void Loop::attach_loopback(IfIndex interface) {
  auto port = std::make_unique<Port>();
  port->interface = interface;
  ports_.push_back(std::move(port));
}

void Loop::stop(int status) {
  stopping_ = true;
  status_ = status;
}

size_t Loop::receive_and_input(StageTimer& timer) {
  size_t count = 0;
  for (const auto& port : ports_) {
    if (port->device != nullptr) count += receive(*port, timer);
  }
  stages_.rx_frames += count;
  if (exchange_ == nullptr) return count;
  count += exchange_->take_in(self_, now_);
  exchange_->hand_out(self_);
  timer.done(Stage::kInput);
  return count;
}

size_t Loop::receive(Port& port, StageTimer& timer) {
  std::span<pkt::Packet*> room = burst_;
  if (exchange_ != nullptr) room = room.first(std::min(room.size(), worker_.hand_over_room()));
  if (room.empty()) return 0;
  const size_t count = port.device->receive(room);
  if (count == 0) return 0;
  timer.done(Stage::kReceive);
  size_t n = count;
  if (frame_client_ != nullptr && &port == ports_.front().get()) n = frame_client_->input(room.first(n), now_);
  if (n != 0) worker_.input(port.interface, room.first(n), now_);
  timer.done(Stage::kInput);
  return count;
}

size_t Loop::run_program(Program& program) {
  size_t done = 0;
  // The program's requests may add events: look at the list afresh each time.
  while (next_event_ < worker_.events().size() && done < static_cast<size_t>(settings_.event_budget)) {
    const Event event = worker_.events()[next_event_++];
    program.event(net_, event);
    ++done;
  }
  if (next_event_ != 0 && next_event_ == worker_.events().size()) {
    worker_.clear_events();
    next_event_ = 0;
  }
  stages_.events += done;
  if (wake_at_ <= now_) {
    wake_at_ = kNever;
    program.tick(net_);
    ++stages_.ticks;
    ++done;
  }
  return done;
}

void Loop::run_timers() {
  worker_.advance(now_);
  timers_at_ = now_ + kTimerGrain;
}

size_t Loop::gather(Port& port) {
  const size_t n = worker_.output(port.interface, port.frames, now_);
  if (frame_client_ == nullptr || &port != ports_.front().get()) return n;
  return n + frame_client_->output(std::span(port.frames).subspan(n), now_);
}

size_t Loop::send_port(Port& port, StageTimer& timer) {
  size_t count = 0;
  for (bool more = true; more;) {
    if (port.waiting == 0) {
      port.waiting_from = 0;
      port.waiting = gather(port);
      timer.done(Stage::kOutput);
      if (port.waiting == 0) break;
      more = port.waiting == port.frames.size();
    }
    const size_t taken = port.device->transmit({port.frames.data() + port.waiting_from, port.waiting});
    timer.done(Stage::kTransmit);
    port.waiting_from += taken;
    port.waiting -= taken;
    count += taken;
    if (port.waiting != 0) {
      ++stages_.held_back;
      break;
    }
  }
  stages_.tx_frames += count;
  return count;
}

size_t Loop::send_loopback(Port& port) {
  size_t count = 0;
  for (int round = 0; round < kLoopbackRounds; ++round) {
    const size_t n = worker_.output(port.interface, port.frames, now_);
    for (size_t i = 0; i < n; ++i) {
      pkt::Packet& frame = *port.frames[i];
      frame.flags = (frame.flags & pkt::kExternal) | pkt::kRxL4ChecksumNone;
      frame.tx_offload = 0;
    }
    if (n != 0) worker_.input(port.interface, {port.frames.data(), n}, now_);
    count += n;
    if (n == 0) break;
  }
  return count;
}

size_t Loop::send(StageTimer& timer) {
  size_t count = 0;
  const bool wanted = worker_.wants_output() || (frame_client_ != nullptr && frame_client_->wants_output());
  for (const auto& port : ports_) {
    if (port->device != nullptr) {
      if (port->waiting != 0 || wanted) count += send_port(*port, timer);
    } else if (worker_.wants_output()) {
      count += send_loopback(*port);
      timer.done(Stage::kOutput);
    }
  }
  return count;
}

size_t Loop::first_half(Program& program, StageTimer& timer) {
  size_t work = receive_and_input(timer);
  if (next_event_ < worker_.events().size() || wake_at_ <= now_) {
    work += run_program(program);
    timer.done(Stage::kProgram);
  }
  if (poll_client_ != nullptr) {
    work += poll_client_->poll(now_);
    timer.done(Stage::kProgram);
  }
  return work;
}

size_t Loop::second_half(StageTimer& timer) {
  if (timers_at_ <= now_) {
    run_timers();
    timer.done(Stage::kTimers);
  }
  const size_t work = send(timer);
  if (exchange_ != nullptr) exchange_->hand_out(self_);
  return work;
}

bool Loop::take_in(Program& program) {
  const uint64_t start = Clock::cycles();
  now_ = clock_.at(start);
  ++stages_.turns;
  StageTimer timer(stages_, start);
  taken_in_ = first_half(program, timer);
  return taken_in_ != 0;
}

bool Loop::give_out() {
  now_ = clock_.now();
  StageTimer timer(stages_, Clock::cycles());
  const size_t work = taken_in_ + second_half(timer);
  if (work != 0) ++stages_.busy_turns;
  if (chores_at_ <= now_) do_chores();
  return work != 0;
}

bool Loop::turn(Program& program) {
  const uint64_t start = Clock::cycles();
  now_ = clock_.at(start);
  ++stages_.turns;
  StageTimer timer(stages_, start);

  size_t work = first_half(program, timer);
  work += second_half(timer);
  if (work != 0) {
    ++stages_.busy_turns;
  } else {
    stages_.empty_cycles += timer.since_start();
  }
  if (chores_at_ <= now_) do_chores();
  return work != 0;
}

Instant Loop::pump() {
  if (pumping_) return now_;
  pumping_ = true;
  ++stages_.pumps;
  Stages unused;  // a pump runs inside a request, which is charged to the program
  StageTimer timer(unused, Clock::cycles());
  send(timer);
  now_ = clock_.now();
  receive_and_input(timer);
  pumping_ = false;
  return now_;
}

void Loop::do_chores() {
  chores_at_ = now_ + kChoresEvery;
  clock_.refine();
  for (const auto& port : ports_) {
    if (port->device != nullptr) port->device->housekeeping(now_);
  }
  if (chores_) chores_(now_);
}

void Loop::idle() {
  if (idle_since_ == kNever) {
    idle_since_ = now_;
    return;
  }
  if ((now_ - idle_since_).us() < settings_.spin_us) {
    _mm_pause();
    return;
  }
  if (!can_sleep_ && settings_.nap_us == 0) return;
  if (worker_.wants_output()) return;
  Instant until = std::min(wake_at_, now_ + kLongestSleep);
  if (exchange_ != nullptr) until = std::min(until, exchange_->look_at());
  if (const auto deadline = worker_.next_deadline()) until = std::min(until, *deadline);
  if (!can_sleep_) until = std::min(until, now_ + nap());
  if (until > now_) {
    do_chores();
    sleep(until - now_);
  }
  timers_at_ = now_;  // after a sleep, look at once
}

// An eighth of the time without work, so that what comes after a short pause is found soon.
Duration Loop::nap() const {
  return std::min(microseconds(settings_.nap_us), Duration((now_ - idle_since_).ns() / 8));
}

// Puts the waker and the devices into `waits`; false: a device has frames or owes some.
bool Loop::arm(std::vector<pollfd>& waits) {
  waits.push_back({waker_.fd(), POLLIN, 0});
  if (exchange_ != nullptr && exchange_->wait_fd() >= 0) waits.push_back({exchange_->wait_fd(), POLLIN, 0});
  bool armed = true;
  for (const auto& port : ports_) {
    if (port->device == nullptr) continue;
    armed = port->device->arm_wait() && armed && port->waiting == 0;
    if (port->device->wait_fd() >= 0) waits.push_back({port->device->wait_fd(), POLLIN, 0});
  }
  if (poll_client_ != nullptr) armed = poll_client_->arm(waits) && armed;
  return armed;
}

void Loop::disarm() {
  for (const auto& port : ports_) {
    if (port->device != nullptr) port->device->disarm_wait();
  }
  if (poll_client_ != nullptr) poll_client_->disarm();
}

void Loop::begin() {
  for (const auto& port : ports_) {
    if (port->device != nullptr) port->device->enter_thread();
  }
  now_ = clock_.now();
}

void Loop::flush() {
  if (!worker_.wants_output()) return;
  now_ = clock_.now();
  StageTimer timer(stages_, Clock::cycles());
  send(timer);
}

bool Loop::begin_wait(std::vector<pollfd>& waits, Instant& until) {
  const bool armed = arm(waits);
  if (!armed || !can_sleep_ || worker_.wants_output() || next_event_ < worker_.events().size()) return false;
  if (exchange_ != nullptr && !exchange_->prepare_sleep(self_)) return false;
  until = std::min(until, std::min(wake_at_, now_ + kLongestSleep));
  if (exchange_ != nullptr) until = std::min(until, exchange_->look_at());
  if (const auto deadline = worker_.next_deadline()) until = std::min(until, *deadline);
  if (until <= now_) return false;
  do_chores();
  return !worker_.wants_output();
}

void Loop::end_wait(std::span<const pollfd> waits) {
  if (!waits.empty() && (waits[0].revents & POLLIN) != 0) waker_.drain();
  if (exchange_ != nullptr) exchange_->end_sleep(self_);
  disarm();
  timers_at_ = now_;
}

void Loop::sleep(Duration longest) {
  waits_.clear();
  bool armed = arm(waits_);
  if (exchange_ != nullptr && armed) armed = exchange_->prepare_sleep(self_);
  if (armed && !(interrupt_ && interrupt_())) {
    const Instant before = clock_.now();
    const timespec timeout{longest.ns() / 1'000'000'000, longest.ns() % 1'000'000'000};
    const int ready = ppoll(waits_.data(), waits_.size(), &timeout, nullptr);
    if (ready > 0 && (waits_[0].revents & POLLIN) != 0) waker_.drain();
    ++stages_.sleeps;
    stages_.slept_ns += static_cast<uint64_t>((clock_.now() - before).ns());
  }
  if (exchange_ != nullptr) exchange_->end_sleep(self_);
  disarm();
}

int Loop::run(Program& program) {
  begin();
  program.start(net_);
  while (!stopping_) {
    if (turn(program)) {
      idle_since_ = kNever;
    } else {
      idle();
    }
    if (interrupt_ && interrupt_()) stop(0);
  }
  program.stop(net_);
  linger();
  abort_rest();
  return status_;
}

namespace {

// Takes no part in anything: for the turns after the program has ended.
class Nobody final : public Program {
 public:
  void start(Net&) override {}
  void event(Net&, const Event&) override {}
};

}  // namespace

bool Loop::has_unsent(bool datagrams_too) const {
  for (const stack::SocketInfo& socket : worker_.sockets()) {
    const bool counts = datagrams_too || socket.protocol == "tcp";
    if (counts && socket.state != "LISTEN" && socket.send_queue != 0) return true;
  }
  return false;
}

void Loop::linger() {
  Nobody nobody;
  wake_at_ = kNever;
  now_ = clock_.now();
  const Instant end = now_ + kLinger;
  Instant look_at = now_;
  while (now_ < end) {
    const bool busy = turn(nobody);
    if (!busy && now_ >= look_at) {
      if (!has_unsent(true)) break;
      look_at = now_ + kLingerLook;
    }
    if (!busy && can_sleep_) sleep(milliseconds(1));
  }
}

void Loop::abort_rest() {
  Nobody nobody;
  for (const stack::SocketInfo& socket : worker_.sockets()) {
    if (socket.handle.valid()) (void)worker_.request(req::Abort{socket.handle}, now_);
  }
  const Instant end = clock_.now() + kLingerLook;
  while (turn(nobody) && now_ < end) {
  }
}

}  // namespace millrace::runtime
