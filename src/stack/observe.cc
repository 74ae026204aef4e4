// Lists for people and tools; off the busy path.
#include "stack/impl.h"

namespace millrace::stack {

std::vector<SocketInfo> Impl::sockets() {
  std::vector<SocketInfo> out;
  sockets_.each([&](uint32_t index, const sock::Socket& s) {
    if (s.kind != sock::Kind::kListener) return;
    SocketInfo info;
    info.handle = sockets_.handle_of(index);
    info.local = sockets_.listener_endpoint(index);
    info.state = tcp::name(tcp::State::kListen);
    info.receive_queue = s.queued;
    out.push_back(info);
  });
  for (const tcp::Info& t : tcp.list()) {
    SocketInfo info;
    info.local = {t.tuple.local, t.tuple.local_port};
    info.remote = {t.tuple.remote, t.tuple.remote_port};
    info.state = tcp::name(t.state);
    info.send_queue = t.send_queue;
    info.tcp = t;
    if (t.sock != 0) {
      info.handle = sockets_.handle_of(t.sock);
      info.receive_queue = sockets_.at(t.sock).queued;
    }
    out.push_back(info);
  }
  udp.each([&](uint32_t, const udp::Dgram& d) {
    SocketInfo info;
    info.handle = sockets_.handle_of(d.sock);
    info.local = {d.local, d.local_port};
    info.remote = {d.remote, d.remote_port};
    info.protocol = d.kind == DatagramKind::kUdp ? "udp" : "icmp";
    info.state = d.remote.is_unspecified() ? "" : "ESTABLISHED";
    info.receive_queue = d.charge;
    info.drops = d.drops;
    out.push_back(info);
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
    info.local = sockets_.listener_endpoint(handle.index);
    info.state = tcp::name(tcp::State::kListen);
    info.tcp.state = tcp::State::kListen;
    return info;
  }
  info.alive = s->conn != 0;
  info.connecting = (s->flags & sock::kConnecting) != 0;
  info.ended = (s->flags & sock::kEnd) != 0;
  info.error = s->error;
  if (info.alive) {
    info.tcp = tcp.info(s->conn);
    info.tcp.urgent_unread = tcp.urgent_left(s->conn) != 0;
    info.local = {info.tcp.tuple.local, info.tcp.tuple.local_port};
    info.remote = {info.tcp.tuple.remote, info.tcp.tuple.remote_port};
    info.send_queue = info.tcp.send_queue;
  }
  info.state = tcp::name(info.tcp.state);
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
