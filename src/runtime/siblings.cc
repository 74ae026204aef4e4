#include "runtime/siblings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>

#include "base/assert.h"
#include "stack/impl.h"

namespace millrace::runtime {
namespace {

constexpr uint64_t kMagic = 0x6d72'7369'626c'0001;  // the last digits: version of the layout
constexpr Duration kLookEvery = milliseconds(10);
constexpr size_t kAllRings = size_t{32} << 20;  // what they may have together, as long as each has enough
constexpr size_t kLeastRing = size_t{256} << 10;
constexpr size_t kMostRing = size_t{1} << 20;
constexpr off_t kDoor = 1'000;  // this byte's lock: one process at a time comes or goes

// Locks of an open file description: the kernel lets go of them when the last process that has it ends.
struct flock lock_of(off_t byte, short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

bool lock(int file, off_t byte, bool wait) {
  struct flock l = lock_of(byte, F_WRLCK);
  int done;
  do {
    done = fcntl(file, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
  } while (done != 0 && errno == EINTR);
  return done == 0;
}

void unlock(int file, off_t byte) {
  struct flock l = lock_of(byte, F_UNLCK);
  (void)fcntl(file, F_OFD_SETLK, &l);
}

bool is_locked_by_another(int file, off_t byte) {
  struct flock l = lock_of(byte, F_WRLCK);
  return fcntl(file, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/// At the door: whoever comes or goes is alone with the file meanwhile.
class AtTheDoor {
 public:
  explicit AtTheDoor(int file) : file_(file) { ok_ = lock(file, kDoor, true); }
  ~AtTheDoor() { unlock(file_, kDoor); }
  AtTheDoor(const AtTheDoor&) = delete;
  AtTheDoor& operator=(const AtTheDoor&) = delete;
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  int file_;
  bool ok_;
};

// Interfaces belong to a network namespace, files do not.
std::string path_of(const Siblings::Plan& plan) {
  struct stat net {};
  (void)stat("/proc/self/ns/net", &net);
  return fmt::format("{}/{}.{}.siblings", plan.directory, plan.name, net.st_ino);
}

// Names in the abstract space, which belong to the network namespace too and end with their process.
socklen_t bell_of(const Siblings::Plan& plan, uint32_t who, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("millrace/{}/{}", plan.name, who);
  const size_t n = std::min(name.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path + 1, name.data(), n);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + n);
}

size_t ring_bytes_for(uint32_t count) {
  const size_t ways = size_t{count} * std::max(count - 1, 1U);
  return std::clamp(std::bit_floor(kAllRings / ways), kLeastRing, kMostRing);
}

Failure cannot(const std::string& what, const std::string& path) {
  return {fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)), ""};
}

}  // namespace

// What one way brings, in bursts of one interface.
struct Siblings::Burst {
  Burst(stack::Worker& to, bool steered, Instant at) : worker(to), is_steered(steered), now(at) {}
  ~Burst() { flush(); }
  void operator()(pkt::Packet* frame, IfIndex from) {
    if (frame == nullptr) {
      worker.impl().hand_over.counters().add(stack::SteerCounter::kDropNoPacket);
      return;
    }
    if (n == frames.size() || from != interface) flush();
    interface = from;
    frames[n++] = frame;
  }
  void flush() {
    const std::span<pkt::Packet*> all(frames.data(), n);
    n = 0;
    if (all.empty()) return;
    if (interface == IfIndex::kNone || static_cast<size_t>(interface) > worker.impl().ip.interface_count()) {
      for (pkt::Packet* frame : all) worker.impl().packets.free(frame);
    } else if (is_steered) {
      worker.input_steered(interface, all, now);
    } else {
      worker.input(interface, all, now);
    }
  }
  stack::Worker& worker;
  bool is_steered;
  Instant now;
  std::array<pkt::Packet*, kBurst> frames{};
  size_t n = 0;
  IfIndex interface = IfIndex::kNone;
};

Siblings::Siblings(const Plan& plan, Descriptor file, Descriptor bell)
    : plan_(plan), path_(path_of(plan)), file_(std::move(file)), bell_(std::move(bell)) {
  ring_bytes_ = ring_bytes_for(plan.count);
}

Outcome<std::unique_ptr<Siblings>> Siblings::join(const Plan& plan) {
  MR_ASSERT(plan.self < plan.count && plan.count <= kMost);
  std::error_code ignored;
  std::filesystem::create_directories(plan.directory, ignored);
  const std::string path = path_of(plan);
  Descriptor bell(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!bell) return tl::unexpected<Failure>(cannot("make a socket for", path));
  for (;;) {
    Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file) return tl::unexpected<Failure>(cannot("open", path));
    const AtTheDoor door(file.get());
    if (!door.ok()) return tl::unexpected<Failure>(cannot("lock", path));
    struct stat ours {};
    if (fstat(file.get(), &ours) != 0) return tl::unexpected<Failure>(cannot("look at", path));
    if (ours.st_nlink == 0) continue;  // the last one has just left
    std::unique_ptr<Siblings> out(new Siblings(plan, Descriptor(dup(file.get())), std::move(bell)));
    if (auto done = out->enter(); !done) return tl::unexpected<Failure>(done.error());
    return out;
  }
}

Outcome<void> Siblings::enter() {
  bool first = true;
  for (uint32_t i = 0; i < kMost; ++i) first = first && !is_locked_by_another(file_.get(), i);
  if (!lock(file_.get(), plan_.self, false)) {
    return failure(fmt::format("process {} of {} runs already", plan_.self, plan_.name),
                   "give each process a number of its own with --proc-id");
  }
  if (auto done = map(first); !done) return done;
  sockaddr_un address;
  const socklen_t length = bell_of(plan_, plan_.self, address);
  if (bind(bell_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return tl::unexpected<Failure>(cannot("bind the socket of", path_));
  }
  Place& place = head().places[plan_.self];
  place.running = 0;
  place.asleep = 0;
  place.rung = 0;
  return {};
}

Outcome<void> Siblings::map(bool first) {
  struct stat now {};
  if (first) {
    // Nobody has it mapped: it begins anew.
    if (ftruncate(file_.get(), 0) != 0) return tl::unexpected<Failure>(cannot("empty", path_));
    errno = posix_fallocate(file_.get(), 0, static_cast<off_t>(bytes()));
    if (errno != 0) return tl::unexpected<Failure>(cannot(fmt::format("make room for {} bytes in", bytes()), path_));
  } else if (fstat(file_.get(), &now) != 0 || static_cast<size_t>(now.st_size) != bytes()) {
    return failure(fmt::format("the processes of {} that run are not {}", plan_.name, plan_.count),
                   "start all with the same lcore_mask");
  }
  void* memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (memory == MAP_FAILED) return tl::unexpected<Failure>(cannot("map", path_));
  memory_ = static_cast<std::byte*>(memory);
  Head& h = head();
  if (first) {
    h.fingerprint = plan_.fingerprint;
    h.seed = plan_.seed;
    h.count = plan_.count;
    h.ring_bytes = static_cast<uint32_t>(ring_bytes_);
    h.magic = kMagic;
  }
  if (h.magic != kMagic || h.count != plan_.count || h.ring_bytes != ring_bytes_) {
    return failure(fmt::format("the processes of {} that run are of another version", plan_.name), "stop them first");
  }
  if (h.fingerprint != plan_.fingerprint) {
    return failure(fmt::format("the processes of {} that run have other interfaces or addresses", plan_.name),
                   "start all with the same configuration");
  }
  for (uint32_t i = 0; i < plan_.count; ++i) {
    if (i != plan_.self) ring(i, plan_.self).skip_all();
  }
  return {};
}

Siblings::~Siblings() {
  if (memory_ == nullptr) return;
  const AtTheDoor door(file_.get());
  head().places[plan_.self].running = 0;
  bool last = door.ok();
  for (uint32_t i = 0; i < kMost; ++i) {
    if (i != plan_.self) last = last && !is_locked_by_another(file_.get(), i);
  }
  if (last) unlink(path_.c_str());
  munmap(memory_, bytes());
}

size_t Siblings::bytes() const {
  const size_t ways = size_t{plan_.count} * plan_.count;
  return sizeof(Head) + ways * (sizeof(FrameRing::Positions) + ring_bytes_);
}

FrameRing Siblings::ring(uint32_t from, uint32_t to) const {
  const size_t way = size_t{from} * plan_.count + to;
  std::byte* at = memory_ + sizeof(Head) + way * (sizeof(FrameRing::Positions) + ring_bytes_);
  return {reinterpret_cast<FrameRing::Positions*>(at), ring_bytes_};
}

void Siblings::attach(stack::Worker& worker) {
  worker_ = &worker;
  look({});
}

bool Siblings::lives(uint32_t other) const {
  return head().places[other].running.load(std::memory_order_acquire) != 0 && is_locked_by_another(file_.get(), other);
}

// What was on its way to one that is gone is looked at again, by the new order.
void Siblings::look(Instant now) {
  look_at_ = now + kLookEvery;
  uint64_t living = uint64_t{1} << plan_.self;
  for (uint32_t i = 0; i < plan_.count; ++i) {
    if (i != plan_.self && lives(i)) living |= uint64_t{1} << i;
  }
  if (living == living_) return;
  const uint64_t gone = living_ & ~living;
  living_ = living;
  worker_->set_living(living);
  for (uint32_t i = 0; i < plan_.count; ++i) {
    if ((gone >> i & 1) == 0) continue;
    Burst burst(*worker_, false, now);
    (void)ring(plan_.self, i).take_back(worker_->impl().packets, burst);
  }
}

Instant Siblings::look_at() const {
  for (uint32_t i = 0; i < plan_.count; ++i) {
    if (i != plan_.self && (living_ >> i & 1) != 0 && !ring(plan_.self, i).empty()) return look_at_;
  }
  return kNever;
}

size_t Siblings::take_in(uint32_t self, Instant now) {
  if (!began_) {
    began_ = true;
    head().places[self].running.store(1, std::memory_order_release);
  }
  now_ = now;
  if (look_at_ <= now) look(now);
  size_t count = 0;
  for (uint32_t from = 0; from < plan_.count; ++from) {
    if (from == self) continue;
    FrameRing in = ring(from, self);
    if (in.empty()) continue;
    Burst burst(*worker_, true, now);
    count += in.take(kBurst, worker_->impl().packets, burst);
  }
  return count;
}

// A sibling that does not keep up loses frames, as at a device whose queue is full: it must not hold up the others.
void Siblings::give(uint32_t to, std::span<const stack::Handed> frames) {
  stack::Impl& impl = worker_->impl();
  FrameRing out = ring(plan_.self, to);
  for (const stack::Handed& handed : frames) {
    if (!out.put(*handed.frame, handed.interface)) impl.hand_over.counters().add(stack::SteerCounter::kDropFull);
    impl.packets.free(handed.frame);
  }
}

size_t Siblings::hand_out(uint32_t self) {
  size_t count = 0;
  std::array<stack::Handed, kBurst> frames;
  for (uint32_t to = 0; to < plan_.count; ++to) {
    if (to == self) continue;
    bool any = false;
    while (const size_t n = worker_->hand_over(to, frames)) {
      if ((living_ >> to & 1) == 0) {
        // It was sorted out for one that was seen to be gone since.
        Burst again(*worker_, false, now_);
        for (const stack::Handed& handed : std::span(frames).first(n)) again(handed.frame, handed.interface);
        continue;
      }
      give(to, {frames.data(), n});
      any = true;
    }
    if (!any) continue;
    ++count;
    ring_bell(to);
  }
  return count;
}

// As between threads (Exchange::wake): the sleeper says so and then looks at its rings, we write and then look whether
// it says so.
void Siblings::ring_bell(uint32_t to) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Place& place = head().places[to];
  if (place.asleep.load(std::memory_order_relaxed) == 0 || place.rung.exchange(1) != 0) return;
  sockaddr_un address;
  const socklen_t length = bell_of(plan_, to, address);
  const char ding = 0;
  (void)sendto(bell_.get(), &ding, 1, MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
}

bool Siblings::prepare_sleep(uint32_t self) {
  Place& place = head().places[self];
  place.asleep.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  bool nothing = worker_->hand_over_room() == stack::HandOver::kRoom / 2;
  for (uint32_t from = 0; from < plan_.count && nothing; ++from) {
    if (from != self) nothing = ring(from, self).empty();
  }
  if (!nothing) place.asleep.store(0, std::memory_order_relaxed);
  return nothing;
}

void Siblings::end_sleep(uint32_t self) {
  Place& place = head().places[self];
  if (place.asleep.exchange(0, std::memory_order_relaxed) == 0) return;
  place.rung.store(0);
  char ding;
  while (recv(bell_.get(), &ding, 1, MSG_DONTWAIT) > 0) {
  }
}

}  // namespace millrace::runtime
