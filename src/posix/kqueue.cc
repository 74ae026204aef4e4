#include "posix/kqueue.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>

#include "posix/convert.h"
#include "posix/stack.h"

namespace millrace::posix {
namespace {

constexpr uint16_t kActions = kq::kAdd | kq::kDelete | kq::kEnable | kq::kDisable | kq::kForceOneShot;
constexpr uint32_t kReadWatch = kReadBits | uint32_t{EPOLLRDHUP} | kAlwaysReported;
constexpr uint32_t kWriteWatch = kWriteBits | kAlwaysReported;
constexpr uint32_t kUnits = kq::kSeconds | kq::kMilliseconds | kq::kMicroseconds | kq::kNanoseconds;

bool of_file(int16_t filter) { return filter == kq::kRead || filter == kq::kWrite; }

// The least that makes a filter active.
int64_t low_water(const Note& note) {
  return (note.given.fflags & kq::kLowWater) != 0 ? std::max<int64_t>(note.given.data, 0) : 1;
}

// The end of a direction: always active; fflags tell of an error, which stays to be taken.
bool tell_end(Stream& stream, const SocketStatus& status, KEvent& out) {
  out.flags |= kq::kEnd;
  if (stream.error_waits && status.error) out.fflags = static_cast<uint32_t>(stream.errno_for(*status.error));
  return true;
}

bool stream_readable(Stream& stream, const Note& note, KEvent& out) {
  const bool ended = stream.state == Stream::State::kConnected && stream.input_ended();
  if (!ended && !stream.can_read()) return false;
  const SocketStatus status = stream.look();
  out.data = status.unread;
  if (ended || (stream.state == Stream::State::kConnected && status.ended)) return tell_end(stream, status, out);
  return out.data >= low_water(note);
}

bool stream_writable(Stream& stream, const Note& note, KEvent& out) {
  if (stream.state != Stream::State::kConnected) return false;
  if (!stream.output_ended() && !stream.can_write()) return false;
  const SocketStatus status = stream.look();
  out.data = status.room;
  if (stream.output_ended()) return tell_end(stream, status, out);
  return out.data >= low_water(note);
}

bool datagram_ready(Datagram& socket, const Note& note, KEvent& out) {
  if (note.given.filter == kq::kRead) {
    out.data = socket.status().unread;
    if (socket.shut_read) {
      out.flags |= kq::kEnd;
      return true;
    }
    return socket.error_waits ||
           (socket.can_read() && out.data >= ((note.given.fflags & kq::kLowWater) != 0 ? note.given.data : 0));
  }
  if (socket.shut_write) {
    out.flags |= kq::kEnd;
    return true;
  }
  if (!socket.writable) return false;
  out.data = socket.handle.valid() ? socket.status().room : 0;
  return (note.given.fflags & kq::kLowWater) == 0 || out.data >= note.given.data;
}

// The first expiry from `now` on and the time between two; an errno number for what makes no sense.
long times_of(const KEvent& given, Instant now, Instant& due, Duration& period) {
  if (given.data < 0 || (given.fflags & ~(kUnits | kq::kAbsolute)) != 0 || std::popcount(given.fflags & kUnits) > 1) {
    return -EINVAL;
  }
  int64_t unit = 1'000'000;
  if ((given.fflags & kq::kSeconds) != 0) unit = 1'000'000'000;
  if ((given.fflags & kq::kMicroseconds) != 0) unit = 1'000;
  if ((given.fflags & kq::kNanoseconds) != 0) unit = 1;
  constexpr int64_t kLongest = INT64_MAX / 4;  // more is for ever
  const Duration after = given.data > kLongest / unit ? Duration(kLongest) : Duration(given.data * unit);
  if ((given.fflags & kq::kAbsolute) != 0) {
    timespec wall{};
    clock_gettime(CLOCK_REALTIME, &wall);
    due = now + std::max(Duration(), after - duration_of(wall));
    period = {};
    return 0;
  }
  due = now + after;
  period = (given.flags & kq::kOneShot) != 0 ? Duration() : after;
  return 0;
}

void change_user(Note& note, const KEvent& wanted) {
  const uint32_t bits = wanted.fflags & kq::kFlagsMask;
  switch (wanted.fflags & kq::kFlagsCopy) {
    case kq::kFlagsAnd: note.given.fflags &= bits; break;
    case kq::kFlagsOr: note.given.fflags |= bits; break;
    case kq::kFlagsCopy: note.given.fflags = bits; break;
    default: break;
  }
  if ((wanted.fflags & kq::kTrigger) != 0) note.triggered = true;
  note.given.data = wanted.data;
}

}  // namespace

Kqueue::~Kqueue() {
  while (!notes_.empty()) remove(notes_.begin()->second);
}

Note* Kqueue::find(const KEvent& name) {
  const auto found = notes_.find({name.ident, name.filter});
  return found == notes_.end() ? nullptr : &found->second;
}

Note& Kqueue::add(const KEvent& given, File* file) {
  Note& note = notes_[{given.ident, given.filter}];
  note.set = this;
  note.file = file;
  note.fd = file != nullptr ? static_cast<int>(given.ident) : -1;
  note.given = given;
  if (file != nullptr) file->watches.push_back(&note);
  return note;
}

void Kqueue::remove(Watch& watch) {
  auto& note = static_cast<Note&>(watch);
  unlist(note);
  if (note.file != nullptr) std::erase(note.file->watches, &watch);
  if (note.due != kNever) stack_.timers_.erase({note.due, &note});
  notes_.erase({note.given.ident, note.given.filter});
}

bool Kqueue::active(Note& note, KEvent& out) {
  out = note.given;
  out.data = 0;
  out.fflags = 0;
  bool is = false;
  switch (note.given.filter) {
    case kq::kTimer:
      out.data = note.expired;
      is = note.expired != 0;
      break;
    case kq::kUser:
      out.fflags = note.given.fflags;
      out.data = note.given.data;
      is = note.triggered;
      break;
    default:
      if (auto* stream = note.file->kind() == FileKind::kStream ? static_cast<Stream*>(note.file) : nullptr) {
        is = note.given.filter == kq::kRead ? stream_readable(*stream, note, out) : stream_writable(*stream, note, out);
      } else if (note.file->kind() == FileKind::kDatagram) {
        is = datagram_ready(static_cast<Datagram&>(*note.file), note, out);
      } else {
        is = note.file->ready() != 0;  // a set: whether it has something to tell, not how much
        out.data = is ? 1 : 0;
      }
  }
  return is || note.forced;
}

bool Kqueue::any_ready() {
  while (first_ != nullptr) {
    auto& note = static_cast<Note&>(*first_);
    KEvent unused;
    if (!note.disabled && active(note, unused)) return true;
    unlist(note);
  }
  return false;
}

size_t Kqueue::collect(std::span<KEvent> out) {
  size_t n = 0;
  Watch* const end = last_;
  for (Watch* watch = first_; watch != nullptr && n < out.size();) {
    Watch* const next = watch == end ? nullptr : watch->next;
    auto& note = static_cast<Note&>(*watch);
    watch = next;
    unlist(note);
    if (note.disabled || !active(note, out[n])) continue;
    ++n;
    note.forced = false;
    if ((note.given.flags & kq::kOneShot) != 0) {
      remove(note);
      continue;
    }
    const bool dispatched = (note.given.flags & kq::kDispatch) != 0;
    const bool cleared = note.given.filter == kq::kTimer || (note.given.flags & kq::kClear) != 0;
    if (cleared) {
      note.expired = 0;
      note.triggered = false;
    }
    if (dispatched) {
      note.disabled = true;
      note.events = 0;
    } else if (!cleared) {
      list(note);
    }
  }
  return n;
}

long Stack::kqueue() {
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  if (numbers_ == nullptr || !bring_up()) return -ENETDOWN;
  const int fd = numbers_->take();
  if (fd < 0) return fd;
  auto set = std::make_unique<Kqueue>(*this);
  if (!descriptors_.set(fd, set.get())) {
    numbers_->give(fd);
    return -ENOMEM;
  }
  set->numbers = 1;
  set.release();
  return fd;
}

void Stack::forget_notes(File& file, int fd) {
  for (Watch* watch : std::vector<Watch*>(file.watches)) {
    if (watch->fd == fd && watch->set->kind() == FileKind::kKqueue) watch->set->remove(*watch);
  }
}

// Lists a note that is active.
void Stack::look_at(Note& note) {
  KEvent unused;
  if (note.disabled || !Kqueue::active(note, unused)) return;
  note.set->list(note);
  news_ = true;
  if (!note.set->watches.empty()) notify(*note.set, kReadBits);
}

void Stack::run_timers() {
  const Instant now = transport_->now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Note& note = *timers_.begin()->second;
    timers_.erase(timers_.begin());
    int64_t times = 1;
    if (note.period.ns() > 0) {
      times += (now - note.due).ns() / note.period.ns();
      note.due = note.due + Duration(note.period.ns() * times);
      timers_.insert({note.due, &note});
    } else {
      note.due = kNever;
    }
    note.expired += times;
    look_at(note);
  }
}

long Stack::start_timer(Note& note) {
  Instant due = kNever;
  Duration period;
  if (const long bad = times_of(note.given, transport_->now(), due, period); bad < 0) return bad;
  if (note.due != kNever) timers_.erase({note.due, &note});
  note.due = due;
  note.period = period;
  note.expired = 0;
  note.set->unlist(note);
  timers_.insert({due, &note});
  return 0;
}

long Stack::add_note(Kqueue& set, const KEvent& wanted, File* file) {
  if (file == &set) return -EINVAL;
  if (file != nullptr && !file->is_socket() && wanted.filter == kq::kWrite) return -EINVAL;
  KEvent given = wanted;
  given.flags = static_cast<uint16_t>(given.flags & ~kActions);
  Note& note = set.add(given, file);
  note.disabled = (wanted.flags & kq::kDisable) != 0;
  note.forced = (wanted.flags & kq::kForceOneShot) != 0;
  if (note.forced) note.given.flags |= kq::kOneShot;
  if (wanted.filter == kq::kTimer) {
    if (const long bad = start_timer(note); bad < 0) {
      set.remove(note);
      return bad;
    }
  } else if (wanted.filter == kq::kUser) {
    note.triggered = (wanted.fflags & kq::kTrigger) != 0;
    note.given.fflags &= kq::kFlagsMask;
  } else if (!note.disabled) {
    note.events = wanted.filter == kq::kRead ? kReadWatch : kWriteWatch;
  }
  look_at(note);
  return 0;
}

// What one entry of a changelist asks for.
long Stack::change(Kqueue& set, const KEvent& asked) {
  KEvent wanted = asked;
  wanted.flags = static_cast<uint16_t>(wanted.flags & ~kq::kSystemFlags);
  File* file = nullptr;
  if (of_file(wanted.filter)) {
    if (wanted.ident <= INT_MAX) file = descriptors_.find(static_cast<int>(wanted.ident));
    if (file == nullptr) return -EBADF;
  } else if (wanted.filter != kq::kTimer && wanted.filter != kq::kUser) {
    return -EINVAL;
  }
  Note* note = set.find(wanted);
  if (note == nullptr) return (wanted.flags & kq::kAdd) != 0 ? add_note(set, wanted, file) : -ENOENT;
  if ((wanted.flags & kq::kDelete) != 0) {
    set.remove(*note);
    return 0;
  }
  if (wanted.filter == kq::kTimer && (wanted.flags & kq::kAdd) != 0) {
    const KEvent before = note->given;
    note->given.fflags = wanted.fflags;
    note->given.data = wanted.data;
    if (const long bad = start_timer(*note); bad < 0) {
      note->given = before;
      return bad;
    }
  }
  if ((wanted.flags & kq::kForceOneShot) != 0) {
    note->given.flags |= kq::kOneShot;
    note->forced = true;
  }
  note->given.udata = wanted.udata;
  if ((wanted.flags & kq::kDisable) != 0) {
    note->disabled = true;
  } else if ((wanted.flags & (kq::kEnable | kq::kAdd)) != 0) {
    note->disabled = false;
  }
  if (wanted.filter == kq::kUser) change_user(*note, wanted);
  if (of_file(wanted.filter)) {
    note->given.fflags = wanted.fflags;
    note->given.data = wanted.data;
    note->events = note->disabled ? 0 : wanted.filter == kq::kRead ? kReadWatch : kWriteWatch;
  }
  look_at(*note);
  return 0;
}

long Stack::kevent(int kq, std::span<const KEvent> changes, std::span<KEvent> events, const timespec* timeout) {
  if (timeout != nullptr && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000)) {
    return -EINVAL;
  }
  const Lock lock(*this);
  if (lock.busy()) return -EAGAIN;
  File* file = descriptors_.find(kq);
  if (file == nullptr || file->kind() != FileKind::kKqueue || file->fenced) return -EBADF;
  auto& set = static_cast<Kqueue&>(*file);
  size_t told = 0;
  for (const KEvent& c : changes) {
    KEvent one = c;  // where it stands may be where events go
    const long error = change(set, one);
    if (error == 0 && (one.flags & kq::kReceipt) == 0) continue;
    if (told == events.size()) return error;
    one.flags = kq::kError;
    one.data = -error;
    events[told++] = one;
  }
  ring_ready();
  if (told != 0 || events.empty()) return static_cast<long>(told);
  if (driven_) {
    const size_t n = set.collect(events);
    if (n != 0) told_ = true;
    return static_cast<long>(n);
  }
  Hold hold(*this, set);
  const Instant until = deadline(timeout);
  for (;;) {
    const Woke woke = wait([&] { return set.any_ready(); }, until, {&hold, 1});
    const auto result = static_cast<long>(set.collect(events));
    if (result != 0 || woke == Woke::kTimeout || ended_) return result;
    if (woke == Woke::kSignal) return -EINTR;
  }
}

}  // namespace millrace::posix
