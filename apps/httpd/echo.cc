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
  if (!conns_[slot].held.empty()) {
    const std::string held = std::exchange(conns_[slot].held, {});
    if (!send(net, slot, std::as_bytes(std::span(held)))) return;
  }
  while (true) {
    const auto n = net.read(conns_[slot].handle, input_);
    if (!n && n.error() == Error::kWouldBlock) return;
    if (!n || *n == 0) return drop(net, slot);
    if (!send(net, slot, std::span(input_).first(*n))) return;
    if (*n < input_.size()) return;  // that was all; what comes later has its own event
  }
}

bool EchoServer::send(Net& net, uint32_t slot, std::span<const std::byte> bytes) {
  Conn& conn = conns_[slot];
  while (!bytes.empty()) {
    const auto taken = net.write(conn.handle, bytes);
    if (taken) {
      bytes = bytes.subspan(*taken);
    } else if (taken.error() == Error::kWouldBlock) {
      conn.held.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return false;
    } else {
      drop(net, slot);
      return false;
    }
  }
  return true;
}

void EchoServer::drop(Net& net, uint32_t slot) {
  Conn& conn = conns_[slot];
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
