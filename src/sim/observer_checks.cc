// The rules that the observer holds against every segment that a host sends.
#include <algorithm>
#include <cstring>

#include "sim/observer.h"
#include "sim/text.h"

namespace millrace::sim {
namespace {

int64_t offset(uint32_t seq, uint32_t isn) { return static_cast<int32_t>(seq - isn); }
bool newer(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

}  // namespace

bool Observer::check_form(const TcpView& view) {
  const char* what = nullptr;
  if (view.reserved > 1 || view.has(kUrg)) what = "reserved bits or URG set";
  if (view.has(kSyn)) {  // RFC 9768 3.1.3: these combinations may be sent, and no other
    const uint8_t ace = static_cast<uint8_t>(view.reserved << 2 | view.flags >> 6);
    const bool fine = view.has(kAck) ? ace != 5 && ace != 7 : ace == 0 || ace == 3 || ace == 7;
    if (!fine) what = "a SYN with flags of ECN that mean nothing";
  }
  if (view.has(kSyn) && (view.has(kFin) || view.has(kRst))) what = "SYN together with FIN or RST";
  if (view.has(kFin) && !view.has(kAck)) what = "FIN without ACK";
  if (view.payload_len > 0 && (!view.has(kAck) || view.has(kRst) || view.has(kSyn))) {
    what = "payload in a control segment";
  }
  if (!view.has(kAck) && !view.has(kSyn) && !view.has(kRst)) what = "none of ACK, SYN, RST";
  if (view.sack_count > (view.has_timestamp ? 3 : 4)) what = "too many SACK blocks";
  if (!view.has(kSyn) && (view.mss || view.wscale || view.sack_permitted)) what = "SYN option outside a SYN";
  if (view.wscale && *view.wscale > 14) what = "window scale above 14 (RFC 7323 2.3)";
  if (what == nullptr) return true;
  fail(view, what);
  return false;
}

void Observer::on_syn(Flow& flow, int own_index, const TcpView& view) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  if (own.syn_sent && own.isn == view.seq) return;
  if (own.syn_sent) {
    flow.loose = true;  // the ports are used again
    return;
  }
  own.syn_sent = true;
  own.isn = view.seq;
  own.mss = view.mss.value_or(0);
  own.wscale = view.wscale;
  own.sack_permitted = view.sack_permitted;
  own.timestamps = view.has_timestamp;
}

// RFC 9293 3.10.7: a reset answers at the sequence number that the other side acknowledged, or stands in our own space.
bool Observer::check_rst(const Flow& flow, int own_index, const TcpView& view) {
  const Half& own = flow.half[static_cast<size_t>(own_index)];
  if (!own.syn_sent || view.seq == 0) return true;
  const int64_t at = offset(view.seq, own.isn);
  if (at < 0 || at > std::max(own.snd_max, own.ack_seen)) {
    fail(view, text("reset outside what was sent: offset ", at, ", sent ", own.snd_max));
    return false;
  }
  return true;
}

bool Observer::check_ack(Flow& flow, int own_index, const TcpView& view) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  const Half& peer = flow.half[static_cast<size_t>(1 - own_index)];
  if (!view.has(kAck)) {
    own.edge_sent = std::max<int64_t>(own.edge_sent, 1 + int64_t{view.window});
    return true;
  }
  if (!peer.syn_sent) {
    fail(view, "acknowledgment of a peer that has sent nothing");
    return false;
  }
  const int64_t ack = offset(view.ack, peer.isn);
  std::string wrong;
  if (!own.received.covers(0, ack)) wrong = text("acknowledges offset ", ack, ", received ", own.prefix);
  if (ack < own.ack_sent) wrong = text("acknowledgment goes back from offset ", own.ack_sent, " to ", ack);
  const int64_t fin = own.peer_fin && *own.peer_fin + 1 == ack ? 1 : 0;
  if (own.ack_sent > 0 && ack > own.edge_sent + fin) {
    wrong = text("accepted up to offset ", ack, " beyond its advertised window ", own.edge_sent);
  }
  if (!wrong.empty()) {
    fail(view, wrong);
    return false;
  }
  if (!check_window_sent(flow, own_index, view, ack) || !check_sack(flow, own_index, view, ack)) return false;
  own.ack_sent = ack;
  return true;
}

// RFC 9293 3.8.6: the right edge does not move left. After the peer's FIN the window means nothing.
bool Observer::check_window_sent(Flow& flow, int own_index, const TcpView& view, int64_t ack) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  const bool scale = flow.scaled() && !view.has(kSyn);
  const int64_t edge = ack + (int64_t{view.window} << (scale ? *own.wscale : 0));
  // The window of a SYN has no scale and may have to say less than one before.
  if (edge < own.edge_sent && !view.has(kSyn) && !(own.peer_fin && ack > *own.peer_fin)) {
    fail(view, text("the window's right edge shrinks from ", own.edge_sent, " to ", edge));
    return false;
  }
  own.edge_sent = std::max(own.edge_sent, edge);
  own.window_field = view.window;
  return true;
}

// RFC 2018 3 and 4, RFC 2883 for a first block that reports a duplicate.
bool Observer::check_sack(const Flow& flow, int own_index, const TcpView& view, int64_t ack) {
  if (view.sack_count == 0) return true;
  const Half& own = flow.half[static_cast<size_t>(own_index)];
  const Half& peer = flow.half[static_cast<size_t>(1 - own_index)];
  std::string wrong;
  if (!flow.sack()) wrong = "SACK that was not agreed on";
  for (size_t i = 0; i < view.sack_count; ++i) {
    const int64_t left = offset(view.sack[i].left, peer.isn);
    const int64_t right = offset(view.sack[i].right, peer.isn);
    if (left >= right) wrong = "empty SACK block";
    else if (!own.received.covers(left, right)) wrong = text("SACK of bytes never received: ", left, "-", right);
    const bool duplicate_report = i == 0 && right <= ack;
    if (!duplicate_report && left <= ack) {
      wrong = text("SACK block at or before the acknowledgment: ", left, "-", right);
    }
    for (size_t j = 0; j < i; ++j) {
      const int64_t other_left = offset(view.sack[j].left, peer.isn);
      const int64_t other_right = offset(view.sack[j].right, peer.isn);
      const bool apart = right < other_left || other_right < left;
      const bool inside = j == 0 && other_left >= left && other_right <= right;
      if (!apart && !inside) wrong = "SACK blocks overlap or touch";
    }
  }
  if (wrong.empty()) return true;
  fail(view, wrong);
  return false;
}

bool Observer::check_timestamp(Flow& flow, int own_index, const TcpView& view) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  if (view.has(kSyn) && !view.has(kAck)) {
    if (view.has_timestamp) {
      own.ts_seen = true;
      own.tsval = view.tsval;
    }
    return true;
  }
  std::string wrong;
  if (flow.timestamps() != view.has_timestamp && !view.has(kSyn)) {
    wrong = flow.timestamps() ? "segment without the timestamps agreed on" : "timestamps that were not agreed on";
  } else if (view.has_timestamp) {
    if (own.ts_seen && newer(own.tsval, view.tsval)) wrong = text("timestamp goes back from ", own.tsval);
    if (!own.ts_bound_set) wrong = "timestamp echo without one received";
    else if (newer(view.tsecr, own.ts_bound))
      wrong = text("echoes a timestamp newer than ", own.ts_bound, " (RFC 7323 4.3)");
    own.ts_seen = true;
    own.tsval = view.tsval;
    own.tsecr = view.tsecr;
  }
  if (wrong.empty()) return true;
  fail(view, wrong);
  return false;
}

// Between two arrivals, repeated transmissions of the same bytes come at growing distances (RFC 6298 5.5).
bool Observer::check_back_off(Flow& flow, int own_index, const TcpView& view, int64_t at, Instant now) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  if (view.seq_len() == 0 || at >= own.snd_max) return true;
  ++own.retransmitted;
  const uint64_t epoch = deliveries_[static_cast<size_t>(flow.host[static_cast<size_t>(own_index)])];
  if (own.again_at != at || own.again_epoch != epoch) {
    own.again_at = at;
    own.again_epoch = epoch;
    own.again_last = now;
    own.again_gap = {};
    // What was delivered just before may be looked at just after, and a round trip measured then ends the back-off.
    own.again_unsure =
        now - delivered_at_[static_cast<size_t>(flow.host[static_cast<size_t>(own_index)])] < rules_.slack;
    return true;
  }
  const Duration gap = now - own.again_last;
  if (gap < milliseconds(3)) return true;  // answers to several segments of one burst, not timeouts
  const Duration before = own.again_gap;
  own.again_last = now;
  own.again_gap = own.again_unsure ? Duration{} : gap;
  own.again_unsure = false;
  if (before.ns() == 0 || gap * 2 >= before * 3 || gap * 10 >= rules_.rto_max * 9) return true;
  fail(view, text("retransmission after ", gap.us(), " us, the one before after ", before.us(), " us: no back-off"));
  return false;
}

bool Observer::check_data(Flow& flow, int own_index, const TcpView& view, const Bytes& frame) {
  Half& own = flow.half[static_cast<size_t>(own_index)];
  const Half& peer = flow.half[static_cast<size_t>(1 - own_index)];
  if (view.has(kSyn)) return true;
  const int64_t at = offset(view.seq, own.isn);
  const auto len = static_cast<int64_t>(view.payload_len);
  if (view.has(kFin)) {
    if (own.fin_at && *own.fin_at != at + len) return fail(view, "FIN moves"), false;
    if (at + len < own.snd_max && !own.fin_at) return fail(view, "FIN before the end of what was sent"), false;
    own.fin_at = at + len;
  }
  if (len == 0) return true;
  if (!own.peer_syn || own.ack_seen < 1) return fail(view, "data before the connection is established"), false;
  if (own.fin_at && at + len > *own.fin_at) return fail(view, "data after FIN"), false;
  const uint32_t mss = peer.mss != 0 ? peer.mss : (view.v6 ? 1220 : 536);  // RFC 9293 3.7.1 MUST-15
  if (view.payload_len + view.option_bytes > mss) {  // RFC 6691
    return fail(view, text("payload and options exceed the peer's MSS of ", mss)), false;
  }
  if (len == 1 && at < own.ack_seen && at == own.ack_seen - 1) return true;  // keepalive with a byte of rubbish
  if (at < 1) return fail(view, "data at or before the SYN"), false;
  const bool probe = len == 1 && at <= own.edge_seen;  // RFC 9293 3.8.6.1
  if (at + len > own.edge_seen && !probe) {
    return fail(view, text("sends up to offset ", at + len, ", the window ends at ", own.edge_seen)), false;
  }
  const size_t begin = static_cast<size_t>(at - 1);
  const size_t known = std::min(own.stream.size(), begin + view.payload_len);
  const uint8_t* payload = frame.data() + view.payload;
  if (begin < known && std::memcmp(own.stream.data() + begin, payload, known - begin) != 0) {
    return fail(view, "retransmission with other bytes than the first time"), false;
  }
  if (begin + view.payload_len > known) {
    own.stream.insert(own.stream.end(), payload + (known - begin), payload + view.payload_len);
  }
  return true;
}

}  // namespace millrace::sim
