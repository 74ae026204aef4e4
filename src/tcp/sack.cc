// Selective acknowledgments: applying the peer's (RFC 2018 5) and choosing our own (RFC 2018 4, RFC 2883).
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

// A peer that reports single bytes must not make us keep a record for each.
constexpr uint16_t kMaxRecords = 16'384;

}  // namespace

// Cuts a record in two at `at` (start < at < end) and returns the second part, or 0 if there is no room for it.
uint32_t Tcp::split_record(Conn& c, uint32_t record, Seq32 at) {
  const uint32_t second = take_record();
  if (second == 0) return 0;
  TxRecord& a = records_[record];
  TxRecord& b = records_[second];
  MR_ASSERT(a.start < at && at < a.end);
  b.start = at;
  b.end = a.end;
  b.sent_ns = a.sent_ns;
  b.times = a.times;
  b.flags = a.flags & static_cast<uint8_t>(~kRecSyn);
  a.end = at;
  a.flags &= static_cast<uint8_t>(~kRecFin);
  b.link = a.link;
  a.link = second;
  if (c.record_tail == record) c.record_tail = second;
  ++c.record_count;
  return second;
}

// True if anything was newly acknowledged.
bool Tcp::apply_sack(uint32_t index, const Segment& s) {
  Conn& c = conns_[index];
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  bool news = false;
  for (uint8_t i = 0; i < options.sack_count; ++i) {
    const SackBlock& block = options.sack[i];
    counters_.add(Counter::kSackBlocksIn);
    // Blocks at or below the acknowledgment are duplicates reported (RFC 2883), not state.
    if (!(block.left < block.right) || block.left < base::max(c.snd_una, s.ack) || block.right > c.snd_nxt) continue;
    for (uint32_t at = c.record_head; at != 0; at = records_[at].link) {
      TxRecord* r = &records_[at];
      if (r->end <= block.left) continue;
      if (r->start >= block.right) break;
      if ((r->flags & kRecSacked) != 0) continue;
      if (c.record_count + 2 > kMaxRecords) return news;
      if (r->start < block.left) {
        const uint32_t second = split_record(c, at, block.left);
        if (second == 0) return news;
        at = second;
        r = &records_[at];
      }
      if (r->end > block.right) {
        if (split_record(c, at, block.right) == 0) return news;
        r = &records_[at];
      }
      const uint32_t bytes = static_cast<uint32_t>(r->end - r->start);
      if ((r->flags & kRecLost) != 0) {
        r->flags &= static_cast<uint8_t>(~kRecLost);
        c.lost_bytes -= bytes;
      }
      r->flags |= kRecSacked;
      c.sacked_bytes += bytes;
      news = true;
    }
  }
  return news;
}

// Remembers the run [left, right) as the one to be reported first (RFC 2018 4).
void Tcp::note_received(uint32_t index, Seq32 left, Seq32 right) {
  ConnCold& cold_state = cold(index);
  SackBlock kept[4];
  uint8_t n = 0;
  kept[n++] = {left, right};
  for (uint8_t i = 0; i < cold_state.sack_recent && n < 4; ++i) {
    const SackBlock& b = cold_state.recent[i];
    const bool touches = b.left <= right && left <= b.right;
    if (touches && !MR_PLANTED(sack_block_not_merged)) continue;
    kept[n++] = b;
  }
  std::copy(kept, kept + n, cold_state.recent);
  cold_state.sack_recent = n & 0xf;
}

void Tcp::duplicate_seen(uint32_t index, Seq32 left, Seq32 right) {
  Conn& c = conns_[index];
  if ((c.options & kOptSack) == 0) return;
  cold(index).dsack = {left, right};
  c.rx_flags |= kRxDsack;
}

}  // namespace millrace::tcp
