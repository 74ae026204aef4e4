// Reading and writing.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <cstring>
#include <vector>

#include "calls.h"
#include "memory.h"
#include "stack/impl.h"
#include "tcp/fast_open.h"

namespace millrace::packetdrill {
namespace {

size_t room_of(std::span<const iovec> pieces) {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  return bytes;
}

}  // namespace

// The errno to report, taken once: what the adapter kept, or what ended the connection.
int Calls::take_error(Descriptor& d) {
  if (d.error != 0) return std::exchange(d.error, 0);
  if (!d.handle.valid()) return 0;
  DatagramError error;
  if (!engine_.request(req::TakeError{d.handle, &error})) return 0;
  return errno_of(static_cast<Error>(error.error));
}

Outcome Calls::receive_now(Descriptor& d, std::span<const iovec> into, int flags) {
  if (!d.handle.valid() || d.kind == Descriptor::Kind::kListener) return failed(ENOTCONN);
  const auto state = info(d);
  if (state && state->receive_queue == 0) {
    if (const int error = take_error(d); error != 0) return failed(error);
    if (d.read_shut) return 0;
    if (state->connecting) return failed(EAGAIN);
  }
  const size_t room = room_of(into);
  if (room == 0) return 0;
  std::vector<std::byte> bytes(std::min<size_t>(room, state ? std::max(state->receive_queue, 1u) : 1));
  // Looked at before it is taken: an address that is not there must leave the data where it is.
  const auto seen = engine_.request(req::Receive{d.handle, bytes, true});
  if (!seen) return failed(errno_of(seen.error()));
  const std::span<const std::byte> got(bytes.data(), seen->bytes);
  size_t done = 0;
  for (const iovec& piece : into) {
    const auto part = got.subspan(done, std::min(piece.iov_len, got.size() - done));
    if ((flags & MSG_TRUNC) == 0 && !copy_to_caller(piece.iov_base, part)) return failed(EFAULT);
    done += part.size();
  }
  if ((flags & MSG_PEEK) == 0 && done > 0) {
    (void)engine_.request(req::Receive{d.handle, {bytes.data(), done}, false});
  }
  return static_cast<long>(done);
}

Outcome Calls::receive(Lock& lock, int fd, std::span<const iovec> into, int flags) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  if ((flags & MSG_ERRQUEUE) != 0) return failed(EAGAIN);
  const bool may_block = (flags & MSG_DONTWAIT) == 0;
  if ((flags & MSG_WAITALL) == 0 || (flags & MSG_PEEK) != 0) {
    return until_ready(lock, *d, may_block, d->receive_timeout_us, [&] { return receive_now(*d, into, flags); });
  }
  std::vector<iovec> left(into.begin(), into.end());
  long done = 0;
  const Outcome outcome = until_ready(lock, *d, may_block, d->receive_timeout_us, [&]() -> Outcome {
    const Outcome got = receive_now(*d, left, flags);
    if (!got || *got == 0) return got;
    done += *got;
    size_t taken = static_cast<size_t>(*got);
    for (iovec& piece : left) {
      const size_t n = std::min(taken, piece.iov_len);
      piece = {static_cast<std::byte*>(piece.iov_base) + n, piece.iov_len - n};
      taken -= n;
    }
    if (room_of(left) > 0) return failed(EAGAIN);
    return *got;
  });
  return done > 0 ? Outcome(done) : outcome;
}

// tcp(7), TCP_INQ: bytes left to read, and one more where the peer has closed.
void Calls::store_queue(int fd, msghdr& message) {
  const Descriptor* d = stream(fd);
  const auto state = d != nullptr ? info(*d) : std::nullopt;
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  if (!state || !d->tells_queue || c == nullptr || message.msg_controllen < CMSG_SPACE(sizeof(int))) {
    message.msg_controllen = 0;
    return;
  }
  const int left = static_cast<int>(state->receive_queue) + (state->receive_queue == 0 && state->ended ? 1 : 0);
  c->cmsg_level = IPPROTO_TCP;
  c->cmsg_type = TCP_CM_INQ;
  c->cmsg_len = CMSG_LEN(sizeof left);
  std::memcpy(CMSG_DATA(c), &left, sizeof left);
  message.msg_controllen = CMSG_SPACE(sizeof left);
}

Outcome Calls::send_now(Descriptor& d, std::span<const std::byte> data, int flags) {
  if (const int error = take_error(d); error != 0) return failed(error);
  if (!d.handle.valid() || d.kind == Descriptor::Kind::kListener || d.write_shut) return failed(EPIPE);
  if (data.empty()) return 0;
  const bool more = (flags & MSG_MORE) != 0;
  const auto sent = engine_.request(req::Send{d.handle, data, more, (flags & MSG_OOB) != 0, (flags & MSG_EOR) != 0});
  if (!sent) {
    if (sent.error() == Error::kNoBuffers) return failed(EAGAIN);
    return failed(errno_of(sent.error()));
  }
  return static_cast<long>(sent->bytes);
}

// tcp(7), MSG_FASTOPEN: connects, with as much of the data as goes with the SYN.
Outcome Calls::send_with_syn(Lock& lock, Descriptor& d, const Endpoint& remote, std::span<const std::byte> data,
                             int flags) {
  if (d.handle.valid()) return failed(d.connected_told ? EISCONN : EALREADY);
  const auto user = static_cast<uint64_t>(d.fd);
  const auto begun = engine_.request(req::Connect{remote, d.local, user, d.options, 0, true, data});
  if (!begun) return failed(errno_of(begun.error()));
  d.deferred.reset();
  d.handle = begun->handle;
  const size_t taken = begun->bytes;
  if (d.nonblocking || (flags & MSG_DONTWAIT) != 0) {
    return taken > 0 ? Outcome(static_cast<long>(taken)) : Outcome(failed(EINPROGRESS));
  }
  const Outcome connected = until_ready(lock, d, true, d.send_timeout_us, [&] { return finish_connect(d); });
  if (!connected) return failed(connected.error() == EAGAIN ? EINPROGRESS : connected.error());
  const auto rest = data.subspan(taken);
  if (rest.empty()) return static_cast<long>(taken);
  const iovec piece{const_cast<std::byte*>(rest.data()), rest.size()};
  const Outcome sent = send(lock, d.fd, {&piece, 1}, flags & ~MSG_FASTOPEN);
  if (!sent) return taken > 0 ? Outcome(static_cast<long>(taken)) : sent;
  return static_cast<long>(taken) + *sent;
}

Outcome Calls::send(Lock& lock, int fd, std::span<const iovec> from, int flags, const sockaddr* to, socklen_t length) {
  Descriptor* d = stream(fd);
  if (d == nullptr) return failed(EBADF);
  const bool fast = (flags & MSG_FASTOPEN) != 0;
  if (fast) {
    const bool nobody = to == nullptr ? !d->deferred : length >= sizeof(sa_family_t) && to->sa_family == AF_UNSPEC;
    if ((flags_.tcp.fastopen & tcp::kFastOpenClient) == 0 || nobody) return failed(EOPNOTSUPP);
  }
  std::vector<std::byte> data(room_of(from));
  size_t at = 0;
  for (const iovec& piece : from) {
    if (!copy_from_caller({data.data() + at, piece.iov_len}, piece.iov_base)) return failed(EFAULT);
    at += piece.iov_len;
  }
  if (fast || d->deferred) {
    const auto remote = d->deferred ? tl::expected<Endpoint, int>(*d->deferred) : endpoint_of(to, length, d->family);
    if (!remote) return failed(remote.error());
    return send_with_syn(lock, *d, *remote, data, flags);
  }
  // A call that blocks returns when all of it is queued.
  size_t done = 0;
  const bool may_block = (flags & MSG_DONTWAIT) == 0;
  const Outcome outcome = until_ready(lock, *d, may_block, d->send_timeout_us, [&]() -> Outcome {
    for (;;) {
      const Outcome sent = send_now(*d, std::span(data).subspan(done), flags);
      if (!sent) return sent;
      done += static_cast<size_t>(*sent);
      if (done == data.size()) return 0;
      // With a low-water mark more fits as soon as some of it has been sent, which happens between requests.
      if (low_water(*d) == UINT32_MAX) return failed(EAGAIN);
    }
  });
  if (done < data.size()) d->wants_space = true;
  if (done > 0 || outcome) return static_cast<long>(done);
  return outcome;
}

}  // namespace millrace::packetdrill
