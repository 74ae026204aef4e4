// Sending and receiving.
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "posix/blocking.h"
#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr size_t kScratch = 65'536;

// Calls `visit(piece)` for what is left of `data` behind `skip` bytes, until it says no.
template <class Visit>
void each_piece(std::span<const iovec> data, size_t skip, Visit&& visit) {
  for (size_t i = 0; i < data.size(); ++i) {
    if (skip >= data[i].iov_len) {
      skip -= data[i].iov_len;
      continue;
    }
    if (!visit(static_cast<std::byte*>(data[i].iov_base) + skip, data[i].iov_len - skip, i + 1 < data.size())) return;
    skip = 0;
  }
}

// Bytes of all pieces, or a negative errno number.
long total_of(std::span<const iovec> data) {
  size_t total = 0;
  for (const iovec& piece : data) {
    if (piece.iov_len > SSIZE_MAX - total) return -EINVAL;
    total += piece.iov_len;
  }
  return static_cast<long>(total);
}

}  // namespace

Stack::Woke Stack::wait_socket(Hold& hold, std::function<bool()> ready, Instant until) {
  return wait(std::move(ready), until, {&hold, 1});
}

long Stack::broken_pipe(int flags) const {
  if ((flags & MSG_NOSIGNAL) == 0) kernel::signal_this_thread(SIGPIPE);
  return -EPIPE;
}

// As much as goes without waiting: bytes, or a negative errno number if there were none.
long Stack::send_some(Stream& stream, std::span<const iovec> data, int flags, size_t skip) {
  long sent = 0;
  long error = 0;
  each_piece(data, skip, [&](std::byte* piece, size_t bytes, bool pieces_follow) {
    req::Send send{stream.handle, {piece, bytes}, (flags & MSG_MORE) != 0 || pieces_follow};
    send.urgent = (flags & MSG_OOB) != 0;
    const auto reply = transport_->request(send);
    if (!reply) {
      if (reply.error() == Error::kWouldBlock || reply.error() == Error::kNoBuffers) {
        stream.writable = false;
        error = -EAGAIN;
      } else {
        look_around();  // an end of data that came before decides what the error is
        if (sent == 0) stream.error_waits = false;
        error = -stream.errno_for(reply.error());
      }
      return false;
    }
    sent += static_cast<long>(reply->bytes);
    if (reply->bytes == bytes) return true;
    stream.writable = false;
    return false;
  });
  return sent != 0 ? sent : error;
}

long Stack::send(int fd, std::span<const iovec> data, int flags, const sockaddr* to, socklen_t length,
                 const msghdr* control) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (Datagram* datagram = datagram_of(fd)) {
    if (datagram->fenced) return -EBADF;
    if ((flags & MSG_OOB) != 0) return -EOPNOTSUPP;
    Hold hold(*this, *datagram);
    Endpoint named;
    if (to != nullptr && !datagram->handle.valid() && read_address(to, length, datagram->family, named) == 0 &&
        is_kernels(named.addr)) {
      give_to_kernel(*datagram);
      hold.release();
      msghdr message{const_cast<sockaddr*>(to), length, const_cast<iovec*>(data.data()), data.size(), nullptr, 0, 0};
      if (control != nullptr) {
        message.msg_control = control->msg_control;
        message.msg_controllen = control->msg_controllen;
      }
      const Away away(*this);
      return blocking::sendmsg(fd, &message, flags);
    }
    return send_datagram(*datagram, hold, data, flags, to, length, control);
  }
  Stream* stream = stream_of(fd);
  if (stream == nullptr) return no_socket(fd);
  if (stream->fenced) return -EBADF;
  const long total = total_of(data);
  if (total < 0) return total;
  const bool wait_for_room = !stream->nonblocking && (flags & MSG_DONTWAIT) == 0;
  const Instant until = stream->send_timeout.ns() == 0 ? kNever : transport_->now() + stream->send_timeout;
  Hold hold(*this, *stream);
  long sent = 0;
  long error = 0;
  for (;;) {
    if (stream->state == Stream::State::kFresh || stream->state == Stream::State::kListening || stream->shut_write) {
      error = -EPIPE;
    } else if (stream->state == Stream::State::kConnecting) {
      error = -EAGAIN;
    } else {
      const long n = send_some(*stream, data, flags, static_cast<size_t>(sent));
      flush();
      if (n >= 0) {
        sent += n;
        error = 0;
        if (sent == total) break;
        if (n > 0 && wait_for_room) continue;
        error = -EAGAIN;
      } else {
        error = n;
      }
    }
    if (error != -EAGAIN) break;
    if (!wait_for_room) {
      look_around();  // a program that only tries must see acknowledgments too
      if (stream->can_write() && sent == 0 && stream->state == Stream::State::kConnected) continue;
      break;
    }
    const Woke woke = wait_socket(
        hold,
        [&] { return stream->state != Stream::State::kConnecting && (stream->can_write() || stream->output_ended()); },
        until);
    if (woke == Woke::kTimeout) break;
    if (woke == Woke::kSignal && (sent != 0 || until != kNever || !restarts())) {
      error = -EINTR;
      break;
    }
  }
  if (sent != 0 || total == 0) return error == -EPIPE && sent == 0 ? broken_pipe(flags) : sent;
  return error == -EPIPE ? broken_pipe(flags) : error;
}

long Stack::receive_some(Stream& stream, std::span<const iovec> into, bool peek, bool discard, size_t skip) {
  long got = 0;
  long error = 0;
  std::vector<std::byte> scratch;
  stream.at_mark = false;
  const size_t most = stream.urgent ? up_to_mark(stream, peek) : SIZE_MAX;
  each_piece(into, skip, [&](std::byte* piece, size_t bytes, bool) {
    const size_t left = most - static_cast<size_t>(got);
    stream.at_mark = left == 0;
    if (stream.at_mark) return false;
    bytes = std::min(bytes, left);
    if (discard) {
      scratch.resize(std::min(bytes, kScratch));
      piece = scratch.data();
      bytes = scratch.size();
    }
    const auto reply = transport_->request(req::Receive{stream.handle, {piece, bytes}, peek});
    if (!reply) {
      if (reply.error() == Error::kWouldBlock) {
        stream.readable = false;
        error = -EAGAIN;
      } else {
        look_around();
        if (got == 0) stream.error_waits = false;
        error = -stream.errno_for(reply.error());
      }
      return false;
    }
    got += static_cast<long>(reply->bytes);
    if (!peek) stream.note_read(reply->bytes, bytes);
    return reply->bytes == bytes && !peek;
  });
  return got != 0 ? got : error;
}

long Stack::receive(int fd, std::span<const iovec> into, int flags, Received* details) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (Datagram* datagram = datagram_of(fd)) {
    if (datagram->fenced) return -EBADF;
    Hold hold(*this, *datagram);
    return receive_datagram(*datagram, hold, into, flags, details);
  }
  if (details != nullptr && details->length != nullptr) *details->length = 0;
  Stream* stream = stream_of(fd);
  if (stream == nullptr) return no_socket(fd);
  if (stream->fenced) return -EBADF;
  if ((flags & MSG_OOB) != 0) return receive_urgent(*stream, into, flags, details);
  if ((flags & MSG_ERRQUEUE) != 0) return -EAGAIN;
  const long total = total_of(into);
  if (total < 0) return total;
  if (stream->state == Stream::State::kFresh || stream->state == Stream::State::kListening) return -ENOTCONN;
  const bool wait_for_data = !stream->nonblocking && (flags & MSG_DONTWAIT) == 0;
  const bool peek = (flags & MSG_PEEK) != 0;
  const Instant until = stream->receive_timeout.ns() == 0 ? kNever : transport_->now() + stream->receive_timeout;
  const long least = (flags & MSG_WAITALL) != 0 ? total : std::min<long>(total, stream->low_water);
  Hold hold(*this, *stream);
  long got = 0;
  long result = 0;
  bool turned = false;
  while (got < total) {
    const long n =
        stream->state == Stream::State::kConnecting
            ? -EAGAIN
            : receive_some(*stream, into, peek, (flags & MSG_TRUNC) != 0, peek ? 0 : static_cast<size_t>(got));
    if (n > 0) {
      got = peek ? n : got + n;
      if (!wait_for_data || got >= least || stream->at_mark) break;
    } else if (n != -EAGAIN) {
      result = n;
      break;
    }
    if (stream->shut_read && n == -EAGAIN) break;
    if (!wait_for_data) {
      result = -EAGAIN;
      if (turned || driven_) break;
      turn();
      turned = true;
      if (stream->state != Stream::State::kConnecting && stream->can_read()) continue;
      break;
    }
    const auto wanted = static_cast<uint32_t>(peek ? got : 0);
    const Woke woke = wait_socket(
        hold,
        [&] {
          if (stream->state == Stream::State::kConnecting) return false;
          if (stream->input_ended() || wanted == 0) return stream->input_ended() || stream->can_read();
          return stream->look().unread > wanted;  // a peek that wants all
        },
        until);
    result = -EAGAIN;
    if (woke == Woke::kTimeout) break;
    if (woke == Woke::kSignal && (got != 0 || until != kNever || !restarts())) {
      result = -EINTR;
      break;
    }
    if (peek && stream->input_ended() && got != 0) break;
  }
  const bool shut = stream->shut_read;
  return got != 0 || total == 0 ? got : (shut && result == -EAGAIN ? 0 : result);
}

long Stack::sendmsg(int fd, const msghdr* message, int flags) {
  if (message->msg_iovlen > IOV_MAX) return -EMSGSIZE;
  return send(fd, {message->msg_iov, message->msg_iovlen}, flags, static_cast<const sockaddr*>(message->msg_name),
              message->msg_namelen, message);
}

long Stack::recvmsg(int fd, msghdr* message, int flags) {
  if (message->msg_iovlen > IOV_MAX) return -EMSGSIZE;
  socklen_t length = message->msg_name != nullptr ? message->msg_namelen : 0;
  ControlWriter control(message->msg_control, message->msg_controllen);
  Received details{static_cast<sockaddr*>(message->msg_name), &length, 0, &control};
  const long n = receive(fd, {message->msg_iov, message->msg_iovlen}, flags & ~MSG_CMSG_CLOEXEC, &details);
  if (n < 0) return n;
  message->msg_namelen = length;
  message->msg_controllen = control.used();
  message->msg_flags = (flags & MSG_CMSG_CLOEXEC) | details.flags | control.flags();
  return n;
}

// The timeout is looked at behind each message only, as on Linux: it does not end a wait.
long Stack::recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  if (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999'999'999)) {
    return -EINVAL;
  }
  const Instant end = timeout != nullptr ? monotonic_now() + duration_of(*timeout) : kNever;
  count = std::min<unsigned>(count, IOV_MAX);
  for (unsigned done = 0; done < count; ++done) {
    const bool wait = done == 0 || (flags & MSG_WAITFORONE) == 0;
    const long n = recvmsg(fd, &messages[done].msg_hdr, (flags & ~MSG_WAITFORONE) | (wait ? 0 : MSG_DONTWAIT));
    if (n < 0) return done != 0 ? static_cast<long>(done) : n;
    messages[done].msg_len = static_cast<unsigned>(n);
    if (timeout == nullptr) continue;
    const int64_t left = std::max<int64_t>(0, (end - monotonic_now()).ns());
    *timeout = {left / 1'000'000'000, left % 1'000'000'000};
    if (left == 0) return static_cast<long>(done) + 1;
  }
  return count;
}

// Blocks of the file go through a buffer; what the socket has no room for is read again by the next call.
long Stack::sendfile(int out, int in, off_t* offset, size_t count) {
  std::vector<std::byte> buffer(std::min(count, kScratch));
  long sent = 0;
  while (static_cast<size_t>(sent) < count) {
    const size_t wanted = std::min(buffer.size(), count - static_cast<size_t>(sent));
    const long at = offset != nullptr ? static_cast<long>(*offset) : kernel::call(SYS_lseek, in, 0, SEEK_CUR);
    if (at < 0) return sent != 0 ? sent : -EINVAL;
    const long n = kernel::call(SYS_pread64, in, kernel::arg(buffer.data()), static_cast<long>(wanted), at);
    if (n <= 0) return sent != 0 ? sent : n;
    const iovec piece{buffer.data(), static_cast<size_t>(n)};
    const bool more = static_cast<size_t>(sent + n) < count;
    const long taken = send(out, {&piece, 1}, more && static_cast<size_t>(n) == wanted ? MSG_MORE : 0);
    if (taken < 0) return sent != 0 ? sent : taken;
    sent += taken;
    if (offset != nullptr) {
      *offset += taken;
    } else {
      kernel::call(SYS_lseek, in, at + taken, SEEK_SET);
    }
    if (taken < n) return sent;
  }
  return sent;
}

}  // namespace millrace::posix
