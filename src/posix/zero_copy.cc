#include "posix/zero_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr size_t kLargestBuffer = 65'408;  // of req::LendBuffer

// Calls `copy(piece + offset, bytes)` for [at, at + most) of the chain; how much of it exists.
template <class Copy>
size_t each(const Chain& chain, size_t at, size_t most, Copy&& copy) {
  size_t done = 0;
  for (const Chain::Piece& piece : chain.pieces) {
    if (done == most) break;
    if (at >= piece.bytes) {
      at -= piece.bytes;
      continue;
    }
    const size_t n = std::min(piece.bytes - at, most - done);
    copy(piece.data + at, done, n);
    done += n;
    at = 0;
  }
  return done;
}

}  // namespace

size_t Chain::read(size_t at, void* into, size_t most) const {
  return each(*this, at, most, [&](const std::byte* piece, size_t done, size_t n) {
    std::memcpy(static_cast<std::byte*>(into) + done, piece, n);
  });
}

size_t Chain::write(size_t at, const void* from, size_t most) {
  return each(*this, at, most, [&](std::byte* piece, size_t done, size_t n) {
    std::memcpy(piece, static_cast<const std::byte*>(from) + done, n);
  });
}

long Stack::lend(size_t bytes, Chain& chain) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (!bring_up()) return -ENETDOWN;
  while (bytes != 0) {
    const auto wanted = static_cast<uint32_t>(std::min(bytes, kLargestBuffer));
    const auto reply = transport_->request(req::LendBuffer{wanted});
    if (!reply) {
      drop_pieces(chain);
      return -errno_of(reply.error());
    }
    Chain::Piece piece;
    piece.data = reply->buffer;
    piece.bytes = wanted;
    chain.pieces.push_back(std::move(piece));
    bytes -= wanted;
  }
  return 0;
}

void Stack::drop_pieces(Chain& chain) {
  for (const Chain::Piece& piece : chain.pieces) {
    if (piece.token != 0) {
      (void)transport_->request(req::Release{piece.token});
    } else if (piece.copy == nullptr && piece.data != nullptr) {
      (void)transport_->request(req::DropLent{piece.data});
    }
  }
  chain.pieces.clear();
}

void Stack::give_back(Chain& chain) {
  const Lock lock(*this);
  if (lock.busy() || transport_ == nullptr) return;
  drop_pieces(chain);
  flush();
}

// As much as goes without waiting.
long Stack::send_pieces(Stream& stream, Chain& chain, size_t bytes, size_t& piece, size_t& sent) {
  while (sent < bytes && piece < chain.pieces.size()) {
    Chain::Piece& p = chain.pieces[piece];
    const auto n = static_cast<uint32_t>(std::min<size_t>(p.bytes - p.sent, bytes - sent));
    Result<Reply> reply = fail(Error::kWouldBlock);
    if (p.sent == 0) reply = transport_->request(req::SendLent{stream.handle, p.data, n});
    const bool whole = reply.has_value();
    // A buffer goes as a whole or not at all: of one that is larger than the room, what fits is copied.
    if (!whole && reply.error() == Error::kWouldBlock) {
      reply = transport_->request(req::Send{stream.handle, {p.data + p.sent, n}});
    }
    if (!reply) {
      if (reply.error() == Error::kWouldBlock || reply.error() == Error::kNoBuffers) {
        stream.writable = false;
        return -EAGAIN;
      }
      stream.error_waits = false;
      return -stream.errno_for(reply.error());
    }
    sent += reply->bytes;
    p.sent += static_cast<uint32_t>(reply->bytes);
    if (reply->bytes < n) {
      stream.writable = false;
      return -EAGAIN;
    }
    if (whole) p.data = nullptr;  // the stack's now
    ++piece;
  }
  return 0;
}

long Stack::send_chain(int fd, Chain& chain, size_t bytes) {
  bytes = std::min(bytes, chain.bytes());
  if (datagram_of(fd) != nullptr) {
    std::vector<std::byte> whole(bytes);
    (void)chain.read(0, whole.data(), bytes);
    const iovec piece{whole.data(), bytes};
    const long result = send(fd, {&piece, 1}, MSG_NOSIGNAL);
    give_back(chain);
    return result;
  }
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Stream* stream = stream_of(fd);
  long error = stream == nullptr ? no_socket(fd) : stream->fenced ? -EBADF : 0;
  size_t sent = 0;
  size_t piece = 0;
  if (error == 0) {
    Hold hold(*this, *stream);
    const Instant until = stream->send_timeout.ns() == 0 ? kNever : transport_->now() + stream->send_timeout;
    for (;;) {
      if (stream->state != Stream::State::kConnected || stream->shut_write) {
        error = stream->state == Stream::State::kConnecting ? -EAGAIN : -EPIPE;
      } else {
        error = send_pieces(*stream, chain, bytes, piece, sent);
        flush();
      }
      if (error == -EAGAIN && stream->nonblocking) look_around();
      if (error != -EAGAIN || stream->nonblocking) break;
      const Woke woke = wait_socket(
          hold,
          [&] {
            return stream->state != Stream::State::kConnecting && (stream->can_write() || stream->output_ended());
          },
          until);
      if (woke == Woke::kTimeout) break;
      if (woke == Woke::kSignal) {
        error = -EINTR;
        break;
      }
    }
  }
  drop_pieces(chain);
  return sent != 0 || error == 0 ? static_cast<long>(sent) : error;
}

long Stack::receive_chain(int fd, Chain& chain, size_t most) {
  if (most == 0) return 0;
  std::byte first{};
  const iovec look{&first, 1};
  const bool stream = stream_of(fd) != nullptr;
  if (stream) {  // waits if it must, and tells ends and errors
    if (const long n = receive(fd, {&look, 1}, MSG_PEEK); n <= 0) return n;
    const Lock lock(*this);
    Stream* s = stream_of(fd);
    if (lock.busy() || s == nullptr) return -EBADF;
    const uint32_t unread = s->look().unread;
    if (unread <= most) {
      size_t got = 0;
      while (got < unread) {
        const auto reply = transport_->request(req::Borrow{s->handle});
        if (!reply || reply->token == 0) break;
        Chain::Piece piece;
        piece.data = const_cast<std::byte*>(reply->view.data());  // nobody writes it: it is only read or given back
        piece.bytes = static_cast<uint32_t>(reply->view.size());
        piece.token = reply->token;
        got += piece.bytes;
        chain.pieces.push_back(std::move(piece));
      }
      s->certain = false;
      return static_cast<long>(got);
    }
  }
  // A part of what there is, or a datagram.
  Chain::Piece piece;
  piece.bytes = static_cast<uint32_t>(std::min<size_t>(most, UINT32_MAX));
  piece.copy = std::make_unique<std::byte[]>(piece.bytes);
  piece.data = piece.copy.get();
  const iovec into{piece.data, piece.bytes};
  const long n = receive(fd, {&into, 1}, 0);
  if (n <= 0) return n;
  piece.bytes = static_cast<uint32_t>(n);
  chain.pieces.push_back(std::move(piece));
  return n;
}

Result<Reply> Stack::ask(const Request& request) {
  const Lock lock(*this);
  if (lock.busy() || transport_ == nullptr) return fail(Error::kNetDown);
  const auto reply = transport_->request(request);
  flush();
  return reply;
}

}  // namespace millrace::posix
