// Datagram: a UDP socket as a program sees it. The worker knows it from its first bind, connect or send on.
#pragma once

#include "posix/socket.h"

namespace millrace::posix {

class Datagram final : public Socket {
 public:
  Datagram(Transport& transport, int family_) : Socket(FileKind::kDatagram, transport, family_) { writable = true; }

  [[nodiscard]] uint32_t ready() override;
  void note_event(uint32_t mask) override;
  [[nodiscard]] bool is_connected() const { return remote.port != 0; }
  /// Makes it known to the worker, on `local`; 0 or a negative errno number.
  [[nodiscard]] long open(const Endpoint& local);
  /// On any address and a chosen port, unless it is open already.
  [[nodiscard]] long open_if_need_be();
  /// What it knows of its own end, asked anew.
  void learn_names();
  [[nodiscard]] SocketStatus status() { return handle.valid() ? look() : SocketStatus(); }

  bool error_waits = false;
  DatagramOptions options{};
};

}  // namespace millrace::posix
