// Congestion controllers as plug-ins: a table of operations over the two windows of a connection and 64 bytes of its
// own state. A controller reads no clock and allocates nothing; events carry what it may know. A new controller is one
// file that defines its Operations and one row in MILLRACE_CONGESTION_CONTROLLERS.
//
// What stays outside: which segments are lost and what is sent during recovery (recovery.cc), when a window may be
// used (output.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <type_traits>

#include "base/seq32.h"
#include "millrace/time.h"

namespace millrace::tcp::cc {

using base::Seq32;

inline constexpr size_t kStateBytes = 64;
inline constexpr uint32_t kLargestWindow = 1u << 30;

/// What a controller may change, and its own state.
struct Control {
  uint32_t& cwnd;       ///< bytes
  uint32_t& ssthresh;   ///< bytes; UINT32_MAX until the first loss
  uint32_t& ack_bytes;  ///< the controller's: acknowledged bytes not yet turned into window (RFC 5681 3.1)
  std::byte* state;     ///< kStateBytes, aligned to 8, zero before start
  uint32_t mss;         ///< payload bytes of a full segment

  template <class State>
  [[nodiscard]] State& as() const {
    static_assert(sizeof(State) <= kStateBytes && alignof(State) <= 8 && std::is_trivially_copyable_v<State>);
    return *reinterpret_cast<State*>(state);
  }
};

struct StartEvent {
  Instant now;
};

/// New data was acknowledged, outside of fast recovery. Comes only while the window holds the sender back (RFC 7661 3)
/// unless the controller kWantsEveryAck.
struct AckEvent {
  Instant now;
  uint32_t acked = 0;    ///< bytes newly acknowledged
  uint32_t marked = 0;   ///< of these, by an acknowledgment that echoed congestion (ECE)
  uint32_t flight = 0;   ///< bytes outstanding before the acknowledgment
  uint32_t rtt_us = 0;   ///< round trip that this acknowledgment measured; 0 = none
  uint32_t srtt_us = 0;  ///< smoothed, 0 before the first sample
  Seq32 snd_una{};       ///< after the acknowledgment
  Seq32 snd_nxt{};
  bool limited = true;  ///< the window held the sender back
};

/// Loss, a timeout, or the network's mark.
struct LossEvent {
  Instant now;
  uint32_t flight = 0;  ///< bytes outstanding when it was noticed
};

/// The last loss or timeout was none (RFC 5682, RFC 3522, RFC 2883).
struct UndoEvent {
  Instant now;
  uint32_t cwnd = 0;      ///< as it was before the first reduction
  uint32_t ssthresh = 0;  ///< likewise
};

/// Data is to be sent after nothing was in flight for longer than a retransmission timeout.
struct RestartEvent {
  Instant now;
  Duration idle;
  uint32_t initial_window = 0;  ///< bytes
};

/// Fast recovery ended: everything that was outstanding at its start is acknowledged.
struct RecoveredEvent {
  Instant now;
  uint32_t flight = 0;
};

/// Nothing to be done on an event.
template <class Event>
void ignore(Control, const Event&) {}

enum Wants : uint8_t {
  kWantsEveryAck = 1 << 0,   ///< while ECN is in use
  kWantsEcn = 1 << 1,        ///< asks for ECN, and grants it, whatever the setting
  kWantsExactEcho = 1 << 2,  ///< as a receiver echoes each mark once (RFC 8257 3.2)
};

struct Operations {
  const char* name;                               ///< at most 15 characters
  void (*start)(Control c, const StartEvent& e);  ///< a new connection, or one that changes to this controller
  void (*ack)(Control c, const AckEvent& e);
  void (*loss)(Control c, const LossEvent& e);       ///< fast recovery begins: sets ssthresh and cwnd
  void (*timeout)(Control c, const LossEvent& e);    ///< first timeout of a series
  void (*congested)(Control c, const LossEvent& e);  ///< the peer echoed congestion, at most once a round trip
  void (*undo)(Control c, const UndoEvent& e);
  void (*restart)(Control c, const RestartEvent& e);
  void (*recovered)(Control c, const RecoveredEvent& e);
  uint8_t wants = 0;  ///< Wants
};

/// One row a controller, the default first. The name is that of its Operations in cc::, and what programs and operators
/// call it.
#define MILLRACE_CONGESTION_CONTROLLERS(X) X(cubic) X(newreno) X(dctcp)

#define MILLRACE_DECLARE_CONTROLLER(name) extern const Operations name;
MILLRACE_CONGESTION_CONTROLLERS(MILLRACE_DECLARE_CONTROLLER)
#undef MILLRACE_DECLARE_CONTROLLER

#define MILLRACE_CONTROLLER_NAME(name) #name,
inline constexpr const char* kNames[] = {MILLRACE_CONGESTION_CONTROLLERS(MILLRACE_CONTROLLER_NAME)};
#undef MILLRACE_CONTROLLER_NAME
inline constexpr uint8_t kControllers = static_cast<uint8_t>(std::size(kNames));
inline constexpr uint8_t kNoController = UINT8_MAX;

/// The controller in row `index`, below kControllers.
[[nodiscard]] const Operations& controller(uint8_t index);
/// The row of `name`, or kNoController.
[[nodiscard]] constexpr uint8_t find_controller(std::string_view name) {
  for (uint8_t i = 0; i < kControllers; ++i) {
    if (name == kNames[i]) return i;
  }
  return kNoController;
}

}  // namespace millrace::tcp::cc
