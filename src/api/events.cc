// Waiting: select, poll, epoll, kqueue.
#include <algorithm>
#include <climits>
#include <cstring>

#include "api/state.h"
#include "ff/ff_epoll.h"

using namespace millrace;
using api::result;
using api::the_stack;

static_assert(sizeof(struct kevent) == sizeof(posix::KEvent) &&
              offsetof(struct kevent, data) == offsetof(posix::KEvent, data) &&
              offsetof(struct kevent, ext) == offsetof(posix::KEvent, ext));

namespace millrace::api {
namespace {

constexpr int kAtATime = 256;

// Milliseconds; null: for ever.
const timespec* time_of(int milliseconds, timespec& t) {
  if (milliseconds < 0) return nullptr;
  t = {milliseconds / 1'000, milliseconds % 1'000 * 1'000'000L};
  return &t;
}

std::span<const posix::KEvent> changes_of(const struct kevent* list, int n) {
  return {reinterpret_cast<const posix::KEvent*>(list), list == nullptr || n < 0 ? 0 : static_cast<size_t>(n)};
}

}  // namespace
}  // namespace millrace::api

int ff_select(int nfds, fd_set* readfds, fd_set* writefds, fd_set* exceptfds, struct timeval* timeout) {
  timespec t{};
  if (timeout != nullptr) t = {timeout->tv_sec, timeout->tv_usec * 1'000};
  return result(the_stack().select(nfds, readfds, writefds, exceptfds, timeout != nullptr ? &t : nullptr, nullptr));
}

int ff_poll(struct pollfd fds[], nfds_t nfds, int timeout) {
  timespec t{};
  return result(the_stack().poll({fds, nfds}, api::time_of(timeout, t), nullptr));
}

int ff_epoll_create(int size) {
  (void)size;
  return result(the_stack().epoll_create());
}

int ff_epoll_ctl(int epfd, int op, int fd, struct epoll_event* event) {
  return result(the_stack().epoll_ctl(epfd, op, fd, event));
}

int ff_epoll_wait(int epfd, struct epoll_event* events, int maxevents, int timeout) {
  timespec t{};
  return result(the_stack().epoll_wait(epfd, events, maxevents, api::time_of(timeout, t), nullptr));
}

int ff_kqueue(void) { return result(the_stack().kqueue()); }

int ff_kevent(int kq, const struct kevent* changelist, int nchanges, struct kevent* eventlist, int nevents,
              const struct timespec* timeout) {
  const bool room = eventlist != nullptr && nevents > 0;
  return result(the_stack().kevent(
      kq, api::changes_of(changelist, nchanges),
      {reinterpret_cast<posix::KEvent*>(eventlist), room ? static_cast<size_t>(nevents) : 0}, timeout));
}

int ff_kevent_do_each(int kq, const struct kevent* changelist, int nchanges, void* eventlist, int nevents,
                      const struct timespec* timeout, void (*do_each)(void**, struct kevent*)) {
  if (do_each == nullptr) {
    return ff_kevent(kq, changelist, nchanges, static_cast<struct kevent*>(eventlist), nevents, timeout);
  }
  struct kevent events[api::kAtATime];
  int told = 0;
  const timespec none{};
  while (told < nevents) {
    const int room = std::min(nevents - told, api::kAtATime);
    const int n = ff_kevent(kq, told == 0 ? changelist : nullptr, nchanges, events, room, told == 0 ? timeout : &none);
    if (n < 0) return told != 0 ? told : n;
    for (int i = 0; i < n; ++i) do_each(&eventlist, &events[i]);
    told += n;
    if (n < room) break;
  }
  if (nevents <= 0) return ff_kevent(kq, changelist, nchanges, nullptr, 0, timeout);
  return told;
}
