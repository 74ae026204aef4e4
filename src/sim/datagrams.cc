#include "sim/datagrams.h"

#include <algorithm>
#include <cstring>

#include "sim/content.h"
#include "sim/text.h"

namespace millrace::sim {
namespace {

// Payload: a number, then the bytes that follow from it. Segments of one send are datagrams of their own.
constexpr size_t kStamp = 8;
constexpr size_t kRoom = 65'536;

void fill(std::span<std::byte> out, uint64_t key, uint64_t number) {
  std::memcpy(out.data(), &number, kStamp);
  Content(key ^ number, 0).fill(0, out.subspan(kStamp));
}

}  // namespace

DatagramOptions Datagrams::options(bool merge) const {
  DatagramOptions o;
  o.merge = merge;
  o.receive_buffer = 200'000;
  return o;
}

void Datagrams::start(Net& net) {
  room_.resize(4 * kRoom);
  if (peer_.count != 0) {
    const auto opened = net.open_datagram({IpAddr(), kPort}, kBit, options(peer_.merge));
    if (!opened) return fail_(text("cannot open the echo socket: ", describe(opened.error())));
    echo_ = *opened;
  }
  if (plan_.count == 0) return;
  const auto opened = net.open_datagram({plan_.v6 ? IpAddr() : IpAddr::any_v4(), 0}, kBit | 1, options(plan_.merge));
  if (!opened) return fail_(text("cannot open a datagram socket: ", describe(opened.error())));
  ask_ = *opened;
  const Endpoint to{peer_addresses_[plan_.v6], kPort};
  if (plan_.connected && !net.connect_datagram(ask_, to)) return fail_("cannot connect a datagram socket");
  next_ = net.now() + plan_.interval;
}

void Datagrams::send_some(Net& net) {
  Message m;
  const uint32_t size = kStamp + static_cast<uint32_t>(rng_.below(plan_.largest));
  const uint32_t pieces = size < 1'000 && rng_.chance(1, 4) ? 1 + static_cast<uint32_t>(rng_.below(4)) : 1;
  for (uint32_t i = 0; i < pieces; ++i) fill({room_.data() + i * size, size}, plan_.key, rng_.next());
  m.data = {room_.data(), size_t{size} * pieces};
  if (pieces > 1) m.segment = static_cast<uint16_t>(size);
  if (!plan_.connected) m.remote = {peer_addresses_[plan_.v6], kPort};
  const auto sent = net.send_batch(ask_, {&m, 1});
  // What a network may do to a datagram, a full queue or an empty pool may do as well.
  if (!sent && sent.error() != Error::kWouldBlock && sent.error() != Error::kNoBuffers &&
      sent.error() != Error::kConnectionRefused && sent.error() != Error::kTooBig && sent.error() != Error::kInvalid) {
    fail_(text("a datagram of ", size, " bytes was refused: ", describe(sent.error())));
  }
}

void Datagrams::tick(Net& net) {
  if (next_ > net.now()) return;
  send_some(net);
  next_ = ++sent_ < plan_.count ? net.now() + plan_.interval : kNever;
}

void Datagrams::check_one(std::span<const std::byte> data, uint64_t key) {
  if (data.size() < kStamp) return fail_(text("a datagram of ", data.size(), " bytes that nobody sent"));
  uint64_t number = 0;
  std::memcpy(&number, data.data(), kStamp);
  const size_t bad = Content(key ^ number, 0).mismatch(0, data.subspan(kStamp));
  if (bad != data.size() - kStamp) fail_(text("datagram integrity: wrong byte ", bad, " of ", data.size()));
}

void Datagrams::check(const Message& m, uint64_t key) {
  std::span<const std::byte> left = m.data;
  const size_t size = m.segment != 0 ? m.segment : std::max<size_t>(1, left.size());
  do {
    const auto piece = left.first(std::min(size, left.size()));
    check_one(piece, key);
    left = left.subspan(piece.size());
  } while (!left.empty());
}

void Datagrams::echo(Net& net) {
  for (;;) {
    Message m;
    if (!peer_.borrow) m.into = {room_.data(), kRoom};
    auto taken = net.receive_batch(echo_, {&m, 1});
    if (!taken && (taken.error() == Error::kTooBig || taken.error() == Error::kNoBuffers)) {
      m.into = {room_.data(), kRoom};
      taken = net.receive_batch(echo_, {&m, 1});
    }
    if (!taken) return;
    check(m, peer_.key);
    m.turn_around();
    if (!net.send_batch(echo_, {&m, 1})) net.release_batch({&m, 1});
  }
}

void Datagrams::hear(Net& net) {
  for (;;) {
    Message m;
    m.into = {room_.data(), kRoom};
    const auto taken = net.receive_batch(ask_, {&m, 1});
    if (!taken) {
      // Reported once; what is queued comes next.
      if (taken.error() == Error::kConnectionRefused) continue;
      return;
    }
    check(m, plan_.key);
    ++answers_;
  }
}

void Datagrams::event(Net& net, const Event& event) {
  if (event.handle == echo_) echo(net);
  if (event.handle == ask_) hear(net);
}

void Datagrams::close(Net& net) {
  next_ = kNever;
  if (echo_.valid()) net.close(echo_);
  if (ask_.valid()) net.close(ask_);
  echo_ = ask_ = Handle{};
}

}  // namespace millrace::sim
