// Urgent data as Linux gives it to programs (tcp(7), RFC 9293 3.8.5, RFC 6093): one byte, the last that the peer called
// urgent, is read with MSG_OOB; other reads end before it, and then pass it by. A new mark takes the place of the old.
#include <cerrno>
#include <cstring>

#include "posix/stack.h"

namespace millrace::posix {

size_t Stack::up_to_mark(Stream& stream, bool peek) {
  const size_t left = stream.urgent_left();
  if (left > 1) return left - 1;
  if (left == 0 || stream.urgent_inline) return SIZE_MAX;
  std::byte byte{};
  const auto taken = transport_->request(req::Receive{stream.handle, {&byte, 1}});
  if (!taken || taken->bytes == 0) return SIZE_MAX;  // still on its way
  stream.urgent = false;
  if (peek && !stream.urgent_taken) stream.urgent_byte = byte;
  return SIZE_MAX;
}

long Stack::receive_urgent(Stream& stream, std::span<const iovec> into, int flags, Received* details) {
  if (stream.state == Stream::State::kListening) return -ENOTCONN;
  if (stream.urgent_inline) return -EINVAL;
  if (!stream.urgent && !stream.urgent_byte && stream.handle.valid()) look_around();
  std::optional<std::byte> byte = stream.urgent_byte;
  if (!byte) {
    const size_t left = stream.urgent && !stream.urgent_taken ? stream.urgent_left() : 0;
    if (left == 0) return -EINVAL;
    std::vector<std::byte> all(left);
    const auto seen = transport_->request(req::Receive{stream.handle, all, true});
    if (!seen || seen->bytes < left) return stream.input_ended() ? 0 : -EAGAIN;
    byte = all.back();
  }
  if ((flags & MSG_PEEK) == 0) {
    stream.urgent_byte.reset();
    stream.urgent_taken = true;
  }
  if (details != nullptr) details->flags |= MSG_OOB;
  for (const iovec& piece : into) {
    if (piece.iov_len == 0) continue;
    std::memcpy(piece.iov_base, &*byte, 1);
    return 1;
  }
  if (details != nullptr) details->flags |= MSG_TRUNC;
  return 0;
}

}  // namespace millrace::posix
