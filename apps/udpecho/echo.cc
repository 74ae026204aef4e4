#include "udpecho/echo.h"

#include <span>

namespace millrace::udpecho {
namespace {

constexpr size_t kLargest = 65'536;

}  // namespace

void Echo::start(Net& net) {
  if (options_.copy) room_.resize(kBatch * kLargest);
  DatagramOptions o;
  o.reuse = options_.sockets > 1;
  o.merge = options_.merge;
  o.receive_buffer = 4 << 20;
  for (uint32_t i = 0; i < options_.sockets; ++i) {
    const auto socket = net.open_datagram({IpAddr(), options_.port}, 0, o);
    if (!socket) return net.stop(1);
    if (i != 0) continue;  // each member of a group would answer
    for (const IpAddr& group : options_.groups) {
      if (!net.join_group(*socket, group)) return net.stop(1);
    }
  }
}

void Echo::event(Net& net, const Event& event) {
  if ((event.mask & kError) != 0) (void)net.send_batch(event.handle, {});  // an error is reported once
  if ((event.mask & (kReadable | kWritable)) == 0) return;
  while (echo_some(net, event.handle)) {
  }
}

// A message too large to be lent in one piece.
bool Echo::echo_large(Net& net, Handle socket) {
  large_.resize(kLargest);
  auto m = net.receive_from(socket, large_);
  if (!m) return false;
  m->turn_around();
  const auto sent = net.send_batch(socket, {&*m, 1});
  ++(sent ? echoed_ : lost_);
  return true;
}

// One batch; false when nothing waits any more.
bool Echo::echo_some(Net& net, Handle socket) {
  std::span<Message> batch(messages_);
  if (options_.copy) {
    for (size_t i = 0; i < kBatch; ++i) messages_[i].into = {room_.data() + i * kLargest, kLargest};
  }
  const auto taken = net.receive_batch(socket, batch);
  if (!taken) return taken.error() == Error::kTooBig && echo_large(net, socket);
  batch = batch.first(*taken);
  for (Message& m : batch) m.turn_around();
  std::span<Message> left = batch;
  while (!left.empty()) {
    const auto sent = net.send_batch(socket, left);
    const size_t done = sent ? *sent : 0;
    echoed_ += done;
    left = left.subspan(done);
    if (left.empty()) break;
    if (done == 0) {  // this one cannot be sent; a datagram service may lose it
      net.release_batch(left.first(1));
      left = left.subspan(1);
      ++lost_;
    }
  }
  return true;
}

}  // namespace millrace::udpecho
