#include "engine.h"

#include <algorithm>
#include <chrono>

namespace millrace::packetdrill {
namespace {

// Far from 0, so that times of the past exist too.
constexpr Instant kStart{1'000'000LL * 1'000'000'000};
// The tool pins all memory that its process has (mlockall), so tables are as small as scripts allow.
constexpr uint32_t kConnections = 256;
constexpr size_t kBlockBytes = size_t{24} << 20;
constexpr auto kLongestReturn = std::chrono::milliseconds(10);

stack::WorkerConfig worker_config(const Flags& flags, Link& link, base::MemorySource& memory) {
  stack::WorkerConfig c;
  c.frames = &link.frames();
  c.references = &link.references();
  c.memory = &memory;
  c.seed = flags.seed;
  c.max_connections = kConnections;
  c.max_half_open = kConnections;
  c.max_time_wait = kConnections;
  c.max_neighbours = 64;
  c.max_datagram_sockets = 16;
  c.max_messages = 256;
  c.block_bytes = kBlockBytes;
  c.tcp = flags.tcp;
  c.start = kStart;
  return c;
}

}  // namespace

Engine::Engine(const Flags& flags)
    : now_(kStart), worker_(std::make_unique<stack::Worker>(worker_config(flags, link_, memory_))) {
  ready_ = link_.attach(*worker_, flags, now_);
  pass_time(now_ + seconds(10));  // IPv6 addresses pass their tests
}

Result<Reply> Engine::request(const Request& request) {
  const auto reply = worker_->request(request, now_);
  take_events();
  return reply;
}

// Events are taken by value: what a handler asks for may bring more.
void Engine::take_events() {
  link_.collect(now_);
  const auto span = worker_->events();
  const std::vector<Event> events(span.begin(), span.end());
  worker_->clear_events();
  if (!handler_) return;
  for (const Event& e : events) handler_(e);
}

void Engine::settle() {
  take_events();
  serve_waiters();
}

void Engine::serve_waiters() {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    Waiter& w = **it;
    w.succeeded = (*w.attempt)();
    if (!w.succeeded && w.limit > now_) {
      ++it;
      continue;
    }
    it = waiters_.erase(it);
    returning_ = w.thread;
    returned_at_ = now_;
    w.done = true;
    w.wake.notify_one();
    Lock held(mutex_, std::adopt_lock);
    looked_.wait_for(held, kLongestReturn, [this] { return returning_ == std::thread::id(); });
    (void)held.release();  // the caller's lock goes on
    take_events();
  }
}

bool Engine::deliver(std::span<const std::byte> datagram) {
  const bool taken = link_.deliver(datagram, now_);
  settle();
  return taken;
}

Instant Engine::next_due() const {
  Instant due = worker_->next_deadline().value_or(kNever);
  for (const Waiter* w : waiters_) due = std::min(due, w->limit);
  return due;
}

void Engine::step_to(Instant when) {
  now_ = std::max(now_, when);
  worker_->advance(now_);
  settle();
}

void Engine::pass_time(Instant until) {
  for (Instant due = next_due(); due <= until; due = next_due()) {
    const Instant before = now_;
    step_to(due);
    if (due <= before && next_due() <= before) break;  // a deadline that stays due: time goes on without it
  }
  step_to(until);
}

std::optional<Sent> Engine::next_sent(Instant limit) {
  while (link_.sent().empty()) {
    const Instant due = next_due();
    if (due > limit) {
      step_to(limit);
      break;
    }
    step_to(std::max(due, now_));
  }
  if (link_.sent().empty()) return std::nullopt;
  Sent first = std::move(link_.sent().front());
  link_.sent().pop_front();
  return first;
}

Instant Engine::read_clock() {
  if (returning_ == std::this_thread::get_id()) {
    returning_ = {};
    looked_.notify_one();
    return returned_at_;
  }
  pass_time(now_ + microseconds(1));
  return now_;
}

bool Engine::wait(Lock& lock, const std::function<bool()>& attempt, Instant limit) {
  if (attempt()) return true;
  if (limit <= now_) return false;
  if (on_first_thread()) {
    for (;;) {
      const Instant due = std::min(next_due(), limit);
      step_to(due);
      if (attempt()) return true;
      if (now_ >= limit) return false;
    }
  }
  Waiter w{&attempt, limit, std::this_thread::get_id()};
  waiters_.push_back(&w);
  w.wake.wait(lock, [&] { return w.done; });
  return w.succeeded;
}

}  // namespace millrace::packetdrill
