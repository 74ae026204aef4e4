// What a connection sends, and when: RFC 9293 3.8 (retransmission, windows), 3.7.4 (Nagle), 3.8.6.2.1 (silly windows).
// Called once a turn for each connection marked dirty, with room for `out.size() - n` frames.
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

void Tcp::mark_dirty(uint32_t index) {
  Conn& c = conns_[index];
  if ((c.tx_flags & kTxDirty) != 0) return;
  c.tx_flags |= kTxDirty;
  const auto interface = static_cast<size_t>(ip_.hop_interface(c.hop));
  if (interface >= dirty_.size()) dirty_.resize(interface + 1);
  DirtyList::Entry& entry = dirty_[interface].next.emplace_back();
  entry.index = index;
  entry.gen = c.gen;
}

bool Tcp::has_output(IfIndex interface) const {
  const auto i = static_cast<size_t>(interface);
  return i < dirty_.size() && (dirty_[i].at < dirty_[i].now.size() || !dirty_[i].next.empty());
}

size_t Tcp::output(IfIndex interface, std::span<pkt::Packet*> out, Instant now) {
  const auto i = static_cast<size_t>(interface);
  if (i >= dirty_.size()) return 0;
  size_t n = 0;
  for (int round = 0; round < 2; ++round) {  // what was left over, then what was marked since
    while (dirty_[i].at < dirty_[i].now.size()) {
      const DirtyList::Entry entry = dirty_[i].now[dirty_[i].at];
      Conn& c = conns_[entry.index];
      if (c.gen == entry.gen) {
        c.tx_flags &= static_cast<uint8_t>(~kTxDirty);
        if (!output_conn(entry.index, out, n, now)) {
          c.tx_flags |= kTxDirty;
          return n;
        }
      }
      ++dirty_[i].at;
    }
    dirty_[i].now.clear();
    dirty_[i].at = 0;
    if (round == 0) std::swap(dirty_[i].now, dirty_[i].next);
  }
  return n;
}

// The route may have changed under the connection. False if there is none now.
bool Tcp::refresh_route(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  const auto route = ip_.route(c.remote, c.local, 0);
  if (!route) return false;
  c.hop = route->hop;
  c.route_epoch = ip_.epoch();
  if (c.state >= State::kEstablished) set_path_mtu(index, route->mtu, now);
  return true;
}

// False if `out` is full or buffers ran out: the connection stays at the head of the list.
bool Tcp::output_conn(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  Conn& c = conns_[index];
  if (__builtin_expect(c.route_epoch != ip_.epoch(), 0)) {
    const IfIndex before = ip_.hop_interface(c.hop);
    if (!refresh_route(index, now)) return true;
    if (ip_.hop_interface(c.hop) != before) {  // another interface's list
      c.tx_flags &= static_cast<uint8_t>(~kTxDirty);
      mark_dirty(index);
      return true;
    }
  }
  if (fast_output(index, out, n, now)) return true;
  write_record(c);
  write_block_header(c);
  bool any = false;
  const bool early = opened_early(index);
  if (__builtin_expect((c.tx_flags & kTxSynQueued) != 0, 0)) {
    if (!send_syn(index, out, n, now)) return false;
    if (!early) return true;
  }
  if (c.state == State::kSynReceived && !early) {
    return (c.rx_flags & kRxAckNow) == 0 || send_ack(index, out, n, now);
  }
  if (c.state == State::kSynSent || c.state == State::kClosed) return true;
  // SACK blocks do not fit beside a full segment's payload, and an ACK with data is no duplicate ACK (RFC 5681 2).
  const bool report = c.reasm != 0 || (c.rx_flags & kRxDsack) != 0;
  if (__builtin_expect(report && (c.rx_flags & kRxAckNow) != 0, 0) && !send_ack(index, out, n, now)) return false;
  if (c.lost_bytes > 0 && !retransmit_lost(index, out, n, now, any)) return false;
  const Seq32 sent_before = c.snd_nxt;
  const bool more_data = static_cast<uint32_t>(c.snd_nxt - c.snd_una) < c.snd_queued;
  const bool fin_due = (c.tx_flags & (kTxFinQueued | kTxFinSent)) == kTxFinQueued;
  if ((more_data || fin_due) && !send_new(index, out, n, now, any)) return false;
  if (c.recovery == Recovery::kOpen) {
    if (c.snd_nxt != sent_before && !early) restart_probe(index, now);
  } else if (__builtin_expect(loss(index).probe == Probe::kDue, 0)) {
    if (!retransmit_tail(index, out, n, now, any)) return false;
  }
  if (c.rated != 0) note_app_limited(index);
  if (c.snd_limit == 0 && (c.tx_flags & kTxWantSpace) != 0) [[unlikely]] {
    if (low_water_reached(index)) arm(index, now.ns());  // conn_timer() tells
  }
  if (any) return true;  // every segment carried the acknowledgment
  const uint8_t due = early ? kRxAckNow : kRxAckNow | kRxWindowUpdate;  // a larger window can wait for the handshake
  if ((c.rx_flags & due) != 0) return send_ack(index, out, n, now);
  if (c.ack_pending != 0 && c.delack_deadline == INT64_MAX && !MR_PLANTED(delayed_ack_never_sent)) {
    c.delack_deadline = (now + microseconds(settings_.delayed_ack_us)).ns();
    arm(index, c.delack_deadline);
  }
  return true;
}

bool Tcp::send_ack(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  if (n == out.size()) return false;
  Conn& c = conns_[index];
  pkt::Packet* p = build(index, c.snd_nxt, kAck, now);
  if (p == nullptr) return false;
  trace_.put(index, base::TraceEvent::kTxAck, c.rcv_nxt.raw());
  commit(index, p, out, n, now);
  return true;
}

// The block and offset that hold the byte `seq`, which must be queued.
pkt::Block* Tcp::find_block(const Conn& c, Seq32 seq, uint32_t& offset) const {
  uint32_t skip = static_cast<uint32_t>(seq - c.snd_una) + c.head_offset;
  pkt::Block* block = c.queue_head;
  while (block != nullptr && skip >= block->len) {
    skip -= block->len;
    block = block->next;
  }
  offset = skip;
  return block;
}

// Sends again what is marked lost while the pipe is below the congestion window (RFC 6675 5 C).
bool Tcp::retransmit_lost(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any) {
  Conn& c = conns_[index];
  LossState& l = loss(index);
  if (c.recovery == Recovery::kLoss && l.timeout == Timeout::kNewData) return true;
  const Allowance pace = c.rated != 0 ? pace_allowance(index, now) : Allowance{};
  uint32_t allowed = pace.bytes;
  uint32_t before = 0;
  while (const uint32_t at = l.lost.first) {
    const TxRecord& r = records_[at];
    const auto length = static_cast<uint32_t>(r.end - r.start);
    const uint32_t in_pipe = pipe(c);
    if (c.send_credit == 0 && in_pipe > 0 && in_pipe + c.mss > c.cwnd) break;
    const auto& limits = ip_.limits(ip_.hop_interface(c.hop));
    const uint32_t room = c.cwnd > in_pipe ? c.cwnd - in_pipe : 0;
    if (allowed < std::min<uint32_t>(length, c.mss)) {
      pace_wait(index, now);
      break;
    }
    const uint32_t frame = std::min({tso_bytes(index, limits), pace.frame, allowed});
    const uint32_t most = std::max<uint32_t>(c.mss, c.send_credit > 0 ? c.mss : std::min(room, frame));
    if (length > most / c.mss * c.mss && split_record(index, at, r.start + most / c.mss * c.mss) == 0) {
      counters_.add(Counter::kNoBuffers);
      return false;
    }
    // The end of a piece has PSH again if more of the piece goes with it.
    const bool joined = before != 0 && records_[before].link == at && !records_[before].ends_piece;
    if (!retransmit(index, at, joined, out, n, now)) return false;
    before = at;
    if (c.send_credit > 0) --c.send_credit;
    allowed -= std::min(allowed, static_cast<uint32_t>(r.end - r.start));
    any = true;
  }
  return true;
}

// Sends a record again, as one frame; `joined` to the record before. False if there was no room or no buffer for it.
bool Tcp::retransmit(uint32_t index, uint32_t at, bool joined, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  if (n == out.size()) return false;
  Conn& c = conns_[index];
  LossState& l = loss(index);
  TxRecord& r = records_[at];
  const bool fin = (r.flags & kRecFin) != 0;
  const auto length = static_cast<uint32_t>(r.end - r.start);
  const uint32_t bytes = length - (fin ? 1 : 0);
  if (!(MR_PLANTED(fin_not_retransmitted) && fin && bytes == 0)) {
    Seq32 from = r.start;
    if (MR_PLANTED(fast_retransmit_wrong_range) && bytes > 1 && from != c.snd_una) from = from - 1;
    uint32_t offset = 0;
    pkt::Block* block = bytes > 0 ? find_block(c, from, offset) : nullptr;
    const bool push = (r.flags & kRecPush) != 0 || (r.ends_piece && (joined || bytes > c.mss));
    const auto flags = static_cast<uint8_t>(kAck | (fin ? kFin : 0) | (push ? kPsh : 0));
    pkt::Packet* p = build(index, r.start, bytes, c.mss, flags, block, offset, now);
    if (p == nullptr) return false;
    ++cold(index).retransmits;
    if (c.counted != 0) counts_.of(index).bytes_again += bytes;
    counters_.add(Counter::kRetransmits);
    trace_.put(index, base::TraceEvent::kRetransmit, r.start.raw());
    commit(index, p, out, n, now);
  }
  if (__builtin_expect((r.flags & kRecMtuProbe) != 0, 0)) {
    r.flags &= static_cast<uint8_t>(~kRecMtuProbe);
    mtu_probe_missed(index);
  }
  unlink(list_of(l, r), at);
  if ((r.flags & kRecLost) != 0) {
    r.flags &= static_cast<uint8_t>(~kRecLost);
    c.lost_bytes -= length;
  }
  note_retransmission(c, l, length, now);
  if (r.times < UINT8_MAX) ++r.times;
  r.sent = stamp(now);
  append(l.again, at);
  if (c.rated != 0) {
    rate_sent(index, at, now);
    pace_sent(index, length, now);
  }
  if (at == c.record_head || !data_timer(c)) set_rto(index, now);
  return true;
}

// Payload bytes that the device cuts from one frame; 0 where it cannot.
uint32_t Tcp::tso_bytes(uint32_t index, const link::DeviceLimits& limits) {
  const Conn& c = conns_[index];
  const bool v4 = (c.options & kOptV4) != 0;
  // The count of marks has a bit that devices take for CWR and leave to the first segment only (RFC 9768 3.3.2).
  if (__builtin_expect((c.rx_flags & kRxEcn) != 0, 0) && ecn(index).accurate) return c.mss;
  // The device would give every segment the same urgent pointer.
  if (limits.max_tso_bytes == 0 || (c.options & kOptUrgent) != 0 || !(v4 ? limits.tso_v4 : limits.tso_v6)) return c.mss;
  constexpr uint32_t kHeaders = 14 + 40 + 60;
  const uint32_t most = std::min<uint32_t>(limits.max_tso_bytes, 65'535) - kHeaders;
  return std::max<uint32_t>(c.mss, most / c.mss * c.mss);
}

// Whether nothing follows at once behind a segment that leaves `queued` bytes to send, `usable` of the peer's window
// and `room` of the congestion window. The last segment of a burst has PSH, as if a device had cut it from one: whoever
// merges segments on the way up then does not wait for more. So has the last of each piece (unpaced_quantum()).
bool Tcp::ends_burst(const Conn& c, uint32_t queued, uint32_t usable, uint32_t room) {
  const uint32_t next = std::min<uint32_t>(queued, c.mss);
  if (next == 0 || usable < next || room < next) return true;
  return next < c.mss && ((c.options & kOptNoDelay) == 0 || (c.rx_flags & kRxHold) != 0) &&
         (c.tx_flags & kTxFinQueued) == 0;
}

// How many of the next `length` bytes to send belong to one record (req::Send::end_of_record), and whether it ends with
// them.
uint32_t Tcp::within_record(const Conn& c, uint32_t length, bool& ends) const {
  uint32_t offset = c.cursor_offset;
  const pkt::Block* block = c.cursor != nullptr ? c.cursor : find_block(c, c.snd_nxt, offset);
  uint32_t have = 0;
  for (; block != nullptr && have < length; block = block->next, offset = 0) {
    have += block->len - offset;
    if ((block->ext.marks & pkt::kBlockRecordEnd) == 0 || have == 0) continue;
    ends = have <= length;
    return std::min(have, length);
  }
  return length;
}

// RFC 5681 4.1; draft-ietf-ccwg-bbr 5.4. (Of idle times that are multiples of 18 minutes, the stamp's circle, some are
// taken for short ones.)
void Tcp::restart_after_idle(uint32_t index, Instant now) {
  if (owns_window(index) ? rate(index).model.app_limited == 0 : settings_.slow_start_after_idle == 0) return;
  controller(index).restart(control(index),
                            {now, Duration(age_ns(conns_[index].record_tail, now)), initial_window(conns_[index])});
}

bool Tcp::send_new(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now, bool& any) {
  Conn& c = conns_[index];
  const auto& limits = ip_.limits(ip_.hop_interface(c.hop));
  c.tx_flags &= static_cast<uint8_t>(~kTxCwndLimited);
  if (held_by_marks(index, now)) return true;
  if (c.record_count == 0 && ((c.rated != 0 && owns_window(index)) || restart_due(c, now))) {
    restart_after_idle(index, now);
  }
  uint32_t mtu_probe = 0;  // payload of a segment that is larger than the others
  if (c.searched != 0) [[unlikely]] {
    mtu_probe = due_mtu_probe(index, c.snd_queued - flight(c), now);  // may change the size of all segments
  }
  const Allowance pace = c.rated != 0 ? pace_allowance(index, now) : Allowance{};
  uint32_t allowed = pace.bytes;
  // RFC 3168 6.1.2: CWR stands on one segment; a device would copy it to all that it cuts.
  const bool single = (c.rx_flags & kRxEcn) != 0 && ecn(index).cwr_due;
  const uint32_t largest = single ? c.mss : std::clamp<uint32_t>(pace.frame, c.mss, tso_bytes(index, limits));
  // RFC 8985 7.3: a tail loss probe is new data if there is any, whatever the congestion window and Nagle say.
  bool probe = c.recovery == Recovery::kDisorder && loss(index).probe == Probe::kDue;
  uint32_t piece = 0;  // bytes sent of it
  uint32_t whole = 0;
  for (;;) {
    const uint32_t sent = static_cast<uint32_t>(c.snd_nxt - c.snd_una) - ((c.tx_flags & kTxFinSent) != 0 ? 1 : 0);
    const uint32_t queued = c.snd_queued - sent;
    const bool fin_due = (c.tx_flags & (kTxFinQueued | kTxFinSent)) == kTxFinQueued;
    if (queued == 0 && !fin_due) return true;
    const uint32_t usable = c.snd_wnd > sent ? c.snd_wnd - sent : 0;
    const uint32_t in_pipe = pipe(c);
    const uint32_t room = c.cwnd > in_pipe ? c.cwnd - in_pipe : 0;
    uint32_t length = std::min({queued, usable, largest});
    bool ends_record = false;
    if (__builtin_expect((c.rx_flags & kRxRecords) != 0, 0)) length = within_record(c, length, ends_record);
    if (probe) {
      if (length > c.mss) ends_record = false;
      length = std::min<uint32_t>(length, c.mss);
    } else if (length > room) {  // RFC 5681 2: never beyond cwnd
      if (in_pipe > 0 && room < std::min<uint32_t>(c.mss, queued)) {
        c.tx_flags |= kTxCwndLimited;
        if (c.rated != 0) note_window_limited(index);
        return true;
      }
      length = room;
      ends_record = false;
    }
    const bool holds_tail = !fin_due && ((c.options & kOptNoDelay) == 0 || (c.rx_flags & kRxHold) != 0);
    if (length > c.mss && length % c.mss != 0 && (length < queued || holds_tail)) {
      length -= length % c.mss;
      ends_record = false;
    }
    if (mtu_probe != 0) length = mtu_probe;
    const bool last = length == queued;
    if (length < c.mss && queued > 0 && (last || !ends_record)) {
      // RFC 9293 3.8.6.2.1: a full segment, or everything with nothing in the way, or half the largest window.
      const bool nagle_holds = (c.options & kOptNoDelay) == 0 && sent > 0 && !fin_due && !probe;
      const bool more_holds = (c.rx_flags & kRxHold) != 0 && !fin_due;
      const bool everything = last && !nagle_holds && !more_holds;
      const bool half_window = length > 0 && length >= c.max_snd_wnd / 2 && !more_holds && !nagle_holds;
      if (length == 0 || !(everything || half_window)) {
        const bool shut = usable < std::min<uint32_t>(queued, c.mss);
        if (sent == 0 && (shut || more_holds) && c.timer_kind == TimerKind::kNone && !MR_PLANTED(window_probe_lost)) {
          set_timer(index, TimerKind::kPersist, now + microseconds(backed_off(c, c.retries)));
        }
        return true;
      }
    }
    if (__builtin_expect(allowed < length, 0) && !probe) {
      if (allowed < std::min<uint32_t>(length, c.mss)) {
        pace_wait(index, now);
        return true;
      }
      length = std::max<uint32_t>(allowed / c.mss, 1) * c.mss;
      ends_record = false;
    }
    const bool with_fin = fin_due && last;
    if (n == out.size()) return false;
    uint32_t offset = 0;
    pkt::Block* block = nullptr;
    if (length > 0) {
      if (c.cursor == nullptr) {
        c.cursor = find_block(c, c.snd_nxt, c.cursor_offset);
      } else if (c.cursor_offset == c.cursor->len) {
        c.cursor = c.cursor->next;
        c.cursor_offset = 0;
      }
      block = c.cursor;
      offset = c.cursor_offset;
      length = std::min(length, reachable(block, offset, length, c.mss, limits));
    }
    if (mtu_probe != 0 && length != mtu_probe) {
      mtu_probe = 0;
      length = std::min<uint32_t>(length, c.mss);
    }
    if (c.record_count == UINT16_MAX) return true;
    const uint32_t record = take_record();
    if (record == 0) {
      counters_.add(Counter::kNoBuffers);
      return false;
    }
    const bool fin_here = with_fin && length == queued;
    if (piece >= whole) {
      piece = 0;
      whole = length < queued ? unpaced_quantum(c) : UINT32_MAX;
    }
    piece += length;
    const bool stops = piece >= whole || n + 1 == out.size() ||
                       ends_burst(c, queued - length, usable - length, room - std::min(room, length));
    const bool written = length > 0 && (length == queued ? (c.tx_flags & kTxMore) == 0 || fin_here : ends_record);
    const bool ends_piece = piece > c.mss && (stops || length == queued);
    const auto flags = static_cast<uint8_t>(kAck | (fin_here ? kFin : 0) | (written || ends_piece ? kPsh : 0));
    const uint32_t segment = mtu_probe != 0 ? mtu_probe : c.mss;
    pkt::Packet* p = build(index, c.snd_nxt, length, segment, flags, block, offset, now);
    if (p == nullptr) {
      records_.release(record);
      return false;
    }
    TxRecord& r = records_[record];
    r.start = c.snd_nxt;
    r.end = c.snd_nxt + length + (fin_here ? 1 : 0);
    r.sent = stamp(now);
    r.times = 1;
    if (c.recovery != Recovery::kOpen) {
      append(loss(index).fresh, record);
      loss(index).prr_out += length;
    }
    if (probe) {
      loss(index).probe = Probe::kNew;
      loss(index).probe_end = r.end;
      probe = false;
    }
    r.flags = static_cast<uint8_t>((fin_here ? kRecFin : 0) | (written ? kRecPush : 0));
    r.ends_piece = ends_piece;
    if (mtu_probe != 0) {
      r.flags |= kRecMtuProbe;
      paths_.of(index).end = r.end;
      counters_.add(Counter::kMtuProbes);
      mtu_probe = 0;
    }
    if (fin_here) c.tx_flags |= kTxFinSent;
    (c.record_head == 0 ? c.record_head : records_[c.record_tail].link) = record;
    c.record_tail = record;
    ++c.record_count;
    trace_.put(index, base::TraceEvent::kTxSegment, c.snd_nxt.raw());
    c.snd_nxt = r.end;
    if (c.rated != 0) {
      rate_sent(index, record, now);
      pace_sent(index, length, now);
      allowed -= std::min(allowed, length);
    }
    advance_cursor(c, length);
    counters_.add(Counter::kBytesOut, length);
    if (!data_timer(c)) set_rto(index, now);  // RFC 6298 5.1
    any = true;
    commit(index, p, out, n, now);
    if (length == queued && (fin_here || !fin_due)) return true;  // nothing is left
  }
}

void Tcp::advance_cursor(Conn& c, uint32_t bytes) {
  c.cursor_offset += bytes;
  while (c.cursor != nullptr && c.cursor_offset > c.cursor->len) {
    c.cursor_offset -= c.cursor->len;
    c.cursor = c.cursor->next;
  }
}

// SYN, or SYN-ACK of a simultaneous or fast open, for the first time or again.
bool Tcp::send_syn(uint32_t index, std::span<pkt::Packet*> out, size_t& n, Instant now) {
  if (n == out.size()) return false;
  Conn& c = conns_[index];
  const bool early = opened_early(index);
  const uint8_t flags = c.state == State::kSynReceived ? kSyn | kAck : kSyn;
  // RFC 3168 6.1.1.1: the second try is without.
  if (early ? c.retries > 0 : c.record_head != 0) {
    if (!has_accurate_ecn(index)) {
      c.rx_flags &= static_cast<uint8_t>(~kRxEcn);
    } else if (c.retries > 1) {  // RFC 9768 3.1.4.1, 3.2.3.2.2: the third is
      ecn(index).fallen = true;
      ecn(index).muted = flags != kSyn;  // 3.1.5: a server cannot know what its peer made of that
    }
  }
  const uint32_t bytes = c.state == State::kSynSent ? early_bytes(index) : 0;
  constexpr uint32_t kWhole = 65'535;  // never to be cut by the device
  pkt::Packet* p = build(index, cold(index).iss, bytes, kWhole, flags, c.queue_head, c.head_offset, now);
  if (p == nullptr) return false;
  if (early) {
    counters_.add(Counter::kSynAcksOut);
    if (c.record_head == 0) c.record_tail = stamp(now);
  } else {
    if (c.record_head == 0 && !record_syn(c)) {
      packets_.free(p);
      return false;
    }
    TxRecord& r = records_[c.record_head];
    if (r.times < UINT8_MAX) ++r.times;
    r.sent = stamp(now);
    if (r.times == 1 && c.state == State::kSynSent && !record_early(index, bytes, now)) {
      packets_.free(p);  // without room for its record the data waits for the handshake
      return false;
    }
  }
  c.tx_flags &= static_cast<uint8_t>(~kTxSynQueued);
  trace_.put(index, base::TraceEvent::kTxSegment, cold(index).iss.raw());
  if (!data_timer(c)) set_rto(index, now);
  commit(index, p, out, n, now);
  return true;
}

bool Tcp::record_syn(Conn& c) {
  const uint32_t record = take_record();
  if (record == 0) {
    counters_.add(Counter::kNoBuffers);
    return false;
  }
  TxRecord& r = records_[record];
  r.start = c.snd_una;
  r.end = c.snd_una + 1;
  r.flags = kRecSyn;
  c.record_head = c.record_tail = record;
  c.record_count = 1;
  c.snd_nxt = r.end;
  return true;
}

}  // namespace millrace::tcp
