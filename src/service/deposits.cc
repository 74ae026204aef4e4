#include "service/deposits.h"

#include <algorithm>
#include <utility>

namespace millrace::service {

Deposits::~Deposits() {
  while (!leases_.empty()) end(leases_.size() - 1, false);
}

Result<void> Deposits::put(uint64_t from, SharedSocket* socket, std::unique_ptr<Parcel> parcel, Duration life) {
  const posix::Token token = parcel->token;
  const auto of_one = std::count_if(leases_.begin(), leases_.end(), [&](const Lease& l) { return l.from == from; });
  if (static_cast<size_t>(of_one) >= kMostOfOne) return fail(Error::kTooMany);
  SharedSocket* named = ground_.sockets->find(token);
  if (!token.valid() || (named != nullptr && named != socket && named->kind != SocketKind::kFresh)) {
    return fail(Error::kInvalid);
  }
  const bool made = socket == nullptr && named == nullptr;
  if (socket == nullptr) socket = made ? &ground_.sockets->make(SocketKind::kFresh) : named;
  const uint32_t index = keeper_->hold(*socket);
  if (index == 0) {
    if (made) ground_.sockets->drop(*socket);
    return fail(Error::kTooMany);
  }
  if (named != nullptr && named != socket) ground_.sockets->unname(*named);  // it was deposited before it was opened
  for (Lease& lease : leases_) {
    if (socket->parcel != nullptr && lease.token == socket->parcel->token) lease.token = token;
  }
  const uint64_t claim = parcel->claim;
  if (claim != 0) ground_.ports->hold(claim);
  ground_.sockets->name(*socket, std::move(parcel));
  leases_.push_back({token, index, from, claim, ground_.door->now() + life});
  return {};
}

void Deposits::end(size_t which, bool elsewhere) {
  const Lease lease = leases_[which];
  leases_.erase(leases_.begin() + static_cast<ptrdiff_t>(which));
  if (lease.claim != 0) ground_.ports->release(lease.claim);
  keeper_->let_go(lease.index, elsewhere);
}

void Deposits::withdraw(uint64_t from, const posix::Token& token) {
  for (size_t i = leases_.size(); i-- != 0;) {
    if (leases_[i].token == token && leases_[i].from == from) return end(i, false);
  }
  taken(token);
}

SharedSocket* Deposits::find(const posix::Token& token) {
  SharedSocket* socket = ground_.sockets->find(token);
  if (socket == nullptr || socket->kind != SocketKind::kStream || !socket->sole()) return socket;
  return socket->holders.front().guest == keeper_.get() ? socket : nullptr;
}

void Deposits::taken(const posix::Token& token) {
  const auto oldest = std::find_if(leases_.begin(), leases_.end(), [&](const Lease& l) { return l.token == token; });
  if (oldest == leases_.end()) return;
  const SharedSocket* socket = ground_.sockets->find(token);
  end(static_cast<size_t>(oldest - leases_.begin()), socket != nullptr && !socket->sole());
}

void Deposits::look_at_clock(Instant now) {
  for (size_t i = leases_.size(); i-- != 0;) {
    if (leases_[i].until < now) end(i, false);
  }
}

}  // namespace millrace::service
