// poll and select over both kinds of descriptors.
#include <algorithm>
#include <cerrno>

#include "posix/blocking.h"
#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr short kPollAlways = POLLERR | POLLHUP | POLLNVAL;

// Beyond FD_SETSIZE too, for programs that make their sets as long as they need.
bool holds(const fd_set* set, int fd) {
  const auto* words = reinterpret_cast<const __fd_mask*>(set);
  return set != nullptr && (static_cast<unsigned long>(words[fd / NFDBITS]) >> (fd % NFDBITS) & 1) != 0;
}

void take_out(fd_set* set, int fd) {
  auto* words = reinterpret_cast<__fd_mask*>(set);
  words[fd / NFDBITS] &= ~static_cast<__fd_mask>(1UL << (fd % NFDBITS));
}

}  // namespace

bool Stack::any_ours(std::span<const pollfd> fds) const {
  return std::any_of(fds.begin(), fds.end(), [this](const pollfd& p) { return ours(p.fd); });
}

bool Stack::any_ours(int count, const fd_set* read, const fd_set* write, const fd_set* except) const {
  for (int fd = 0; fd < std::min(count, FD_SETSIZE); ++fd) {
    const auto in = [fd](const fd_set* set) { return set != nullptr && FD_ISSET(fd, set); };
    if ((in(read) || in(write) || in(except)) && ours(fd)) return true;
  }
  return false;
}

long Stack::poll(std::span<pollfd> fds, const timespec* timeout, const sigset_t* mask) {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  struct Ours {
    size_t at;
    File* file;
  };
  std::vector<Ours> ours;
  std::vector<Hold> holds;
  std::vector<pollfd> kernel(fds.begin(), fds.end());
  long found = 0;
  for (size_t i = 0; i < fds.size(); ++i) {
    fds[i].revents = 0;
    File* file = descriptors_.find(fds[i].fd);
    if (numbers_ != nullptr) {
      if (file == nullptr && fds[i].fd >= 0) {
        fds[i].revents = POLLNVAL;
        ++found;
      }
      kernel[i].fd = -1;
    }
    if (file == nullptr || file->fenced) continue;  // the kernel speaks for the parent's
    if (file->is_socket()) kernel[i].fd = -1;
    ours.push_back({i, file});
    holds.emplace_back(*this, *file);
  }
  if (ours.empty() && numbers_ == nullptr) {
    const Away away(*this);
    return blocking::ppoll(fds.data(), fds.size(), timeout, mask);
  }
  const auto look = [&] {
    bool any = false;
    for (const Ours& o : ours) {
      const auto wanted = static_cast<short>(fds[o.at].events | kPollAlways);
      fds[o.at].revents = static_cast<short>(static_cast<short>(o.file->ready()) & wanted);
      any = any || fds[o.at].revents != 0;
    }
    return any;
  };
  const Instant until = found != 0 ? Instant{} : deadline(timeout);
  const bool all_ours = std::all_of(kernel.begin(), kernel.end(), [](const pollfd& p) { return p.fd < 0; });
  const timespec none{};
  if (!all_ours && kernel::ppoll(kernel.data(), kernel.size(), &none, nullptr) > 0) {
    turn();
    look();
  }
  const auto theirs = [&] {
    return std::any_of(kernel.begin(), kernel.end(), [](const pollfd& p) { return p.fd >= 0 && p.revents != 0; });
  };
  Woke woke = Woke::kReady;
  if (!theirs()) woke = wait(look, until, holds, kernel, mask);
  look();
  found = 0;
  if (!all_ours && woke != Woke::kSignal) (void)kernel::ppoll(kernel.data(), kernel.size(), &none, nullptr);
  for (size_t i = 0; i < fds.size(); ++i) {
    if (kernel[i].fd >= 0) fds[i].revents = static_cast<short>(fds[i].revents | kernel[i].revents);
    if (fds[i].revents != 0) ++found;
  }
  if (found == 0 && woke == Woke::kSignal) return -EINTR;
  return found;
}

long Stack::select(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
                   const sigset_t* mask) {
  if (count < 0) return -EINVAL;
  constexpr uint32_t kReadSet = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
  constexpr uint32_t kWriteSet = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;
  struct Set {
    fd_set* set;
    short wanted;
    uint32_t means;
  };
  const Set sets[] = {{read, POLLIN, kReadSet}, {write, POLLOUT, kWriteSet}, {except, POLLPRI, POLLPRI}};
  std::vector<pollfd> fds;
  for (int fd = 0; fd < (numbers_ != nullptr ? count : std::min(count, FD_SETSIZE)); ++fd) {
    short events = 0;
    for (const Set& s : sets) {
      if (holds(s.set, fd)) events = static_cast<short>(events | s.wanted);
    }
    if (events != 0) fds.push_back({fd, events, 0});
  }
  const long found = poll(fds, timeout, mask);
  if (found < 0) return found;
  for (const pollfd& p : fds) {
    if ((p.revents & POLLNVAL) != 0) return -EBADF;
  }
  long bits = 0;
  for (const Set& s : sets) {
    if (s.set == nullptr) continue;
    for (const pollfd& p : fds) {
      if ((p.events & s.wanted) == 0) continue;
      if ((static_cast<uint32_t>(p.revents) & s.means) != 0) {
        ++bits;
      } else {
        take_out(s.set, p.fd);
      }
    }
  }
  return bits;
}

}  // namespace millrace::posix
