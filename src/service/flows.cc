// What flows between a program and the worker. The counters of a flow that the program writes are read once each and
// believed only within the bounds of our own.
#include <algorithm>
#include <cstring>

#include "service/guest.h"

namespace millrace::service {
namespace {

constexpr uint64_t kRoomAgain = kFlowBytes / 3;  // as Linux: a third is free before a writer hears of it

}  // namespace

uint64_t Guest::unsent(uint32_t index) {
  const Flow& flow = segment_.flow(index, Direction::kToService);
  const uint64_t n = flow.produced.load(std::memory_order_acquire) - slots_[index].sent;
  if (n <= kFlowBytes) return n;
  doom();
  return 0;
}

// What the program says it has read counts if it was given so much.
uint64_t Guest::unread(uint32_t index) {
  Slot& slot = slots_[index];
  const uint64_t consumed = segment_.flow(index, Direction::kToProgram).consumed.load(std::memory_order_acquire);
  if (consumed - slot.given_seen <= slot.given - slot.given_seen) {
    slot.given_seen = consumed;
  } else {
    doom();
  }
  return slot.given - slot.given_seen;
}

bool Guest::has_room(uint32_t index) { return kFlowBytes - unsent(index) >= kRoomAgain; }

void Guest::pump_out(uint32_t index) {
  Slot& slot = slots_[index];
  SharedSocket& socket = *slot.socket;
  Flow& flow = segment_.flow(index, Direction::kToService);
  uint64_t left = socket.dead ? 0 : unsent(index);
  const uint64_t origin = flow.origin.load(std::memory_order_relaxed);
  const bool more = flow.more.load(std::memory_order_relaxed) != 0;
  bool moved = false;
  while (left != 0) {
    const uint64_t at = (slot.sent - origin) % kFlowBytes;
    const uint64_t n = std::min(left, kFlowBytes - at);
    const std::byte* from = segment_.data(index, Direction::kToService) + at;
    const auto reply = ground_.door->request(req::Send{socket.handle, {from, n}, more || n < left});
    if (!reply) {
      if (reply.error() != Error::kWouldBlock && reply.error() != Error::kNoBuffers) {
        socket.held = reply.error();
        socket.dead = true;
        discard_out(index);
        tell(index, kError | kReadable);
        return settle(socket);
      }
      break;
    }
    slot.sent += reply->bytes;
    left -= reply->bytes;
    moved = moved || reply->bytes != 0;
    if (reply->bytes < n) break;
  }
  if (moved) {
    moved_ = true;
    flow.consumed.store(slot.sent, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  if (kFlowBytes - left >= kRoomAgain && flow.want.load(std::memory_order_relaxed) != 0) {
    flow.want.store(0, std::memory_order_relaxed);
    tell(index, kWritable);
  }
  if (left == 0) settle(socket);
}

// The flow to the service is empty: what waited for that.
void Guest::settle(SharedSocket& socket) {
  const auto empty = [&](const SharedSocket::Holder& h) { return socket.dead || h.guest->unsent(h.index) == 0; };
  if (socket.shut_pending && std::all_of(socket.holders.begin(), socket.holders.end(), empty)) {
    socket.shut_pending = false;
    (void)ground_.door->request(req::Shutdown{socket.handle});
  }
  for (const SharedSocket::Holder& holder : socket.holders) {
    if (holder.guest != this || !slots_[holder.index].closing) continue;
    finish(holder.index, false);
    return;
  }
}

void Guest::discard_out(uint32_t index) {
  Slot& slot = slots_[index];
  slot.sent += unsent(index);
  segment_.flow(index, Direction::kToService).consumed.store(slot.sent, std::memory_order_release);
}

size_t Guest::pump_in(uint32_t index) {
  Slot& slot = slots_[index];
  SharedSocket& socket = *slot.socket;
  if (!socket.back.empty() || socket.held || socket.urgent) return 0;
  Flow& flow = segment_.flow(index, Direction::kToProgram);
  size_t moved = 0;
  bool wished = false;
  while (!doomed_) {
    const uint64_t waiting = unread(index);
    if (waiting == 0 && slot.given_from != slot.given) {
      slot.given_from = slot.given;
      flow.origin.store(slot.given, std::memory_order_relaxed);
    }
    const uint64_t at = (slot.given - slot.given_from) % kFlowBytes;
    // A program that wants a small buffer is not to have a large one here.
    const uint64_t wanted = socket.in_limit > waiting ? socket.in_limit - waiting : 0;
    const uint64_t room = std::min({kFlowBytes - waiting, kFlowBytes - at, wanted});
    if (room == 0) {
      if (wished) break;
      wished = true;
      flow.want.store(1, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);  // the program may have read meanwhile
      continue;
    }
    std::byte* into = segment_.data(index, Direction::kToProgram) + at;
    const auto reply = ground_.door->request(req::Receive{socket.handle, {into, room}});
    if (!reply) {
      const bool nothing = reply.error() == Error::kWouldBlock || reply.error() == Error::kNotConnected;
      if (!nothing) socket.held = reply.error();
      break;
    }
    if (reply->bytes == 0) break;
    slot.given += reply->bytes;
    moved += reply->bytes;
    flow.produced.store(slot.given, std::memory_order_release);
    if (reply->bytes < room) break;
  }
  return moved;
}

// Bytes that the program has not read come back: from now on whoever holds the socket asks for them. The program waits
// for an answer meanwhile, so that it does not read.
void Guest::take_back(uint32_t index) {
  Slot& slot = slots_[index];
  uint64_t left = unread(index);
  uint64_t next = slot.given_seen;
  std::vector<std::byte>& back = slot.socket->back;
  while (left != 0) {
    const uint64_t at = (next - slot.given_from) % kFlowBytes;
    const uint64_t n = std::min(left, kFlowBytes - at);
    const std::byte* from = segment_.data(index, Direction::kToProgram) + at;
    back.insert(back.end(), from, from + n);
    next += n;
    left -= n;
  }
  slot.given = slot.given_seen;
  segment_.flow(index, Direction::kToProgram).produced.store(slot.given, std::memory_order_release);
}

void Guest::set_by_call(uint32_t index, bool on) {
  segment_.flow(index, Direction::kToProgram).by_call.store(on ? 1 : 0, std::memory_order_release);
}

// --- The end of a socket ---------------------------------------------------------------------------------------------

void Guest::close(uint32_t index, bool abort) {
  Slot& slot = slots_[index];
  SharedSocket& socket = *slot.socket;
  if (socket.kind != SocketKind::kStream || abort) return finish(index, abort);
  // RFC 9293 3.10.4: what was not read makes it a reset.
  if (socket.sole() && (unread(index) != 0 || !socket.back.empty())) return finish(index, true);
  slot.closing = true;
  slot.pending = 0;
  pump_out(index);  // and then finish()
}

void Guest::finish(uint32_t index, bool abort) {
  const Handle handle = slots_[index].socket->handle;
  const bool last = slots_[index].socket->sole();
  if (const uint64_t claim = slots_[index].socket->listens_for; last && claim != 0) ground_.ports->unlisten(claim);
  forget(index);
  if (!last) return;
  if (abort) {
    ground_.aborts.push_back(handle);
    held_back_ = 2;  // what the program does next finds the peer reset, as on the kernel
  } else {
    (void)ground_.door->request(req::Close{handle});
  }
}

// It is held no more.
void Guest::forget(uint32_t index) {
  Slot& slot = slots_[index];
  SharedSocket& socket = *slot.socket;
  std::erase_if(socket.holders, [&](const auto& h) { return h.guest == this && h.index == index; });
  slot.socket = nullptr;
  slot.closing = false;
  slot.pending = 0;
  free_.push_back(index);
  --held_;
  if (socket.holders.empty()) {
    ground_.sockets->drop(socket);
    return;
  }
  if (socket.kind != SocketKind::kStream || !socket.sole() || !socket.back.empty()) return;
  const SharedSocket::Holder other = socket.holders.front();
  other.guest->set_by_call(other.index, false);
  if (other.guest->pump_in(other.index) != 0) other.guest->tell(other.index, kReadable);
}

}  // namespace millrace::service
