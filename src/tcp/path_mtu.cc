// Segments follow the path MTU (RFC 1191 6, RFC 8201 5): smaller ones from the next on; what was in flight and is too
// large for the path is sent again at once, and the window stays, because no congestion was seen.
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
  const uint16_t mss = segment_size(c, cold(index), mtu);
  if (mss == c.mss) return;
  const bool smaller = mss < c.mss;
  c.mss = mss;
  c.cwnd = std::max<uint32_t>(c.cwnd, mss);
  if (!smaller) return;
  counters_.add(Counter::kPathMtu);
  resend_oversized(index, now);
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
    mark_lost(c, l, at);
    any = true;
  }
  if (!any) return settle(index);
  if (c.recovery == Recovery::kDisorder) {
    c.recovery = Recovery::kLoss;
    l.undo_open = false;
    l.timeout = Timeout::kReal;
    c.recover = c.snd_nxt;
  }
  mark_dirty(index);
}

}  // namespace millrace::tcp
