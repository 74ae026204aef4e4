// Segment arrives: RFC 9293 3.10.7, in its order. Handlers of rare states are in input_open.cc.
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"
#include "wire/tcp.h"

namespace millrace::tcp {

const char* name(State state) {
  constexpr const char* kNames[kStateCount] = {"CLOSED",     "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                               "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
                                               "CLOSING",    "LAST-ACK",   "TIME-WAIT"};
  return kNames[static_cast<int>(state)];
}

bool Tcp::parse(Segment& s) {
  pkt::Packet& p = *s.packet;
  const auto view = wire::TcpView::check(p.bytes());
  if (!view) return false;
  s.remote_port = view->source_port();
  s.local_port = view->destination_port();
  s.seq = view->seq();
  s.ack = view->ack();
  s.flags = view->flags().raw();
  s.window = view->window();
  const uint8_t header = view->header_length();
  s.options = p.data() + wire::kTcpMinSize;
  s.option_bytes = static_cast<uint8_t>(header - wire::kTcpMinSize);
  s.length = p.total - header;
  s.has_ts = view->only_timestamps(s.ts_val, s.ts_ecr);
  s.plain = s.has_ts || s.option_bytes == 0;
  if (!s.plain && wire::TcpOptions::is_usual_syn({s.options, s.option_bytes})) {
    s.has_ts = true;
    s.ts_val = wire::load_be32(s.options + 8);
    s.ts_ecr = wire::load_be32(s.options + 12);
  } else if (!s.plain) {
    const auto options = wire::TcpOptions::parse({s.options, s.option_bytes});
    if (options.malformed) counters_.add(Counter::kBadOptions);
    s.has_ts = options.has_timestamps;
    s.ts_val = options.ts_val;
    s.ts_ecr = options.ts_ecr;
  }
  p.pull(header);
  return true;
}

void Tcp::drop(Segment& s, Counter why) {
  counters_.add(why);
  trace_.put(0, base::TraceEvent::kDrop, static_cast<uint32_t>(why));
  packets_.free(s.packet);
  s.packet = nullptr;
}

bool Tcp::matches(Ref ref, const Tuple& t) const {
  if (ref.place() == Place::kConn) {
    const Conn& c = conns_[ref.index()];
    return c.remote_port == t.remote_port && c.local_port == t.local_port && c.remote == t.remote &&
           c.local == t.local;
  }
  return tuple_of(ref) == t;
}

Tuple Tcp::tuple_of(Ref ref) const {
  switch (ref.place()) {
    case Place::kConn: {
      const Conn& c = conns_[ref.index()];
      return {c.local, c.remote, c.local_port, c.remote_port};
    }
    case Place::kHalf4: return half4_[ref.index()].tuple();
    case Place::kHalf6: return half6_[ref.index()].tuple();
    case Place::kWait4: return wait4_[ref.index()].tuple();
    case Place::kWait6: return wait6_[ref.index()].tuple();
    case Place::kNone: break;
  }
  MR_UNREACHABLE();
}

Ref Tcp::find(const Segment& s) const {
  // The hint was taken at the start of the burst; an earlier segment may have ended that connection.
  if (__builtin_expect(s.hint.place() == Place::kConn && conns_.in_use(s.hint.index()), 1)) {
    const Conn& c = conns_[s.hint.index()];
    if (c.remote_port == s.remote_port && c.local_port == s.local_port && c.remote == s.remote && c.local == s.local) {
      return s.hint;
    }
  }
  const Tuple t{s.local, s.remote, s.local_port, s.remote_port};
  return table_.find(s.hash, [&](Ref ref) { return matches(ref, t); });
}

void Tcp::input(Segment& s, Instant now) {
  counters_.add(Counter::kSegmentsIn);
  const Ref ref = find(s);
  switch (ref.place()) {
    case Place::kConn: input_conn(ref.index(), s, now); break;
    case Place::kHalf4:
    case Place::kHalf6: input_half_open(ref, s, now); break;
    case Place::kWait4:
    case Place::kWait6: input_time_wait(ref, s, now); break;
    case Place::kNone: input_none(s, now); break;
  }
  MR_ASSERT(s.packet == nullptr);
}

void Tcp::input_conn(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  if (c.counted != 0) [[unlikely]] {
    count_in(index, s, now);
  }
  if (fast_path(index, s, now)) return;
  write_record(c);
  trace_.put(index, base::TraceEvent::kRxSegment, s.seq.raw());
  if (c.state == State::kSynSent) {
    input_syn_sent(index, s, now);
    return;
  }
  if (c.state == State::kSynReceived && s.has(kSyn) && !s.has(kAck) && s.seq == c.snd_wl1 && opened_early(index)) {
    c.tx_flags |= kTxSynQueued;  // the peer's SYN again: our SYN-ACK was lost
    mark_dirty(index);
    drop(s, Counter::kDropDuplicate);
    return;
  }
  // First and second: sequence number and RST (RFC 9293 3.10.7.4).
  if (!check_sequence(index, s, now)) return;
  if (s.has(kRst)) {
    check_reset(index, s, now);
    return;
  }
  // Fourth: a SYN on a synchronized connection is answered, never obeyed (RFC 5961 4.2).
  if (s.has(kSyn)) {
    drop(s, Counter::kDropSyn);
    challenge_ack(index, now);
    return;
  }
  // Fifth: ACK.
  if (!s.has(kAck)) {
    drop(s, Counter::kDropNoAck);
    return;
  }
  const uint32_t gen = c.gen;
  if (!check_ack(index, s, now)) return;
  if (c.gen != gen) {  // the last ACK ended the connection
    if (s.span() == 0) {
      done(s);
    } else {
      drop(s, Counter::kDropClosed);
    }
    return;
  }
  c.last_rx_ms = milliseconds_of(now);
  if ((c.options & kOptKeepalive) != 0) cold(index).keepalive_sent = 0;  // the peer lives
  if ((c.rx_flags & kRxEcn) != 0) take_marks(index, s, now);
  if (s.has(kUrg) || (c.options & kOptUrgent) != 0) process_urgent(index, s);
  // Seventh and eighth: text and FIN.
  process_text(index, s, now);
}

// RFC 5961 5.2: an ACK may be old by at most the largest window ever offered to us.
bool Tcp::ack_in_range(const Conn& c, const Segment& s) {
  return s.ack <= c.snd_nxt && s.ack >= c.snd_una - c.max_snd_wnd;
}

// RFC 9293 3.10.7.4 first, with PAWS (RFC 7323 5.3) in front. On true the segment lies within the window.
bool Tcp::check_sequence(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  if ((c.options & kOptTimestamps) != 0 && !s.has(kRst)) {
    if (!s.has_ts && !s.has(kSyn) &&
        settings_.timestamps_strict != 0) {  // RFC 7323 3.2: SHOULD be dropped; a SYN is challenged whatever it has
      drop(s, Counter::kDropPaws);
      return false;
    }
    const bool older = s.has_ts && static_cast<int32_t>(s.ts_val - c.ts_recent) < 0;
    constexpr uint32_t kPawsExpiryMs = 24u * 86'400'000u;  // RFC 7323 5.5
    if (older && milliseconds_of(now) - c.last_rx_ms < kPawsExpiryMs && !MR_PLANTED(paws_ignored)) {
      answer_stray(index, s, now);
      drop(s, Counter::kDropPaws);
      return false;
    }
  }
  if (c.state == State::kSynReceived && s.has(kSyn) && s.has(kAck) && s.seq + 1 == c.rcv_nxt && !opened_early(index)) {
    // RFC 9293 3.5 figure 8: the other half of a simultaneous open. Its SYN is known and cut off; what is left opens
    // the connection, and an answer opens the peer's.
    s.seq += 1;
    s.flags &= static_cast<uint8_t>(~kSyn);
    s.window = static_cast<uint16_t>(s.window >> c.snd_wscale);  // RFC 7323 2.2: never scaled in a SYN
    c.rx_flags |= kRxAckNow;
    mark_dirty(index);
  }
  const uint32_t window = static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt);
  const uint32_t span = s.span();
  const Seq32 edge = c.rcv_adv;
  bool acceptable;
  if (span == 0) {
    // A pure ACK right at the edge carries what a peer that filled the window has to say; it is taken as well.
    acceptable = s.seq >= c.rcv_nxt && s.seq <= edge;
  } else if (window == 0) {
    acceptable = false;
    if (s.seq == c.rcv_nxt && !s.has(kSyn)) {  // RFC 9293 3.10.7.4: special allowance for valid ACKs and RSTs
      trim_tail(s, s.length);
      s.flags &= static_cast<uint8_t>(~kFin);
      c.rx_flags |= kRxAckNow;
      mark_dirty(index);
      acceptable = true;
    }
  } else {
    const Seq32 limit = MR_PLANTED(window_check_off_by_one) ? edge + 1 : edge;
    acceptable = s.seq < limit && s.end() > c.rcv_nxt;
  }
  if (!acceptable) {
    if (!s.has(kRst)) {
      answer_stray(index, s, now);
    }
    drop(s, s.end() <= c.rcv_nxt ? Counter::kDropDuplicate : Counter::kDropWindow);
    return false;
  }
  // A segment whose ACK will be refused is somebody else's guess, and its timestamp too. That of a RST says nothing
  // (RFC 7323 5.2), nor that of a SYN, which is refused as well.
  if (s.has_ts && (c.options & kOptTimestamps) != 0 && s.seq <= c.last_ack_sent && (s.flags & (kSyn | kRst)) == 0 &&
      ack_in_range(c, s) && static_cast<int32_t>(s.ts_val - c.ts_recent) >= 0) {
    c.ts_recent = s.ts_val;  // RFC 7323 4.3 (2)
  }
  if (s.has_ts && MR_PLANTED(timestamp_echo_wrong)) c.ts_recent = s.ts_val;
  if (s.has(kSyn) || s.has(kRst)) return true;
  if (s.seq < c.rcv_nxt && !MR_PLANTED(duplicate_data_delivered)) {
    trim_front(s, static_cast<uint32_t>(c.rcv_nxt - s.seq));
  }
  cut_at_window(c, s);
  return true;
}

// What lies beyond the right edge of the window is not taken.
void Tcp::cut_at_window(const Conn& c, Segment& s) {
  if (s.end() <= c.rcv_adv) return;
  uint32_t excess = static_cast<uint32_t>(s.end() - c.rcv_adv);
  if (s.has(kFin)) {
    s.flags &= static_cast<uint8_t>(~kFin);
    --excess;
  }
  trim_tail(s, excess);
}

// RFC 9293 3.10.7.4 second, with RFC 5961 3.2: only the exact sequence number resets. check_sequence() lets more pass
// than starts inside the window.
bool Tcp::check_reset(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  if (s.seq != c.rcv_nxt && (s.seq < c.rcv_nxt || s.seq >= c.rcv_adv)) {
    drop(s, Counter::kDropReset);
    return false;
  }
  if (s.seq != c.rcv_nxt && !MR_PLANTED(challenge_ack_missing)) {
    drop(s, Counter::kDropReset);
    challenge_ack(index, now);
    return false;
  }
  trace_.put(index, base::TraceEvent::kRxReset, s.seq.raw());
  trace_.keep(index);
  counters_.add(Counter::kResetsIn);
  packets_.free(s.packet);
  s.packet = nullptr;
  if (c.state == State::kClosing || c.state == State::kLastAck) {
    // Both sides have closed, and the peer has forgotten it already: nobody is told, unread data and its end stay.
    destroy(index);
    return false;
  }
  const bool refused = c.state == State::kSynReceived && !opened_early(index);
  fail_conn(index, refused ? Error::kConnectionRefused : Error::kConnectionReset);
  return false;
}

// RFC 9293 3.10.7.4 fifth. False if the segment was dropped.
bool Tcp::check_ack(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  if (c.state == State::kSynReceived) {
    const bool early = opened_early(index);
    if (s.ack < c.snd_una || (s.ack == c.snd_una && !early) || s.ack > c.snd_nxt) {
      send_reset_for(s, now);
      drop(s, Counter::kDropAck);
      return false;
    }
    c.snd_wnd = static_cast<uint32_t>(s.window) << c.snd_wscale;
    c.max_snd_wnd = c.snd_wnd;
    c.snd_wl1 = s.seq;
    c.snd_wl2 = s.ack;
    c.tx_flags &= static_cast<uint8_t>(~kTxSynQueued);
    // A close in SYN-RECEIVED waited for this moment (RFC 9293 3.10.4).
    set_state(index, (c.tx_flags & kTxFinQueued) != 0 ? State::kFinWait1 : State::kEstablished);
    if (early) {
      early_acknowledged(index, now);
    } else {
      notify(c, kConnected | kWritable);
    }
  }
  if (!ack_in_range(c, s)) {
    drop(s, Counter::kDropAck);
    challenge_ack(index, now);
    return false;
  }
  trace_.put(index, base::TraceEvent::kRxAck, s.ack.raw());
  const uint32_t old_wnd = c.snd_wnd;
  const Seq32 old_una = c.snd_una;
  AckNews news{.now = now, .ts_ecr = s.ts_ecr, .has_ecr = s.has_ts && (c.options & kOptTimestamps) != 0};
  news.advanced = s.ack > c.snd_una ? static_cast<uint32_t>(s.ack - c.snd_una) : 0;
  if ((c.rx_flags & kRxEcn) != 0) news.marked = marked_bytes(index, s, news);
  update_send_window(index, s);
  const uint32_t old_sacked = c.sacked_bytes;
  if (news.advanced > 0) {
    ack_advance(index, s.ack, news);
    if (c.backoff != 0 && s.has_ts && (c.options & kOptTimestamps) != 0) take_echo_sample(index, s.ts_ecr, now);
  }
  // RFC 5681 2: what makes a duplicate ACK.
  news.duplicate = news.advanced == 0 && s.ack == old_una && s.length == 0 && !s.has(kFin) && c.snd_wnd == old_wnd &&
                   c.snd_nxt != c.snd_una;
  if (news.duplicate) counters_.add(Counter::kDuplicateAcks);
  if ((c.options & kOptSack) != 0 && !s.plain) apply_sack(index, s, news);
  // Where holes are mended for long, only this follows a queue that fills (RFC 6298 3: none of it was sent twice).
  if (news.sack_rtt_ns >= 0 && !news.measured) take_rtt_sample(c, news.sack_rtt_ns);
  news.bare = s.length == 0 && !s.has(kFin);
  if (c.recovery == Recovery::kDisorder) judge_probe(index, loss(index), news);
  if (news.dsack) adapt_reordering(c, loss(index));
  if (c.recovery >= Recovery::kFast || news.dsack) judge_recovery(index, loss(index), news);
  if (news.marked != 0) take_echo(index, now);
  if (c.recovery >= Recovery::kFast && news.advanced > 0) on_ack_in_recovery(index, news.advanced, now);
  const uint32_t old_lost = c.lost_bytes;
  const bool reducing = c.recovery == Recovery::kFast;
  if (c.snd_nxt != c.snd_una) detect_loss(index, news);
  if (c.rated != 0) rate_sample(index, news);
  if (c.recovery == Recovery::kFast && !owns_window(index)) {
    const int64_t delivered = int64_t{news.advanced} + c.sacked_bytes - old_sacked;
    // RFC 9937 6: what the acknowledgment that begins recovery delivered counts as in flight before.
    if (!reducing) loss(index).recover_fs += static_cast<uint32_t>(std::max<int64_t>(delivered, 0));
    const bool safe = news.advanced > 0 && c.lost_bytes <= old_lost;
    reduce_rate(c, loss(index), static_cast<uint32_t>(std::max<int64_t>(delivered, 0)), safe);
  }
  settle(index);
  const bool fin_acked = (c.tx_flags & kTxFinSent) != 0 && c.snd_una == c.snd_nxt;
  if (fin_acked) {
    switch (c.state) {
      case State::kFinWait1:
        set_state(index, State::kFinWait2);
        if ((c.options & kOptOrphan) != 0) {
          set_timer(index, TimerKind::kFinWait2, now + fin_wait_2_life(index));
        }
        break;
      case State::kClosing: enter_time_wait(index, now); return true;
      case State::kLastAck: destroy(index); return true;
      default: break;
    }
  }
  if (c.snd_queued > 0 || (c.tx_flags & kTxFinQueued) != 0 || c.lost_bytes > 0) mark_dirty(index);
  return true;
}

// RFC 9293 3.10.7.4 seventh and eighth. Takes the packet.
void Tcp::process_text(uint32_t index, Segment& s, Instant now) {
  Conn& c = conns_[index];
  const bool open = c.state == State::kEstablished || c.state == State::kFinWait1 || c.state == State::kFinWait2 ||
                    c.state == State::kSynReceived;  // by fast open: the others have left it
  if (s.length == 0 && !s.has(kFin)) {
    done(s);
    return;
  }
  if (!open) {  // the peer's FIN came already: nothing may follow it
    drop(s, Counter::kDropDuplicate);
    return;
  }
  if (s.length > 0 && (c.options & kOptOrphan) != 0) {
    // Nobody will read it: say so (RFC 1122 4.2.2.13).
    // Its number is the segment's ACK: exactly what the peer expects, however much of ours is on the way.
    send_reset_for(s, now);
    drop(s, Counter::kDropClosed);
    destroy(index);
    return;
  }
  if (s.seq > c.rcv_nxt) {
    store_out_of_order(index, s);
    return;
  }
  if (scarce_ && s.length > 0 && c.rcv_unread > 0) [[unlikely]] {
    drop(s, Counter::kDropScarce);  // as if the wire had lost it
    return;
  }
  bool fin = s.has(kFin);
  const uint32_t length = s.length;
  pkt::Packet* data = s.packet;
  s.packet = nullptr;
  counters_.add(Counter::kSlowPath);
  if (length > 0) {
    const uint32_t segment = segment_size(*data, length);
    deliver(index, data, length);
    schedule_ack(index, segment, s, now);
  } else {
    packets_.free(data);
  }
  if (c.reasm != 0 && !fin) pull_reassembled(index, fin);
  if (fin) process_fin(index, now);
}

void Tcp::process_fin(uint32_t index, Instant now) {
  Conn& c = conns_[index];
  free_reassembly(index);
  c.rcv_nxt += 1;
  if (c.rcv_adv < c.rcv_nxt) c.rcv_adv = c.rcv_nxt;
  c.rx_flags |= kRxFinSeen | kRxAckNow;
  mark_dirty(index);
  notify(c, kReadable | kPeerClosed);
  switch (c.state) {
    case State::kEstablished: set_state(index, State::kCloseWait); break;
    case State::kFinWait1:
      // Our FIN was not acknowledged by this segment, or the state would be FIN-WAIT-2 by now.
      set_state(index, State::kClosing);
      break;
    case State::kFinWait2: enter_time_wait(index, now); break;
    default: break;
  }
}

}  // namespace millrace::tcp
