// Stream: a TCP socket as a program sees it. What it knows of readiness it learns from events; where they do not
// suffice (after a read that filled its buffer, after an accept) it asks with req::Look.
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

class Stream final : public File {
 public:
  enum class State : uint8_t {
    kFresh,  ///< neither connected nor listening, bound or not
    kListening,
    kConnecting,
    kConnected,  ///< or was; `broken` tells
  };

  Stream(Transport& transport, int family_) : File(FileKind::kStream), family(family_), transport_(transport) {}

  [[nodiscard]] uint32_t ready() override;
  /// Whether a read or an accept has something to give.
  [[nodiscard]] bool can_read();
  [[nodiscard]] bool can_write();
  [[nodiscard]] SocketStatus look();
  /// The errno number of what the worker said about it.
  [[nodiscard]] int errno_for(Error error) const;
  /// A read gave `got` of `wanted` bytes.
  void note_read(size_t got, size_t wanted) {
    if (got < wanted) {
      readable = false;
    } else {
      certain = false;
    }
  }
  void note_event(uint32_t mask);
  [[nodiscard]] bool input_ended() const { return ended || shut_read || broken; }
  [[nodiscard]] bool output_ended() const { return shut_write || broken; }

  int family;
  State state = State::kFresh;
  Handle handle{};
  uint64_t slot = 0;   ///< the user value of its events
  uint64_t claim = 0;  ///< of the transport; 0: not bound
  Endpoint local{};
  Endpoint remote{};

  // Events may be older than the last call: what they say is to be looked at before it is believed.
  bool readable = false;  ///< an event said so, and nothing has shown the contrary
  bool certain = false;   ///< `readable` is sure
  bool writable = false;
  bool room_certain = false;  ///< `writable` is
  bool ended = false;         ///< the peer's end of data was announced
  bool broken = false;        ///< the connection failed
  bool error_waits = false;   ///< and nobody was told why
  bool unclaimed = false;     ///< connected, and connect() has not said so yet
  bool shut_read = false;
  bool shut_write = false;

  SocketOptions options{};
  bool reuse_address = false;
  bool chosen_port = false;  ///< nobody asked for the port that it is bound to
  bool linger = false;
  int linger_s = 0;
  Duration receive_timeout{};  ///< 0: for ever
  Duration send_timeout{};
  std::shared_ptr<std::vector<GivenOption>> given;      ///< set on this socket
  std::shared_ptr<std::vector<GivenOption>> inherited;  ///< of the listener, when it was accepted; not in the shadow

 private:
  Transport& transport_;
};

}  // namespace millrace::posix
