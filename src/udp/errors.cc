// Errors of datagrams on their way (RFC 1122 4.1.3.3): to the socket that sent them. A connected socket reports those
// that mean that its peer does not listen at the next call, as Linux does; a socket with an error queue gets them all,
// with the destination.
#include "udp/udp.h"

namespace millrace::udp {
namespace {

using Kind = ip::PathError::Kind;

Error error_of(Kind kind) {
  switch (kind) {
    case Kind::kNetUnreachable: return Error::kNetUnreachable;
    case Kind::kPortUnreachable:
    case Kind::kProtocolUnreachable: return Error::kConnectionRefused;
    case Kind::kPacketTooBig: return Error::kTooBig;
    default: return Error::kHostUnreachable;
  }
}

bool is_hard(const ip::PathError& e, PathMtu mode) {
  if (e.kind == Kind::kPacketTooBig) return mode == PathMtu::kAlways;
  return e.kind == Kind::kPortUnreachable || e.kind == Kind::kProtocolUnreachable;
}

}  // namespace

void Udp::on_error(const ip::PathError& e, Instant now) {
  const uint32_t index = table_.find(e.source, e.source_port, e.destination, e.destination_port);
  if (index == 0) return counters_.add(Counter::kDropErrorUnknown);
  // Whoever quotes a datagram of a socket of ours may know how much the path carries; within Ip's bounds.
  if (e.kind == Kind::kPacketTooBig) (void)ip_.learn_mtu(e.destination, e.mtu, now);
  report(index, e);
}

void Udp::report(uint32_t index, const ip::PathError& e) {
  Dgram& d = dgrams_[index];
  counters_.add(Counter::kErrorsIn);
  const Error error = error_of(e.kind);
  const bool connected = !d.remote.is_unspecified();
  if ((d.flags & kErrorQueue) != 0) {
    const bool expired = e.kind == Kind::kTimeExceeded;
    const auto sequence = static_cast<uint16_t>(d.kind == DatagramKind::kPing ? e.sequence : 0);
    queue_error(
        index,
        {{e.destination, e.destination_port}, e.reporter, static_cast<uint8_t>(error), e.mtu, expired, sequence});
  } else if (!connected || !is_hard(e, d.path_mtu)) {
    return;
  }
  if (connected) d.error = static_cast<uint8_t>(static_cast<uint8_t>(error) + 1);
  touch(index, kError);
}

void Udp::queue_error(uint32_t index, const DatagramError& error) {
  Dgram& d = dgrams_[index];
  uint32_t* last = &d.errors;
  int64_t held = 0;
  for (; *last != 0; last = &errors_[*last].link) ++held;
  const uint32_t at = held < settings_.errors ? errors_.allocate() : 0;
  if (at == 0) return counters_.add(Counter::kDropErrorQueue);
  errors_[at].link = 0;
  errors_[at].error = error;
  *last = at;
}

Result<void> Udp::take_error(uint32_t index, DatagramError* into) {
  Dgram& d = dgrams_[index];
  if (into == nullptr) return fail(Error::kInvalid);
  if (d.errors == 0) return fail(Error::kWouldBlock);
  const uint32_t at = d.errors;
  *into = errors_[at].error;
  d.errors = errors_[at].link;
  errors_.release(at);
  return {};
}

void Udp::drop_errors(Dgram& d) {
  while (d.errors != 0) {
    const uint32_t at = d.errors;
    d.errors = errors_[at].link;
    errors_.release(at);
  }
}

}  // namespace millrace::udp
