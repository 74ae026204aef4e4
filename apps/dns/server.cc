#include "dns/server.h"

#include <span>

#include "dns/answer.h"

namespace millrace::dns {
namespace {

uint64_t key_of(Handle h) { return uint64_t{h.gen} << 32 | h.index; }

}  // namespace

void Server::start(Net& net) {
  const auto datagrams = net.open_datagram({IpAddr(), port_}, kDatagrams);
  const auto listener = net.listen({IpAddr(), port_}, kListener);
  if (!datagrams || !listener) return net.stop(1);
  datagrams_ = *datagrams;
}

void Server::event(Net& net, const Event& event) {
  if (event.user == kDatagrams) return serve_datagrams(net, event.handle);
  if (event.user == kConnection) return serve_connection(net, event.handle);
  while (const auto accepted = net.accept(event.handle, kConnection)) {
    if (connections_.size() >= kMostConnections) {
      net.abort(*accepted);
      continue;
    }
    connections_.emplace(key_of(*accepted), Connection{});
  }
}

// Each answer goes back the way its query came; queries that deserve none, and answers for which there is no room, are
// dropped, as the network might.
void Server::serve_datagrams(Net& net, Handle socket) {
  for (;;) {
    for (Message& m : messages_) m.into = {};
    const auto taken = net.receive_batch(socket, messages_);
    if (!taken) return;
    size_t n = 0;
    for (size_t i = 0; i < *taken; ++i) {
      Message m = messages_[i];
      const bool some = m.segment == 0 && answer(zone_, m.data, false, answers_[n]);
      if (!some) {
        net.release_batch({&m, 1});
        continue;
      }
      m.turn_around();
      m.data = answers_[n];
      messages_[n++] = m;
    }
    const std::span<const Message> batch(messages_.data(), n);
    const auto sent = net.send_batch(socket, batch);
    net.release_batch(batch.subspan(sent ? *sent : 0));
  }
}

bool Server::read_queries(Net& net, Handle socket, Connection& c) {
  std::array<std::byte, 4'096> room;
  for (;;) {
    const auto n = net.read(socket, room);
    if (!n) {
      if (n.error() != Error::kWouldBlock) return false;
      break;
    }
    if (*n == 0) {
      c.ended = true;
      break;
    }
    c.in.insert(c.in.end(), room.begin(), room.begin() + static_cast<ptrdiff_t>(*n));
  }
  size_t at = 0;
  while (c.in.size() - at >= 2) {
    const size_t length = size_t{std::to_integer<uint8_t>(c.in[at])} << 8 | std::to_integer<uint8_t>(c.in[at + 1]);
    if (c.in.size() - at - 2 < length) break;
    std::vector<std::byte> reply;
    if (!answer(zone_, {c.in.data() + at + 2, length}, true, reply)) return false;
    c.out.push_back(static_cast<std::byte>(reply.size() >> 8));
    c.out.push_back(static_cast<std::byte>(reply.size()));
    c.out.insert(c.out.end(), reply.begin(), reply.end());
    at += 2 + length;
  }
  c.in.erase(c.in.begin(), c.in.begin() + static_cast<ptrdiff_t>(at));
  return true;
}

bool Server::write_answers(Net& net, Handle socket, Connection& c) {
  while (c.sent < c.out.size()) {
    const auto n = net.write(socket, std::span<const std::byte>(c.out).subspan(c.sent));
    if (!n) return n.error() == Error::kWouldBlock;
    c.sent += *n;
  }
  c.out.clear();
  c.sent = 0;
  return !c.ended;
}

void Server::serve_connection(Net& net, Handle socket) {
  const auto found = connections_.find(key_of(socket));
  if (found == connections_.end()) return;
  if (read_queries(net, socket, found->second) && write_answers(net, socket, found->second)) return;
  net.close(socket);
  connections_.erase(found);
}

}  // namespace millrace::dns
