// File: an open file description that the stack keeps, named by one or more descriptors; and Watch, its entry in an
// epoll set. All of it belongs to the lock of Stack.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <vector>

namespace millrace::posix {

class File;
class Epoll;

/// What poll() and epoll report without being asked.
inline constexpr uint32_t kAlwaysReported = EPOLLERR | EPOLLHUP;
/// Bits of a registration that say how to report, not what.
inline constexpr uint32_t kHowReported =
    uint32_t{EPOLLET} | uint32_t{EPOLLONESHOT} | uint32_t{EPOLLWAKEUP} | uint32_t{EPOLLEXCLUSIVE};
inline constexpr uint32_t kReadBits = EPOLLIN | EPOLLRDNORM;
inline constexpr uint32_t kWriteBits = EPOLLOUT | EPOLLWRNORM;

/// One registration of a File in an epoll set.
struct Watch {
  Epoll* set = nullptr;
  File* file = nullptr;
  int fd = -1;
  uint32_t events = 0;  ///< as given, with kAlwaysReported; only kHowReported of them while a one-shot is spent
  epoll_data_t data{};
  Watch* next = nullptr;  ///< in the set's list of those that may be ready
  Watch* before = nullptr;
  bool listed = false;

  [[nodiscard]] bool armed() const { return (events & ~kHowReported) != 0; }
};

enum class FileKind : uint8_t { kStream, kDatagram, kEpoll };

class File {
 public:
  explicit File(FileKind kind) : kind_(kind) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] FileKind kind() const { return kind_; }
  /// EPOLL* bits that hold now.
  [[nodiscard]] virtual uint32_t ready() = 0;

  bool nonblocking = false;
  uint32_t numbers = 0;  ///< descriptors that name it
  uint32_t users = 0;    ///< calls that are in it
  std::vector<Watch*> watches;

 private:
  FileKind kind_;
};

}  // namespace millrace::posix
