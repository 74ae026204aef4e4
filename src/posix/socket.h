// Socket: what streams and datagram sockets have in common, as a program sees them. What it knows of readiness it
// learns from events; where they do not suffice (after a read that filled its buffer, after an accept) it asks with
// req::Look.
#pragma once

#include <memory>
#include <vector>

#include "millrace/request.h"
#include "posix/file.h"
#include "posix/transport.h"

namespace millrace::posix {

/// A socket option as it was given, for the sockets that a listener's accepts make.
struct GivenOption {
  int level = 0;
  int name = 0;
  std::vector<std::byte> value;
};

class Socket : public File {
 public:
  Socket(FileKind kind, Transport& transport, int family_) : File(kind), family(family_), transport_(transport) {}

  virtual void note_event(uint32_t mask) = 0;
  /// Whether a read or an accept has something to give.
  [[nodiscard]] bool can_read();
  [[nodiscard]] SocketStatus look();
  /// Its readiness only.
  [[nodiscard]] SocketStatus glance();

  int family;
  Handle handle{};
  uint64_t slot = 0;  ///< the user value of its events
  Endpoint local{};
  Endpoint remote{};

  // Events may be older than the last call: what they say is to be looked at before it is believed.
  bool readable = false;  ///< an event said so, and nothing has shown the contrary
  bool certain = false;   ///< `readable` is sure
  bool writable = false;
  bool shut_read = false;
  bool shut_write = false;

  bool reuse_address = false;
  bool reuse_port = false;
  bool v6_only = false;
  Duration receive_timeout{};  ///< 0: for ever
  Duration send_timeout{};
  Token token{};        ///< valid once it was handed to another program, or came from one
  int leaves_with = 0;  ///< process id of a child of vfork that takes it to another program
  std::shared_ptr<std::vector<GivenOption>> given{};  ///< set on this socket

 protected:
  Transport& transport_;
};

}  // namespace millrace::posix
