// A guest's part in handing sockets on: it deposits, withdraws and collects. Also how two guests come to hold one
// socket.
#include <algorithm>
#include <cstring>

#include "service/codec.h"
#include "service/deposits.h"
#include "service/guest.h"

namespace millrace::service {
namespace {

constexpr uint32_t kMostRest = 4'096;  // bytes of what a depositor says besides

posix::Token token_of(const Call& c) { return {c.token[0], c.token[1]}; }

// What a new holder should be told, as if it had been there when it happened.
uint32_t news_of(const SocketStatus& status) {
  uint32_t mask = kReadable | kWritable;
  if (status.alive && !status.connecting) mask |= kConnected;
  if (status.ended) mask |= kPeerClosed;
  if (!status.alive) mask |= kError;
  return mask;
}

}  // namespace

uint32_t Guest::hold(SharedSocket& socket, uint64_t user) {
  const uint32_t index = take_index();
  if (index == 0) return 0;
  const bool stream = socket.kind == SocketKind::kStream;
  if (stream && socket.sole()) {
    const SharedSocket::Holder other = socket.holders.front();
    other.guest->pump_out(other.index);
    other.guest->take_back(other.index);
    other.guest->set_by_call(other.index, true);
  }
  Slot& slot = slots_[index];
  slot.socket = &socket;
  slot.user = user;
  socket.holders.push_back({this, index});
  set_by_call(index, stream);
  return index;
}

void Guest::let_go(uint32_t index, bool elsewhere) {
  if (elsewhere) {
    finish(index, false);
  } else {
    close(index, false);
  }
}

bool Guest::hold_claim(uint64_t id, const Endpoint& local) {
  const auto [claimed, fresh] = claims_.try_emplace(id, Claimed{0, local});
  if (fresh && claims_.size() > kSockets) {
    claims_.erase(claimed);
    return false;
  }
  ++claimed->second.count;
  ground_.ports->hold(id);
  return true;
}

Result<void> Guest::deposit(const Descriptor& d, const Call& c) {
  if (ground_.deposits == nullptr) return fail(Error::kNotSupported);
  const Slot* slot = slot_of(d);
  if (slot == nullptr && d.index != 0) return fail(Error::kBadHandle);
  auto parcel = std::make_unique<Parcel>();
  parcel->token = token_of(c);
  parcel->stream = c.stream;
  parcel->datagram = c.datagram;
  parcel->rest.resize(std::min(c.bytes, kMostRest));
  if (!parcel->rest.empty()) std::memcpy(parcel->rest.data(), segment_.bulk().data(), parcel->rest.size());
  if (d.number != 0) {
    const auto claimed = claims_.find(d.number);
    if (claimed == claims_.end()) return fail(Error::kInvalid);
    parcel->claim = d.number;
    parcel->claimed = claimed->second.local;
  }
  const Duration life = (c.flags & kFlagMayWait) != 0 ? Deposits::kInMessage : Deposits::kOverExec;
  return ground_.deposits->put(id_, slot != nullptr ? slot->socket : nullptr, std::move(parcel), life);
}

Result<void> Guest::withdraw(const Call& c) {
  if (ground_.deposits == nullptr) return fail(Error::kNotSupported);
  ground_.deposits->withdraw(id_, token_of(c));
  return {};
}

Result<void> Guest::collect(const Call& c, Answer& a) {
  if (ground_.deposits == nullptr) return fail(Error::kNotSupported);
  SharedSocket* socket = ground_.deposits->find(token_of(c));
  if (socket == nullptr) return fail(Error::kNotFound);
  const Parcel& parcel = *socket->parcel;
  a.handle = {};
  a.kind = static_cast<uint32_t>(socket->kind);
  a.stream = parcel.stream;
  a.datagram = parcel.datagram;
  a.length = static_cast<uint32_t>(parcel.rest.size());
  if (!parcel.rest.empty()) std::memcpy(segment_.bulk().data(), parcel.rest.data(), parcel.rest.size());
  if (socket->kind != SocketKind::kFresh) {
    SocketStatus status;
    (void)ground_.door->request(req::Look{socket->handle, &status});
    if (socket->dead || socket->held) status.alive = false;
    const uint32_t index = hold(*socket, c.user);
    if (index == 0) return fail(Error::kTooMany);
    a.handle = {index, slots_[index].gen};
    a.status = status;
    const auto mask = socket->kind == SocketKind::kStream     ? news_of(status)
                      : socket->kind == SocketKind::kListener ? uint32_t{kAcceptable}
                                                              : uint32_t{kReadable} | uint32_t{kWritable};
    tell(index, mask);
    name(*socket, a);
  }
  if (parcel.claim != 0 && ground_.ports->has(parcel.claim) && hold_claim(parcel.claim, parcel.claimed)) {
    a.number = parcel.claim;
  }
  ground_.deposits->taken(token_of(c));
  return {};
}

}  // namespace millrace::service
