#include "posix/stream.h"

#include <cerrno>

#include "posix/convert.h"

namespace millrace::posix {

SocketStatus Socket::look() {
  SocketStatus status;
  (void)transport_.request(req::Look{handle, &status});
  return status;
}

SocketStatus Socket::glance() {
  SocketStatus status;
  (void)transport_.glance(handle, status);
  return status;
}

bool Socket::can_read() {
  if (!readable || certain) return readable;
  const SocketStatus status = glance();
  readable = status.readable;
  certain = true;
  return readable;
}

bool Stream::can_write() {
  if (!writable || room_certain) return writable;
  const SocketStatus status = glance();
  writable = status.room != 0 || !status.alive;
  room_certain = true;
  return writable;
}

size_t Stream::urgent_left() {
  const auto left = transport_.request(req::UrgentLeft{handle});
  if (!left || left->bytes == 0) urgent = false;
  return left ? left->bytes : 0;
}

// What ends a connection whose peer has closed its direction is a broken pipe to Linux.
int Stream::errno_for(Error error) const {
  if (error == Error::kConnectionReset && ended && !shut_write) return EPIPE;
  return errno_of(error);
}

void Stream::note_event(uint32_t mask) {
  if ((mask & kConnected) != 0 && state == State::kConnecting) {
    state = State::kConnected;
    unclaimed = true;
    writable = room_certain = true;
  }
  if ((mask & (kReadable | kAcceptable | kPeerClosed | kError)) != 0) {
    readable = true;
    certain = false;
  }
  if ((mask & kWritable) != 0) {
    writable = true;
    room_certain = false;
  }
  if ((mask & kPeerClosed) != 0) ended = true;
  if ((mask & kUrgent) != 0) {
    urgent = true;
    urgent_taken = false;
  }
  if ((mask & kError) != 0) {
    broken = error_waits = true;
    if (state == State::kConnecting) state = State::kConnected;
  }
}

// What Linux's tcp_poll() reports of these states.
uint32_t Stream::ready() {
  if (state == State::kFresh) return kWriteBits | EPOLLHUP;
  if (state == State::kListening) return can_read() ? kReadBits : 0U;
  uint32_t mask = 0;
  if (input_ended() && output_ended()) mask |= EPOLLHUP;
  if (input_ended()) mask |= kReadBits | EPOLLRDHUP;
  if (state != State::kConnecting) {
    if (has_enough()) mask |= kReadBits;
    if (output_ended() || can_write()) mask |= kWriteBits;
  }
  if (error_waits) mask |= EPOLLERR;
  if (urgent && !urgent_taken) mask |= EPOLLPRI;
  return mask;
}

}  // namespace millrace::posix
