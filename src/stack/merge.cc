#include "stack/merge.h"

namespace millrace::stack {
namespace {

// A segment of data that may have others before it or behind it.
bool is_plain_data(const tcp::Segment& s) {
  return s.plain && s.length > 0 && !s.ae() && s.packet->next == nullptr && (s.packet->flags & pkt::kRxMerged) == 0;
}

}  // namespace

Run::Run(tcp::Segment& s, tcp::Seq32 expected) : head_(&s), last_(s.packet), unit_(s.length), expected_(expected) {
  if (s.seq != expected) return;  // what is not in order is TCP's business, one by one
  expected_ = s.end();
  closed_ = s.flags != tcp::kAck || !is_plain_data(s);
}

bool Run::is_of(const tcp::Segment& s) const {
  return head_ != nullptr && head_->hint.raw == s.hint.raw && head_->remote_port == s.remote_port &&
         head_->local_port == s.local_port && head_->remote == s.remote && head_->local == s.local;
}

// RFC 7323 4.3: of timestamps the first one's is kept, as if the others had come alone; RFC 3168 5: a segment with a
// mark is not plain; RFC 9768 3.3.2: nor are those one whose counts of marks differ, and a count without AE has other
// flags.
bool Run::join(tcp::Segment& next) {
  if (closed_ || next.seq != expected_ || (next.flags & ~tcp::kPsh) != tcp::kAck || !is_plain_data(next)) return false;
  tcp::Segment& head = *head_;
  if (next.length > unit_ || next.ack < head.ack || next.has_ts != head.has_ts || next.interface != head.interface ||
      (head.has_ts && static_cast<int32_t>(next.ts_val - head.ts_val) < 0)) {
    return false;
  }
  pkt::Packet& first = *head.packet;
  last_->next = next.packet;
  last_ = next.packet;
  first.total += next.length;
  ++first.segs;
  first.flags |= pkt::kRxMerged;
  first.set_tx_lengths(0, 0, 0, unit_);
  expected_ = next.end();
  closed_ = next.length < unit_ || next.has(tcp::kPsh);
  head.length += next.length;
  head.flags |= next.flags;
  head.window = next.window;
  if (next.ack != head.ack) {
    head.ack = next.ack;
    head.ts_ecr = next.ts_ecr;
  }
  next.packet = nullptr;
  return true;
}

}  // namespace millrace::stack
