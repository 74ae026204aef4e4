// What acts on descriptors rather than on what they name: close, dup, fcntl, ioctl.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {

// Ends a File that nothing names or uses any more.
void Stack::drop(File& file) {
  if (file.numbers != 0 || file.users != 0) return;
  for (Watch* watch : std::vector<Watch*>(file.watches)) watch->set->remove(*watch);
  if (file.is_socket()) destroy(static_cast<Socket&>(file));
  delete &file;
}

void Stack::unname(int fd, File& file) {
  descriptors_.set(fd, nullptr);
  --file.numbers;
  if (file.kind() == FileKind::kEpoll && static_cast<Epoll&>(file).number() == fd) {
    int other = -1;
    if (file.numbers != 0) {
      descriptors_.each(0, UINT32_MAX, [&](int number, const File* f) { other = f == &file ? number : other; });
    }
    static_cast<Epoll&>(file).set_number(other);
  }
  if (!file.fenced) drop(file);
}

void Stack::destroy(Socket& socket) {
  --live_sockets_;
  set_token(socket, {});
  slots_[socket.slot] = nullptr;
  free_slots_.push_back(socket.slot);
  auto* stream = socket.kind() == FileKind::kStream ? static_cast<Stream*>(&socket) : nullptr;
  if (socket.handle.valid()) {
    const bool reset =
        stream != nullptr && stream->linger && stream->linger_s == 0 && stream->state == Stream::State::kConnected;
    if (reset) {
      (void)transport_->request(req::Abort{socket.handle});
    } else {
      (void)transport_->request(req::Close{socket.handle});
    }
    flush();
  }
  if (stream == nullptr || stream->claim == 0) return;
  if (stream->state == Stream::State::kListening) transport_->unlisten(stream->claim);
  transport_->release(stream->claim);
}

// SO_LINGER: the call waits until all is acknowledged, or the time is over.
void Stack::linger_before_close(Stream& stream) {
  if (!stream.linger || stream.linger_s <= 0 || stream.state != Stream::State::kConnected || stream.nonblocking) return;
  if (stream.broken || stream.look().unread != 0) return;
  (void)transport_->request(req::Shutdown{stream.handle});
  stream.shut_write = true;
  Hold hold(*this, stream);
  (void)wait_socket(
      hold, [&] { return stream.broken || stream.look().unsent == 0; }, transport_->now() + seconds(stream.linger_s));
}

long Stack::close(int fd) {
  // In a child of vfork these tables are the parent's, and the lock may be held for ever by a thread that was killed.
  if (numbers_ == nullptr && kernel::pid() != owner_) return kernel::close(fd);
  const Lock lock(*this);
  File* file = descriptors_.find(fd);
  if (file == nullptr && numbers_ != nullptr) return -EBADF;
  if (file == nullptr) return kernel::close(fd);
  if (lock.busy()) {  // the call that this one interrupted does it at its end
    if (thread_state.closes == thread_state.to_close.size()) return -EINTR;
    thread_state.to_close[thread_state.closes++] = fd;
    return 0;
  }
  if (!file->fenced && file->kind() == FileKind::kStream && file->numbers == 1) {
    linger_before_close(static_cast<Stream&>(*file));
    if (descriptors_.find(fd) != file) return -EBADF;  // another thread was quicker
  }
  if (file->numbers != 1 && numbers_ != nullptr) forget_notes(*file, fd);
  unname(fd, *file);
  return end_number(fd);
}

void Stack::forget(int fd) {
  if (kernel::pid() != owner_) return;
  const Lock lock(*this);
  File* file = descriptors_.find(fd);
  if (lock.busy() || file == nullptr) return;
  unname(fd, *file);
}

void Stack::duplicated(int fd, int fresh) {
  if (numbers_ == nullptr && kernel::pid() != owner_) return duplicated_in_vfork(fd);
  if (ours(fresh)) forget(fresh);
  const Lock lock(*this);
  File* file = descriptors_.find(fd);
  if (lock.busy() || file == nullptr) return;
  if (descriptors_.set(fresh, file)) ++file->numbers;
}

void Stack::close_range(unsigned first, unsigned last) {
  if (kernel::pid() != owner_) return;
  const Lock lock(*this);
  if (lock.busy()) return;
  std::vector<std::pair<int, File*>> found;
  descriptors_.each(first, last, [&](int fd, File* file) { found.emplace_back(fd, file); });
  for (const auto& [fd, file] : found) unname(fd, *file);
}

long Stack::dup(int fd) { return own_fcntl(fd, F_DUPFD, 0); }

long Stack::dup2(int fd, int fresh) {
  {
    const Lock lock(*this);
    if (lock.busy()) return -EAGAIN;
    if (descriptors_.find(fd) == nullptr || fresh < numbers_->first() || fresh >= OwnNumbers::kLimit) return -EBADF;
    if (fd == fresh) return fresh;
  }
  if (ours(fresh)) (void)close(fresh);
  const Lock lock(*this);
  File* file = descriptors_.find(fd);
  if (lock.busy() || file == nullptr || !numbers_->claim(fresh)) return -EBADF;
  if (!descriptors_.set(fresh, file)) return -ENOMEM;
  ++file->numbers;
  return fresh;
}

long Stack::own_fcntl(int fd, int command, long value) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  File* file = descriptors_.find(fd);
  if (file == nullptr) return -EBADF;
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC: {
      if (value < 0 || value >= OwnNumbers::kLimit) return -EINVAL;
      const int fresh = numbers_->take_from(static_cast<int>(value));
      if (fresh < 0) return fresh;
      if (!descriptors_.set(fresh, file)) {
        numbers_->give(fresh);
        return -ENOMEM;
      }
      ++file->numbers;
      return fresh;
    }
    case F_GETFD: return FD_CLOEXEC;  // no program that this one turns into knows the number
    case F_SETFD: return 0;
    case F_GETFL: return O_RDWR | (file->nonblocking ? O_NONBLOCK : 0);
    case F_SETFL: file->nonblocking = (value & O_NONBLOCK) != 0; return 0;
    default: return -EINVAL;
  }
}

long Stack::fcntl(int fd, int command, long value) {
  if (numbers_ != nullptr) return own_fcntl(fd, command, value);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
    const int fresh = kernel::fcntl(fd, command, value);
    if (fresh >= 0) duplicated(fd, fresh);
    return fresh;
  }
  const int result = kernel::fcntl(fd, command, value);
  if (result < 0 || command != F_SETFL) return result;
  const Lock lock(*this);
  File* file = descriptors_.find(fd);
  if (!lock.busy() && file != nullptr) file->nonblocking = (value & O_NONBLOCK) != 0;
  return result;
}

long Stack::own_ioctl(int fd, unsigned long request, void* value) {
  File* file = descriptors_.find(fd);
  if (file == nullptr) return -EBADF;
  switch (request) {
    case FIONBIO: file->nonblocking = *static_cast<const int*>(value) != 0; return 0;
    case FIOASYNC: return *static_cast<const int*>(value) == 0 ? 0 : -EOPNOTSUPP;
    case FIOCLEX:
    case FIONCLEX: return 0;
    default: return -ENOTTY;
  }
}

long Stack::ioctl(int fd, unsigned long request, void* value) {
  const auto pass = [&] {
    if (numbers_ != nullptr) return own_ioctl(fd, request, value);
    return kernel::call(SYS_ioctl, fd, static_cast<long>(request), kernel::arg(value));
  };
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  Socket* socket = socket_of(fd);
  if (socket == nullptr) return pass();
  if (socket->fenced) return -EBADF;
  const Stream* stream = stream_of(fd);
  const bool listening = stream != nullptr && stream->state == Stream::State::kListening;
  int* number = static_cast<int*>(value);
  switch (request) {
    case FIONBIO: {
      const long result = pass();
      if (result == 0) socket->nonblocking = *number != 0;
      return result;
    }
    case FIONREAD:
      if (listening) return -EINVAL;
      if (socket->handle.valid()) look_around();
      *number = socket->handle.valid() ? static_cast<int>(socket->look().unread) : 0;
      return 0;
    case SIOCATMARK:
      if (stream == nullptr) return pass();
      *number = stream->urgent && stream_of(fd)->urgent_left() == 1 ? 1 : 0;
      return 0;
    case SIOCOUTQ:
      if (listening) return -EINVAL;
      *number = socket->handle.valid() ? static_cast<int>(socket->look().unsent) : 0;
      return 0;
    default: break;
  }
  if (!asks_for_interface(socket->family, request)) return pass();
  return interface_ioctl(transport_->interfaces(), socket->family, request, value).value_or(-ENOTTY);
}

std::vector<InterfaceRow> Stack::interfaces() {
  const Lock lock(*this);
  if (lock.busy() || !bring_up()) return {};
  return transport_->interfaces();
}

}  // namespace millrace::posix
