// Sizes of buffers. A program that gives none (SocketOptions) gets buffers that begin small and follow what the
// connection carries: the receive buffer what the program reads in a round trip, the send buffer the congestion window.
//
// Invariants: a buffer shrinks only while packets are scarce, and never makes the advertised edge go back
// (receive_window()); it never grows beyond the setting, the scale that the handshake announced, or its share of the
// memory. All of this happens where full segments flow or a writer waits: a connection of requests and answers neither
// has nor touches a RoomState.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

// The data waiting in one connection, either way, may take a quarter of the memory that there is for it, in true size.
constexpr uint64_t kShare = 4;
// Round trips too short for the peer's timestamps fill any path with this much; more only waits in queues, and no
// longer fits the caches: over a link of 120 Gb/s without loss a third of that rate was left.
constexpr int32_t kTickMs = 2;
constexpr uint64_t kShortTripMost = 1'048'576;
constexpr int64_t kShortTripNs = 10'000'000'000;
constexpr uint32_t kMostRun = 65'535;
constexpr uint32_t kNoSampleUs = 200'000;  // taken for the round trip before any was measured

}  // namespace

// A size that the program gives holds.
void Tcp::fix_room(uint32_t index, const SocketOptions& o) {
  if (o.receive_buffer == 0 && o.send_buffer == 0) return;
  RoomState& r = room(index);
  r.fixed_receive = r.fixed_receive || o.receive_buffer != 0;
  r.fixed_send = r.fixed_send || o.send_buffer != 0;
}

// The receive buffer becomes `bytes` if it is smaller, within its bounds.
void Tcp::grow_receive_buffer(Conn& c, uint64_t bytes) {
  const uint64_t packets = uint64_t{packets_.frames_capacity()} * pkt::kFrameRoom;
  // What is held is charged with twice the limit at most (window_space()).
  const uint64_t most = std::min(
      {static_cast<uint64_t>(settings_.receive_buffer_max), packets / (2 * kShare), uint64_t{65'535} << c.rcv_wscale});
  c.rcv_limit = static_cast<uint32_t>(std::max<uint64_t>(c.rcv_limit, std::min(bytes, most)));
}

// Called for about every second full segment, after it was delivered. What a program reads in a round trip, the sender
// could send in one: twice that leaves room for what it sends in the next, and twice as much again while the sender
// still doubles its window.
void Tcp::measure_room(uint32_t index, const Segment& s, Instant now) {
  Conn& c = conns_[index];
  RoomState& r = room(index);
  if (r.fixed_receive) return;
  const Seq32 read = c.rcv_nxt - c.rcv_unread;
  if (s.has_ts && (c.options & kOptTimestamps) != 0) {  // RFC 7323 4: the sender echoes what let it send
    const auto ms = static_cast<int32_t>(milliseconds_of(now) + c.ts_offset - s.ts_ecr);
    if (ms >= 0 && ms <= kTickMs) {  // a tick or two says nothing, but that the path is short
      r.short_trip = true;
      r.short_at = stamp(now);
    } else if (ms > kTickMs && ms < 60'000) {
      r.least_us = std::min(r.least_us, static_cast<uint32_t>(ms) * 1'000);
    }
  }
  const int64_t elapsed_ns = age_ns(r.since, now);
  const uint32_t known_us = r.rtt_us != 0 ? r.rtt_us : c.srtt_us;
  const int64_t round_ns = int64_t{known_us != 0 ? known_us : kNoSampleUs} * 1'000;
  if (r.measuring && elapsed_ns < round_ns) return;
  // A pause is no round trip.
  const bool whole = r.measuring && elapsed_ns < 4 * round_ns + 10'000'000;
  const uint32_t copied = whole ? static_cast<uint32_t>(read - r.from) : 0;
  r.measuring = true;
  r.from = read;
  r.since = stamp(now);
  r.rtt_us = r.least_us != UINT32_MAX ? r.least_us : 0;
  r.least_us = UINT32_MAX;
  if (scarce_) {  // everybody goes back to where all began
    c.rcv_limit = std::min(c.rcv_limit, static_cast<uint32_t>(settings_.receive_buffer));
    r.most = 0;
    return;
  }
  if (copied <= r.most) return;
  if (packets_.frames_available() < packets_.frames_capacity() / 2) return;  // last: counting costs
  const bool doubling = copied - r.most >= r.most / 2;
  r.most = copied;
  const uint64_t wanted = (doubling ? 4 : 2) * uint64_t{copied} + 16 * uint64_t{c.mss};
  // What waits in queues makes a short round trip look long, so that one in ten seconds decides.
  r.short_trip = r.short_trip && age_ns(r.short_at, now) < kShortTripNs;
  grow_receive_buffer(c, r.short_trip ? std::min(wanted, kShortTripMost) : wanted);
}

// Called when a writer found no room or waits for some: it needs what may be in flight, as much again to go on with
// when that is acknowledged, and half of it so that it is told in time (tell_space()).
void Tcp::grow_send_buffer(uint32_t index) {
  Conn& c = conns_[index];
  uint32_t& limit = c.snd_limit != 0 ? c.snd_limit : room(index).send_limit;
  const uint64_t wanted = std::min({3 * uint64_t{std::min(c.cwnd, c.max_snd_wnd)},
                                    static_cast<uint64_t>(settings_.send_buffer_max), blocks_.limit_bytes() / kShare});
  if (wanted <= limit || blocks_.in_use_bytes() > blocks_.limit_bytes() / 2 || room(index).fixed_send) return;
  limit = static_cast<uint32_t>(wanted);
}

// A connection with a low-water mark has no snd_limit, so that every write comes here to ask.
void Tcp::set_low_water(uint32_t index, const SocketOptions& o) {
  Conn& c = conns_[index];
  const auto wanted = o.unsent_low_water != 0 ? o.unsent_low_water : static_cast<uint32_t>(settings_.notsent_lowat);
  const bool none = wanted == UINT32_MAX;
  if (none && c.snd_limit != 0) return;
  RoomState& r = room(index);
  if (c.snd_limit != 0) r.send_limit = c.snd_limit;
  r.low_water = none ? 0 : wanted;
  c.snd_limit = none ? r.send_limit : 0;
}

// As with Linux the mark is looked at once for every run of half the peer's window (64 KiB at most) that begins: a run
// may be filled up, and goes on being filled while it is sent.
uint32_t Tcp::low_water_space(uint32_t index) const {
  const Conn& c = conns_[index];
  const RoomState* const r = room_.find(index);
  if (c.snd_limit != 0 || r == nullptr || r->send_limit <= c.snd_queued) return 0;
  const uint32_t unsent = c.snd_queued - std::min(c.snd_queued, flight(c));
  const uint32_t run = std::max(std::min(c.max_snd_wnd / 2, kMostRun) / c.mss, 1u) * c.mss;
  const uint64_t most = (uint64_t{std::max(unsent, r->low_water)} + run - 1) / run * run;
  return static_cast<uint32_t>(std::min<uint64_t>(r->send_limit - c.snd_queued, most - unsent));
}

bool Tcp::low_water_reached(uint32_t index) const {
  const Conn& c = conns_[index];
  const RoomState* const r = room_.find(index);
  if (c.snd_limit != 0 || r == nullptr) return false;
  const uint32_t unsent = c.snd_queued - std::min(c.snd_queued, flight(c));
  return c.snd_queued <= r->send_limit / 2 && uint64_t{2} * unsent < r->low_water;
}

}  // namespace millrace::tcp
