// Datagram: a UDP socket as a program sees it. The worker knows it from its first bind, connect or send on.
#pragma once

#include <deque>

#include "posix/control.h"
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

  /// With IP_RECVERR: takes the worker's errors to `errors`.
  void gather_errors();

  [[nodiscard]] bool has_error() const { return error_waits || pending != 0; }

  bool error_waits = false;
  DatagramOptions options{};
  Told told{};
  uint16_t segment = 0;              ///< UDP_SEGMENT
  std::deque<DatagramError> errors;  ///< the error queue
  int pending = 0;                   ///< errno of one that no call has reported
  std::vector<req::JoinGroup> joins;  ///< groups wanted before the worker knew of it; without the handle
  uint32_t multicast_from = 0;        ///< address that IP_MULTICAST_IF named
};

}  // namespace millrace::posix
