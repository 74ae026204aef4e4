// Short functions of Tcp; the end of tcp.h, which is included instead.
#pragma once

#include "tcp/tcp.h"

namespace millrace::tcp {

inline uint32_t Tcp::initial_window(const Conn& c) const {
  return static_cast<uint32_t>(settings_.initial_window) * c.mss;
}

inline bool Tcp::restart_due(const Conn& c, Instant now) const {
  return age_ns(c.record_tail, now) > int64_t{c.rto_us} * 1'000 && c.cwnd > initial_window(c);
}

inline const cc::Operations& Tcp::controller(uint32_t index) const {
  return cc::controller(cold(index).controller);
}

inline uint32_t Tcp::milliseconds_of(Instant now) {
  return static_cast<uint32_t>(static_cast<uint64_t>(now.ns()) / 1'000'000);
}

inline EcnMode Tcp::asks_for_ecn(const SocketOptions& o) const {
  if (settings_.ecn == 3) return EcnMode::kAccurate;
  const bool wanted = (cc::controller(controller_row(o)).wants & cc::kWantsEcn) != 0;
  return wanted || settings_.ecn == 1 || settings_.ecn == 4 ? EcnMode::kClassic : EcnMode::kNone;
}

inline bool Tcp::opened_early(uint32_t index) const {
  const Conn& c = conns_[index];
  return c.state == State::kSynReceived && c.snd_una != cold(index).iss;
}

inline uint32_t Tcp::usual_send_space(uint32_t conn) const {
  const Conn& c = conns_[conn];
  if (c.state != State::kEstablished || (c.tx_flags & kTxFinQueued) != 0 || c.snd_queued >= c.snd_limit) return 0;
  return c.snd_limit - c.snd_queued;
}

inline cc::Control Tcp::control(uint32_t index) {
  Conn& c = conns_[index];
  cc::Model* const model = owns_window(index) ? &rate(index).model : nullptr;
  return {c.cwnd, c.ssthresh, c.ack_bytes, cold(index).cc_state, c.mss, model};
}

inline bool Tcp::reduced_already(uint32_t index) {
  return (conns_[index].rx_flags & kRxEcn) != 0 && ecn(index).reduced && conns_[index].snd_una < ecn(index).end;
}

inline bool Tcp::has_accurate_ecn(uint32_t index) {
  return (conns_[index].rx_flags & kRxEcn) != 0 && ecn(index).accurate;
}

inline uint32_t Tcp::send_limit(uint32_t index) const {
  return conns_[index].snd_limit != 0 ? conns_[index].snd_limit : room_.find(index)->send_limit;
}

inline bool Tcp::no_such_controller(const SocketOptions& o) {
  return !o.congestion_control.empty() && cc::find_controller(o.congestion_control.view()) == cc::kNoController;
}

inline bool Tcp::comes_home(const Tuple& t) const {
  return shards_ == nullptr || shards_->of_flow({t.remote, t.local, t.remote_port, t.local_port}) == shard_;
}

inline Effect& Tcp::new_effect(uint32_t sock, uint32_t mask) {
  Effect& e = effects_.emplace_back();
  e.sock = sock;
  e.mask = mask;
  return e;
}

inline uint32_t Tcp::pipe(const Conn& c) {
  const uint32_t out = flight(c);
  const uint32_t gone = c.sacked_bytes + c.lost_bytes;
  return out > gone ? out - gone : 0;
}

inline uint8_t Tcp::controller_row(const SocketOptions& o) const {
  const uint8_t row = cc::find_controller(o.congestion_control.view());
  return row != cc::kNoController ? row : static_cast<uint8_t>(settings_.congestion_control);
}

inline RareOptions Tcp::rare(uint32_t index) const {
  const RareOptions* const own = rare_.find(index);
  return own != nullptr ? *own : RareOptions{};
}

inline Duration Tcp::fin_wait_2_life(uint32_t index) const {
  const uint32_t own = rare(index).fin_wait_2_ms;
  return own != 0 ? milliseconds(own) : microseconds(settings_.fin_wait_2_us);
}

// RFC 9768 3.1.2 and 3.1.3: other values than those that are known ask for accurate feedback too. RFC 3168 6.1.1 for
// whoever does not know of that.
inline EcnMode Tcp::grants_ecn(const Segment& syn, const SocketOptions& o) const {
  if ((syn.flags & (kEce | kCwr)) == 0 && settings_.ecn < 3) return EcnMode::kNone;
  const uint8_t ace = syn.ace();
  if (ace != 0 && ace != kClassicSyn && settings_.ecn >= 3) return EcnMode::kAccurate;
  const bool asked = (ace & kClassicSyn) == kClassicSyn;
  return asked && (settings_.ecn != 0 || asks_for_ecn(o) != EcnMode::kNone) ? EcnMode::kClassic : EcnMode::kNone;
}

}  // namespace millrace::tcp
