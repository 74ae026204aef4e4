#include "ping/trace.h"

#include <fmt/format.h>

namespace millrace::ping {
namespace {

constexpr size_t kHeader = 8;
constexpr uint8_t kEchoRequest4 = 8;
constexpr uint8_t kEchoRequest6 = 128;

}  // namespace

void Trace::start(Net& net) {
  const bool v4 = options_.target.is_v4();
  DatagramOptions o;
  o.error_queue = true;
  const auto socket = net.open_datagram({v4 ? IpAddr::any_v4() : IpAddr(), 0}, 0, o, DatagramKind::kPing);
  if (!socket) {
    print_(fmt::format("cannot open a socket: {}", describe(socket.error())));
    return finish(net, 2);
  }
  socket_ = *socket;
  if (options_.hop_limit == 0) options_.hop_limit = kMostHops;
  message_.resize(kHeader + options_.size);
  message_[0] = std::byte{v4 ? kEchoRequest4 : kEchoRequest6};
  print_(fmt::format("TRACE {}, {} hops at most", options_.target.to_string(), options_.hop_limit));
  next_hop(net);
}

void Trace::next_hop(Net& net) {
  if (hops_ == options_.hop_limit) return finish(net, 1);
  ++hops_;
  tries_ = 0;
  ask(net);
}

void Trace::ask(Net& net) {
  ++sequence_;
  message_[6] = static_cast<std::byte>(sequence_ >> 8);
  message_[7] = static_cast<std::byte>(sequence_);
  asked_[tries_++] = net.now();
  Message m;
  m.data = message_;
  m.remote = {options_.target, 0};
  m.hop_limit = hops_;
  if (const auto sent = net.send_batch(socket_, {&m, 1}); !sent) {
    print_(fmt::format("{:2}  {}", hops_, describe(sent.error())));
    return finish(net, 1);
  }
  net.wake_at(asked_[tries_ - 1] + options_.wait);
}

const Instant* Trace::asked(uint16_t sequence) const {
  const auto back = static_cast<uint16_t>(sequence_ - sequence);
  return back < tries_ ? &asked_[tries_ - 1U - back] : nullptr;
}

void Trace::line(Net& net, Instant asked, const std::string& text) {
  print_(fmt::format("{:2}  {}  {:.3f} ms", hops_, text, static_cast<double>((net.now() - asked).ns()) / 1e6));
}

void Trace::tick(Net& net) {
  if (done_) return;
  const Instant end = asked_[tries_ - 1] + options_.wait;
  if (net.now() < end) return net.wake_at(end);
  if (tries_ < kTries) return ask(net);
  print_(fmt::format("{:2}  *", hops_));
  next_hop(net);
}

void Trace::event(Net& net, const Event& event) {
  if ((event.mask & kError) != 0) hear_errors(net);
  if ((event.mask & kReadable) != 0) hear_answers(net);
}

void Trace::hear_errors(Net& net) {
  while (!done_) {
    const auto e = net.take_error(socket_);
    if (!e) return;
    const Instant* when = asked(e->sequence);
    if (when == nullptr) continue;
    const std::string who = e->reporter.is_unspecified() ? "this host" : e->reporter.to_string();
    if (!e->expired) {
      line(net, *when, fmt::format("{}: {}", who, describe(static_cast<Error>(e->error))));
      return finish(net, 1);
    }
    line(net, *when, who);
    next_hop(net);
  }
}

void Trace::hear_answers(Net& net) {
  while (!done_) {
    const auto m = net.receive_from(socket_, room_);
    if (!m) return;
    const auto at = [&](size_t i) { return std::to_integer<unsigned>(m->data[i]); };
    const Instant* when = m->data.size() < kHeader ? nullptr : asked(static_cast<uint16_t>(at(6) << 8 | at(7)));
    if (when == nullptr) continue;
    line(net, *when, m->remote.addr.to_string());
    finish(net, 0);
  }
}

void Trace::finish(Net& net, int status) {
  done_ = true;
  net.stop(status);
}

}  // namespace millrace::ping
