#include "sim/lane.h"

#include <algorithm>

#include "sim/hash.h"
#include "sim/text.h"
#include "stack/impl.h"

namespace millrace::sim {

Lane::Lane(LaneShared& shared, uint32_t index, const stack::WorkerConfig& config, bool record, bool pumps)
    : shared_(shared), index_(index), worker_(std::make_unique<RecordingWorker>(config, record)) {
  inbound_.resize(config.shards == nullptr ? 1 : config.shards->workers());
  if (pumps) worker_->set_pump([this] { return pump(); });
}

Lane::~Lane() = default;

void Lane::start(Program& program) {
  program_ = &program;
  busy_ = true;
  program_->start(net_);
  busy_ = false;
  schedule(shared_.heap.now());
}

void Lane::wake_at(Instant when) {
  wake_ = when;
  if (!busy_) schedule(when);
}

// The earliest of all wishes counts; later events in the heap find that they are stale.
void Lane::schedule(Instant when) {
  when = std::max(when, shared_.heap.now());
  if (when >= scheduled_) return;
  scheduled_ = when;
  const uint64_t id = ++schedule_id_;
  shared_.heap.at(when, [this, id] {
    if (id != schedule_id_) return;
    scheduled_ = kNever;
    turn();
  });
}

bool Lane::has_received() const {
  for (uint32_t queue = index_; queue < shared_.nic->queues(); queue += count()) {
    if (shared_.nic->has_received(queue)) return true;
  }
  return false;
}

// A lane whose outboxes are full leaves frames with the device.
void Lane::receive_burst() {
  pkt::Packet* burst[kBurst];
  for (uint32_t queue = index_; queue < shared_.nic->queues(); queue += count()) {
    if (count() > 1 && worker_->worker().hand_over_room() < kBurst) return;
    const size_t n = shared_.nic->poll(queue, burst);
    frames_in_ += n;
    if (n > 0) worker_->input(shared_.interface, {burst, n}, now());
  }
}

void Lane::take_in() {
  for (uint32_t from = 0; from < count(); ++from) {
    if (from == index_) continue;
    take_news(from);
    take_frames(from);
  }
}

void Lane::take_frames(uint32_t from) {
  auto& items = inbound_[from].frames.items;
  const bool full = items.size() >= shared_.ring_room;
  pkt::Packet* burst[kBurst];
  for (size_t n = 1; n != 0;) {
    n = 0;
    while (n < kBurst && !items.empty() && items.front().ready <= now()) {
      burst[n++] = items.front().what.frame;
      items.pop_front();
    }
    if (n != 0) worker_->input_steered(shared_.interface, {burst, n}, now());
  }
  if (full && items.size() < shared_.ring_room) shared_.lanes[from]->schedule(now());
  if (!items.empty()) schedule(items.front().ready);
}

void Lane::take_news(uint32_t from) {
  auto& items = inbound_[from].news.items;
  const bool full = items.size() >= shared_.ring_room;
  std::vector<ip::TableMessage> news;
  while (!items.empty() && items.front().ready <= now()) {
    news.push_back(items.front().what);
    items.pop_front();
  }
  if (!news.empty()) worker_->hear(from, news, now());
  if (full && items.size() < shared_.ring_room) shared_.lanes[from]->schedule(now());
  if (!items.empty()) schedule(items.front().ready);
}

template <class T>
void Lane::push(Ring<T>& ring, const T& what, Lane& to) {
  ring.last = std::max(ring.last, now() + random(shared_.ring_delay));
  ring.items.push_back({ring.last, what});
  to.schedule(ring.items.front().ready);
}

void Lane::hand_out() {
  for (uint32_t i = 0; i < count(); ++i) {
    if (i == index_) continue;
    Lane& to = *shared_.lanes[i];
    Inbound& in = to.inbound_[index_];
    stack::Handed frames[kBurst];
    for (size_t n = 1; n != 0 && in.frames.items.size() < shared_.ring_room;) {
      const size_t room = std::min<size_t>(kBurst, shared_.ring_room - in.frames.items.size());
      n = worker_->hand_over(i, {frames, room});
      for (size_t k = 0; k < n; ++k) push(in.frames, frames[k], to);
    }
    ip::TableMessage news[kBurst];
    while (worker_->worker().has_news(i) && in.news.items.size() < shared_.ring_room) {
      const size_t room = std::min<size_t>(kBurst, shared_.ring_room - in.news.items.size());
      const size_t n = worker_->tell(i, {news, room});
      for (size_t k = 0; k < n; ++k) push(in.news, news[k], to);
    }
  }
}

bool Lane::exchange_news() {
  bool any = false;
  for (uint32_t i = 0; i < count(); ++i) {
    ip::TableMessage news[kBurst];
    while (i != index_ && worker_->worker().has_news(i)) {
      const size_t n = worker_->tell(i, news);
      shared_.lanes[i]->worker_->hear(index_, {news, n}, now());
      any = true;
    }
  }
  return any;
}

void Lane::deliver_events() {
  for (int round = 0; round < 64; ++round) {
    const auto events = worker_->events();
    if (events.empty()) return;
    const std::vector<Event> copy(events.begin(), events.end());
    worker_->clear_events();
    for (const Event& event : copy) {
      shared_.digest = mix64(shared_.digest ^ event.user) + event.mask;
      if (program_ != nullptr) program_->event(net_, event);
    }
  }
  schedule(now());
}

void Lane::transmit() {
  pkt::Packet* out[kBurst];
  for (;;) {
    const size_t room = std::min(shared_.nic->room(), kBurst);
    if (room == 0) return;
    const size_t n = worker_->output(shared_.interface, {out, room}, now());
    starved_ = n == 0;
    if (n > room) return shared_.fail(text("output() gave ", n, " frames, asked for ", room));
    shared_.nic->transmit({out, n});
    if (n < room) return;
  }
}

Instant Lane::pump() {
  ++pumps_;
  pumping_ = true;
  transmit();
  const Instant now = shared_.pass_time(Duration(static_cast<int64_t>(shared_.rng.below(20'000))));
  receive_burst();
  pumping_ = false;
  return now;
}

void Lane::turn() {
  if (busy_) {  // time passes inside a request: the turn waits until it is over
    schedule(now() + microseconds(1));
    return;
  }
  busy_ = true;
  ++turns_;
  take_in();
  receive_burst();
  deliver_events();
  if (wake_ <= now()) {
    wake_ = kNever;
    if (program_ != nullptr) program_->tick(net_);
  }
  worker_->advance(now());
  deliver_events();
  transmit();
  hand_out();
  busy_ = false;
  shared_.quiet();
  if (turns_ % 16 == 0) {
    const std::string wrong = worker().check();
    if (!wrong.empty()) shared_.fail("worker: " + wrong);
  }
  schedule_next();
}

bool Lane::idle() const {
  for (const Inbound& in : inbound_) {
    if (!in.frames.items.empty() || !in.news.items.empty()) return false;
  }
  return !has_received() && shared_.nic->room() > 0 && !worker_->wants_output() && worker_->events().empty();
}

void Lane::schedule_next() {
  if (has_received() && (count() == 1 || worker().hand_over_room() >= kBurst)) schedule(now());
  if (!worker_->events().empty()) schedule(now());
  // Nothing came although there is room: frames have run out, and the worker tries again and again.
  if (worker_->wants_output() && shared_.nic->room() > 0) schedule(starved_ ? now() + kStarvedPoll : now());
  schedule(wake_);
  const auto deadline = worker_->next_deadline();
  if (!deadline || *deadline == kNever) return;
  schedule(*deadline + random(shared_.timer_delay));
}

std::string Lane::check_idle() {
  const std::string wrong = worker().check();
  if (!wrong.empty()) return "worker: " + wrong;
  for (const stack::SocketInfo& s : worker().sockets()) {
    return text("a socket is left: ", s.local.to_string(), " ", s.remote.to_string(), " ", s.state);
  }
  if (worker().blocks_in_use() != 0) return text(worker().blocks_in_use(), " blocks are left in the worker");
  return check_ledger();
}

std::string Lane::check_ledger() {
  const stack::Impl& impl = worker().impl();
  const ip::Ip::Ledger below = impl.ip.ledger();
  if (below.frames != below.delivered + below.consumed + below.dropped) {
    return text("ip: ", below.frames, " frames came in, ", below.delivered, " were delivered, ", below.consumed,
                " consumed, ", below.dropped, " dropped");
  }
  const auto steered = [&](stack::SteerCounter c) { return impl.hand_over.counters().get(c); };
  const uint64_t in = frames_in_ + steered(stack::SteerCounter::kHandedIn);
  const uint64_t gone = steered(stack::SteerCounter::kHandedOver) + steered(stack::SteerCounter::kDatagrams) +
                        steered(stack::SteerCounter::kDropHeadroom);
  // Plain TCP and UDP go past Ip; everything that Ip delivered in this world was one of them as well.
  const uint64_t tcp = impl.tcp.counter(tcp::Counter::kSegmentsIn) + impl.tcp.counter(tcp::Counter::kDropHeader) +
                       impl.tcp.counter(tcp::Counter::kDropChecksum);
  const uint64_t udp = impl.udp.counter(udp::Counter::kIn) + impl.udp.counter(udp::Counter::kDropHeader);
  if (in == tcp + udp + below.consumed + below.dropped + gone) return {};
  return text(in, " frames came in, ", tcp, " reached TCP, ", udp, " UDP, ", gone, " were handed over, ",
              below.consumed, " were consumed and ", below.dropped, " dropped below TCP");
}

void Lane::clear_rings(pkt::PacketPool& frames, pkt::PacketPool& references) {
  for (Inbound& in : inbound_) {
    for (const auto& item : in.frames.items) free_chain(item.what.frame, frames, references);
    in.frames.items.clear();
  }
}

}  // namespace millrace::sim
