#include "ping/ping.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::ping {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kSequences = 65'536;
constexpr uint8_t kEchoRequest4 = 8;
constexpr uint8_t kEchoRequest6 = 128;

}  // namespace

void Ping::start(Net& net) {
  const bool v4 = options_.target.is_v4();
  DatagramOptions o;
  o.hop_limit = options_.hop_limit;
  o.error_queue = true;
  const auto socket = net.open_datagram({v4 ? IpAddr::any_v4() : IpAddr(), 0}, 0, o, DatagramKind::kPing);
  if (!socket) {
    print_(fmt::format("cannot open a socket: {}", describe(socket.error())));
    return net.stop(2);
  }
  socket_ = *socket;
  sent_at_.resize(kSequences);
  seen_.resize(kSequences, true);
  message_.resize(kHeader + options_.size);
  message_[0] = std::byte{v4 ? kEchoRequest4 : kEchoRequest6};
  for (size_t i = kHeader; i < message_.size(); ++i) message_[i] = content(i);
  print_(fmt::format("PING {} {} bytes of data", options_.target.to_string(), options_.size));
  ask(net);
}

void Ping::ask(Net& net) {
  const auto sequence = static_cast<uint16_t>(sent_);
  message_[6] = static_cast<std::byte>(sequence >> 8);
  message_[7] = static_cast<std::byte>(sequence);
  sent_at_[sequence] = net.now();
  seen_[sequence] = false;
  ++sent_;
  if (const auto sent = net.send_to(socket_, message_, {options_.target, 0}); !sent) {
    print_(fmt::format("icmp_seq={}: {}", sequence, describe(sent.error())));
    ++errors_;
  }
  next_ = net.now() + options_.interval;
  if (options_.count != 0 && sent_ == options_.count) {
    next_ = kNever;
    give_up_ = net.now() + options_.wait;
  }
  net.wake_at(std::min(next_, give_up_));
}

void Ping::tick(Net& net) {
  if (net.now() >= give_up_) {
    summarise();
    return net.stop(received_ == 0 ? 1 : 0);
  }
  if (net.now() >= next_) return ask(net);
  net.wake_at(std::min(next_, give_up_));
}

void Ping::event(Net& net, const Event& event) {
  if ((event.mask & kError) != 0) hear_errors(net);
  if ((event.mask & kReadable) != 0) hear(net);
  if (options_.count != 0 && received_ + errors_ >= options_.count && sent_ == options_.count) {
    summarise();
    net.stop(received_ == 0 ? 1 : 0);
  }
}

void Ping::hear_errors(Net& net) {
  while (const auto e = net.take_error(socket_)) {
    const std::string who = e->reporter.is_unspecified() ? "this host" : e->reporter.to_string();
    print_(fmt::format("from {}: {}", who, e->expired ? "hop limit exceeded" : describe(static_cast<Error>(e->error))));
    ++errors_;
  }
}

void Ping::hear(Net& net) {
  while (const auto m = net.receive_from(socket_, room_)) {
    if (m->data.size() < kHeader) continue;
    const auto sequence =
        static_cast<uint16_t>(std::to_integer<unsigned>(m->data[6]) << 8 | std::to_integer<unsigned>(m->data[7]));
    bool same = m->data.size() == message_.size();
    for (size_t i = kHeader; same && i < m->data.size(); ++i) same = m->data[i] == content(i);
    if (!same) {
      ++corrupt_;
      print_(fmt::format("icmp_seq={}: {} bytes that differ from those sent", sequence, m->data.size()));
      continue;
    }
    if (seen_[sequence]) {
      ++duplicates_;
      continue;
    }
    seen_[sequence] = true;
    const double ms = static_cast<double>((m->received - sent_at_[sequence]).ns()) / 1e6;
    least_ = received_ == 0 ? ms : std::min(least_, ms);
    greatest_ = std::max(greatest_, ms);
    sum_ += ms;
    ++received_;
    if (options_.quiet) continue;
    print_(fmt::format("{} bytes from {}: icmp_seq={} ttl={} time={:.3f} ms", m->data.size(),
                       m->remote.addr.to_string(), sequence, m->hop_limit, ms));
  }
}

void Ping::stop(Net&) { summarise(); }

void Ping::summarise() {
  if (summarised_) return;
  summarised_ = true;
  std::string line =
      fmt::format("{} sent, {} received, {:.0f} % lost", sent_, received_,
                  sent_ == 0 ? 0.0 : 100.0 * static_cast<double>(sent_ - received_) / static_cast<double>(sent_));
  if (duplicates_ != 0) line += fmt::format(", {} duplicates", duplicates_);
  if (corrupt_ != 0) line += fmt::format(", {} corrupt", corrupt_);
  if (errors_ != 0) line += fmt::format(", {} errors", errors_);
  print_(line);
  if (received_ == 0) return;
  print_(fmt::format("round trip min/avg/max {:.3f}/{:.3f}/{:.3f} ms", least_, sum_ / static_cast<double>(received_),
                     greatest_));
}

}  // namespace millrace::ping
