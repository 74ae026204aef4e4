// Received data: delivery in order, reassembly, windows, when to acknowledge.
#include <algorithm>

#include "base/planted.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

uint32_t Tcp::charge_of(const pkt::Packet* chain) {
  uint32_t bytes = 0;
  for (const pkt::Packet* p = chain; p != nullptr; p = p->next) bytes += p->buf_len + sizeof(pkt::Packet);
  return bytes;
}

// Cuts `bytes` off the front of the payload. Segments that become empty stay, since the options may lie in them, until
// strip_empty().
void Tcp::trim_front(Segment& s, uint32_t bytes) {
  bytes = std::min(bytes, s.length);
  s.seq += bytes;
  s.length -= bytes;
  s.packet->total -= bytes;
  for (pkt::Packet* p = s.packet; bytes > 0; p = p->next) {
    const auto n = static_cast<uint16_t>(std::min<uint32_t>(bytes, p->len));
    p->off = static_cast<uint16_t>(p->off + n);
    p->len = static_cast<uint16_t>(p->len - n);
    bytes -= n;
  }
}

void Tcp::trim_tail(Segment& s, uint32_t bytes) {
  bytes = std::min(bytes, s.length);
  s.length -= bytes;
  uint32_t keep = s.length;
  pkt::Packet* p = s.packet;
  p->total = keep;
  while (keep > p->len && p->next != nullptr) {
    keep -= p->len;
    p = p->next;
  }
  p->len = static_cast<uint16_t>(keep);
  packets_.free(p->next);
  p->next = nullptr;
  uint16_t segs = 1;
  for (const pkt::Packet* q = s.packet; q != p; q = q->next) ++segs;
  s.packet->segs = segs;
}

// Frees leading segments that hold no payload (a header that the device or a peer on this worker kept apart).
pkt::Packet* Tcp::strip_empty(pkt::Packet* head) {
  while (head->len == 0 && head->next != nullptr) {
    pkt::Packet* next = head->next;
    next->total = head->total;
    next->segs = static_cast<uint16_t>(head->segs - 1);
    head->next = nullptr;
    packets_.free(head);
    head = next;
  }
  return head;
}

// In-order data goes to the socket. Takes `data`, whose payload is `length` bytes.
void Tcp::deliver(uint32_t index, pkt::Packet* data, uint32_t length) {
  Conn& c = conns_[index];
  data = strip_empty(data);
  MR_ASSERT(data->total == length);
  c.rcv_nxt += length;
  if (c.rcv_adv < c.rcv_nxt) c.rcv_adv = c.rcv_nxt;
  c.rcv_unread += length;
  c.rcv_charge += charge_of(data);
  counters_.add(Counter::kBytesIn, length);
  MR_ASSERT(c.sock != 0);
  new_effect(c.sock, kReadable).data = data;
}

// RFC 5681 4.2, RFC 9293 3.8.6.3: at least every second full segment, and never later than the delay.
// `segment` is the payload of one segment as the peer sent it, before a device merged any.
void Tcp::schedule_ack(uint32_t index, uint32_t segment, const Segment& s, Instant now) {
  Conn& c = conns_[index];
  const uint32_t full = std::min<uint32_t>(segment, c.mss);
  if (full > c.rcv_mss) c.rcv_mss = static_cast<uint16_t>(full);
  c.ack_pending = 1;
  if (c.quick_acks > 0) {
    --c.quick_acks;
    c.rx_flags |= kRxAckNow;
  } else if (static_cast<uint32_t>(c.rcv_nxt - c.last_ack_sent) >= 2u * c.rcv_mss) {
    c.rx_flags |= kRxAckNow;
    measure_room(index, s, now);
  }
  mark_dirty(index);
}

void Tcp::release_piece(uint32_t index, uint32_t piece) {
  pieces_.release(piece);
  --runs_.of(index).held;
}

void Tcp::free_piece(uint32_t index, uint32_t piece) {
  ReasmPiece& p = pieces_[piece];
  conns_[index].rcv_charge -= p.charge;
  packets_.free(p.first);
  release_piece(index, piece);
}

void Tcp::free_reassembly(uint32_t index) {
  Conn& c = conns_[index];
  while (c.reasm != 0) {
    const uint32_t next = pieces_[c.reasm].link;
    free_piece(index, c.reasm);
    c.reasm = next;
  }
}

void Tcp::append_to_piece(ReasmPiece& piece, pkt::Packet* data, uint32_t length) {
  piece.last->next = data;
  piece.end += length;
  piece.charge += charge_of(data);
  for (piece.last = data; piece.last->next != nullptr;) piece.last = piece.last->next;
}

// A FIN without data, beyond rcv_nxt: held with the run that ends where it stands, if there is one; otherwise the peer
// has to send it again.
bool Tcp::hold_fin(const Conn& c, Seq32 seq) {
  for (uint32_t at = c.reasm; at != 0; at = pieces_[at].link) {
    if (pieces_[at].end == seq) return pieces_[at].fin = true;
  }
  return false;
}

// A run from which the walk to `seq` may begin: the one that grew last, where most segments belong, unless it lies too
// far on; 0 stands for the first.
uint32_t Tcp::run_before(uint32_t index, Seq32 seq) {
  const RunState& runs = runs_.of(index);
  const ReasmPiece* piece = pieces_.find(runs.last, runs.last_gen);
  return piece != nullptr && piece->start <= seq ? runs.last : 0;
}

// A segment beyond rcv_nxt: kept until the gap is filled, within the buffer's true size. Takes the packet.
void Tcp::store_out_of_order(uint32_t index, Segment& s) {
  Conn& c = conns_[index];
  c.rx_flags |= kRxAckNow;  // RFC 5681 4.2: a gap is reported at once
  mark_dirty(index);
  if (c.counted != 0) ++counts_.of(index).out_of_order;
  s.packet = strip_empty(s.packet);
  if (s.length == 0 && hold_fin(c, s.seq)) {
    counters_.add(Counter::kOutOfOrder);
    packets_.free(s.packet);
    s.packet = nullptr;
    return;
  }
  const uint32_t charge = charge_of(s.packet);
  if (s.length == 0 || scarce_ || c.rcv_charge + charge > 2 * uint64_t{c.rcv_limit} + 4'096) {
    drop(s, Counter::kDropReassembly);
    return;
  }
  // The first run that ends at or behind the segment's start.
  uint32_t before = 0;
  uint32_t at = run_before(index, s.seq);
  if (at == 0) at = c.reasm;
  while (at != 0 && pieces_[at].end < s.seq) {
    before = at;
    at = pieces_[at].link;
  }
  bool fin = s.has(kFin);
  if (at != 0 && pieces_[at].start <= s.seq) {
    ReasmPiece& piece = pieces_[at];
    if (s.seq + s.length <= piece.end) {
      if (fin && s.seq + s.length == piece.end) piece.fin = true;
      if ((c.options & kOptSack) != 0) {
        note_received(index, piece.start, piece.end);  // RFC 2883 4: the run it is part of
      }
      duplicate_seen(index, s.seq, s.seq + s.length);
      drop(s, Counter::kDropDuplicate);
      return;
    }
    if (s.seq < piece.end) {
      const auto overlap = static_cast<uint32_t>(piece.end - s.seq);
      if (MR_PLANTED(reassembly_drops_tail)) {
        piece.end = s.seq + s.length;
        drop(s, Counter::kDropDuplicate);
        return;
      }
      trim_front(s, overlap);
      s.packet = strip_empty(s.packet);
    }
  } else {
    RunState& runs = runs_.of(index);
    const uint32_t fresh = runs.held < kMostRuns ? pieces_.allocate() : 0;
    if (fresh == 0) {
      drop(s, Counter::kDropReassembly);
      return;
    }
    ++runs.held;
    ReasmPiece& piece = pieces_[fresh];
    piece.start = piece.end = s.seq;
    piece.link = at;
    (before == 0 ? c.reasm : pieces_[before].link) = fresh;
    at = fresh;
  }
  // Runs that the segment covers or touches become part of this one.
  uint32_t next = pieces_[at].link;
  uint32_t joined = 0;
  while (next != 0 && pieces_[next].start <= s.seq + s.length) {
    ReasmPiece& n = pieces_[next];
    if (n.end <= s.seq + s.length) {
      const uint32_t after = n.link;
      fin = fin || (n.fin && n.end == s.seq + s.length);
      free_piece(index, next);
      next = after;
      continue;
    }
    trim_tail(s, static_cast<uint32_t>(s.seq + s.length - n.start));
    fin = false;
    joined = next;
    next = n.link;
    break;
  }
  ReasmPiece& piece = pieces_[at];
  const uint32_t old_charge = piece.charge;
  if (s.length > 0) {
    if (piece.first == nullptr) {
      piece.first = s.packet;
      piece.end += s.length;
      piece.charge = charge_of(s.packet);
      for (piece.last = s.packet; piece.last->next != nullptr;) piece.last = piece.last->next;
    } else {
      append_to_piece(piece, s.packet, s.length);
    }
  } else {
    packets_.free(s.packet);
  }
  s.packet = nullptr;
  c.rcv_charge += piece.charge - old_charge;
  if (fin) piece.fin = true;
  if (joined != 0) {
    ReasmPiece& n = pieces_[joined];
    piece.last->next = n.first;
    piece.last = n.last;
    piece.end = n.end;
    piece.charge += n.charge;
    piece.fin = n.fin;
    release_piece(index, joined);
  }
  piece.link = next;
  runs_.of(index).last = at;
  runs_.of(index).last_gen = piece.gen;
  counters_.add(Counter::kOutOfOrder);
  if ((c.options & kOptSack) != 0) note_received(index, piece.start, piece.end);
}

// The gap below the first run is filled: hand over what is now in order.
void Tcp::pull_reassembled(uint32_t index, bool& fin) {
  Conn& c = conns_[index];
  while (c.reasm != 0 && pieces_[c.reasm].start <= c.rcv_nxt) {
    ReasmPiece piece = pieces_[c.reasm];
    release_piece(index, c.reasm);
    c.reasm = piece.link;
    c.rcv_charge -= piece.charge;
    if (piece.end <= c.rcv_nxt) {
      packets_.free(piece.first);
      fin = fin || (piece.fin && piece.end == c.rcv_nxt);
      continue;
    }
    Segment rest;
    rest.packet = piece.first;
    rest.seq = piece.start;
    rest.length = static_cast<uint32_t>(piece.end - piece.start);
    rest.packet->total = rest.length;
    if (piece.start < c.rcv_nxt) trim_front(rest, static_cast<uint32_t>(c.rcv_nxt - piece.start));
    deliver(index, rest.packet, rest.length);
    fin = piece.fin;
  }
  c.rx_flags |= kRxAckNow;  // RFC 5681 4.2: filling a gap is reported at once
  mark_dirty(index);
  ConnCold& cold_state = cold(index);
  uint8_t kept = 0;
  for (uint8_t i = 0; i < cold_state.sack_recent; ++i) {
    if (cold_state.recent[i].left > c.rcv_nxt) cold_state.recent[kept++] = cold_state.recent[i];
  }
  cold_state.sack_recent = kept & 0xf;
}

// Payload bytes for which there is room, by count and by true size.
uint32_t Tcp::window_space(const Conn& c) const {
  const uint32_t by_bytes = c.rcv_limit > c.rcv_unread ? c.rcv_limit - c.rcv_unread : 0;
  const uint64_t charge_limit = 2 * uint64_t{c.rcv_limit};
  const uint64_t by_charge = charge_limit > c.rcv_charge ? (charge_limit - c.rcv_charge) / 2 : 0;
  return static_cast<uint32_t>(std::min<uint64_t>(by_bytes, by_charge));
}

// The window to advertise, a multiple of its scale. The right edge never moves left (RFC 9293 3.8.6 SHLD-14) and moves
// right only by useful amounts (RFC 9293 3.8.6.2.2 MUST-39).
uint32_t Tcp::receive_window(const Conn& c) const {
  const uint32_t held = static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt);
  const uint32_t unit = 1u << c.rcv_wscale;
  const uint32_t space = std::min(window_space(c) & ~(unit - 1), 65'535u << c.rcv_wscale);
  const uint32_t useful = std::min<uint32_t>(c.rcv_limit / 2, std::max<uint32_t>(c.rcv_mss, unit));
  if (MR_PLANTED(window_edge_shrinks)) return space;
  const bool may_grow = !scarce_ || c.rcv_unread == 0;
  if (may_grow && space >= held + useful) return space;
  return std::min((held + unit - 1) & ~(unit - 1), 65'535u << c.rcv_wscale);
}

void Tcp::recharge(uint32_t index, uint32_t old_charge, uint32_t new_charge) {
  Conn& c = conns_[index];
  MR_ASSERT(c.rcv_charge >= old_charge);
  c.rcv_charge = c.rcv_charge - old_charge + new_charge;
}

void Tcp::consumed(uint32_t index, uint32_t bytes, uint32_t charge, Instant) {
  Conn& c = conns_[index];
  MR_ASSERT(c.rcv_unread >= bytes && c.rcv_charge >= charge);
  c.rcv_unread -= bytes;
  c.rcv_charge -= charge;
  if ((c.rx_flags & kRxFinSeen) != 0) return;
  const uint32_t held = static_cast<uint32_t>(c.rcv_adv - c.rcv_nxt);
  const uint32_t most = std::min(c.rcv_limit, 65'535u << c.rcv_wscale);  // what the field can say
  if (held >= most - most / 4 && held >= 2u * c.rcv_mss) return;          // open enough
  const uint32_t space = std::min(window_space(c), most);
  // Worth a segment of its own: a window that was nearly shut opens, or a quarter of the largest came free.
  const uint32_t worth = held < 2u * c.rcv_mss ? std::min<uint32_t>(most / 2, c.rcv_mss) : most / 4;
  if (space >= held + std::max(worth, 1u)) {
    c.rx_flags |= kRxWindowUpdate;
    mark_dirty(index);
  }
}

}  // namespace millrace::tcp
