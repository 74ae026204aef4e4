// Congestion controllers as plug-ins: a table of operations over the two windows of a connection and 64 bytes of its
// own state. A controller reads no clock and allocates nothing; events carry what it may know.
#pragma once

#include <cstdint>

#include "millrace/time.h"

namespace millrace::tcp::cc {

/// The part of a connection that a controller owns.
struct Window {
  uint32_t& cwnd;       ///< bytes
  uint32_t& ssthresh;   ///< bytes
  uint32_t& ack_bytes;  ///< acknowledged bytes not yet turned into window
  uint64_t* state;      ///< 64 bytes, zero at the start
  uint32_t mss;
};

struct AckEvent {
  Instant now;
  uint32_t acked = 0;      ///< bytes newly acknowledged
  bool limited = false;    ///< the window, not the program or the peer, held the sender back
};

struct LossEvent {
  Instant now;
  uint32_t flight = 0;     ///< bytes outstanding when the loss was noticed
};

struct Operations {
  const char* name;
  void (*on_ack)(Window w, const AckEvent& e);
  void (*on_loss)(Window w, const LossEvent& e);     ///< fast retransmit
  void (*on_timeout)(Window w, const LossEvent& e);  ///< first timeout of a series
};

[[nodiscard]] const Operations& newreno();

}  // namespace millrace::tcp::cc
