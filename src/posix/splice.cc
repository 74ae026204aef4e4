// splice() between a pipe of the kernel's and a stream of ours. Bytes are copied; none is taken from one end before the
// other has room for it. SPLICE_F_NONBLOCK is about the pipe, O_NONBLOCK about the descriptor that has it.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr size_t kAtOnce = 65'536;
constexpr unsigned kKnownFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

bool is_pipe(int fd) {
  struct stat s {};
  return kernel::call(SYS_fstat, fd, kernel::arg(&s)) == 0 && S_ISFIFO(s.st_mode);
}

// Whether the pipe has bytes, or room for PIPE_BUF of them; 0: not now.
long is_ready(int pipe, short events, bool wait) {
  if (!wait || (kernel::fcntl(pipe, F_GETFL) & O_NONBLOCK) != 0) {
    pollfd p{pipe, events, 0};
    const timespec now{};
    return kernel::ppoll(&p, 1, &now, nullptr);
  }
  pollfd p{pipe, events, 0};
  return kernel::ppoll(&p, 1, nullptr, nullptr);
}

// A pipe that is writable takes PIPE_BUF bytes without waiting. Only the first piece is waited for.
long fill_pipe(int pipe, const std::byte* from, size_t bytes, bool wait) {
  size_t done = 0;
  while (done < bytes) {
    const long ready = is_ready(pipe, POLLOUT, wait && done == 0);
    if (ready <= 0) return done != 0 ? static_cast<long>(done) : (ready == 0 ? -EAGAIN : ready);
    const long n = kernel::write(pipe, from + done, std::min<size_t>(bytes - done, PIPE_BUF));
    if (n <= 0) return done != 0 ? static_cast<long>(done) : n;
    done += static_cast<size_t>(n);
  }
  return static_cast<long>(done);
}

}  // namespace

long Stack::splice(int in, const off_t* at, int out, const off_t* to, size_t count, unsigned flags) {
  if ((flags & ~kKnownFlags) != 0) return -EINVAL;
  if (count == 0) return 0;
  const bool from_us = ours(in);
  if (from_us ? !is_pipe(out) : !is_pipe(in)) return -EINVAL;
  if ((from_us ? to : at) != nullptr) return -ESPIPE;
  if (at != nullptr || to != nullptr) return -EINVAL;
  return from_us ? splice_from(in, out, count, flags) : splice_to(in, out, count, flags);
}

long Stack::splice_from(int socket, int pipe, size_t count, unsigned flags) {
  const bool wait = (flags & SPLICE_F_NONBLOCK) == 0;
  {
    const Lock lock(*this);
    if (stream_of(socket) == nullptr) return -EINVAL;
  }
  std::vector<std::byte> buffer(std::min(count, kAtOnce));
  iovec piece{buffer.data(), buffer.size()};
  const long seen = receive(socket, {&piece, 1}, MSG_PEEK);
  if (seen <= 0) return seen;
  const long moved = fill_pipe(pipe, buffer.data(), static_cast<size_t>(seen), wait);
  if (moved <= 0) return moved;
  piece.iov_len = static_cast<size_t>(moved);
  return receive(socket, {&piece, 1}, MSG_WAITALL);
}

long Stack::splice_to(int pipe, int socket, size_t count, unsigned flags) {
  const bool wait = (flags & SPLICE_F_NONBLOCK) == 0;
  size_t room = 0;
  for (bool looked = false; room == 0; looked = true) {
    {
      const Lock lock(*this);
      if (lock.busy()) return -EAGAIN;
      Stream* stream = stream_of(socket);
      if (stream == nullptr) return -EINVAL;
      if (stream->fenced) return -EBADF;
      if (stream->state != Stream::State::kConnected || stream->output_ended()) return broken_pipe(0);
      look_around();
      room = stream->look().room;
      if (room == 0 && stream->nonblocking) return -EAGAIN;
    }
    pollfd p{socket, POLLOUT, 0};
    if (room == 0) {
      if (const long ready = poll({&p, 1}, nullptr, nullptr); ready < 0) return ready;
      if (looked && (p.revents & (POLLERR | POLLHUP)) != 0) return broken_pipe(0);
    }
  }
  if (const long ready = is_ready(pipe, POLLIN, wait); ready <= 0) return ready == 0 ? -EAGAIN : ready;
  std::vector<std::byte> buffer(std::min({count, room, kAtOnce}));
  const long got = kernel::read(pipe, buffer.data(), buffer.size());
  if (got <= 0) return got;
  long sent = 0;
  while (sent < got) {
    const iovec piece{buffer.data() + sent, static_cast<size_t>(got - sent)};
    const long n = send(socket, {&piece, 1}, (flags & SPLICE_F_MORE) != 0 ? MSG_MORE : 0);
    if (n == -EAGAIN) {  // another thread took the room
      pollfd p{socket, POLLOUT, 0};
      (void)poll({&p, 1}, nullptr, nullptr);
      continue;
    }
    if (n <= 0) return sent != 0 ? sent : n;
    sent += n;
  }
  return sent;
}

}  // namespace millrace::posix
