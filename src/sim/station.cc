#include "sim/station.h"

#include <algorithm>
#include <cstring>

#include "sim/nic.h"

namespace millrace::sim {

Station::Station(EventHeap& heap, FrameStore& frames, const StationConfig& config, std::function<void(Frame*)> wire)
    : heap_(heap),
      frame_store_(frames),
      wire_(std::move(wire)),
      frames_(config.packets),
      references_(config.packets, 0),
      worker_(worker_config(config)) {
  link::NetifConfig netif;
  netif.name = "sim0";
  netif.mac = config.mac;
  netif.limits.tx_checksum_v4 = true;
  netif.limits.tx_ip_checksum = true;
  const auto added = worker_.add_interface(netif);
  MR_ASSERT(added);
  interface_ = *added;
  for (const Request& step :
       {Request(req::SetLink{interface_, true}), Request(req::AddAddress{interface_, {config.address, 24}}),
        Request(req::AddNeighbour{interface_, config.peer, config.peer_mac})}) {
    const auto done = worker_.request(step, heap_.now());
    MR_ASSERT(done);
  }
}

stack::WorkerConfig Station::worker_config(const StationConfig& config) {
  stack::WorkerConfig out;
  out.frames = &frames_;
  out.references = &references_;
  out.memory = &memory_;
  out.seed = config.seed;
  out.max_connections = 1'024;
  out.max_half_open = 1'024;
  out.max_time_wait = 1'024;
  out.tcp = config.tcp;
  out.start = heap_.now();
  return out;
}

void Station::start(Program& program) {
  program_ = &program;
  program.start(net_);
  turn();
}

void Station::receive(Frame* frame) {
  pkt::Packet* p = nullptr;
  if (frames_.allocate({&p, 1}) == 0) {
    ++no_packet_;
    frame_store_.drop(frame);
    return;
  }
  const auto bytes = static_cast<uint16_t>(frame->bytes.size());
  p->off = pkt::kHeadroom;
  p->segs = 1;
  p->len = bytes;
  p->total = bytes;
  p->next = nullptr;
  p->tx_offload = 0;
  p->flags = pkt::kRxIpChecksumGood | pkt::kRxL4ChecksumGood;
  std::memcpy(p->buf + p->off, frame->bytes.data(), bytes);
  frame_store_.drop(frame);
  worker_.input(interface_, {&p, 1}, heap_.now());
  turn();
}

void Station::turn() {
  worker_.advance(heap_.now());
  if (program_ != nullptr && wake_ <= heap_.now()) {
    wake_ = kNever;
    program_->tick(net_);
  }
  for (bool more = true; more;) {
    more = deliver_events();
    more = transmit() || more;
  }
  const auto deadline = worker_.next_deadline();
  schedule(std::min(wake_, deadline.value_or(kNever)));
}

bool Station::deliver_events() {
  const std::span<const Event> now = worker_.events();
  const std::vector<Event> events(now.begin(), now.end());  // what the program asks for may add to them
  worker_.clear_events();
  for (const Event& event : events) program_->event(net_, event);
  return !events.empty();
}

bool Station::transmit() {
  std::array<pkt::Packet*, kBurst> burst{};
  const size_t n = worker_.output(interface_, burst, heap_.now());
  for (size_t i = 0; i < n; ++i) {
    wire_(frame_store_.make(gather(*burst[i])));
    free_chain(burst[i], frames_, references_);
  }
  return n != 0;
}

void Station::schedule(Instant when) {
  if (when == kNever || when >= scheduled_) return;
  scheduled_ = when;
  const uint64_t id = ++schedule_id_;
  heap_.at(when, [this, id] {
    if (id != schedule_id_) return;
    scheduled_ = kNever;
    turn();
  });
}

uint64_t Station::counter(std::string_view name) const {
  for (const auto& counter : worker_.counters()) {
    if (counter.name == name) return counter.value;
  }
  MR_ASSERT(false);
  return 0;
}

}  // namespace millrace::sim
