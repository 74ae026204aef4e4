#include "sim/host.h"

#include <algorithm>

#include "sim/hash.h"
#include "sim/text.h"

namespace millrace::sim {

Host::Host(EventHeap& heap, FrameStore& frames, Observer& observer, const HostPlan& plan, int index, uint64_t seed,
           bool record, HostHooks hooks)
    : heap_(heap),
      observer_(observer),
      plan_(plan),
      index_(index),
      hooks_(std::move(hooks)),
      rng_(seed),
      frames_(plan.frames),
      references_(plan.references, 0) {
  stack::WorkerConfig config;
  config.frames = &frames_;
  config.references = &references_;
  config.memory = &memory_;
  config.seed = rng_.next();
  config.max_connections = plan.max_connections;
  config.max_half_open = plan.max_half_open;
  config.max_time_wait = plan.max_time_wait;
  config.block_bytes = plan.block_bytes;
  config.tcp = plan.tcp;
  config.start = heap.now();
  worker_ = std::make_unique<RecordingWorker>(config, record);

  Nic::Hooks nic_hooks;
  nic_hooks.wire = hooks_.wire;
  nic_hooks.sent = [this](const Bytes& frame) {
    digest_ = hash_bytes(frame, digest_ + static_cast<uint64_t>(heap_.now().ns()));
    hooks_.capture(frame, true);
    observer_.sent(index_, frame, heap_.now());
  };
  nic_hooks.received = [this](const Frame& frame) {
    digest_ = hash_bytes(frame.bytes, digest_ ^ static_cast<uint64_t>(heap_.now().ns()));
    hooks_.capture(frame.bytes, false);
    observer_.delivered(index_, frame, heap_.now());
  };
  nic_hooks.wake = [this] {
    const auto wait = plan_.poll_delay.ns() == 0 ? 0 : rng_.below(static_cast<uint64_t>(plan_.poll_delay.ns()));
    schedule(heap_.now() + Duration(static_cast<int64_t>(wait)));
  };
  nic_hooks.completed = [this](pkt::Packet* packet) { worker_->returned(packet); };
  nic_hooks.fail = hooks_.fail;
  nic_ = std::make_unique<Nic>(heap, frames, frames_, references_, plan.nic, std::move(nic_hooks));

  const auto added = worker_->add_interface({"sim0", link::LinkKind::kEthernet, plan.nic.mac, plan.nic.limits});
  if (!added) {
    hooks_.fail(text("add_interface failed: ", describe(added.error())));
    return;
  }
  interface_ = *added;
  if (plan_.pump) worker_->set_pump([this] { return pump(); });
}

Host::~Host() {
  nic_.reset();
  worker_.reset();
}

void Host::start(Program& program, const std::array<IpAddr, 2>& addresses) {
  for (const IpAddr& addr : addresses) {
    const auto prefix = Prefix{addr, static_cast<uint8_t>(addr.is_v4() ? 24 : 64)};
    const auto result = request(req::AddAddress{interface_, prefix});
    if (!result) return hooks_.fail(text("AddAddress failed: ", describe(result.error())));
  }
  program_ = &program;
  busy_ = true;
  program_->start(net_);
  busy_ = false;
  run_soon();
}

void Host::add_neighbour(const std::array<IpAddr, 2>& addresses, MacAddr mac) {
  for (const IpAddr& addr : addresses) {
    const auto result = request(req::AddNeighbour{interface_, addr, mac});
    if (!result) return hooks_.fail(text("AddNeighbour failed: ", describe(result.error())));
  }
}

Result<Reply> Host::request(const Request& request) { return worker_->request(request, heap_.now()); }

void Host::wake_at(Instant when) {
  wake_ = when;
  if (!busy_) schedule(when);
}

// The earliest of all wishes counts; later events in the heap find that they are stale.
void Host::schedule(Instant when) {
  when = std::max(when, heap_.now());
  if (when >= scheduled_) return;
  scheduled_ = when;
  const uint64_t id = ++schedule_id_;
  heap_.at(when, [this, id] {
    if (id != schedule_id_) return;
    scheduled_ = kNever;
    turn();
  });
}

void Host::receive_burst() {
  pkt::Packet* burst[kBurst];
  for (uint32_t queue = 0; queue < nic_->queues(); ++queue) {
    const size_t n = nic_->poll(queue, burst);
    if (n > 0) worker_->input(interface_, {burst, n}, heap_.now());
  }
}

void Host::deliver_events() {
  for (int round = 0; round < 64; ++round) {
    const auto events = worker_->events();
    if (events.empty()) return;
    const std::vector<Event> copy(events.begin(), events.end());
    worker_->clear_events();
    for (const Event& event : copy) {
      digest_ = mix64(digest_ ^ event.user) + event.mask;
      if (program_ != nullptr) program_->event(net_, event);
    }
  }
  run_soon();
}

void Host::transmit() {
  pkt::Packet* out[kBurst];
  for (;;) {
    const size_t room = std::min(nic_->room(), kBurst);
    if (room == 0) return;
    const size_t n = worker_->output(interface_, {out, room}, heap_.now());
    if (n > room) return hooks_.fail(text("output() gave ", n, " frames, asked for ", room));
    nic_->transmit({out, n});
    if (n < room) return;
  }
}

Instant Host::pump() {
  ++pumps_;
  pumping_ = true;
  transmit();
  const Instant now = hooks_.pass_time(Duration(static_cast<int64_t>(rng_.below(20'000))));
  receive_burst();
  pumping_ = false;
  return now;
}

void Host::turn() {
  if (busy_) {  // time passes inside a request: the turn waits until it is over
    schedule(heap_.now() + microseconds(1));
    return;
  }
  busy_ = true;
  ++turns_;
  receive_burst();
  deliver_events();
  if (wake_ <= heap_.now()) {
    wake_ = kNever;
    if (program_ != nullptr) program_->tick(net_);
  }
  worker_->advance(heap_.now());
  deliver_events();
  transmit();
  busy_ = false;
  if (!nic_->has_received() && nic_->room() > 0 && !worker_->wants_output() && worker_->events().empty()) {
    observer_.turn_end(index_, heap_.now());
  }
  if (turns_ % 16 == 0) {
    const std::string wrong = worker().check();
    if (!wrong.empty()) hooks_.fail("worker: " + wrong);
  }
  schedule_next();
}

void Host::schedule_next() {
  if (nic_->has_received() || !worker_->events().empty()) run_soon();
  if (worker_->wants_output() && nic_->room() > 0) run_soon();
  schedule(wake_);
  const auto deadline = worker_->next_deadline();
  if (!deadline || *deadline == kNever) return;
  const auto late = plan_.timer_delay.ns() == 0 ? 0 : rng_.below(static_cast<uint64_t>(plan_.timer_delay.ns()));
  schedule(*deadline + Duration(static_cast<int64_t>(late)));
}

std::string Host::check_idle() {
  const std::string wrong = worker().check();
  if (!wrong.empty()) return "worker: " + wrong;
  for (const stack::SocketInfo& s : worker().sockets()) {
    return text("a socket is left: ", s.local.to_string(), " ", s.remote.to_string(), " ", s.state);
  }
  if (worker().blocks_in_use() != 0) return text(worker().blocks_in_use(), " blocks are left in the worker");
  return {};
}

uint64_t Host::counter(std::string_view name) const {
  for (const stack::CounterValue& c : worker_->worker().counters()) {
    if (c.name == name) return c.value;
  }
  MR_UNREACHABLE();
}

std::string Host::trace(uint32_t records) {
  if (worker_ == nullptr) return "(the worker is gone)\n";
  return base::TraceRing::format(worker().trace().newest(records));
}

std::string Host::check_pools() {
  recording_ = worker_->recording();
  nic_stats_ = nic_->stats();
  nic_.reset();
  worker_.reset();
  if (frames_.available() != frames_.capacity()) {
    return text(frames_.capacity() - frames_.available(), " frames did not come back to their pool");
  }
  if (references_.available() != references_.capacity()) {
    return text(references_.capacity() - references_.available(), " reference packets did not come back to their pool");
  }
  return {};
}

}  // namespace millrace::sim
