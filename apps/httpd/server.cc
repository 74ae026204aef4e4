// Connections of HttpServer: accept, events, time limits, the end. See server.h.
#include "httpd/server.h"

#include <algorithm>

namespace millrace::httpd {

namespace {

constexpr uint32_t kListenerSlot = UINT32_MAX;
constexpr size_t kBatchBytes = 64 * 1024;
constexpr size_t kInputBytes = 64 * 1024;
constexpr uint32_t kSweepLeast = 4096;

}  // namespace

HttpServer::HttpServer(Site& site, const ServerOptions& options)
    : site_(site), options_(options), conns_(1), input_(kInputBytes), batch_(kBatchBytes) {}

Result<void> HttpServer::listen(Net& net, const Endpoint& local, const SocketOptions& socket) {
  const auto listener = net.listen(local, options_.tag | kListenerSlot, socket, 65'535);
  if (!listener) return fail(listener.error());
  listeners_.push_back(*listener);
  return {};
}

void HttpServer::event(Net& net, const Event& event) {
  const auto slot = static_cast<uint32_t>(event.user);
  if (slot == kListenerSlot) return accept_all(net);
  if (slot >= conns_.size() || conns_[slot].handle != event.handle) return;  // of a connection that is gone
  const Instant now = net.now();
  date_.refresh(now);
  Conn& conn = conns_[slot];
  conn.seen = time_of(now);
  if ((event.mask & kError) != 0) {
    ++counters_.failed;
    return drop(net, slot);
  }
  if ((conn.flags & kBlocked) != 0) {
    if ((event.mask & kWritable) != 0) drain(net, slot);
    return;
  }
  if ((event.mask & (kReadable | kPeerClosed)) != 0) serve(net, slot);
}

void HttpServer::accept_all(Net& net) {
  date_.refresh(net.now());
  for (const Handle listener : listeners_) {
    while (true) {
      const uint32_t slot = take_slot();
      const auto handle = net.accept(listener, options_.tag | slot);
      Conn& conn = conns_[slot];
      if (!handle) {
        conn.next_free = free_slot_;
        free_slot_ = slot;
        break;
      }
      conn = {.handle = *handle, .seen = time_of(net.now()), .flags = kOpen};
      ++open_;
      ++counters_.accepted;
      if (next_sweep_ == kNever) next_sweep_ = net.now() + seconds(1);
      serve(net, slot);  // what came before the accept
    }
  }
}

uint32_t HttpServer::take_slot() {
  if (free_slot_ == 0) {
    conns_.emplace_back();
    return static_cast<uint32_t>(conns_.size() - 1);
  }
  const uint32_t slot = free_slot_;
  free_slot_ = conns_[slot].next_free;
  return slot;
}

void HttpServer::drop(Net& net, uint32_t slot, bool abort) {
  Conn& conn = conns_[slot];
  if (conn.work != nullptr) give_back(conn);
  if (abort) {
    net.abort(conn.handle);
  } else {
    net.close(conn.handle);
  }
  conn = {.next_free = free_slot_};
  free_slot_ = slot;
  --open_;
}

HttpServer::Work& HttpServer::work_of(Conn& conn) {
  if (conn.work != nullptr) return *conn.work;
  if (free_works_.empty()) {
    works_.push_back(std::make_unique<Work>());
    free_works_.reserve(works_.size());
    free_works_.push_back(works_.back().get());
  }
  conn.work = free_works_.back();
  free_works_.pop_back();
  ++works_used_;
  return *conn.work;
}

void HttpServer::give_back(Conn& conn) {
  Work& work = *conn.work;
  work.reading = work.again = false;
  work.held.clear();
  work.unsent.clear();
  work.body = {};
  free_works_.push_back(&work);
  conn.work = nullptr;
  --works_used_;
}

/// Gives the Work back if nothing is unfinished.
void HttpServer::settle(Conn& conn) {
  const Work* work = conn.work;
  if (work == nullptr || (conn.flags & (kBlocked | kClosing)) != 0) return;
  if (!work->reading && !work->again && work->held.empty()) give_back(conn);
}

Instant HttpServer::next_tick() const { return again_.empty() ? next_sweep_ : Instant{}; }

void HttpServer::tick(Net& net) {
  date_.refresh(net.now());
  now_again_.swap(again_);
  for (const uint32_t slot : now_again_) {
    Conn& conn = conns_[slot];
    if (conn.work == nullptr || !conn.work->again) continue;  // dropped meanwhile
    conn.work->again = false;
    conn.seen = time_of(net.now());
    if ((conn.flags & kBlocked) != 0) {
      drain(net, slot);
    } else {
      serve(net, slot);
    }
  }
  now_again_.clear();
  if (net.now() < next_sweep_) return;
  const uint32_t now = time_of(net.now());
  const auto slots = static_cast<uint32_t>(conns_.size());
  for (uint32_t left = std::min(slots, std::max(kSweepLeast, slots / 8)); left > 0; --left) {
    if (++sweep_at_ >= slots) sweep_at_ = 1;
    if (sweep_at_ < slots && (conns_[sweep_at_].flags & kOpen) != 0) sweep(net, sweep_at_, now);
  }
  next_sweep_ = open_ == 0 ? kNever : net.now() + seconds(1);
}

void HttpServer::sweep(Net& net, uint32_t slot, uint32_t now) {
  Conn& conn = conns_[slot];
  constexpr uint32_t kLingerUnits = 5;
  const uint32_t silent = now - conn.seen;
  if ((conn.flags & kLingering) != 0) {
    if (silent > kLingerUnits) drop(net, slot);
    return;
  }
  const Work* work = conn.work;
  if (work != nullptr && work->reading && (conn.flags & kBlocked) == 0) {
    const bool streaming = work->reader.request().body_bytes > 0;  // an upload may take long, if it moves
    const uint32_t spent = streaming ? silent : now - work->reading_since;
    if (options_.request_timeout.ns() == 0 || spent <= span_of(options_.request_timeout)) return;
    ++counters_.timeouts;
    conn.work->reading = false;
    (void)respond(net, slot, site_.refusal(408), false);
    return;
  }
  if (options_.idle_timeout.ns() == 0 || silent <= span_of(options_.idle_timeout)) return;
  ++counters_.timeouts;
  drop(net, slot, (conn.flags & kBlocked) != 0);
}

void HttpServer::close_all(Net& net) {
  for (uint32_t slot = 1; slot < conns_.size(); ++slot) {
    if ((conns_[slot].flags & kOpen) != 0) drop(net, slot);
  }
  for (const Handle listener : listeners_) net.close(listener);
  listeners_.clear();
}

}  // namespace millrace::httpd
