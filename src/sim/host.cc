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
      frames_(size_t{plan.frames} * plan.workers),
      references_(size_t{plan.references} * plan.workers, 0),
      shared_{heap, base::Rng(seed)} {
  shared_.timer_delay = plan.timer_delay;
  shared_.ring_delay = plan.ring_delay;
  shared_.ring_room = plan.ring_room;
  shared_.fail = hooks_.fail;
  shared_.pass_time = hooks_.pass_time;
  shared_.quiet = [this] {
    for (const auto& lane : shared_.lanes) {
      if (!lane->idle()) return;
    }
    observer_.turn_end(index_, heap_.now());
  };
  const uint64_t worker_seed = shared_.rng.next();
  shared_.nic = std::make_unique<Nic>(heap, frames, frames_, references_, plan.nic, nic_hooks());
  make_lanes(worker_seed, record);
  if (plan_.workers > 1 && plan_.table_changes) heap_.at(heap_.now() + milliseconds(3), [this] { change_table(); });
}

Host::~Host() {
  (void)check_pools();
}

void Host::make_lanes(uint64_t seed, bool record) {
  stack::WorkerConfig config;
  config.frames = &frames_;
  config.references = &references_;
  config.memory = &memory_;
  config.seed = seed;
  config.max_connections = plan_.max_connections;
  config.max_half_open = plan_.max_half_open;
  config.max_time_wait = plan_.max_time_wait;
  config.block_bytes = plan_.block_bytes;
  config.tcp = plan_.tcp;
  config.start = heap_.now();
  if (plan_.workers > 1) {
    const Nic& nic = *shared_.nic;
    shards_ = plan_.sharding == Sharding::kOwn
                  ? steer::ShardMap(plan_.workers, seed)
                  : steer::ShardMap(plan_.workers, nic.rss_key(), nic.indirection(),
                                    plan_.sharding == Sharding::kDeviceHash);
    config.shards = &shards_;
  }
  for (uint32_t i = 0; i < plan_.workers; ++i) {
    config.shard = i;
    shared_.lanes.push_back(std::make_unique<Lane>(shared_, i, config, record, plan_.pump));
    const auto added = shared_.lanes[i]->recorder().add_interface(
        {"sim0", link::LinkKind::kEthernet, plan_.nic.mac, plan_.nic.limits});
    if (!added) return hooks_.fail(text("add_interface failed: ", describe(added.error())));
    shared_.interface = *added;
  }
}

Nic::Hooks Host::nic_hooks() {
  Nic::Hooks hooks;
  hooks.wire = hooks_.wire;
  hooks.sent = [this](const Bytes& frame) {
    shared_.digest = hash_bytes(frame, shared_.digest + static_cast<uint64_t>(heap_.now().ns()));
    hooks_.capture(frame, true);
    observer_.sent(index_, frame, heap_.now());
  };
  hooks.received = [this](const Frame& frame) {
    shared_.digest = hash_bytes(frame.bytes, shared_.digest ^ static_cast<uint64_t>(heap_.now().ns()));
    hooks_.capture(frame.bytes, false);
    observer_.delivered(index_, frame, heap_.now());
  };
  hooks.wake = [this] {
    for (const auto& lane : shared_.lanes) {
      const auto most = static_cast<uint64_t>(plan_.poll_delay.ns());
      lane->schedule(heap_.now() + Duration(most == 0 ? 0 : static_cast<int64_t>(shared_.rng.below(most))));
    }
  };
  hooks.completed = [this](pkt::Packet* packet) {
    for (const auto& lane : shared_.lanes) lane->recorder().returned(packet);
  };
  hooks.fail = hooks_.fail;
  return hooks;
}

// The operator, or the NIC itself, moves flows to other queues.
void Host::change_table() {
  if (shared_.nic == nullptr) return;
  shared_.nic->change_table();
  const auto wait = static_cast<int64_t>(shared_.rng.between(1'000'000, 300'000'000));
  heap_.at(heap_.now() + Duration(wait), [this] { change_table(); });
}

void Host::start(std::span<Program* const> programs, const std::array<IpAddr, 2>& addresses) {
  for (const IpAddr& addr : addresses) {
    const auto prefix = Prefix{addr, static_cast<uint8_t>(addr.is_v4() ? 24 : 64)};
    const auto result = shared_.lanes[0]->request(req::AddAddress{shared_.interface, prefix});
    if (!result) return hooks_.fail(text("AddAddress failed: ", describe(result.error())));
  }
  for (const auto& lane : shared_.lanes) lane->exchange_news();
  for (size_t i = 0; i < programs.size(); ++i) shared_.lanes[i]->start(*programs[i]);
}

void Host::add_neighbour(const std::array<IpAddr, 2>& addresses, MacAddr mac) {
  for (const IpAddr& addr : addresses) {
    const auto result = shared_.lanes[0]->request(req::AddNeighbour{shared_.interface, addr, mac});
    if (!result) return hooks_.fail(text("AddNeighbour failed: ", describe(result.error())));
  }
}

void Host::run_soon() {
  for (const auto& lane : shared_.lanes) lane->schedule(heap_.now());
}

const Recording& Host::recording(uint32_t worker) const {
  return shared_.lanes.empty() ? recordings_[worker] : shared_.lanes[worker]->recorder().recording();
}

std::string Host::check_idle() {
  for (size_t i = 0; i < shared_.lanes.size(); ++i) {
    const std::string left = shared_.lanes[i]->check_idle();
    if (!left.empty()) return text("worker ", i, ": ", left);
  }
  return {};
}

uint64_t Host::counter(std::string_view name) const {
  uint64_t sum = 0;
  bool found = false;
  for (const auto& lane : shared_.lanes) {
    for (const stack::CounterValue& c : lane->worker().counters()) {
      if (c.name != name) continue;
      sum += c.value;
      found = true;
    }
  }
  MR_ASSERT(found);
  return sum;
}

std::string Host::trace(uint32_t records) {
  if (shared_.lanes.empty()) return "(the workers are gone)\n";
  std::string out;
  for (size_t i = 0; i < shared_.lanes.size(); ++i) {
    if (shared_.lanes.size() > 1) out += text("worker ", i, ":\n");
    out += base::TraceRing::format(shared_.lanes[i]->worker().trace().newest(records));
  }
  return out;
}

uint64_t Host::turns() const {
  uint64_t sum = turns_;
  for (const auto& lane : shared_.lanes) sum += lane->turns();
  return sum;
}

uint64_t Host::pumps() const {
  uint64_t sum = pumps_;
  for (const auto& lane : shared_.lanes) sum += lane->pumps();
  return sum;
}

void Host::take_counts() {
  handed_over_ = handed_over();
  turns_ = turns();
  pumps_ = pumps();
  for (const auto& lane : shared_.lanes) recordings_.push_back(lane->recorder().recording());
  nic_stats_ = shared_.nic->stats();
}

std::string Host::check_pools() {
  if (shared_.nic == nullptr) return {};
  take_counts();
  for (const auto& lane : shared_.lanes) lane->clear_rings(frames_, references_);
  shared_.nic.reset();
  shared_.lanes.clear();
  if (frames_.available() != frames_.capacity()) {
    return text(frames_.capacity() - frames_.available(), " frames did not come back to their pool");
  }
  if (references_.available() != references_.capacity()) {
    return text(references_.capacity() - references_.available(), " reference packets did not come back to their pool");
  }
  return {};
}

}  // namespace millrace::sim
