// Congestion controllers as plug-ins: a table of operations over the two windows of a connection and 64 bytes of its
// own state. A controller reads no clock and allocates nothing; events carry what it may know. A new controller is one
// file that defines its Operations and one row in MILLRACE_CONGESTION_CONTROLLERS.
//
// A controller with a model of the path (kWantsModel) is told of every acknowledgment's delivery rate and every loss,
// sets the pace, and decides the window during recovery too; it keeps its state in a Model (tcp/rate.h).
//
// What stays outside: which segments are lost and, of the other controllers, what is sent during recovery
// (recovery.cc), when a window may be used (output.cc), and when the pace lets something go (pacing.cc).
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
inline constexpr size_t kModelBytes = 320;
inline constexpr uint32_t kLargestWindow = 1u << 30;

/// What is counted for a controller with a model, what it says of the pace, and its state.
struct Model {
  uint64_t rate = 0;         ///< bytes a second to send at; 0 = from the window and the round trip (pacing.cc)
  uint64_t delivered = 0;    ///< bytes acknowledged so far, selectively too
  uint64_t lost = 0;         ///< bytes marked lost so far
  uint64_t app_limited = 0;  ///< what `delivered` is when the last bubble in the flow has left it; 0 = there is none
  alignas(8) std::byte state[kModelBytes] = {};

  template <class State>
  [[nodiscard]] State& as() {
    static_assert(sizeof(State) <= kModelBytes);
    static_assert(alignof(State) <= 8 && std::is_trivially_copyable_v<State>);
    return *reinterpret_cast<State*>(state);
  }
};

/// What a controller may change, and its own state.
struct Control {
  uint32_t& cwnd;       ///< bytes
  uint32_t& ssthresh;   ///< bytes; UINT32_MAX until the first loss
  uint32_t& ack_bytes;  ///< the controller's: acknowledged bytes not yet turned into window (RFC 5681 3.1)
  std::byte* state;     ///< kStateBytes, aligned to 8, zero before start
  uint32_t mss;         ///< payload bytes of a full segment
  Model* model;         ///< of a controller that kWantsModel, at any event but an AckEvent; otherwise null

  template <class State>
  [[nodiscard]] State& as() const {
    static_assert(sizeof(State) <= kStateBytes);
    static_assert(alignof(State) <= 8 && std::is_trivially_copyable_v<State>);
    return *reinterpret_cast<State*>(state);
  }
};

struct StartEvent {
  Instant now;
  uint32_t srtt_us = 0;  ///< 0 before the first sample
  uint64_t seed = 0;     ///< of chance, for a controller that kWantsModel
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

/// Data is to be sent after nothing was in flight for longer than a retransmission timeout; to a controller that
/// kWantsModel, after nothing was in flight because the program had nothing to send.
struct RestartEvent {
  Instant now;
  Duration idle;
  uint32_t initial_window = 0;  ///< bytes
};

/// What an acknowledgment told of the rate at which the path delivers (draft-ietf-ccwg-bbr 4.1), after losses have been
/// looked for. Of its deliveries the one sent last counts: "since" is since that was sent.
struct RateSample {
  Instant now;
  uint64_t rate = 0;             ///< bytes a second; 0 = none that can be relied on
  uint64_t prior_delivered = 0;  ///< Model::delivered when it was sent
  uint64_t delivered = 0;        ///< bytes since
  uint64_t lost = 0;             ///< bytes marked lost since
  uint32_t sent_flight = 0;      ///< bytes in the network when it was sent, itself included
  uint32_t acked = 0;            ///< bytes that this acknowledgment delivered
  uint32_t flight = 0;           ///< bytes in the network now
  uint32_t rtt_us = 0;           ///< 0 = none: it was sent more than once
  uint32_t srtt_us = 0;
  uint32_t initial_window = 0;  ///< bytes
  uint32_t quantum = 0;         ///< bytes sent in one go at the present pace
  bool app_limited = false;     ///< the program, not the window or the pace, held the sender back
  bool window_limited = false;  ///< the window was full within the last round trip
  bool recovering = false;      ///< in fast recovery, or after a timeout
  bool selective = false;       ///< the peer acknowledges selectively
};

/// A transmission is thought lost, and Model::lost has grown by it. "Since" is since it was sent.
struct LostEvent {
  Instant now;
  uint32_t bytes = 0;
  uint32_t sent_flight = 0;  ///< bytes in the network when it was sent, itself included
  uint64_t lost = 0;         ///< bytes marked lost since, itself included
  Seq32 start{};
  Seq32 end{};
  bool known = false;  ///< the two above are: it was measured when it was sent
  bool app_limited = false;
  bool selective = false;
};

/// Fast recovery ended, or of a controller that kWantsModel any recovery: everything that was outstanding at its start
/// is acknowledged.
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
  kWantsModel = 1 << 3,      ///< has sample() and lost() instead of ack(), and the window is its own in recovery too
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
  void (*sample)(Control c, const RateSample& e) = nullptr;  ///< both with kWantsModel only
  void (*lost)(Control c, const LostEvent& e) = nullptr;
};

/// One row a controller, the default first. The name is that of its Operations in cc::, and what programs and operators
/// call it.
#define MILLRACE_CONGESTION_CONTROLLERS(X) X(cubic) X(newreno) X(dctcp) X(bbr)

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
