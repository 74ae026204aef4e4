// File: an open file description that the stack keeps, named by one or more descriptors; Watch, its entry in an epoll
// set or a kqueue; and WatchSet, what these two have in common. All of it belongs to the lock of Stack.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <vector>

namespace millrace::posix {

class File;
class WatchSet;

/// What poll() and epoll report without being asked.
inline constexpr uint32_t kAlwaysReported = EPOLLERR | EPOLLHUP;
/// Bits of a registration that say how to report, not what.
inline constexpr uint32_t kHowReported =
    uint32_t{EPOLLET} | uint32_t{EPOLLONESHOT} | uint32_t{EPOLLWAKEUP} | uint32_t{EPOLLEXCLUSIVE};
inline constexpr uint32_t kReadBits = EPOLLIN | EPOLLRDNORM;
inline constexpr uint32_t kWriteBits = EPOLLOUT | EPOLLWRNORM;

/// One registration of a File in a set.
struct Watch {
  WatchSet* set = nullptr;
  File* file = nullptr;
  int fd = -1;
  uint32_t events = 0;  ///< as given, with kAlwaysReported; only kHowReported of them while a one-shot is spent
  epoll_data_t data{};
  Watch* next = nullptr;  ///< in the set's list of those that may be ready
  Watch* before = nullptr;
  bool listed = false;

  [[nodiscard]] bool armed() const { return (events & ~kHowReported) != 0; }
};

enum class FileKind : uint8_t { kStream, kDatagram, kEpoll, kKqueue };

class File {
 public:
  explicit File(FileKind kind) : kind_(kind) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] FileKind kind() const { return kind_; }
  [[nodiscard]] bool is_socket() const { return kind_ == FileKind::kStream || kind_ == FileKind::kDatagram; }
  /// EPOLL* bits that hold now.
  [[nodiscard]] virtual uint32_t ready() = 0;

  bool nonblocking = false;
  bool fenced = false;   ///< the parent's, in a forked child
  uint32_t numbers = 0;  ///< descriptors that name it
  uint32_t users = 0;    ///< calls that are in it
  std::vector<Watch*> watches;

 private:
  FileKind kind_;
};

/// Watches lie in a list while they may be ready; looking drops those that are not.
class WatchSet : public File {
 public:
  using File::File;

  virtual void remove(Watch& watch) = 0;
  /// A watch may be ready: to the end of the list.
  void list(Watch& watch);
  void unlist(Watch& watch);
  /// Whether something is ready; drops what is not.
  [[nodiscard]] virtual bool any_ready() = 0;
  [[nodiscard]] uint32_t ready() override { return any_ready() ? kReadBits : 0U; }

 protected:
  Watch* first_ = nullptr;
  Watch* last_ = nullptr;
};

}  // namespace millrace::posix
