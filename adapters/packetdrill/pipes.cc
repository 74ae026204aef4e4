// Pipes, and splice between a pipe and a socket: the bytes are copied, the meaning is the kernel's.
#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "calls.h"

namespace millrace::packetdrill {
namespace {

constexpr size_t kPipeRoom = 65'536;  // pipe(7)

}  // namespace

Outcome Calls::pipe(int ends[2]) {
  if (ends == nullptr) return failed(EFAULT);
  Descriptor* out = create(Descriptor::Kind::kPipeOut);
  Descriptor* in = create(Descriptor::Kind::kPipeIn);
  if (out == nullptr || in == nullptr) return failed(EMFILE);
  out->pipe = in->pipe = std::make_shared<Pipe>();
  ends[0] = out->fd;
  ends[1] = in->fd;
  return 0;
}

Outcome Calls::splice(Lock& lock, int from, int to, size_t length, unsigned flags) {
  Descriptor* source = descriptors_.find(from);
  Descriptor* target = descriptors_.find(to);
  if (source == nullptr || target == nullptr) return failed(EBADF);
  const bool may_block = (flags & SPLICE_F_NONBLOCK) == 0;
  if (target->kind == Descriptor::Kind::kPipeIn && stream(from) != nullptr) {
    std::deque<std::byte>& bytes = target->pipe->bytes;
    std::vector<std::byte> some(std::min(length, kPipeRoom - std::min(kPipeRoom, bytes.size())));
    if (some.empty()) return length == 0 ? Outcome(0) : Outcome(failed(EAGAIN));
    // Like the kernel's, it stops in front of an urgent byte, and does not wait behind which there is more.
    const auto urgent = engine_.request(req::UrgentLeft{stream(from)->handle});
    if (urgent && urgent->bytes > 0) some.resize(std::min(some.size(), urgent->bytes - 1));
    if (some.empty()) return 0;
    const iovec into{some.data(), some.size()};
    const Outcome got = receive(lock, from, {&into, 1}, may_block ? 0 : MSG_DONTWAIT);
    if (got) bytes.insert(bytes.end(), some.begin(), some.begin() + *got);
    return got;
  }
  if (source->kind == Descriptor::Kind::kPipeOut && stream(to) != nullptr) {
    std::deque<std::byte>& bytes = source->pipe->bytes;
    if (bytes.empty()) return source->pipe->writer_closed ? Outcome(0) : Outcome(failed(EAGAIN));
    const std::vector<std::byte> some(bytes.begin(), bytes.begin() + static_cast<long>(std::min(length, bytes.size())));
    const iovec out{const_cast<std::byte*>(some.data()), some.size()};
    const int more = (flags & SPLICE_F_MORE) != 0 ? MSG_MORE : 0;
    const Outcome sent = send(lock, to, {&out, 1}, more | (may_block ? 0 : MSG_DONTWAIT));
    if (sent) bytes.erase(bytes.begin(), bytes.begin() + *sent);
    return sent;
  }
  return failed(EINVAL);
}

}  // namespace millrace::packetdrill
