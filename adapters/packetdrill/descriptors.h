// Descriptors: numbers that the kernel gave out for us, so that its own close(2) on one does no harm, and what lies
// behind each. The kernel's object is an empty memory file; its inode tells whether the number is still ours.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "millrace/event.h"
#include "millrace/request.h"

namespace millrace::packetdrill {

/// One descriptor in an epoll set.
struct Watched {
  uint32_t events = 0;
  uint64_t data = 0;
  bool pending = true;  ///< something happened, or may have, since it was last looked at
  bool spent = false;   ///< EPOLLONESHOT: told once
};

/// Bytes on their way through a pipe, shared by its two ends.
struct Pipe {
  std::deque<std::byte> bytes;
  bool writer_closed = false;
};

struct Descriptor {
  enum class Kind : uint8_t { kSocket, kListener, kEpoll, kPipeOut, kPipeIn };
  Kind kind = Kind::kSocket;
  int fd = -1;
  uint64_t inode = 0;
  bool nonblocking = false;

  // Sockets and listeners.
  int family = 0;
  Handle handle{};  ///< invalid until it listens or connects
  SocketOptions options{};
  Endpoint local{};
  bool bound = false;
  bool fast_open_connect = false;      ///< TCP_FASTOPEN_CONNECT
  std::optional<Endpoint> deferred{};  ///< with it: whom the first write connects to
  bool connected_told = false;  ///< connect() has reported the end of the handshake
  bool read_shut = false;
  bool write_shut = false;
  bool wants_space = false;  ///< was seen without room to write
  bool tells_queue = false;  ///< TCP_INQ: recvmsg says what is left to read
  int linger_s = -1;         ///< SO_LINGER: seconds, -1 = off
  int64_t receive_timeout_us = 0;
  int64_t send_timeout_us = 0;
  int error = 0;  ///< errno that the next call or SO_ERROR reports, beside the worker's own

  std::map<int, Watched> watched{};  // epoll sets
  std::shared_ptr<Pipe> pipe{};      // pipe ends
};

class Descriptors {
 public:
  Descriptors() = default;
  ~Descriptors();
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  /// A fresh one, or null if the kernel gives none. `stale`, if not null, is what stood under the number before: the
  /// kernel closed it behind our back.
  Descriptor* create(Descriptor::Kind kind, std::unique_ptr<Descriptor>& stale);
  [[nodiscard]] Descriptor* find(int fd);
  /// Closes the number and forgets it.
  void remove(int fd);
  [[nodiscard]] std::map<int, std::unique_ptr<Descriptor>>& all() { return all_; }

 private:
  std::map<int, std::unique_ptr<Descriptor>> all_;
};

}  // namespace millrace::packetdrill
