// The stages of prefetching for a burst of segments, in the loops of stack/input.cc.
//
// Forced inline: a compiler that sees a function of nothing but prefetches takes it for one without effect and drops
// the calls.
#pragma once

#include "tcp/tcp.h"

namespace millrace::tcp {

[[gnu::always_inline]] inline void Tcp::prefetch_bucket(uint64_t hash) const { table_.prefetch(hash); }

[[gnu::always_inline]] inline bool Tcp::look_up(Segment& s) const {
  s.hint = table_.peek(s.hash);
  return s.hint.place() == Place::kConn;
}

[[gnu::always_inline]] inline void Tcp::prefetch_place(Ref hint) {
  const char* conn = reinterpret_cast<const char*>(&conns_[hint.index()]);
  __builtin_prefetch(conn, 1);
  __builtin_prefetch(conn + 64, 1);
  __builtin_prefetch(conn + 128, 1);
  __builtin_prefetch(conn + 192, 1);
}

[[gnu::always_inline]] inline uint32_t Tcp::prefetch_behind(Ref hint) {
  const Conn& c = conns_[hint.index()];
  if (c.queue_head != nullptr) {
    if ((c.tx_flags & kTxHeadless) == 0) __builtin_prefetch(c.queue_head, 1);
    __builtin_prefetch(c.queue_head + 1, 1);  // freed by this ACK, filled by the answer
  }
  if (c.record_head != 0) __builtin_prefetch(&records_[c.record_head], 1);
  return c.sock;
}

}  // namespace millrace::tcp
