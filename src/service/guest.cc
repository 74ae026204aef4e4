#include "service/guest.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace millrace::service {

Guest::Guest(Ground& ground, Segment segment, runtime::Descriptor program_bell)
    : ground_(ground),
      id_(++ground.guests),
      segment_(std::move(segment)),
      program_bell_(std::move(program_bell)),
      slots_(kSockets) {
  free_.reserve(kSockets);
  for (uint32_t index = kSockets - 1; index != 0; --index) free_.push_back(index);
}

Guest::~Guest() {
  leave();
  for (uint32_t index = 1; index < kSockets; ++index) {
    if (slots_[index].socket != nullptr) finish(index, true);
  }
}

// --- Requests --------------------------------------------------------------------------------------------------------

size_t Guest::serve(size_t budget) {
  if (left_ || doomed_) return 0;
  if (settling_.index != 0) look_settled();
  if (held_back_ > 1) {
    --held_back_;
    return 0;
  }
  held_back_ = 0;
  RingWords& ring = segment_.header().requests;
  const uint32_t waiting = ring.tail.load(std::memory_order_acquire) - next_request_;
  if (waiting == 0) return 0;
  if (waiting > kRequests) {
    doom();
    return 0;
  }
  const size_t n = std::min<size_t>(waiting, budget);
  size_t i = 0;
  for (; i < n && !doomed_ && held_back_ == 0; ++i) {
    Descriptor d;
    std::memcpy(static_cast<void*>(&d), &segment_.request(next_request_++), sizeof d);
    carry_out(d);
  }
  ring.head.store(next_request_, std::memory_order_release);
  return i;
}

Guest::Slot* Guest::slot_of(const Descriptor& d) {
  if (d.index == 0 || d.index >= kSockets) return nullptr;
  Slot& slot = slots_[d.index];
  return slot.socket != nullptr && slot.gen == d.gen && !slot.closing ? &slot : nullptr;
}

uint32_t Guest::take_index() {
  if (free_.empty()) return 0;
  const uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  const uint32_t gen = slot.gen + 1;
  const bool listed = slot.listed;
  slot = {};
  slot.gen = gen;
  slot.listed = listed;
  // What an earlier socket of this number left in the flows.
  for (const Direction direction : {Direction::kToService, Direction::kToProgram}) {
    Flow& flow = segment_.flow(index, direction);
    flow.produced = 0;
    flow.origin = 0;
    flow.consumed = 0;
    flow.more = 0;
    flow.want = 0;
    flow.by_call = 0;
  }
  ++held_;
  return index;
}

// --- Events ----------------------------------------------------------------------------------------------------------

void Guest::tell(uint32_t index, uint32_t mask) {
  Slot& slot = slots_[index];
  if (mask == 0 || left_ || slot.closing) return;
  slot.pending |= mask;
  if (slot.listed) return;
  slot.listed = true;
  dirty_.push_back(index);
}

void Guest::publish() {
  if (left_ || (dirty_.empty() && !answered_)) return;
  RingWords& ring = segment_.header().events;
  const uint32_t used = next_event_ - ring.head.load(std::memory_order_acquire);
  if (used > kEvents) return doom();
  const size_t n = std::min<size_t>(dirty_.size(), kEvents - used);
  for (size_t i = 0; i < n; ++i) {
    Slot& slot = slots_[dirty_[i]];
    slot.listed = false;
    const uint32_t mask = std::exchange(slot.pending, 0);
    if (slot.socket == nullptr || mask == 0) continue;
    segment_.event(next_event_++) = {slot.user, dirty_[i], slot.gen, mask, 0};
  }
  dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<ptrdiff_t>(n));
  ring.tail.store(next_event_, std::memory_order_release);
  answered_ = false;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  auto& asleep = segment_.header().program_asleep;
  if (asleep.load(std::memory_order_relaxed) == 0) return;
  asleep.store(0, std::memory_order_relaxed);
  const char bell = 0;
  [[maybe_unused]] const ssize_t rung = write(program_bell_.get(), &bell, 1);
}

void Guest::told(uint32_t index, SharedSocket& socket, uint32_t mask) {
  moved_ = true;
  Slot& slot = slots_[index];
  if (socket.kind != SocketKind::kStream) return tell(index, mask);
  if ((mask & kError) != 0) {
    socket.dead = true;
    discard_out(index);
  }
  if (!socket.sole()) {
    tell(index, mask);
    return pump_out(index);
  }
  uint32_t out = mask & ~uint32_t{kReadable | kWritable};
  if ((mask & kUrgent) != 0 && !slot.closing) {
    socket.urgent = true;
    set_by_call(index, true);
  }
  if (socket.urgent && !slot.closing) out |= mask & uint32_t{kReadable};
  if (!slot.closing) {
    const bool ends = (mask & (kPeerClosed | kError)) != 0;
    if ((mask & (kReadable | kPeerClosed)) != 0 && (pump_in(index) != 0 || ends || !socket.back.empty())) {
      out |= kReadable;
    }
    if (socket.held) out |= kReadable | kError;
    tell(index, out);
  }
  pump_out(index);
}

size_t reset_those_waiting(Ground& ground) {
  const std::vector<Handle> waiting = std::exchange(ground.aborts, {});
  for (const Handle handle : waiting) (void)ground.door->request(req::Abort{handle});
  return waiting.size();
}

void tell_holders(SharedSockets& sockets, const Event& e) {
  SharedSocket* socket = sockets.find(e.user, e.handle);
  if (socket == nullptr) return;
  if (socket->sole()) {
    const SharedSocket::Holder holder = socket->holders.front();
    return holder.guest->told(holder.index, *socket, e.mask);
  }
  // One that hears it may let go of the socket.
  for (const SharedSocket::Holder& holder : std::vector<SharedSocket::Holder>(socket->holders)) {
    if (SharedSocket* still = sockets.find(e.user, e.handle)) holder.guest->told(holder.index, *still, e.mask);
  }
}

// --- Life ------------------------------------------------------------------------------------------------------------

void Guest::inherit(Guest& parent) {
  free_.clear();
  for (uint32_t index = kSockets - 1; index != 0; --index) {
    Slot& from = parent.slots_[index];
    Slot& slot = slots_[index];
    if (from.socket == nullptr || from.closing) {
      free_.push_back(index);
      continue;
    }
    SharedSocket& socket = *from.socket;
    if (socket.kind == SocketKind::kStream && socket.sole()) {
      parent.pump_out(index);
      parent.take_back(index);
      parent.set_by_call(index, true);
    }
    slot.gen = from.gen;
    slot.user = from.user;
    slot.socket = &socket;
    set_by_call(index, socket.kind == SocketKind::kStream);
    socket.holders.push_back({this, index});
    ++held_;
    constexpr uint32_t kLookAll = kReadable | kWritable;
    tell(index, socket.kind == SocketKind::kListener ? uint32_t{kAcceptable} : kLookAll);
  }
  for (const auto& [id, claimed] : parent.claims_) {
    claims_.emplace(id, claimed);
    for (uint32_t i = 0; i < claimed.count; ++i) ground_.ports->hold(id);
  }
}

void Guest::leave() {
  if (left_) return;
  for (uint32_t index = 1; index < kSockets; ++index) {
    if (slots_[index].socket != nullptr && !slots_[index].closing) close(index, false);
  }
  for (const auto& [id, claimed] : claims_) {
    for (uint32_t i = 0; i < claimed.count; ++i) ground_.ports->release(id);
  }
  claims_.clear();
  left_ = true;
}

bool Guest::prepare_sleep() {
  if (left_) return true;
  Header& header = segment_.header();
  header.service_asleep.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return doomed_ || (settling_.index == 0 && header.requests.tail.load(std::memory_order_acquire) == next_request_);
}

void Guest::end_sleep() { segment_.header().service_asleep.store(0, std::memory_order_relaxed); }

}  // namespace millrace::service
