// Segments follow the path MTU (RFC 1191 6, RFC 8201 5): smaller ones from the next on; what was in flight and is too
// large for the path is sent again at once, and the window stays, because no congestion was seen.
//
// Where no ICMP message comes (RFC 4821, RFC 2923 2.1): timeouts of large segments in a row make them small, in steps.
// From there single larger segments are tried in the stream, first the largest possible, then by halves. One that
// arrives is the new size; one that is lost alone is sent again in smaller ones and is no sign of congestion. The
// search needs SACK, which tells that loss from others; without it ten minutes later the whole size is tried again.
#include <algorithm>

#include "tcp/tcp.h"

namespace millrace::tcp {

uint16_t Tcp::segment_size(const Conn& c, const ConnCold& k, uint16_t mtu) {
  const uint32_t headers = (c.options & kOptV4) != 0 ? 40 : 60;
  uint32_t mss = std::min<uint32_t>(k.peer_mss, mtu > headers ? mtu - headers : kMinMss);
  if (k.user_mss != 0) mss = std::min<uint32_t>(mss, k.user_mss);
  if ((c.options & kOptTimestamps) != 0) mss -= std::min<uint32_t>(mss - 1, wire::kTcpTimestampsSize);
  return static_cast<uint16_t>(mss);
}

void Tcp::set_path_mtu(uint32_t index, uint16_t mtu, Instant now) {
  Conn& c = conns_[index];
  if (c.searched != 0) {
    PathState& p = paths_.of(index);
    p.route = mtu;
    p.high = std::min(p.high, mtu);
    if (p.cap != 0) mtu = std::min(mtu, p.cap);
  }
  const uint16_t mss = segment_size(c, cold(index), mtu);
  if (mss == c.mss) return;
  const bool smaller = mss < c.mss;
  c.mss = mss;
  c.cwnd = std::max<uint32_t>(c.cwnd, mss);
  if (!smaller) return;
  counters_.add(Counter::kPathMtu);
  resend_oversized(index, now);
}

// Segments keep to `cap` from now on, and what the route says is the most to be tried.
void Tcp::begin_search(uint32_t index, uint16_t cap, uint16_t route) {
  conns_[index].searched = 1;
  PathState& p = paths_.of(index);
  p.cap = std::min(cap, route);
  p.high = p.route = route;
  p.probe = 0;
  p.missed = false;
}

// RFC 4821 7.7: timeout after timeout of a segment that a smaller size would cut. The caller sends it again.
void Tcp::judge_black_hole(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  const ConnCold& k = cold(index);
  write_record(c);
  if (c.record_head == 0) return;
  const TxRecord& r = records_[c.record_head];
  const bool v4 = (c.options & kOptV4) != 0;
  uint16_t cap = base_mtu(c);
  if (v4 && segment_size(c, k, cap) >= c.mss) cap = kLeastMtu4;
  const uint16_t mss = segment_size(c, k, cap);
  if (mss >= c.mss || static_cast<uint32_t>(r.end - r.start) <= mss) return;
  const auto route = ip_.route(c.remote, c.local, 0);
  if (!route) return;
  begin_search(index, cap, route->mtu);
  PathState& p = paths_.of(index);
  p.high = static_cast<uint16_t>(std::min<uint32_t>(p.high, p.cap + (c.mss - mss)));  // that much did not arrive
  p.since_ms = milliseconds_of(now);
  c.mss = mss;
  counters_.add(Counter::kBlackHoles);
}

// Payload of a probe to be sent now, of `queued` bytes that were never sent; 0 if none. Takes note of it.
uint32_t Tcp::due_mtu_probe(uint32_t index, uint32_t queued, Instant now) {
  constexpr uint32_t kClose = 32;            // a gain of less is not worth a loss
  constexpr uint32_t kRestMs = 10 * 60'000;  // RFC 4821 7.5: then all begins anew
  Conn& c = conns_[index];
  PathState& p = paths_.of(index);
  if (p.cap == 0 || settings_.mtu_probing == 0) return 0;
  if (p.probe != 0) {
    if (c.snd_una < p.end) return 0;
    p.cap = p.probe;
    p.probe = 0;
    p.since_ms = milliseconds_of(now);
    set_path_mtu(index, p.route, now);
  }
  const bool rested = milliseconds_of(now) - p.since_ms >= kRestMs;
  if ((c.options & kOptSack) == 0 && rested) {  // no search, but the path may be another by now
    p.cap = 0;
    set_path_mtu(index, p.route, now);
    return 0;
  }
  if (p.high < p.cap + kClose) {
    if (!rested) return 0;
    p.high = p.route;
    p.missed = false;
    if (p.high < p.cap + kClose) return 0;
  }
  const auto size = static_cast<uint16_t>(p.missed ? (p.cap + p.high + 1) / 2 : p.high);
  const uint32_t payload = segment_size(c, cold(index), size);
  // RFC 4821 7.4: with enough behind it to show that it alone was lost, and windows to spare.
  const uint32_t behind = 4u * c.mss;
  const bool quiet = c.recovery == Recovery::kOpen && (c.options & (kOptSack | kOptUrgent)) == kOptSack &&
                     (c.rx_flags & kRxRecords) == 0 && (c.tx_flags & kTxFinSent) == 0;
  const uint64_t needed = uint64_t{flight(c)} + payload + behind;
  if (!quiet || payload <= c.mss || queued < payload + behind || needed > std::min(c.cwnd, c.snd_wnd)) return 0;
  p.probe = size;
  p.end = c.snd_nxt + payload;
  return payload;
}

// The probe is being sent again: it counts as lost.
void Tcp::mtu_probe_missed(uint32_t index) {
  PathState& p = paths_.of(index);
  if (p.probe == 0) return;
  p.high = static_cast<uint16_t>(p.probe - 1);
  p.probe = 0;
  p.missed = true;
  counters_.add(Counter::kMtuProbesLost);
}

// When something is found lost: if it is the probe and nothing else, it is sent again, and the window stays (RFC 4821
// 7.6.2). False if congestion control must hear of it.
bool Tcp::only_mtu_probe_lost(uint32_t index) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  if (l.lost.first != l.lost.last || (records_[l.lost.first].flags & kRecMtuProbe) == 0) return false;
  recover_without_reduction(c, l);
  c.send_credit = 2;  // the pieces that it is cut into
  mark_dirty(index);
  return true;
}

void Tcp::recover_without_reduction(Conn& c, LossState& l) {
  c.recovery = Recovery::kLoss;
  l.undo_open = false;
  l.timeout = Timeout::kReal;
  c.recover = c.snd_nxt;
}

// Not a loss that congestion control hears of: recovery of the kind that follows a timeout ends without a change of the
// window.
void Tcp::resend_oversized(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  if (c.record_count == 0) return;
  LossState& l = disorder(index, now);
  bool any = false;
  if ((c.options & kOptSack) == 0) {
    c.sacked_bytes = 0;
    c.dup_acks = 0;
  }
  for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
    const TxRecord& r = records_[at];
    if (static_cast<uint32_t>(r.end - r.start) <= c.mss || (r.flags & (kRecSacked | kRecLost)) != 0) continue;
    mark_lost(index, l, at, now);
    any = true;
  }
  if (!any) return settle(index);
  if (c.recovery == Recovery::kDisorder) recover_without_reduction(c, l);
  mark_dirty(index);
}

}  // namespace millrace::tcp
