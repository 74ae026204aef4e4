#include "posix/epoll.h"

#include <algorithm>
#include <cerrno>

#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr uint32_t kExclusiveMay = uint32_t{EPOLLIN} | uint32_t{EPOLLOUT} | kAlwaysReported | uint32_t{EPOLLWAKEUP} |
                                   uint32_t{EPOLLET} | uint32_t{EPOLLEXCLUSIVE};
constexpr int kMostEvents = INT32_MAX / static_cast<int>(sizeof(epoll_event));
constexpr uint32_t kLookAtKernelsAfter = 4;  // calls that had something of ours to give
constexpr size_t kAtATime = 256;             // a call gives no more of ours

}  // namespace

Epoll::~Epoll() {
  while (!watches_.empty()) remove(*watches_.begin()->second);
}

Watch* Epoll::find(int fd, const File* file) {
  const auto found = watches_.find({fd, file});
  return found == watches_.end() ? nullptr : found->second.get();
}

Watch& Epoll::add(int fd, File& file, const epoll_event& event) {
  auto& slot = watches_[{fd, &file}];
  slot = std::make_unique<Watch>();
  slot->set = this;
  slot->file = &file;
  slot->fd = fd;
  slot->events = event.events | kAlwaysReported;
  slot->data = event.data;
  file.watches.push_back(slot.get());
  return *slot;
}

void Epoll::remove(Watch& watch) {
  unlist(watch);
  std::erase(watch.file->watches, &watch);
  watches_.erase({watch.fd, watch.file});
}

bool Epoll::any_ready() {
  while (first_ != nullptr) {
    Watch& watch = *first_;
    if (watch.armed() && (watch.file->ready() & watch.events) != 0) return true;
    unlist(watch);
  }
  return false;
}

size_t Epoll::collect(std::span<epoll_event> out) {
  size_t n = 0;
  Watch* const end = last_;
  for (Watch* watch = first_; watch != nullptr && n < out.size();) {
    Watch* const next = watch == end ? nullptr : watch->next;
    unlist(*watch);
    const uint32_t mask = watch->armed() ? watch->file->ready() & watch->events : 0U;
    if (mask != 0) {
      out[n].events = mask;
      out[n].data = watch->data;
      ++n;
      if ((watch->events & EPOLLONESHOT) != 0) {
        watch->events &= kHowReported;
      } else if ((watch->events & EPOLLET) == 0) {
        list(*watch);
      }
    }
    watch = next;
  }
  return n;
}

namespace {

constexpr int kDeepest = 5;  // sets in sets, as Linux allows

// Whether `from` holds `set`, at any depth; sets too deep count as holding it.
bool reaches(File& from, const File& set, int depth) {
  if (&from == &set || depth > kDeepest) return true;
  return std::any_of(set.watches.begin(), set.watches.end(),
                     [&](const Watch* w) { return reaches(from, *w->set, depth + 1); });
}

}  // namespace

long Stack::epoll_create() {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (!bring_up()) return -ENETDOWN;
  const int set = numbers_->take();
  if (set < 0) return set;
  auto epoll = std::make_unique<Epoll>(set);
  if (!descriptors_.set(set, epoll.get())) {
    numbers_->give(set);
    return -ENOMEM;
  }
  epoll->numbers = 1;
  epoll.release();
  return set;
}

void Stack::epoll_made(int set) {
  const Lock lock(*this);
  if (lock.busy()) return;
  auto epoll = std::make_unique<Epoll>(set);
  if (!descriptors_.set(set, epoll.get())) return;
  epoll->numbers = 1;
  epoll.release();
}

long Stack::epoll_ctl(int set, int op, int fd, epoll_event* event) {
  const Lock lock(*this);
  File* holder = descriptors_.find(set);
  File* file = descriptors_.find(fd);
  const auto pass = [&]() -> long {
    if (numbers_ != nullptr) {
      if (holder == nullptr || file == nullptr) return -EBADF;
      if (lock.busy()) return -EAGAIN;
      if (holder->kind() != FileKind::kEpoll || holder == file) return -EINVAL;
      return op == EPOLL_CTL_ADD && reaches(*file, *holder, 1) ? -ELOOP : 0;
    }
    if (op == EPOLL_CTL_ADD && holder != nullptr && holder->kind() == FileKind::kEpoll) {
      static_cast<Epoll&>(*holder).has_kernels = true;
    }
    return kernel::epoll_ctl(set, op, fd, event);
  };
  if (lock.busy() || file == nullptr || holder == nullptr || holder->kind() != FileKind::kEpoll) return pass();
  const bool nested = !file->is_socket();
  if (file->fenced) return nested ? pass() : -EBADF;
  if (holder->fenced) return -EPERM;
  if (nested) {  // the kernel knows the half that is its own, and judges loops
    if (const long result = pass(); result < 0) return result;
  }
  if (op != EPOLL_CTL_DEL && event == nullptr) return -EFAULT;
  if (holder == file) return -EINVAL;
  auto& epoll = static_cast<Epoll&>(*holder);
  Watch* watch = epoll.find(fd, file);
  if (op == EPOLL_CTL_DEL) {
    if (watch == nullptr) return -ENOENT;
    epoll.remove(*watch);
    return 0;
  }
  if ((event->events & EPOLLEXCLUSIVE) != 0 &&
      (op == EPOLL_CTL_MOD || nested || (event->events & ~kExclusiveMay) != 0)) {
    return -EINVAL;
  }
  if (op == EPOLL_CTL_ADD) {
    if (watch != nullptr) return -EEXIST;
    watch = &epoll.add(fd, *file, *event);
  } else if (op == EPOLL_CTL_MOD) {
    if (watch == nullptr) return -ENOENT;
    if ((watch->events & EPOLLEXCLUSIVE) != 0) return -EINVAL;
    watch->events = event->events | kAlwaysReported;
    watch->data = event->data;
  } else {
    return -EINVAL;
  }
  if ((file->ready() & watch->events) != 0) {
    epoll.list(*watch);
    news_ = true;
    if (!epoll.watches.empty()) notify(epoll, kReadBits);
    ring_ready();
  }
  return 0;
}

long Stack::epoll_wait(int set, epoll_event* events, int count, const timespec* timeout, const sigset_t* mask) {
  if (count <= 0 || count > kMostEvents) return -EINVAL;
  const Lock lock(*this);
  File* file = descriptors_.find(set);
  const timespec none{};
  if (numbers_ != nullptr) {
    if (lock.busy()) return -EAGAIN;
    if (file == nullptr || file->fenced) return -EBADF;
    if (file->kind() != FileKind::kEpoll) return -EINVAL;
    if (events == nullptr) return -EFAULT;
  } else if (lock.busy() || file == nullptr || file->kind() != FileKind::kEpoll || file->fenced) {
    const auto pass = [&](const timespec* longest) {
      return kernel::call(SYS_epoll_pwait2, set, kernel::arg(events), count, kernel::arg(longest), kernel::arg(mask),
                          kernel::kSigsetBytes);
    };
    if (lock.busy()) return pass(&none);
    const Away away(*this);
    return pass(timeout);
  }
  auto& epoll = static_cast<Epoll&>(*file);
  if (driven_) {
    const size_t n = epoll.collect({events, static_cast<size_t>(count)});
    if (n != 0) told_ = true;
    return static_cast<long>(n);
  }
  Hold hold(*this, epoll);
  const Instant until = deadline(timeout);
  const auto room = static_cast<size_t>(count);
  for (;;) {
    // Another thread may close this number, or the last one: then nothing is heard of the kernel's half.
    pollfd half{epoll.number(), POLLIN, 0};
    const std::span<pollfd> kernels(&half, numbers_ == nullptr ? 1 : 0);
    const Woke woke = wait([&] { return epoll.any_ready(); }, until, {&hold, 1}, kernels, mask);
    const size_t ours = epoll.collect({events, std::min(room, kAtATime)});
    long theirs = 0;
    const bool has_some = (epoll.has_kernels || half.revents != 0) && epoll.number() >= 0;
    const bool look = ours == 0 || ++epoll.passed_by >= kLookAtKernelsAfter;
    if (has_some && look && ours < room && woke != Woke::kSignal) {
      epoll.passed_by = 0;
      theirs = kernel::epoll_fetch(epoll.number(), events + ours, static_cast<int>(room - ours));
      if (theirs == -EFAULT && ours == 0) return theirs;
      if (theirs == -EBADF) epoll.set_number(-1);  // closed behind our back
      if (theirs < 0) theirs = 0;
    }
    const long result = static_cast<long>(ours) + theirs;
    if (result != 0 || woke == Woke::kTimeout || ended_) return result;
    if (woke == Woke::kSignal) return -EINTR;
  }
}

}  // namespace millrace::posix
