#include "service/shared_socket.h"

namespace millrace::service {

SharedSocket& SharedSockets::make(SocketKind kind) {
  uint32_t place = 0;
  if (free_.empty()) {
    place = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    place = free_.back();
    free_.pop_back();
  }
  slots_[place] = std::make_unique<SharedSocket>();
  slots_[place]->kind = kind;
  slots_[place]->key = uint64_t{++made_} << 32 | place;
  return *slots_[place];
}

SharedSocket* SharedSockets::find(uint64_t key, Handle handle) {
  const auto place = static_cast<uint32_t>(key);
  if (place >= slots_.size() || slots_[place] == nullptr) return nullptr;
  SharedSocket& socket = *slots_[place];
  return socket.key == key && socket.handle == handle ? &socket : nullptr;
}

SharedSocket* SharedSockets::find(const posix::Token& token) {
  const auto found = named_.find(token);
  return found == named_.end() ? nullptr : found->second;
}

void SharedSockets::name(SharedSocket& socket, std::unique_ptr<Parcel> parcel) {
  unname(socket);
  named_[parcel->token] = &socket;
  socket.parcel = std::move(parcel);
}

void SharedSockets::unname(SharedSocket& socket) {
  if (socket.parcel == nullptr) return;
  named_.erase(socket.parcel->token);
  socket.parcel.reset();
}

void SharedSockets::drop(SharedSocket& socket) {
  unname(socket);
  const auto place = static_cast<uint32_t>(socket.key);
  slots_[place].reset();
  free_.push_back(place);
}

}  // namespace millrace::service
