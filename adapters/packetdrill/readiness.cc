// poll and epoll. What is ready is read off the sockets each time; events of the worker only say where to look again,
// which is what an edge means (epoll(7)).
#include <algorithm>

#include "calls.h"

namespace millrace::packetdrill {
namespace {

constexpr uint32_t kIn = EPOLLIN | EPOLLRDNORM;
constexpr uint32_t kOut = EPOLLOUT | EPOLLWRNORM;

// What an event of the worker wakes: everybody, or who waits for one direction.
uint32_t key_of(uint32_t mask) {
  if ((mask & (kConnected | kError | kPeerClosed)) != 0) return UINT32_MAX;
  uint32_t key = 0;
  if ((mask & (kReadable | kAcceptable)) != 0) key |= kIn;
  if ((mask & kUrgent) != 0) key |= EPOLLPRI;
  if ((mask & kWritable) != 0) key |= kOut;
  return key;
}

}  // namespace

void Calls::note(const Event& e) {
  const auto fd = static_cast<int>(e.user);
  const uint32_t key = key_of(e.mask);
  for (auto& [other, set] : descriptors_.all()) {
    const auto found = set->watched.find(fd);
    if (found == set->watched.end()) continue;
    if (key == UINT32_MAX || (found->second.events & key) != 0) found->second.pending = true;
  }
}

uint32_t Calls::stream_readiness(Descriptor& d) {
  if (d.deferred) return kOut;
  if (!d.handle.valid()) return kOut | EPOLLHUP;
  const auto state = info(d);
  if (!state) return kOut | EPOLLHUP | EPOLLERR;
  uint32_t ready = d.error != 0 || state->error != 0 ? uint32_t{EPOLLERR} : 0;
  if (state->connecting) return ready;
  const bool no_input = d.read_shut || state->ended || !state->alive;
  const bool no_output = d.write_shut || !state->alive;
  if (no_input) ready |= kIn | EPOLLRDHUP;
  if (state->receive_queue > 0) ready |= kIn;
  if (state->tcp.urgent_unread) ready |= EPOLLPRI;
  if (no_input && no_output) ready |= EPOLLHUP;
  // Worth a wake-up only when a third of the buffer is free, and little waits unsent.
  const uint32_t free = state->tcp.send_limit > state->send_queue ? state->tcp.send_limit - state->send_queue : 0;
  const bool room = free >= state->send_queue / 2 && free > 0 && uint64_t{2} * state->tcp.unsent < low_water(d);
  if (no_output || room) {
    ready |= kOut;
  } else {
    d.wants_space = true;
  }
  return ready;
}

uint32_t Calls::readiness(Descriptor& d) {
  switch (d.kind) {
    case Descriptor::Kind::kSocket: return stream_readiness(d);
    case Descriptor::Kind::kListener: {
      const auto state = info(d);
      return state && state->receive_queue > 0 ? kIn : 0;
    }
    case Descriptor::Kind::kPipeOut:
      return !d.pipe->bytes.empty() ? kIn : (d.pipe->writer_closed ? uint32_t{EPOLLHUP} : 0);
    case Descriptor::Kind::kPipeIn: return kOut;
    case Descriptor::Kind::kEpoll: break;
  }
  const bool any = std::any_of(d.watched.begin(), d.watched.end(), [](const auto& w) { return w.second.pending; });
  return any ? kIn : 0;
}

Outcome Calls::poll(Lock& lock, std::span<pollfd> fds, int timeout_ms) {
  long count = 0;
  const auto look = [&] {
    count = 0;
    for (pollfd& p : fds) {
      p.revents = 0;
      if (p.fd < 0) continue;
      Descriptor* d = descriptors_.find(p.fd);
      const uint32_t wanted = static_cast<uint16_t>(p.events) | POLLERR | POLLHUP;
      const uint32_t ready = d == nullptr ? static_cast<uint32_t>(POLLNVAL) : readiness(*d) & wanted;
      p.revents = static_cast<short>(ready);
      if (ready != 0) ++count;
    }
    return count > 0;
  };
  if (timeout_ms == 0) {
    (void)look();
  } else {
    (void)engine_.wait(lock, look, limit_after(int64_t{timeout_ms} * 1'000, engine_.on_first_thread()));
  }
  return count;
}

Outcome Calls::epoll_create(int size) {
  if (size <= 0) return failed(EINVAL);
  Descriptor* d = create(Descriptor::Kind::kEpoll);
  if (d == nullptr) return failed(EMFILE);
  return d->fd;
}

Outcome Calls::epoll_control(int set, int operation, int fd, const epoll_event* event) {
  Descriptor* s = descriptors_.find(set);
  Descriptor* d = descriptors_.find(fd);
  if (s == nullptr || d == nullptr) return failed(EBADF);
  if (s->kind != Descriptor::Kind::kEpoll || s == d) return failed(EINVAL);
  const auto found = s->watched.find(fd);
  if (operation == EPOLL_CTL_DEL) {
    if (found == s->watched.end()) return failed(ENOENT);
    s->watched.erase(found);
    return 0;
  }
  if (event == nullptr) return failed(EFAULT);
  if (operation == EPOLL_CTL_ADD && found != s->watched.end()) return failed(EEXIST);
  if (operation == EPOLL_CTL_MOD && found == s->watched.end()) return failed(ENOENT);
  if (operation != EPOLL_CTL_ADD && operation != EPOLL_CTL_MOD) return failed(EINVAL);
  s->watched[fd] = {event->events, event->data.u64};
  return 0;
}

size_t Calls::collect_ready(Descriptor& set, std::span<epoll_event> events) {
  size_t n = 0;
  for (auto& [fd, w] : set.watched) {
    if (n == events.size()) break;
    Descriptor* d = descriptors_.find(fd);
    if (d == nullptr || w.spent) continue;
    const bool could_not_write = d->wants_space;
    const uint32_t ready = readiness(*d);
    // Room came back since somebody found none.
    if (could_not_write && (ready & kOut) != 0) {
      d->wants_space = false;
      if ((w.events & kOut) != 0) w.pending = true;
    }
    if (!w.pending) continue;
    const uint32_t told = ready & (w.events | EPOLLERR | EPOLLHUP);
    if (told == 0) {
      w.pending = false;
      continue;
    }
    events[n].events = told;
    events[n].data.u64 = w.data;
    ++n;
    if ((w.events & EPOLLET) != 0) w.pending = false;
    if ((w.events & EPOLLONESHOT) != 0) w.spent = true;
  }
  return n;
}

Outcome Calls::epoll_wait(Lock& lock, int set, std::span<epoll_event> events, int timeout_ms) {
  Descriptor* s = descriptors_.find(set);
  if (s == nullptr) return failed(EBADF);
  if (s->kind != Descriptor::Kind::kEpoll || events.empty()) return failed(EINVAL);
  size_t n = collect_ready(*s, events);
  if (n == 0 && timeout_ms != 0) {
    (void)engine_.wait(
        lock, [&] { return (n = collect_ready(*s, events)) > 0; },
        limit_after(int64_t{timeout_ms} * 1'000, engine_.on_first_thread()));
  }
  return static_cast<long>(n);
}

}  // namespace millrace::packetdrill
