// Datagram sockets behind their handles: udp/ does the work.
#include "sock/sockets.h"
#include "tcp/linux_info.h"

namespace millrace::sock {

Result<Reply> Sockets::open_datagram(const req::OpenDatagram& r) {
  const uint32_t index = slab_.allocate();
  if (index == 0) return fail(Error::kTooMany);
  Socket& s = slab_[index];
  s.kind = Kind::kDatagram;
  s.user = r.user;
  const auto opened = udp_->open(index, r);
  if (!opened) {
    slab_.release(index);
    return fail(opened.error());
  }
  s.conn = *opened;
  if (r.kind != DatagramKind::kUdp) icmp_->listen();
  Reply reply;
  reply.handle = handle_of(index);
  return reply;
}

Result<size_t> Sockets::send_messages(uint32_t index, std::span<const Message> messages, Instant now) {
  if (udp_->at(index).kind != DatagramKind::kUdp) return icmp_->send(index, messages, now);
  return udp_->send(index, messages, now);
}

Result<Reply> Sockets::connect_datagram(const req::ConnectDatagram& r) {
  const Socket* s = find(r.handle, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (const auto done = udp_->connect(s->conn, r.remote); !done) return fail(done.error());
  return Reply{};
}

Result<Reply> Sockets::send_batch(const req::SendBatch& r, Instant now) {
  const Socket* s = find(r.handle, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  const auto sent = send_messages(s->conn, r.messages, now);
  if (!sent) return fail(sent.error());
  Reply reply;
  reply.bytes = *sent;
  return reply;
}

Result<Reply> Sockets::receive_batch(const req::ReceiveBatch& r) {
  const Socket* s = find(r.handle, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  const auto taken = udp_->receive(s->conn, r.messages, r.peek);
  if (!taken) return fail(taken.error());
  Reply reply;
  reply.bytes = *taken;
  return reply;
}

Result<Reply> Sockets::release_batch(const req::ReleaseBatch& r) {
  bool all = true;
  for (const Message& m : r.messages) all = (m.token == 0 || udp_->release(m.token)) && all;
  if (!all) return fail(Error::kBadHandle);
  return Reply{};
}

Result<Reply> Sockets::set_datagram_options(const req::SetDatagramOptions& r) {
  const Socket* s = find(r.handle, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (const auto done = udp_->set_options(s->conn, r.options); !done) return fail(done.error());
  return Reply{};
}

Result<Reply> Sockets::names(const req::Names& r) const {
  const uint32_t index = r.handle.index;
  if (!slab_.in_use(index) || slab_[index].gen != r.handle.gen) return fail(Error::kBadHandle);
  const Socket& s = slab_[index];
  Endpoint local;
  Endpoint remote;
  if (s.kind == Kind::kListener) {
    local = listener_endpoint(index);
  } else if (s.kind == Kind::kDatagram) {
    const udp::Dgram& d = udp_->at(s.conn);
    local = {d.local, d.local_port};
    remote = {d.remote, d.remote_port};
  } else if (s.conn != 0) {
    const tcp::Conn& c = tcp_->conn(s.conn);
    local = {c.local, c.local_port};
    remote = {c.remote, c.remote_port};
  } else {
    return fail(Error::kNotConnected);
  }
  if (r.local != nullptr) *r.local = local;
  if (r.remote != nullptr) *r.remote = remote;
  return Reply{};
}

Result<Reply> Sockets::look_at(const req::Look& r) const {
  const uint32_t index = r.handle.index;
  if (!slab_.in_use(index) || slab_[index].gen != r.handle.gen) return fail(Error::kBadHandle);
  const Socket& s = slab_[index];
  SocketStatus status;
  const auto set_error = [&status](uint8_t code) {
    if (code != 0) status.error = static_cast<Error>(code - 1);
  };
  if (s.kind == Kind::kDatagram) {
    const udp::Dgram& d = udp_->at(s.conn);
    set_error(d.error);
    status.alive = true;
    status.unread = udp_->oldest_bytes(s.conn);
    status.readable = d.head != 0 || status.error;
    *r.into = status;
    return Reply{};
  }
  set_error(s.error);
  status.unread = s.queued;
  status.ended = (s.flags & kEnd) != 0;
  status.connecting = (s.flags & kConnecting) != 0;
  status.alive = s.conn != 0 || s.kind == Kind::kListener;
  status.readable = s.queued != 0 || status.ended || status.error || !status.alive;
  if (s.conn != 0) {
    status.unsent = tcp_->conn(s.conn).snd_queued;
    status.room = tcp_->send_space(s.conn).value_or(0);
  }
  *r.into = status;
  return Reply{};
}

Result<Reply> Sockets::read_tcp_info(const req::ReadTcpInfo& r, Instant now) {
  const Socket* s = find(r.handle, Kind::kStream);
  if (s == nullptr) return fail(Error::kBadHandle);
  if (s->conn == 0) return fail(Error::kNotConnected);
  tcp_->count_from_now_on(s->conn, now);
  *r.into = tcp::linux_info(tcp_->info(s->conn), now);
  return Reply{};
}

bool Sockets::send_datagram(Handle h, std::span<const std::byte> data, Instant now, size_t& taken, Error& why) {
  const Socket* s = find(h, Kind::kDatagram);
  why = Error::kBadHandle;
  if (s == nullptr) return false;
  Message m;
  m.data = data;
  const auto sent = send_messages(s->conn, {&m, 1}, now);
  flush();
  if (!sent) {
    why = sent.error();
    return false;
  }
  taken = data.size();
  return true;
}

Result<Reply> Sockets::receive_datagram(const req::Receive& r) {
  const Socket* s = find(r.handle, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  Message m;
  m.into = r.into;
  const auto taken = udp_->receive(s->conn, {&m, 1}, r.peek, true);
  if (!taken) return fail(taken.error());
  Reply reply;
  reply.bytes = m.data.size();
  return reply;
}

Result<Reply> Sockets::borrow_datagram(Handle h) {
  const Socket* s = find(h, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  Message m;
  const auto taken = udp_->receive(s->conn, {&m, 1}, false);
  if (!taken) return fail(taken.error());
  Reply reply;
  reply.view = m.data;
  reply.token = m.token;
  return reply;
}

Result<Reply> Sockets::close_datagram(Handle h) {
  const Socket* s = find(h, Kind::kDatagram);
  if (s == nullptr) return fail(Error::kBadHandle);
  udp_->close(s->conn);
  slab_.release(h.index);
  return Reply{};
}

}  // namespace millrace::sock
