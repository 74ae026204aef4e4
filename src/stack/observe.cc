// Lists for people and tools; off the busy path.
#include "stack/impl.h"

namespace millrace::stack {

namespace {

void fill_listener(SocketInfo& info, const Endpoint& local) {
  info.local = local;
  info.state = tcp::name(tcp::State::kListen);
  info.tcp.state = tcp::State::kListen;
}

void fill_connection(SocketInfo& info, const tcp::Info& t) {
  info.local = {t.tuple.local, t.tuple.local_port};
  info.remote = {t.tuple.remote, t.tuple.remote_port};
  info.state = tcp::name(t.state);
  info.send_queue = t.send_queue;
  info.tcp = t;
}

}  // namespace

std::vector<SocketInfo> Impl::sockets() {
  std::vector<SocketInfo> out;
  sockets_.each([&](uint32_t index, const sock::Socket& s) {
    if (s.kind != sock::Kind::kListener) return;
    SocketInfo& info = out.emplace_back();
    info.handle = sockets_.handle_of(index);
    info.receive_queue = s.queued;
    fill_listener(info, sockets_.listener_endpoint(index));
  });
  for (const tcp::Info& t : tcp.list()) {
    SocketInfo& info = out.emplace_back();
    fill_connection(info, t);
    if (t.sock == 0) continue;
    info.handle = sockets_.handle_of(t.sock);
    info.receive_queue = sockets_.at(t.sock).queued;
  }
  udp.each([&](uint32_t, const udp::Dgram& d) {
    SocketInfo& info = out.emplace_back();
    info.handle = sockets_.handle_of(d.sock);
    info.local = {d.local, d.local_port};
    info.remote = {d.remote, d.remote_port};
    info.protocol = d.kind == DatagramKind::kUdp ? "udp" : "icmp";
    info.state = d.remote.is_unspecified() ? "" : "ESTABLISHED";
    info.receive_queue = d.charge;
    info.drops = d.drops;
  });
  return out;
}

std::optional<SocketInfo> Impl::socket(Handle handle) {
  const sock::Socket* s = sockets_.look(handle);
  if (s == nullptr || s->kind == sock::Kind::kDatagram) return std::nullopt;
  SocketInfo info;
  info.handle = handle;
  info.receive_queue = s->queued;
  if (s->kind == sock::Kind::kListener) {
    fill_listener(info, sockets_.listener_endpoint(handle.index));
    return info;
  }
  info.alive = s->conn != 0;
  info.connecting = (s->flags & sock::kConnecting) != 0;
  info.ended = (s->flags & sock::kEnd) != 0;
  info.error = s->error;
  info.state = tcp::name(tcp::State::kClosed);
  if (info.alive) {
    fill_connection(info, tcp.info(s->conn));
    info.tcp.urgent_unread = tcp.urgent_left(s->conn) != 0;
  }
  return info;
}

std::vector<CounterValue> Impl::counters() const {
  std::vector<CounterValue> out;
  for (const ip::Ip::CounterLine& line : ip.counters()) out.push_back({line.info.name, line.info.text, line.value});
  for (size_t i = 0; !hand_over.alone() && i < std::size(kSteerCounterInfo); ++i) {
    const base::CounterInfo& info = kSteerCounterInfo[i];
    out.push_back({info.name, info.text, hand_over.counters().get(static_cast<SteerCounter>(i))});
  }
  for (size_t i = 0; i < std::size(tcp::kCounters); ++i) {
    out.push_back({tcp::kCounters[i].name, tcp::kCounters[i].text, tcp.counter(static_cast<tcp::Counter>(i))});
  }
  for (size_t i = 0; i < std::size(udp::kCounters); ++i) {
    out.push_back({udp::kCounters[i].name, udp::kCounters[i].text, udp.counter(static_cast<udp::Counter>(i))});
  }
  return out;
}

}  // namespace millrace::stack
