// Kqueue: event queues as FreeBSD's kqueue(2) describes them, for programs that know them from F-Stack. Read and write
// filters watch our sockets and sets; timers and user events need no file. A note is listed while it may be active;
// whether it is, is looked at when it is to be told, as FreeBSD does it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "millrace/time.h"
#include "posix/file.h"

namespace millrace::posix {

class Stack;

/// struct kevent of FreeBSD 12 and later.
struct [[gnu::may_alias]] KEvent {
  uintptr_t ident = 0;
  int16_t filter = 0;
  uint16_t flags = 0;
  uint32_t fflags = 0;
  int64_t data = 0;
  void* udata = nullptr;
  uint64_t ext[4] = {};
};

namespace kq {

inline constexpr int16_t kRead = -1;
inline constexpr int16_t kWrite = -2;
inline constexpr int16_t kTimer = -7;
inline constexpr int16_t kUser = -11;

inline constexpr uint16_t kAdd = 0x0001;
inline constexpr uint16_t kDelete = 0x0002;
inline constexpr uint16_t kEnable = 0x0004;
inline constexpr uint16_t kDisable = 0x0008;
inline constexpr uint16_t kOneShot = 0x0010;
inline constexpr uint16_t kClear = 0x0020;
inline constexpr uint16_t kReceipt = 0x0040;
inline constexpr uint16_t kDispatch = 0x0080;
inline constexpr uint16_t kForceOneShot = 0x0100;
inline constexpr uint16_t kSystemFlags = 0xf000;
inline constexpr uint16_t kError = 0x4000;
inline constexpr uint16_t kEnd = 0x8000;

inline constexpr uint32_t kLowWater = 0x0001;
inline constexpr uint32_t kSeconds = 0x0001;
inline constexpr uint32_t kMilliseconds = 0x0002;
inline constexpr uint32_t kMicroseconds = 0x0004;
inline constexpr uint32_t kNanoseconds = 0x0008;
inline constexpr uint32_t kAbsolute = 0x0010;
inline constexpr uint32_t kFlagsAnd = 0x40000000;
inline constexpr uint32_t kFlagsOr = 0x80000000;
inline constexpr uint32_t kFlagsCopy = 0xc0000000;
inline constexpr uint32_t kFlagsMask = 0x00ffffff;
inline constexpr uint32_t kTrigger = 0x01000000;

}  // namespace kq

/// One registration in a kqueue, named by ident and filter.
struct Note : Watch {
  KEvent given{};  ///< as told, without the actions; fflags and data are the filter's parameters
  bool disabled = false;
  bool forced = false;     ///< told at the next look, whatever the filter says
  bool triggered = false;  ///< user events
  Instant due = kNever;    ///< timers: the next expiry
  Duration period{};       ///< and what follows; 0: nothing
  int64_t expired = 0;     ///< times since it was last told
};

class Kqueue final : public WatchSet {
 public:
  explicit Kqueue(Stack& stack) : WatchSet(FileKind::kKqueue), stack_(stack) {}
  ~Kqueue() override;

  [[nodiscard]] Note* find(const KEvent& name);
  /// `file` is null for filters that watch none.
  Note& add(const KEvent& given, File* file);
  void remove(Watch& watch) override;
  [[nodiscard]] bool any_ready() override;
  /// Active notes, at most `out.size()`; what stays active goes to the end of the list.
  size_t collect(std::span<KEvent> out);
  /// Whether the note is active, and what is to be told of it.
  [[nodiscard]] static bool active(Note& note, KEvent& out);
  [[nodiscard]] size_t size() const { return notes_.size(); }

 private:
  struct Name {
    uintptr_t ident;
    int16_t filter;
    bool operator==(const Name&) const = default;
  };
  struct Hash {
    size_t operator()(const Name& n) const { return n.ident * 31 + static_cast<size_t>(-n.filter); }
  };
  Stack& stack_;
  std::unordered_map<Name, Note, Hash> notes_;
};

}  // namespace millrace::posix
