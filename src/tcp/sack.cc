// Selective acknowledgments: applying the peer's (RFC 2018 5) and choosing our own (RFC 2018 4, RFC 2883).
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {
namespace {

constexpr size_t kMostBlocks = 4;       // RFC 2018 3
constexpr uint32_t kMostSteps = 1'024;  // records that one acknowledgment may pass by without acknowledging them
constexpr uint32_t kFreeSplits = 64;

// RFC 2883 4: the first block reports a duplicate if it lies below the acknowledgment or within the second block.
bool is_duplicate_report(const wire::TcpOptions& o, Seq32 ack) {
  const SackBlock& b = o.sack[0];
  if (!(b.left < b.right)) return false;
  return b.right <= ack || (o.sack_count > 1 && o.sack[1].left <= b.left && b.right <= o.sack[1].right);
}

}  // namespace

// RFC 2018 5. Blocks below the acknowledgment report duplicates (RFC 2883) and are no state; those beyond what was sent
// are lies. After the rest of the acknowledgment, so that RACK hears of deliveries in the order of the data.
void Tcp::apply_sack(uint32_t index, const Segment& s, AckNews& news) {
  Conn& c = conns_[index];
  const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
  counters_.add(Counter::kSackBlocksIn, options.sack_count);
  news.blocks = options.sack_count > 0;
  SackRun runs[kMostBlocks];
  size_t n = 0;
  for (size_t i = 0; i < options.sack_count && n < kMostBlocks; ++i) {
    const SackBlock& block = options.sack[i];
    if (!(block.left < block.right) || block.left < base::max(c.snd_una, s.ack) || block.right > c.snd_nxt) continue;
    size_t at = n++;  // in order of the data, too
    for (; at > 0 && runs[at - 1].left > block.left; --at) runs[at] = runs[at - 1];
    runs[at] = {block.left, block.right};
  }
  if (options.sack_count > 0 && is_duplicate_report(options, s.ack) && options.sack[0].left >= s.ack - c.max_snd_wnd &&
      options.sack[0].right <= c.snd_nxt) {
    news.dsack = true;
    news.dsack_block = options.sack[0];
    counters_.add(Counter::kDsacksIn);
    if (c.counted != 0) ++counts_.of(index).dsacks;
  }
  if (n == 0 || c.snd_nxt == c.snd_una) return;
  LossState& l = disorder(index, news.now);
  uint32_t steps = kMostSteps;
  for (size_t i = 0; i < n; ++i) apply_run(index, l, runs[i], steps, news);
  std::copy(runs, runs + n, l.runs);
  std::fill(l.runs + n, l.runs + kMostBlocks, SackRun{});
}

// Marks the records of one block. What the last acknowledgment reported already is not walked through again, a stretch
// of marked records is passed in one step once it has been walked through (its first one's `newer`, which no list needs
// then, is its last), and no more than `steps` are made; the peer repeats itself. A record is cut in two where the
// block begins or ends, but not without limit: edges inside our segments are no honest peer's.
void Tcp::apply_run(uint32_t index, LossState& l, SackRun& run, uint32_t& steps, AckNews& news) {
  Conn& c = conns_[index];
  Seq32 left = run.left;
  uint32_t at = c.record_head;
  for (const SackRun& known : l.runs) {
    if (!holds(known)) continue;
    if (known.left <= left && left <= known.right) {
      left = known.right;
      run.record = at = known.record;
    } else if (known.right <= left && records_[known.record].start > records_[at].start) {
      at = known.record;
    }
  }
  uint32_t first = 0;  // of a stretch of marked records
  for (; at != 0 && left < run.right; at = records_[at].link) {
    TxRecord* r = &records_[at];
    if (r->start >= run.right) break;
    if ((r->flags & kRecSacked) != 0) {
      if (first == 0) first = at;
      if (r->newer != 0) r = &records_[at = r->newer];
      if (first != at) records_[first].newer = at;
    } else if (first != 0 && r->end <= left) {
      first = 0;
    }
    if (r->end <= left || (r->flags & kRecSacked) != 0) {
      if (r->end > left) run.record = at;
      if (--steps == 0) {
        run.record = 0;
        ++steps;
        counters_.add(Counter::kSackSkipped);
        return;
      }
      continue;
    }
    for (const Seq32 edge : {left, run.right}) {
      if (edge <= r->start || edge >= r->end) continue;
      const uint32_t second = l.splits < flight(c) / c.mss + kFreeSplits ? split_record(index, at, edge) : 0;
      if (second == 0) {
        run.record = 0;
        counters_.add(Counter::kSackSkipped);
        return;
      }
      ++l.splits;
      records_[second].flags |= kRecSplit;
      if (edge == left) {
        at = second;
        first = 0;
      }
      r = &records_[at];
    }
    if (r->times == 1 && measures(c, *r)) news.sack_rtt_ns = std::max(news.sack_rtt_ns, age_ns(r->sent, news.now));
    if (c.rated != 0) rate_delivered(index, at, static_cast<uint32_t>(r->end - r->start), news);
    delivered(c, l, *r, news);
    unlink(list_of(l, *r), at);
    const auto bytes = static_cast<uint32_t>(r->end - r->start);
    if ((r->flags & kRecLost) != 0) c.lost_bytes -= bytes;
    r->flags = static_cast<uint8_t>((r->flags & ~kRecLost) | kRecSacked);
    c.sacked_bytes += bytes;
    ++l.sacked_records;
    news.sacked = true;
    run.record = at;
    if (first == 0) first = at;
    r->newer = 0;
    records_[first].newer = first == at ? 0 : at;
  }
  if (run.record != 0) run.gen = records_[run.record].gen;
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
