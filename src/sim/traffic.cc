#include "sim/traffic.h"

#include <algorithm>

#include "sim/text.h"

namespace millrace::sim {
namespace {
constexpr uint64_t kListenerBit = 1ULL << 32;  // in Event::user; the rest is an index
}

void Traffic::start(Net& net) {
  for (size_t i = 0; i < plan_.connections.size(); ++i) {
    const ConnPlan& c = plan_.connections[i];
    if (opens(i)) to_open_.push_back({i, 0, net.now() + c.start});
    if (c.client == host_ || c.kind == ConnKind::kSimultaneous) continue;
    const IpAddr any = c.v6 ? IpAddr() : IpAddr::any_v4();
    const auto listener = net.listen({any, c.port}, kListenerBit | i, c.side[1].options, 64);
    if (!listener) {
      hooks_.fail(text("listen on port ", c.port, " failed: ", describe(listener.error())));
      return;
    }
    listeners_[i] = *listener;
  }
  datagrams_.start(net);
  schedule(net);
}

Endpoint Traffic::local_end(const ConnPlan& c) const {
  const bool client = c.client == host_;
  return {addresses_[static_cast<size_t>(host_)][c.v6], static_cast<uint16_t>(c.port + (client ? 0 : 2'000))};
}

Endpoint Traffic::remote_end(const ConnPlan& c) const {
  const bool client = c.client == host_;
  return {addresses_[static_cast<size_t>(1 - host_)][c.v6], static_cast<uint16_t>(c.port + (client ? 2'000 : 0))};
}

// Fixed ports decide which worker may open the connection; others are shared out.
bool Traffic::opens(size_t conn) const {
  const ConnPlan& c = plan_.connections[conn];
  if (c.kind == ConnKind::kSimultaneous) {
    const Endpoint local = local_end(c);
    const Endpoint remote = remote_end(c);
    return shards_.of_flow({remote.addr, local.addr, remote.port, local.port}) == worker_;
  }
  return c.client == host_ && conn % shards_.workers() == worker_;
}

void Traffic::schedule(Net& net) {
  Instant next = datagrams_.wake();
  for (const Session& s : sessions_) next = std::min(next, s.wake());
  for (const Opening& o : to_open_) next = std::min(next, o.at);
  if (next != kNever) net.wake_at(next);
}

void Traffic::open(Net& net, const Opening& what) {
  const ConnPlan& c = plan_.connections[what.conn];
  const int role = c.client == host_ ? 0 : 1;
  const auto peer = static_cast<size_t>(1 - host_);
  Endpoint remote{addresses_[peer][c.v6], c.port};
  Endpoint local{};
  if (c.kind == ConnKind::kSimultaneous) {
    remote = remote_end(c);
    local = local_end(c);
  }
  const size_t index = sessions_.size();
  const auto handle = net.connect(remote, index, c.side[static_cast<size_t>(role)].options, local);
  if (!handle) {
    const Error e = handle.error();
    const bool resource = e == Error::kTooMany || e == Error::kNoBuffers || e == Error::kNoMemory ||
                          e == Error::kAddressInUse;
    if (!resource || (!plan_.tiny_pools && e != Error::kAddressInUse)) {
      hooks_.fail(text("connect to port ", c.port, " failed: ", describe(e)));
      return;
    }
    ++retries_;
    to_open_.push_back({what.conn, what.round, net.now() + milliseconds(500)});
    return;
  }
  sessions_.emplace_back(c, role, what.round, c.key ^ what.round, hooks_).opening(*handle);
  followed_.push_back(false);
}

void Traffic::open_due(Net& net) {
  for (size_t i = 0; i < to_open_.size();) {
    if (to_open_[i].at > net.now()) {
      ++i;
      continue;
    }
    const Opening what = to_open_[i];
    to_open_.erase(to_open_.begin() + static_cast<long>(i));
    open(net, what);
  }
}

void Traffic::accept(Net& net, size_t conn) {
  const ConnPlan& c = plan_.connections[conn];
  for (;;) {
    const size_t index = sessions_.size();
    const auto handle = net.accept(listeners_[conn], index);
    if (!handle) {
      if (handle.error() != Error::kWouldBlock && !plan_.tiny_pools) {
        hooks_.fail(text("accept failed: ", describe(handle.error())));
      }
      return;
    }
    const uint32_t round = accepted_[c.port]++;
    sessions_.emplace_back(c, 1, round, c.key ^ ~uint64_t{round}, hooks_).opened(*handle);
    followed_.push_back(false);
    // What arrived before the accept gives no event of its own.
    sessions_.back().event(net, Event{*handle, index, kReadable | kWritable, 0, 0});
    after(net, index);
  }
}

// Short connections follow one another.
void Traffic::after(Net& net, size_t index) {
  const Session& s = sessions_[index];
  if (s.unreachable() && !followed_[index]) {  // the neighbour did not answer while the wire was cut
    followed_[index] = true;
    const auto conn = static_cast<size_t>(&s.conn() - plan_.connections.data());
    to_open_.push_back({conn, s.round(), net.now() + milliseconds(500)});
    return;
  }
  if (!s.over() || followed_[index] || s.role() != 0 || s.conn().kind != ConnKind::kShort) return;
  followed_[index] = true;
  if (s.round() + 1 >= s.conn().rounds) return;
  const auto conn = static_cast<size_t>(&s.conn() - plan_.connections.data());
  to_open_.push_back({conn, s.round() + 1, net.now() + (s.error() ? milliseconds(200) : Duration())});
}

void Traffic::event(Net& net, const Event& event) {
  if ((event.user & Datagrams::kBit) != 0) {
    datagrams_.event(net, event);
  } else if ((event.user & kListenerBit) != 0) {
    accept(net, event.user & ~kListenerBit);
  } else if (event.user < sessions_.size() && event.mask == kReleased &&
             !(sessions_[event.user].handle() == event.handle)) {
    // The release of a buffer whose socket was closed before: nobody is left to be told.
  } else if (event.user < sessions_.size()) {
    sessions_[event.user].event(net, event);
    after(net, event.user);
  } else {
    hooks_.fail(text("event for an unknown socket, user ", event.user));
  }
  open_due(net);
  schedule(net);
}

void Traffic::tick(Net& net) {
  datagrams_.tick(net);
  for (size_t i = 0; i < sessions_.size(); ++i) {
    if (sessions_[i].wake() > net.now()) continue;
    sessions_[i].tick(net);
    after(net, i);
  }
  open_due(net);
  schedule(net);
}

bool Traffic::done() const {
  return to_open_.empty() && std::all_of(sessions_.begin(), sessions_.end(), [](const Session& s) { return s.over(); });
}

void Traffic::close_listeners(Net& net) {
  for (const auto& [conn, handle] : listeners_) net.close(handle);
  listeners_.clear();
  datagrams_.close(net);
}

}  // namespace millrace::sim
