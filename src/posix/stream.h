// Stream: a TCP socket as a program sees it.
#pragma once

#include <cstddef>
#include <optional>

#include "posix/socket.h"

namespace millrace::posix {

class Stream final : public Socket {
 public:
  enum class State : uint8_t {
    kFresh,  ///< neither connected nor listening, bound or not
    kListening,
    kConnecting,
    kConnected,  ///< or was; `broken` tells
  };

  Stream(Transport& transport, int family_) : Socket(FileKind::kStream, transport, family_) {}

  [[nodiscard]] uint32_t ready() override;
  [[nodiscard]] bool can_write();
  /// Whether as much is unread as the program wants to hear of.
  [[nodiscard]] bool has_enough() {
    return can_read() && (low_water <= 1 || glance().unread >= low_water) && !(urgent && only_urgent());
  }
  /// Bytes to read up to the end of the peer's urgent data, whose last is the urgent byte; 0: there is none, or no
  /// more.
  [[nodiscard]] size_t urgent_left();
  /// Whether nothing but the urgent byte is there to read, and reads pass it by.
  [[nodiscard]] bool only_urgent() { return !urgent_inline && urgent_left() == 1 && look().unread <= 1; }
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
  void note_event(uint32_t mask) override;
  [[nodiscard]] bool input_ended() const { return ended || shut_read || broken; }
  [[nodiscard]] bool output_ended() const { return shut_write || broken; }

  State state = State::kFresh;
  uint64_t claim = 0;  ///< of the transport; 0: not bound

  bool room_certain = false;  ///< `writable` is
  bool ended = false;         ///< the peer's end of data was announced
  bool broken = false;        ///< the connection failed
  bool error_waits = false;   ///< and nobody was told why
  bool unclaimed = false;     ///< connected, and connect() has not said so yet

  // RFC 9293 3.8.5, as Linux has it: the last byte of urgent data is not read with the others, unless SO_OOBINLINE
  // says.
  bool urgent = false;                     ///< there is a mark ahead
  bool urgent_inline = false;              ///< SO_OOBINLINE
  bool urgent_taken = false;               ///< the byte at the mark was given to MSG_OOB
  bool at_mark = false;                    ///< the last read ended there
  std::optional<std::byte> urgent_byte{};  ///< was passed by, by a peek

  uint32_t low_water = 1;  ///< SO_RCVLOWAT: fewer bytes are not readable, but at the end
  SocketOptions options{};
  bool chosen_port = false;  ///< nobody asked for the port that it is bound to
  bool linger = false;
  int linger_s = 0;
  std::shared_ptr<std::vector<GivenOption>> inherited;  ///< of the listener, when it was accepted; not in the shadow
};

}  // namespace millrace::posix
