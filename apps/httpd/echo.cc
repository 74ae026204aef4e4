// See echo.h.
#include "httpd/echo.h"

namespace millrace::httpd {

namespace {

constexpr uint32_t kListenerSlot = UINT32_MAX;

}  // namespace

Result<void> EchoServer::listen(Net& net, const Endpoint& local) {
  const auto listener = net.listen(local, tag_ | kListenerSlot, {}, 65'535);
  if (!listener) return fail(listener.error());
  listener_ = *listener;
  return {};
}

void EchoServer::event(Net& net, const Event& event) {
  const auto slot = static_cast<uint32_t>(event.user);
  if (slot == kListenerSlot) return accept_all(net);
  if (slot >= conns_.size() || conns_[slot].handle != event.handle) return;
  if ((event.mask & kError) != 0) return drop(net, slot);
  serve(net, slot);
}

void EchoServer::accept_all(Net& net) {
  while (true) {
    if (free_slot_ == 0) {
      conns_.push_back({.next_free = 0});
      free_slot_ = static_cast<uint32_t>(conns_.size() - 1);
    }
    const uint32_t slot = free_slot_;
    const auto handle = net.accept(listener_, tag_ | slot);
    if (!handle) return;
    free_slot_ = conns_[slot].next_free;
    conns_[slot] = {.handle = *handle};
    ++open_;
    serve(net, slot);
  }
}

void EchoServer::serve(Net& net, uint32_t slot) {
  while (true) {
    Conn& conn = conns_[slot];
    if (conn.held.token != 0 && !send_held(net, slot)) return;
    const auto borrowed = net.borrow(conn.handle);
    if (!borrowed && borrowed.error() == Error::kWouldBlock) return;
    if (!borrowed || borrowed->end) return drop(net, slot);
    conn.held = *borrowed;
    conn.held_at = 0;
  }
}

bool EchoServer::send_held(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
  while (conn.held_at < conn.held.data.size()) {
    const auto taken = net.write(conn.handle, conn.held.data.subspan(conn.held_at));
    if (!taken) {
      if (taken.error() != Error::kWouldBlock) drop(net, slot);
      return false;
    }
    conn.held_at += *taken;
  }
  net.release(std::exchange(conn.held, {}));
  return true;
}

void EchoServer::drop(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
  if (conn.held.token != 0) net.release(conn.held);
  net.close(conn.handle);
  conn = {.next_free = free_slot_};
  free_slot_ = slot;
  --open_;
}

void EchoServer::close_all(Net& net) {
  for (uint32_t slot = 1; slot < conns_.size(); ++slot) {
    if (conns_[slot].handle.valid()) drop(net, slot);
  }
  net.close(listener_);
}

}  // namespace millrace::httpd
